//! The load generator: a thread per keep-alive connection, one request after the other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What a row found.
pub struct Found {
    pub latencies: Vec<Duration>,
    pub began: Instant,
    pub took: Duration,
}

/// Runs `request` on every connection until the time is up.
pub fn load(
    length: Duration,
    connections: usize,
    address: &str,
    request: impl Fn(&mut Client) -> Duration + Sync,
) -> Found {
    let clients: Vec<Client> = (0..connections).map(|number| Client::connect(address, number)).collect();
    let began = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let run = |mut client: Client| {
            let request = &request;
            scope.spawn(move || {
                let mut latencies = Vec::with_capacity(1 << 16);
                while began.elapsed() < length {
                    latencies.push(request(&mut client));
                }
                latencies
            })
        };
        let running: Vec<_> = clients.into_iter().map(run).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    Found { latencies, began, took: began.elapsed() }
}

#[allow(clippy::cast_precision_loss)] // a count of requests
pub fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// A connection of the load.
pub struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
    random: u64,
}

impl Client {
    pub fn connect(address: &str, number: usize) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, answer: Vec::with_capacity(4096), random: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1) }
    }

    /// Repeatable noise (xorshift).
    pub fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub fn get(&mut self, path: &str, status: u16) -> Duration {
        self.timed(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes(), status)
    }

    pub fn get_with_token(&mut self, path: &str, token: &str) -> Duration {
        let head = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.timed(head.as_bytes(), 200)
    }

    pub fn post(&mut self, path: &str, signature: &str, body: &[u8], status: u16) -> Duration {
        let length = body.len();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nStripe-Signature: {signature}\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.timed(&request, status)
    }

    /// From the first byte of the request to the last of its answer.
    fn timed(&mut self, request: &[u8], status: u16) -> Duration {
        let began = Instant::now();
        self.stream.write_all(request).unwrap();
        self.answer.clear();
        let mut piece = [0; 4096];
        while !is_whole(&self.answer) {
            let length = self.stream.read(&mut piece).unwrap();
            assert!(length > 0, "the connection ended: {}", String::from_utf8_lossy(&self.answer));
            self.answer.extend_from_slice(&piece[..length]);
        }
        let took = began.elapsed();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(self.answer.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&self.answer));
        took
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    answer.len() == head + 4 + length.trim().parse::<usize>().unwrap()
}
