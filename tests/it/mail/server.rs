//! A mail server on loopback, for tests: says what the test wants it to say, keeps what it was given, ends with the test.

#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How the server is.
#[derive(Clone, Copy, Default)]
pub struct Manners {
    /// To a command that begins with the first, it answers the second.
    pub answer: Option<(&'static str, &'static str)>,
    /// After a command that begins with this it says nothing; "" is silent from the start.
    pub hangs_after: Option<&'static str>,
    /// What it offers after EHLO.
    pub offers: &'static [&'static str],
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub mail: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    mails: Vec<Taken>,
    commands: Vec<String>,
}

pub struct MailServer {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MailServer {
    pub fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (keeps, stops) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stops.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away ends the conversation, no more.
                let _ = serve(&stream.unwrap(), manners, &keeps, &stops);
            }
        });
        Self { port, seen, stop, thread: Some(thread) }
    }

    pub fn mails(&self) -> Vec<Taken> {
        self.seen.lock().unwrap().mails.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.seen.lock().unwrap().commands.clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: &TcpStream, manners: Manners, seen: &Mutex<Seen>, stop: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    let mut mail = Taken { from: String::new(), to: Vec::new(), mail: Vec::new() };
    if manners.hangs_after == Some("") {
        return linger(stop);
    }
    out.write_all(b"220 test ESMTP\r\n")?;
    while let Some(line) = read_line(&mut reader, stop)? {
        let command = String::from_utf8_lossy(&line).trim_end().to_owned();
        seen.lock().unwrap().commands.push(command.clone());
        let is = |word: &str| command.to_ascii_uppercase().starts_with(word);
        if manners.hangs_after.is_some_and(is) {
            return linger(stop);
        }
        if let Some((_, answer)) = manners.answer.filter(|(word, _)| is(word)) {
            out.write_all(format!("{answer}\r\n").as_bytes())?;
            continue;
        }
        if is("EHLO") {
            for offer in manners.offers {
                out.write_all(format!("250-{offer}\r\n").as_bytes())?;
            }
        } else if is("MAIL FROM:") {
            mail = Taken { from: command[10..].to_owned(), to: Vec::new(), mail: Vec::new() };
        } else if is("RCPT TO:") {
            mail.to.push(command[8..].to_owned());
        } else if is("DATA") {
            out.write_all(b"354 go on\r\n")?;
            while let Some(line) = read_line(&mut reader, stop)? {
                if line == b".\r\n" {
                    break;
                }
                // Dots in front are doubled on the line.
                mail.mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
            if manners.hangs_after == Some("the mail") {
                return linger(stop);
            }
            if let Some((_, answer)) = manners.answer.filter(|(word, _)| *word == "the mail") {
                out.write_all(format!("{answer}\r\n").as_bytes())?;
                continue;
            }
            seen.lock().unwrap().mails.push(mail.clone());
        } else if is("AUTH") {
            out.write_all(b"235 welcome\r\n")?;
            continue;
        } else if is("QUIT") {
            return out.write_all(b"221 bye\r\n");
        }
        out.write_all(b"250 ok\r\n")?;
    }
    Ok(())
}

fn read_line(reader: &mut BufReader<&TcpStream>, stop: &AtomicBool) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(None),
            Ok(_) if line.ends_with(b"\n") => return Ok(Some(line)),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !stop.load(Ordering::SeqCst) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Says nothing until the test is over.
fn linger(stop: &AtomicBool) -> std::io::Result<()> {
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
