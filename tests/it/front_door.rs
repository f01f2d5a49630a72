//! The front door under hostile clients: the real binary on real sockets. After each attack a signed webhook is answered
//! at once, the memory has kept its bound, and no thread and no descriptor is left.
//!
//! `cargo test --test it front_door -- --nocapture` prints the figures.

mod answers;
mod attacks;
mod floods;
mod latency;
mod limits;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PATH, START_S};
use crate::live::Live;

/// Far longer than anything here takes; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Within this a normal webhook is answered, whatever else goes on.
const PROMPT: Duration = Duration::from_millis(100);
/// The machine may be busy with other things: the best of so many tries counts.
const TRIES: usize = 20;
/// The process never takes more.
const MEMORY_KIB: u64 = 64 * 1024;

/// A daemon, and what it was like when nobody had attacked it.
pub struct Door {
    pub live: Live,
    threads: usize,
    descriptors: usize,
    dir: TempDir,
}

impl Door {
    pub fn open() -> Self {
        Self::with_limits("")
    }

    /// With lines of the configuration's section `limits`.
    pub fn with_limits(limits: &str) -> Self {
        Self::start(limits, Live::start)
    }

    pub fn start(limits: &str, start: impl FnOnce(&Path) -> Live) -> Self {
        allow_many_files();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), format!("[limits]\n{limits}\n")).unwrap();
        let mut door = Self { live: start(dir.path()), threads: 0, descriptors: 0, dir };
        door.answers_promptly();
        door.live.settle();
        wait_until(|| door.connections() == 0, || "a connection does not end".to_owned());
        (door.threads, door.descriptors) = (door.count("task"), door.count("fd"));
        door
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// SIGTERM; the exit status.
    pub fn terminate(self) -> Option<i32> {
        self.live.terminate()
    }

    pub fn connect(&self) -> TcpStream {
        connect(&self.live.public)
    }

    /// What comes back for `request` until the door closes.
    pub fn exchange(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        rest(stream)
    }

    /// A normal signed webhook, on a connection of its own, is answered with 200 and at once.
    pub fn answers_promptly(&self) {
        let mut best = PATIENCE;
        for _ in 0..TRIES {
            let body = event().to_string();
            let began = Instant::now();
            let answer = self.live.post(body.as_bytes()).unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "{\"received\":true}"));
            best = best.min(began.elapsed());
            if best < PROMPT {
                return;
            }
        }
        unreachable!("the best of {TRIES} webhooks took {best:?}");
    }

    /// What must hold after every attack.
    pub fn is_unharmed(&self, attack: &str) {
        self.answers_promptly();
        for (what, before) in [("task", self.threads), ("fd", self.descriptors)] {
            let is_back = || self.count(what) <= before;
            wait_until(is_back, || {
                format!("{attack}: {} {what}, {before} before: {:?}", self.count(what), self.thread_names())
            });
        }
        self.has_kept_its_memory(attack);
    }

    pub fn has_kept_its_memory(&self, attack: &str) {
        let (peak, now) = (self.memory("VmHWM:"), self.memory("VmRSS:"));
        println!("{attack}: peak {:.1} MiB, now {:.1} MiB", peak as f64 / 1024.0, now as f64 / 1024.0);
        assert!(peak < MEMORY_KIB, "{attack}: {peak} KiB at the peak");
    }

    /// Threads (`task`) or descriptors (`fd`) of the daemon.
    pub fn count(&self, what: &str) -> usize {
        std::fs::read_dir(format!("/proc/{}/{what}", self.live.pid())).unwrap().count()
    }

    /// Threads that serve a connection.
    pub fn connections(&self) -> usize {
        self.thread_names().iter().filter(|name| name.ends_with("-conn")).count()
    }

    fn thread_names(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.live.pid())).unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.map(|name| name.trim_end().to_owned()).collect()
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.live.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply(pub String);

impl Reply {
    pub fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| unreachable!("{self:?}"))
    }

    pub fn has(&self, header: &str) -> bool {
        let head = self.0.split("\r\n\r\n").next().unwrap();
        head.lines().any(|line| line.eq_ignore_ascii_case(header))
    }

    /// Status and code of an error in the shape of contract §4, after which the connection ends.
    pub fn refusal(&self) -> (u16, String) {
        assert!(self.has("Connection: close"), "{self:?}");
        let body: Value = serde_json::from_str(self.0.split_once("\r\n\r\n").unwrap().1).unwrap();
        let error = &body["error"];
        let kind = if self.status() >= 500 { "api_error" } else { "invalid_request_error" };
        assert_eq!(error["type"], kind, "{self:?}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{self:?}");
        (self.status(), error["code"].as_str().unwrap().to_owned())
    }
}

pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that comes until the other end closes.
pub fn rest(mut stream: impl Read) -> Reply {
    let mut bytes = Vec::new();
    let outcome = stream.read_to_end(&mut bytes);
    // A reset after the whole answer is a client's own fault: it sent on after being refused.
    let reset = outcome.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    assert!(outcome.is_ok() || (reset && !bytes.is_empty()), "{outcome:?} after {:?}", String::from_utf8_lossy(&bytes));
    Reply(String::from_utf8(bytes).unwrap())
}

/// One answer of a connection that stays open.
pub fn one_reply(stream: &mut impl Read) -> Reply {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes.clone()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    bytes.extend(body);
    Reply(String::from_utf8(bytes).unwrap())
}

/// Sends `request` and no more, and reads what comes.
pub fn half_closed(door: &Door, request: &str) -> Reply {
    let mut stream = door.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    rest(stream)
}

pub fn post(headers: &str, body: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}")
}

/// A connection whose request is certainly being read: its body is still to come, and the door has asked for it.
pub fn halfway(door: &Door, length: usize) -> TcpStream {
    let mut stream = door.connect();
    go_halfway(&mut stream, length);
    stream
}

pub fn go_halfway(stream: &mut TcpStream, length: usize) {
    let head = post(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"), "");
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
}

pub fn wait_until(mut holds: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An event that nobody has seen.
pub fn event() -> Value {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    json!({"id": format!("evt_door_{number}"), "object": "event", "type": "thing.made", "created": START_S,
        "livemode": false, "data": {"object": {"id": format!("thing_{number}"), "object": "thing"}}})
}

/// The clients here need more descriptors than a process is given at first.
fn allow_many_files() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    });
}
