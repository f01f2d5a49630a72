//! A receiver on loopback that behaves as it is told. It ends when dropped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request.
#[derive(Clone)]
pub struct Got {
    heads: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Got {
    pub fn head(&self, name: &str) -> &str {
        self.heads.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// What it does with a request.
#[derive(Clone, Copy)]
pub enum Reply {
    Status(u16),
    /// With more header lines.
    With(u16, &'static str),
    /// No answer, ever.
    Hang,
    /// The connection breaks.
    Reset,
    /// 200, and a body without end.
    EndlessBody,
    /// A head without end.
    EndlessHead,
}

pub struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    over: Arc<AtomicBool>,
}

type Behave = Arc<dyn Fn(&Got) -> Reply + Send + Sync>;

impl Receiver {
    #[allow(clippy::disallowed_methods)] // a test's own helper
    pub fn start(behave: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, ends, behave): (_, _, Behave) = (Arc::clone(&got), Arc::clone(&over), Arc::new(behave));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let (kept, ends, behave) = (Arc::clone(&kept), Arc::clone(&ends), Arc::clone(&behave));
                std::thread::spawn(move || serve(stream, &kept, &ends, &behave));
            }
        });
        Self { address, got, over }
    }

    /// Answers the same to all.
    pub fn answering(reply: Reply) -> Self {
        Self::start(move |_| reply)
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What has come so far.
    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    /// Waits until this many have come.
    pub fn wait(&self, count: usize, within: Duration) {
        let began = Instant::now();
        while self.count() < count {
            assert!(began.elapsed() < within, "{} of {count} came in {within:?}", self.count());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Got>>, over: &AtomicBool, behave: &Behave) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(got) = read(&mut reader) {
        let reply = behave(&got);
        kept.lock().unwrap().push(got);
        let sent = match reply {
            Reply::Status(status) => answer(&mut stream, status, ""),
            Reply::With(status, heads) => answer(&mut stream, status, heads),
            Reply::Reset => return,
            Reply::Hang => {
                while !over.load(Ordering::SeqCst) && stream.peek(&mut [0]).is_ok_and(|read| read > 0) {}
                return;
            }
            Reply::EndlessBody => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
                endless(&mut stream, head, &chunk, over)
            }
            Reply::EndlessHead => endless(&mut stream, "HTTP/1.1 200 OK\r\n", "X-More: and more\r\n", over),
        };
        if sent.is_err() || over.load(Ordering::SeqCst) {
            return;
        }
    }
}

fn endless(stream: &mut TcpStream, head: &str, more: &str, over: &AtomicBool) -> std::io::Result<()> {
    stream.write_all(head.as_bytes())?;
    while !over.load(Ordering::SeqCst) {
        stream.write_all(more.as_bytes())?;
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, status: u16, heads: &str) -> std::io::Result<()> {
    let body = if status == 204 { "" } else { "{}" };
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    stream.write_all(format!("HTTP/1.1 {status} X\r\n{length}{heads}\r\n{body}").as_bytes())
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut heads = BTreeMap::new();
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    heads.insert(":first".to_owned(), line.trim().to_owned());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        heads.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = heads.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Got { heads, body })
}
