//! One connection; ground for every request: reads complete requests one after the other, each within its deadline, has
//! them answered, and writes the answers in their order. Requests that were sent early (pipelined) wait in its input
//! buffer, which is allocated once, not zeroed again, and shrinks after a long head. It must never pass on a request
//! that is not complete. Called by `door` for each connection, on its thread.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown};
use std::time::{Duration, Instant};

use super::DoorParts;
use super::bodies::{FREE_BYTES, ReservedBytes, body_buffer};
use super::chunks::Chunks;
use super::head::{self, Head, Length, RequestRefusal};
use super::refusal;
use super::registry::{Seat, Slot};
use super::stream::ClientWire;
use super::upstream::UpstreamAnswer;

/// After a refusal, how long what the client still sends is read, so that it gets the answer and not a reset.
const LINGER: Duration = Duration::from_secs(1);
/// The same if the connection is closed to make room for another.
const WHEN_LEAVING: Duration = Duration::from_millis(20);
/// And the most bytes that are read.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// The bytes that are read at once while lingering.
const LINGER_READ_BYTES: usize = 4 * 1024;
/// The usual size of the input buffer, in bytes: enough for head and body of an ordinary webhook in one read.
const BUFFER_BYTES: usize = 8 * 1024;

/// Why a connection ends.
enum ConnectionEnd {
    /// The client has disconnected, or waited too long between two requests.
    Quiet,
    /// The client gets a refusal.
    Refused(RequestRefusal),
}

impl From<RequestRefusal> for ConnectionEnd {
    fn from(refusal: RequestRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Where a complete body is.
enum RequestBody<'a> {
    /// It arrived with its head: the next bytes of the input, that many.
    InInput(usize),
    /// It is in memory of its own, with its reservation.
    InMemory(Vec<u8>, Option<ReservedBytes<'a>>),
}

pub(super) struct Connection<'a> {
    door: &'a DoorParts,
    slot: &'a Slot,
    seat: &'a Seat,
    wire: ClientWire<'a>,
    peer: Option<IpAddr>,
    /// The client, for the log: the peer, until a request names another address.
    client: Option<IpAddr>,
    input: Input,
}

impl<'a> Connection<'a> {
    pub(super) fn new(door: &'a DoorParts, slot: &'a Slot, seat: &'a Seat, peer: Option<IpAddr>) -> Self {
        Self { door, slot, seat, wire: ClientWire::new(&slot.socket), peer, client: peer, input: Input::new() }
    }

    /// Answers request after request until the connection ends.
    pub(super) fn serve(mut self) {
        let mut wait = self.door.limits.request_timeout;
        let end = loop {
            match self.serve_one(wait) {
                Ok(true) => wait = self.door.limits.idle_timeout,
                Ok(false) => break None,
                Err(end) => break Some(end),
            }
        };
        match end {
            Some(ConnectionEnd::Refused(refusal)) => self.refuse(refusal),
            // Unread bytes after the last request must not cause a reset that destroys the answer.
            None if !self.input.is_empty() => self.linger(),
            _ => {}
        }
        self.slot.socket.shutdown(Shutdown::Both);
    }

    /// Reads and answers one request. Returns whether another may follow.
    fn serve_one(&mut self, wait: Duration) -> Result<bool, ConnectionEnd> {
        self.await_first_byte(wait)?;
        if !self.slot.arriving(self.seat) {
            return Err(self.dismissal().into());
        }
        let deadline = Instant::now() + self.door.limits.request_timeout;
        let head = self.head(deadline)?;
        self.client = head::client(self.peer, head.forwarded);
        let body = self.body(&head, deadline)?;
        if !self.slot.answering() {
            return Err(self.dismissal().into());
        }
        let (answers_10, keep_alive) = (head.is_http_10, head.keep_alive);
        let answer = self.exchange(head, body)?;
        let keep = keep_alive && !self.door.stop.is_given();
        let bytes = framed(answer, keep, answers_10);
        self.slot.receiving(self.seat);
        self.wire.write_all_within(&bytes, self.door.limits.request_timeout).map_err(|_| ConnectionEnd::Quiet)?;
        self.slot.idle(self.seat);
        Ok(keep)
    }

