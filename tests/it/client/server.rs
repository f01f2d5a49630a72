//! A server on a loopback socket that does to each request what its script says, and writes down what it got.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of one request.
#[derive(Clone)]
pub enum Act {
    /// Answers with these bytes and keeps the connection.
    Say(Vec<u8>),
    /// Answers with these bytes and closes the connection.
    SayAndClose(Vec<u8>),
    /// Resets the connection before the request has been read.
    ResetUnread,
    /// Says these bytes before the request has been read, and reads nothing of it but its bytes.
    SayUnread(Vec<u8>),
    /// Reads the whole request, carries it out, and closes.
    CloseAfterReading,
    /// Reads the whole request, carries it out, and resets.
    CarryOutThenReset,
    /// Reads the request and never answers.
    Silence,
    /// Starts an answer of 200 and sends a byte of it now and then, forever.
    Trickle,
    /// Starts an answer of 200 and sends spaces as fast as they are taken, forever.
    Flood,
}

/// An answer with a JSON body.
pub fn json(status: u16, headers: &[(&str, &str)], body: &str) -> Act {
    Act::Say(bytes(status, headers, body.as_bytes()))
}

pub fn bytes(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status} Something\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    [answer.as_bytes(), body].concat()
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub head: String,
    pub body: String,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        found.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }
}

#[derive(Default)]
struct Book {
    script: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

/// The server. After its script it answers every request with `{}`.
pub struct Server {
    address: SocketAddr,
    book: Arc<Book>,
}

impl Server {
    pub fn new(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let book = Arc::new(Book { script: Mutex::new(script.into()), ..Book::default() });
        let kept = Arc::clone(&book);
        spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if kept.stopped.load(Ordering::SeqCst) {
                    return;
                }
                kept.connections.fetch_add(1, Ordering::SeqCst);
                let book = Arc::clone(&kept);
                spawn(move || serve(stream, &book));
            }
        });
        Self { address, book }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole requests that came, in the order in which they were complete.
    pub fn seen(&self) -> Vec<Seen> {
        self.book.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.book.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.book.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

#[allow(clippy::disallowed_methods)] // a test's own helper
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

fn serve(mut stream: TcpStream, book: &Book) {
    // Whatever a test does, its server ends.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    loop {
        if rest.is_empty() && !matches!(stream.peek(&mut [0]), Ok(1)) {
            return;
        }
        let act = book.script.lock().unwrap().pop_front().unwrap_or_else(|| json(200, &[], "{}"));
        match &act {
            Act::ResetUnread => return reset(&stream),
            Act::SayUnread(bytes) => {
                let _ = stream.write_all(bytes);
                while more(&mut stream, &mut [0; 4096]).is_some() {}
                return;
            }
            _ => {}
        }
        let Some(seen) = read(&mut stream, &mut rest) else { return };
        book.seen.lock().unwrap().push(seen);
        match act {
            Act::Say(bytes) if stream.write_all(&bytes).is_ok() => {}
            Act::SayAndClose(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Act::Say(_) | Act::CloseAfterReading | Act::ResetUnread | Act::SayUnread(_) => return,
            Act::CarryOutThenReset => return reset(&stream),
            Act::Silence => {
                let _ = stream.read(&mut [0]);
                return;
            }
            Act::Trickle => return pour(&mut stream, b" ", Duration::from_millis(5)),
            Act::Flood => return pour(&mut stream, &[b' '; 65536], Duration::ZERO),
        }
    }
}

/// Starts an answer and goes on with it until the client goes away.
fn pour(stream: &mut TcpStream, block: &[u8], pause: Duration) {
    let mut more = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n");
    while more.is_ok() {
        std::thread::sleep(pause);
        more = stream.write_all(block);
    }
}

/// So that the client gets a reset, not an end.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

fn read(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<Seen> {
    let mut block = [0; 65536];
    let head_end = loop {
        if let Some(at) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let length = more(stream, &mut block)?;
        rest.extend_from_slice(&block[..length]);
    };
    let head = String::from_utf8(rest.drain(..head_end).collect()).unwrap();
    let mut seen = Seen { head, body: String::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while rest.len() < length {
        let came = more(stream, &mut block)?;
        rest.extend_from_slice(&block[..came]);
    }
    seen.body = String::from_utf8(rest.drain(..length).collect()).unwrap();
    Some(seen)
}

fn more(stream: &mut TcpStream, block: &mut [u8]) -> Option<usize> {
    loop {
        match stream.read(block) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
