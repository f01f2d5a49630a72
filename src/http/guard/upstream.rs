//! The fixed pool of connections to tiny_http. tiny_http counts a thread as idle that has already been given a task, so
//! a new connection can wait behind a busy one until that closes. Hence a fixed number of connections, opened one after
//! the other, each confirmed by an answer before the next, and kept for ever.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::head::{Head, MAX_HEADERS};

/// How long a handler may take; calls to Stripe are the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest head of an answer, in bytes; our own handlers write it.
const MAX_ANSWER_HEAD: usize = 64 * 1024;
/// Header by which the guard tells who asks; one that a client sends is dropped.
pub const PEER_HEADER: &str = "X-Tilld-Peer";

/// An answer as it came: head and body.
pub(super) struct Answer {
    /// Length of the head with its empty line.
    pub(super) head: usize,
    pub(super) bytes: Vec<u8>,
}

/// A request that may go through.
pub(super) struct Passed<'a> {
    pub(super) head: &'a Head,
    pub(super) body: &'a [u8],
    pub(super) peer: Option<std::net::IpAddr>,
}

/// Connections to tiny_http, none of them ever in use twice.
pub struct Pool {
    path: PathBuf,
    idle: (Sender<Option<UnixStream>>, Receiver<Option<UnixStream>>),
}

impl Pool {
    /// Opens `size` connections to the socket at `path`, each confirmed before the next.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn open(path: &Path, size: usize) -> io::Result<Self> {
        let idle = bounded(size);
        for _ in 0..size {
            // The channel has room for as many as are made here.
            let _ = idle.0.send(Some(connect(path)?));
        }
        Ok(Self { path: path.to_owned(), idle })
    }

    /// Lets tiny_http answer a request.
    pub(super) fn exchange(&self, request: &Passed) -> io::Result<Answer> {
        let borrowed = self.idle.1.recv_timeout(ANSWER_TIMEOUT).map_err(|_| io::Error::from(ErrorKind::TimedOut))?;
        let mut lease = Lease { stream: borrowed, home: &self.idle.0 };
        let mut stream = match lease.stream.take() {
            Some(stream) => stream,
            None => connect(&self.path)?,
        };
        let answer = converse(&mut stream, request)?;
        // Only a connection that gave a whole answer is used again; a broken one leaves an empty place.
        lease.stream = Some(stream);
        Ok(answer)
    }
}

/// Gives the place in the pool back, with the connection if it is whole.
struct Lease<'a> {
    stream: Option<UnixStream>,
    home: &'a Sender<Option<UnixStream>>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // Room is certain: it was taken out of this channel.
        let _ = self.home.try_send(self.stream.take());
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: tilld\r\n\r\n")?;
    receive(&mut stream, true)?;
    Ok(stream)
}

fn converse(stream: &mut UnixStream, request: &Passed) -> io::Result<Answer> {
    stream.write_all(&written(request))?;
    receive(stream, request.head.method != "HEAD")
}

/// A request as tiny_http gets it: one length, none of what concerned the client's connection. Pure.
pub(super) fn written(request: &Passed) -> Vec<u8> {
    let head = request.head;
    let mut bytes = Vec::with_capacity(head.bytes + request.body.len() + 64);
    bytes.extend(format!("{} {} HTTP/1.1\r\n", head.method, head.target).into_bytes());
    for (name, value) in head.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(PEER_HEADER)) {
        bytes.extend(name.as_bytes());
        bytes.extend(b": ");
        bytes.extend(value);
        bytes.extend(b"\r\n");
    }
    if !head.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        bytes.extend(b"Host: tilld\r\n");
    }
    if let Some(peer) = request.peer {
        bytes.extend(format!("{PEER_HEADER}: {peer}\r\n").into_bytes());
    }
    bytes.extend(format!("Content-Length: {}\r\n\r\n", request.body.len()).into_bytes());
    bytes.extend(request.body);
    bytes
}

fn receive(stream: &mut UnixStream, has_body: bool) -> io::Result<Answer> {
    let broken = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::with_capacity(1024);
    let mut buffer = [0; 8192];
    loop {
        if let Some((head, body)) = measure(&bytes)? {
            let whole = if has_body { head + body } else { head };
            if bytes.len() == whole {
                return Ok(Answer { head, bytes });
            }
            if bytes.len() > whole {
                return Err(broken("more than one answer"));
            }
        } else if bytes.len() > MAX_ANSWER_HEAD {
            return Err(broken("the head of the answer is too long"));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Lengths of head and body of an answer; `None` while the head is not complete.
fn measure(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let invalid = || io::Error::new(ErrorKind::InvalidData, "the answer is malformed");
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).map_err(|_| invalid())? else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some((head, length.ok_or_else(invalid)?)))
}