    fn exchange(&mut self, head: Head, body: RequestBody) -> Result<UpstreamAnswer, ConnectionEnd> {
        let failed = |error: io::Error| {
            log::error!("{}: a request was not answered: {error}", self.door.name);
            refusal::NO_ANSWER
        };
        // The reservation is kept until the answer is there, since the handler has the body.
        let (body, _reserved) = match body {
            RequestBody::InInput(count) => {
                let bytes = self.input.bytes()[..count].to_vec();
                self.input.consume(count);
                (bytes, None)
            }
            RequestBody::InMemory(bytes, reserved) => (bytes, reserved),
        };
        let pending = self.door.pool.send(head.forward, body, self.client);
        Ok(pending.and_then(|pending| pending.answer(!head.is_head)).map_err(failed)?)
    }

    fn await_first_byte(&mut self, wait: Duration) -> Result<(), ConnectionEnd> {
        if self.input.is_empty() && self.fill(wait).map_err(|_| ConnectionEnd::Quiet)? == 0 {
            return Err(ConnectionEnd::Quiet);
        }
        Ok(())
    }

    fn head(&mut self, deadline: Instant) -> Result<Head, ConnectionEnd> {
        let mut seen = 0;
        loop {
            if let Some(head) = head::parse(self.input.bytes(), seen, self.door.limits.rules)? {
                self.input.consume(head.bytes);
                return Ok(head);
            }
            seen = self.input.bytes().len();
            self.more(deadline)?;
        }
    }

    fn body(&mut self, head: &Head, deadline: Instant) -> Result<RequestBody<'a>, ConnectionEnd> {
        let arrived = self.input.bytes().len();
        match head.length {
            Length::Known(length) if length <= arrived => return Ok(RequestBody::InInput(length)),
            _ if head.expects_continue && arrived == 0 => {
                let wait = left(deadline)?;
                self.wire.write_all_within(b"HTTP/1.1 100 Continue\r\n\r\n", wait).map_err(|_| ConnectionEnd::Quiet)?;
            }
            _ => {}
        }
        match head.length {
            Length::Known(length) => self.known(length, deadline),
            Length::Chunked => self.chunked(deadline),
        }
    }

    fn known(&mut self, length: usize, deadline: Instant) -> Result<RequestBody<'a>, ConnectionEnd> {
        // Declared first and so dropped last: the reservation is given back after the memory, not before.
        let mut reserved = None;
        let mut body = vec![0; length.min(FREE_BYTES)];
        let mut arrived = 0;
        while arrived < length {
            if arrived == body.len() {
                reserved = Some(self.reserve(length - FREE_BYTES, deadline)?);
                let mut large = body_buffer(length);
                large.extend_from_slice(&body);
                large.resize(length, 0);
                body = large;
            }
            arrived += if self.input.is_empty() {
                let count = self.wire.read_within(&mut body[arrived..], left(deadline)?);
                self.check_read(count)?
            } else {
                self.input.move_into(&mut body[arrived..])
            };
        }
        Ok(RequestBody::InMemory(body, reserved))
    }

    fn chunked(&mut self, deadline: Instant) -> Result<RequestBody<'a>, ConnectionEnd> {
        let limit = self.door.limits.rules.body_bytes;
        // Dropped last, as in `known`.
        let mut reserved = None;
        let mut chunks = Chunks::new(limit);
        loop {
            let taken = chunks.take(self.input.bytes())?;
            self.input.consume(taken);
            if chunks.is_done() {
                return Ok(RequestBody::InMemory(chunks.into_body(), reserved));
            }
            if reserved.is_none() && chunks.body_len() > FREE_BYTES - BUFFER_BYTES {
                reserved = Some(self.reserve(limit.saturating_sub(FREE_BYTES), deadline)?);
                chunks.move_into(body_buffer(limit));
            }
            self.more(deadline)?;
        }
    }

    fn reserve(&self, bytes: usize, deadline: Instant) -> Result<ReservedBytes<'a>, ConnectionEnd> {
        let reserved = self.door.budget.reserve(bytes, deadline, || self.slot.is_leaving());
        reserved.ok_or_else(|| if self.slot.is_leaving() { self.dismissal() } else { refusal::NO_MEMORY }.into())
    }

    /// Reads more of a request.
    fn more(&mut self, deadline: Instant) -> Result<usize, ConnectionEnd> {
        let count = self.fill(left(deadline)?);
        self.check_read(count)
    }

    /// Within a request, the end of the connection and a timeout are errors.
    fn check_read(&self, count: io::Result<usize>) -> Result<usize, ConnectionEnd> {
        match count {
            Ok(0) if self.slot.is_leaving() => Err(self.dismissal().into()),
            Ok(0) => Err(refusal::CUT_SHORT.into()),
            Ok(count) => Ok(count),
            Err(error) if is_timeout(&error) => Err(refusal::TOO_SLOW.into()),
            Err(_) => Err(ConnectionEnd::Quiet),
        }
    }

    fn fill(&mut self, wait: Duration) -> io::Result<usize> {
        let count = self.wire.read_within(self.input.room(), wait)?;
        self.input.add(count);
        Ok(count)
    }

    /// Why it was dismissed.
    fn dismissal(&self) -> RequestRefusal {
        if self.door.stop.is_given() { refusal::STOPPING } else { refusal::FULL }
    }

    fn refuse(&mut self, refusal: RequestRefusal) {
        let client = self.client.map_or_else(|| "local".to_owned(), |client| client.to_string());
        let (name, status, code) = (self.door.name, refusal.status(), refusal.code);
        if self.door.refused.admit(code.as_str(), Instant::now()) {
            log::info!(client, status, code = code.as_str(), why = refusal.message; "{name}: refused");
        }
        // Another connection waits for the slot of one that was dismissed.
        let wait = if self.slot.is_leaving() { WHEN_LEAVING } else { self.door.limits.request_timeout };
        let written = self.wire.write_all_within(&refusal::bytes(refusal), wait);
        if written.is_ok() {
            self.linger();
        }
    }

    /// Reads on for a moment, so that closing does not destroy the answer on its way. It may be dismissed meanwhile.
    fn linger(&mut self) {
        self.slot.idle(self.seat);
        self.slot.socket.shutdown(Shutdown::Write);
        let deadline = Instant::now() + if self.slot.is_leaving() { WHEN_LEAVING } else { LINGER };
        let mut buffer = [0; LINGER_READ_BYTES];
        let mut read = 0;
        while read < LINGER_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.wire.read_within(&mut buffer, left) {
                Ok(count) if count > 0 && !left.is_zero() => read += count,
                _ => return,
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn left(deadline: Instant) -> Result<Duration, ConnectionEnd> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(refusal::TOO_SLOW.into()) } else { Ok(left) }
}

