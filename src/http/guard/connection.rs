//! One connection: reads complete requests one after the other, each within its deadline, has them answered, and
//! writes the answers in their order. What was sent early (pipelined) waits in the buffer.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::Door;
use super::chunks::Chunks;
use super::head::{self, Head, Length, Refusal};
use super::registry::Ticket;
use super::stream::Stream;
use super::upstream::{Answer, Passed};
use crate::http::response::{ApiError, Response};

/// How long a connection may wait between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Read at once.
const BUFFER_BYTES: usize = 16 * 1024;
/// After a refusal, what the client still sends is read for this long, so that it sees the answer and not a reset.
const LINGER: Duration = Duration::from_secs(1);
/// And at most so much, in bytes.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

const TOO_SLOW: Refusal =
    Refusal { status: 408, code: "request_timeout", message: "the request did not come completely in time" };
const CUT_SHORT: Refusal =
    Refusal { status: 400, code: "body_truncated", message: "the connection ended before the request did" };
const FULL: Refusal =
    Refusal { status: 503, code: "too_many_connections", message: "all connections are in use; try again" };
const NO_ANSWER: Refusal =
    Refusal { status: 503, code: "no_answer", message: "the request was not answered in time; try again" };

/// Why a connection ends.
enum End {
    /// The client went away, or waited too long between two requests.
    Quiet,
    /// The client is told why.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

pub(super) struct Connection<'a> {
    stream: Stream,
    door: &'a Door,
    ticket: Ticket,
    /// Bytes that have come and belong to no request yet.
    early: Vec<u8>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(stream: Stream, door: &'a Door, ticket: Ticket) -> Self {
        Self { stream, door, ticket, early: Vec::new() }
    }

    /// Answers request after request until the connection ends.
    pub(super) fn serve(mut self) {
        let mut wait = self.door.limits.request_timeout;
        loop {
            match self.one(wait) {
                Ok(true) => wait = IDLE_TIMEOUT,
                Ok(false) | Err(End::Quiet) => break,
                Err(End::Refused(refusal)) => {
                    log::debug!("{}: refused status={} {}", self.door.name, refusal.status, refusal.message);
                    refuse(&mut self.stream, refusal, self.door.limits.request_timeout);
                    break;
                }
            }
        }
        self.stream.shutdown(Shutdown::Both);
    }

    /// One request and its answer; whether another may follow.
    fn one(&mut self, wait: Duration) -> Result<bool, End> {
        self.await_first_byte(wait)?;
        self.door.registry.busy(self.ticket);
        let deadline = Instant::now() + self.door.limits.request_timeout;
        let head = self.head(deadline)?;
        let body = self.body(&head, deadline)?;
        let peer = self.stream.peer();
        let passed = Passed { head: &head, body: &body, peer };
        let answer = self.door.pool.exchange(&passed).map_err(|error| {
            log::error!("{}: no answer to {} : {error}", self.door.name, head.method);
            NO_ANSWER
        })?;
        let keep = head.keep_alive && !self.door.stop.is_given();
        let deadline = Instant::now() + self.door.limits.request_timeout;
        write_all(&mut self.stream, &framed(answer, keep), deadline).map_err(|_| End::Quiet)?;
        self.door.registry.idle(self.ticket);
        Ok(keep)
    }

    fn await_first_byte(&mut self, wait: Duration) -> Result<(), End> {
        if self.early.is_empty() && self.fill(Instant::now() + wait).map_err(|_| End::Quiet)? == 0 {
            return Err(End::Quiet);
        }
        Ok(())
    }

    fn head(&mut self, deadline: Instant) -> Result<Head, End> {
        loop {
            if let Some(head) = head::parse(&self.early, self.door.limits.rules)? {
                self.early.drain(..head.bytes);
                return Ok(head);
            }
            self.more(deadline)?;
        }
    }

    fn body(&mut self, head: &Head, deadline: Instant) -> Result<Vec<u8>, End> {
        if head.expects_continue && self.early.is_empty() {
            write_all(&mut self.stream, b"HTTP/1.1 100 Continue\r\n\r\n", deadline).map_err(|_| End::Quiet)?;
        }
        match head.length {
            Length::Known(length) => {
                while self.early.len() < length {
                    self.more(deadline)?;
                }
                Ok(self.early.drain(..length).collect())
            }
            Length::Chunked => self.chunked(deadline),
        }
    }

    fn chunked(&mut self, deadline: Instant) -> Result<Vec<u8>, End> {
        let mut chunks = Chunks::new(self.door.limits.rules.body_bytes);
        loop {
            let taken = chunks.take(&self.early)?;
            self.early.drain(..taken);
            if chunks.is_done() {
                return Ok(chunks.into_body());
            }
            self.more(deadline)?;
        }
    }

    /// Reads on within a request, where an end or a silence is a fault.
    fn more(&mut self, deadline: Instant) -> Result<(), End> {
        match self.fill(deadline) {
            Ok(0) => Err(CUT_SHORT.into()),
            Ok(_) => Ok(()),
            Err(error) if is_timeout(&error) => Err(TOO_SLOW.into()),
            Err(_) => Err(End::Quiet),
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            match self.stream.read_within(&mut buffer, left) {
                Ok(count) => {
                    self.early.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The answer with a word on what becomes of the connection.
fn framed(answer: Answer, keep_alive: bool) -> Vec<u8> {
    let mut bytes = answer.bytes;
    if !keep_alive {
        // In place of the empty line's CR LF: one more header, then the empty line.
        let end = answer.head.saturating_sub(2);
        bytes.splice(end..end, b"Connection: close\r\n".iter().copied());
    }
    bytes
}

fn write_all(stream: &mut Stream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match stream.write_within(bytes, left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tells the client why, and reads on for a moment so that closing does not destroy the answer on its way.
fn refuse(stream: &mut Stream, refusal: Refusal, timeout: Duration) {
    let Ok(()) = write_all(stream, &refusal_bytes(refusal), Instant::now() + timeout) else { return };
    stream.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    let mut buffer = [0; BUFFER_BYTES];
    let mut read = 0;
    while read < LINGER_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        match stream.read_within(&mut buffer, left) {
            Ok(count) if count > 0 && !left.is_zero() => read += count,
            _ => return,
        }
    }
}

/// Tells a connection for which there is no place, without waiting for it.
pub(super) fn turn_away(mut stream: Stream) {
    let now = Instant::now();
    // It is told if its socket takes it at once; nothing waits for it.
    let _ = write_all(&mut stream, &refusal_bytes(FULL), now + Duration::from_millis(10));
}

fn refusal_bytes(refusal: Refusal) -> Vec<u8> {
    let mut response: Response = ApiError::new(refusal.status, refusal.code, refusal.message).into();
    match refusal.status {
        503 => response.headers.push(("Retry-After", "1".to_owned())),
        405 => response.headers.push(("Allow", "GET, HEAD, POST, PUT, DELETE".to_owned())),
        _ => {}
    }
    let mut text = format!("HTTP/1.1 {} {}\r\nConnection: close\r\n", refusal.status, reason(refusal.status));
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n", response.body.len()));
    let mut bytes = text.into_bytes();
    bytes.extend(response.body);
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    }
}
