//! The fixed pool of connections to tiny_http; ground for every request. tiny_http counts a thread as idle that has been given a
//! task already, so a new connection can wait behind a busy one until that closes. Hence a fixed number of connections, opened
//! one after the other, each confirmed by an answer before the next, and kept for ever. One connection must never carry two
//! requests at once. Opened by `server`, used by `connection`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::bodies::{BODY_HEADER, Bodies};
use super::head::{MAX_HEADERS, PEER_HEADER};

/// How long a handler may take; calls to Stripe are the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The first size of the buffer for an answer, in bytes; most answers are far smaller.
const ANSWER_BYTES: usize = 1024;
/// The longest head of an answer, in bytes; our own handlers write it.
const MAX_ANSWER_HEAD: usize = 64 * 1024;

/// An answer as tiny_http sent it: head and body.
pub(super) struct UpstreamAnswer {
    /// The length of the head with its empty line.
    pub(super) head: usize,
    pub(super) bytes: Vec<u8>,
}

/// Connections to tiny_http, each used by one request at a time.
pub struct Pool {
    path: PathBuf,
    idle: (Sender<UpstreamLine>, Receiver<UpstreamLine>),
    bodies: Arc<Bodies>,
    /// Held while a broken connection is replaced: one after the other, as at start.
    replacing: Mutex<()>,
}

/// One of the connections.
struct UpstreamLine {
    /// Its number among the bodies.
    number: usize,
    /// `None`: it broke, and is replaced when it is next used.
    stream: Option<UnixStream>,
}

impl Pool {
    /// Opens as many connections to the socket at `path` as `bodies` are for, each confirmed before the next.
    ///
    /// # Errors
    /// When a connection is not answered.
    pub fn open(path: &Path, bodies: Arc<Bodies>) -> io::Result<Self> {
        let idle = bounded(bodies.connections());
        for number in 0..bodies.connections() {
            // The channel has room for all that are opened here.
            let _ = idle.0.send(UpstreamLine { number, stream: Some(connect(path)?) });
        }
        Ok(Self { path: path.to_owned(), idle, bodies, replacing: Mutex::new(()) })
    }

    /// Passes a request on: what is forwarded of its head, its body, and its client.
    pub(super) fn send(&self, head: Vec<u8>, body: Vec<u8>, client: Option<IpAddr>) -> io::Result<PendingRequest<'_>> {
        let mut line = self.idle.1.recv_timeout(ANSWER_TIMEOUT).map_err(|_| io::Error::from(ErrorKind::TimedOut))?;
        let (number, taken) = (line.number, line.stream.take());
        let borrowed = PooledConnection { line: Some(line), home: &self.idle.0 };
        let mut stream = match taken {
            Some(stream) => stream,
            None => self.replace()?,
        };
        let ticket = (!body.is_empty()).then(|| self.bodies.put(number, body));
        stream.write_all(&complete_head(head, ticket.as_deref(), client)?)?;
        Ok(PendingRequest { stream, borrowed })
    }

    fn replace(&self) -> io::Result<UnixStream> {
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        connect(&self.path)
    }
}

/// A request that has been passed on.
pub(super) struct PendingRequest<'a> {
    stream: UnixStream,
    borrowed: PooledConnection<'a>,
}

impl PendingRequest<'_> {
    /// Waits for the answer.
    pub(super) fn answer(mut self, has_body: bool) -> io::Result<UpstreamAnswer> {
        let answer = receive(&mut self.stream, has_body)?;
        // Only a connection that gave a whole answer is used again; a broken one leaves a gap.
        if let Some(line) = &mut self.borrowed.line {
            line.stream = Some(self.stream);
        }
        Ok(answer)
    }
}

/// Returns the connection to the pool when it is dropped; a broken one as a gap.
struct PooledConnection<'a> {
    line: Option<UpstreamLine>,
    home: &'a Sender<UpstreamLine>,
}

impl Drop for PooledConnection<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            // There is room: it was taken out of this channel.
            let _ = self.home.try_send(line);
        }
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

/// The head with the headers that the door adds. No body follows it.
pub(super) fn complete_head(mut head: Vec<u8>, ticket: Option<&str>, client: Option<IpAddr>) -> io::Result<Vec<u8>> {
    if let Some(client) = client {
        write!(head, "{PEER_HEADER}: {client}\r\n")?;
    }
    if let Some(ticket) = ticket {
        write!(head, "{BODY_HEADER}: {ticket}\r\n")?;
    }
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

fn receive(stream: &mut UnixStream, has_body: bool) -> io::Result<UpstreamAnswer> {
    let broken = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut bytes = vec![0; ANSWER_BYTES];
    let mut arrived = 0;
    let mut whole = None;
    loop {
        if whole.is_none() {
            whole = measure(&bytes[..arrived])?.map(|(head, body)| (head, if has_body { head + body } else { head }));
        }
        match whole {
            Some((head, whole)) if arrived == whole => {
                bytes.truncate(whole);
                return Ok(UpstreamAnswer { head, bytes });
            }
            Some((_, whole)) if arrived > whole => return Err(broken("more than one answer")),
            // One byte of room more: anything in it would belong to a second answer.
            Some((_, whole)) => bytes.resize(whole + 1, 0),
            None if arrived >= MAX_ANSWER_HEAD => return Err(broken("the head of the answer is too long")),
            None if arrived == bytes.len() => bytes.resize(arrived * 2, 0),
            None => {}
        }
        match stream.read(&mut bytes[arrived..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => arrived += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The lengths of head and body of an answer; `None` while the head is not complete.
fn measure(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let invalid = || io::Error::new(ErrorKind::InvalidData, "the answer is malformed");
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).map_err(|_| invalid())? else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some((head, length.ok_or_else(invalid)?)))
}