/// The answer, with a `Connection` header where the default does not apply.
fn framed(answer: UpstreamAnswer, keep_alive: bool, is_http_10: bool) -> Vec<u8> {
    let header: &[u8] = match (keep_alive, is_http_10) {
        (false, _) => b"Connection: close\r\n",
        (true, true) => b"Connection: keep-alive\r\n",
        (true, false) => return answer.bytes,
    };
    let mut bytes = answer.bytes;
    // The header goes before the empty line.
    let end = answer.head.saturating_sub(2);
    bytes.splice(end..end, header.iter().copied());
    bytes
}

/// What the client has sent and no request has consumed yet.
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for more, at least one byte. A caller that never consumes must limit the length itself.
    fn room(&mut self) -> &mut [u8] {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let double = self.buffer.len() * 2;
            self.buffer.resize(double, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Adds that many bytes, which were written into the room.
    fn add(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }

    /// Removes the first `count` bytes, which belong to a request.
    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > BUFFER_BYTES {
                self.buffer = vec![0; BUFFER_BYTES];
            }
        }
    }

    /// Moves what fits into `target`. Returns how many bytes that was.
    fn move_into(&mut self, target: &mut [u8]) -> usize {
        let count = target.len().min(self.bytes().len());
        target[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(input: &mut Input, bytes: &[u8]) {
        input.room()[..bytes.len()].copy_from_slice(bytes);
        input.add(bytes.len());
    }

    #[test]
    fn what_arrives_is_kept_in_order_until_it_is_consumed() {
        let mut input = Input::new();
        put(&mut input, b"abc");
        input.consume(1);
        put(&mut input, b"de");
        assert_eq!(input.bytes(), b"bcde");
        let mut target = [0; 3];
        assert_eq!(input.move_into(&mut target), 3);
        assert_eq!((&target, input.bytes()), (b"bcd", &b"e"[..]));
    }

    #[test]
    fn it_grows_for_one_long_head_and_gives_the_memory_back() {
        let mut input = Input::new();
        for _ in 0..3 {
            let room = input.room().len();
            input.add(room);
        }
        assert!(input.bytes().len() > BUFFER_BYTES);
        input.consume(usize::MAX / 2);
        assert!(input.is_empty() && input.buffer.len() == BUFFER_BYTES);
    }
}
