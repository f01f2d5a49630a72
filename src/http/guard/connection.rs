//! One connection: reads complete requests one after the other, each within its deadline, has them answered, and
//! writes the answers in their order. What was sent early (pipelined) waits in the input.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown};
use std::time::{Duration, Instant};

use super::Door;
use super::budget::{FREE_BYTES, Lease, body_buffer};
use super::chunks::Chunks;
use super::client;
use super::head::{self, Head, Length, Refusal};
use super::input::{BUFFER_BYTES, Input};
use super::refusal;
use super::registry::{Place, Seat};
use super::stream::Wire;
use super::upstream::Answer;

/// After a refusal, what the client still sends is read for this long, so that it sees the answer and not a reset.
const LINGER: Duration = Duration::from_secs(1);
/// So long where the connection gives way to another that waits.
const FAREWELL: Duration = Duration::from_millis(20);
/// And at most so much, in bytes.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// Read at once while lingering.
const LINGER_READ_BYTES: usize = 4 * 1024;

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

/// Where a complete body is.
enum Body<'a> {
    /// It came with its head: the next so many bytes of the input.
    Here(usize),
    /// In memory of its own, with what was reserved for it.
    Apart(Vec<u8>, Option<Lease<'a>>),
}

pub(super) struct Connection<'a> {
    door: &'a Door,
    place: &'a Place,
    seat: &'a Seat,
    wire: Wire<'a>,
    peer: Option<IpAddr>,
    /// Who is named in the log: the peer, until a request of it names somebody else.
    client: Option<IpAddr>,
    input: Input,
}

impl<'a> Connection<'a> {
    pub(super) fn new(door: &'a Door, place: &'a Place, seat: &'a Seat, peer: Option<IpAddr>) -> Self {
        Self { door, place, seat, wire: Wire::new(&place.socket), peer, client: peer, input: Input::new() }
    }

    /// Answers request after request until the connection ends.
    pub(super) fn serve(mut self) {
        let mut wait = self.door.limits.request_timeout;
        let end = loop {
            match self.one(wait) {
                Ok(true) => wait = self.door.limits.idle_timeout,
                Ok(false) => break None,
                Err(end) => break Some(end),
            }
        };
        match end {
            Some(End::Refused(refusal)) => self.refuse(refusal),
            // What it sent beyond its last request must not turn into a reset that destroys the answer.
            None if !self.input.is_empty() => self.linger(),
            _ => {}
        }
        self.place.socket.shutdown(Shutdown::Both);
    }

    /// One request and its answer; whether another may follow.
    fn one(&mut self, wait: Duration) -> Result<bool, End> {
        self.await_first_byte(wait)?;
        if !self.place.arriving(self.seat) {
            return Err(self.sent_away().into());
        }
        let deadline = Instant::now() + self.door.limits.request_timeout;
        let head = self.head(deadline)?;
        self.client = client::address(self.peer, head.forwarded);
        let body = self.body(&head, deadline)?;
        if !self.place.answering() {
            return Err(self.sent_away().into());
        }
        let (answers_10, keep_alive) = (head.is_http_10, head.keep_alive);
        let answer = self.exchange(head, body)?;
        let keep = keep_alive && !self.door.stop.is_given();
        let bytes = framed(answer, keep, answers_10);
        self.place.taking(self.seat);
        self.wire.write_all_within(&bytes, self.door.limits.request_timeout).map_err(|_| End::Quiet)?;
        self.place.idle(self.seat);
        Ok(keep)
    }

    fn exchange(&mut self, head: Head, body: Body) -> Result<Answer, End> {
        let failed = |error: io::Error| {
            log::error!("{}: a request was not answered: {error}", self.door.name);
            refusal::NO_ANSWER
        };
        // What is reserved is kept until the answer is there: the handler has the body now.
        let (body, _lease) = match body {
            Body::Here(count) => {
                let bytes = self.input.bytes()[..count].to_vec();
                self.input.consume(count);
                (bytes, None)
            }
            Body::Apart(bytes, lease) => (bytes, lease),
        };
        let pending = self.door.pool.send(head.forward, body, self.client);
        Ok(pending.and_then(|pending| pending.answer(!head.is_head)).map_err(failed)?)
    }

    fn await_first_byte(&mut self, wait: Duration) -> Result<(), End> {
        if self.input.is_empty() && self.fill(wait).map_err(|_| End::Quiet)? == 0 {
            return Err(End::Quiet);
        }
        Ok(())
    }

    fn head(&mut self, deadline: Instant) -> Result<Head, End> {
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

    fn body(&mut self, head: &Head, deadline: Instant) -> Result<Body<'a>, End> {
        let come = self.input.bytes().len();
        match head.length {
            Length::Known(length) if length <= come => return Ok(Body::Here(length)),
            _ if head.expects_continue && come == 0 => {
                let wait = left(deadline)?;
                self.wire.write_all_within(b"HTTP/1.1 100 Continue\r\n\r\n", wait).map_err(|_| End::Quiet)?;
            }
            _ => {}
        }
        match head.length {
            Length::Known(length) => self.known(length, deadline),
            Length::Chunked => self.chunked(deadline),
        }
    }

    fn known(&mut self, length: usize, deadline: Instant) -> Result<Body<'a>, End> {
        // Declared first, dropped last: what was reserved is given back after the memory, not before.
        let mut lease = None;
        let mut body = vec![0; length.min(FREE_BYTES)];
        let mut come = 0;
        while come < length {
            if come == body.len() {
                lease = Some(self.reserve(length - FREE_BYTES, deadline)?);
                let mut large = body_buffer(length);
                large.extend_from_slice(&body);
                large.resize(length, 0);
                body = large;
            }
            come += if self.input.is_empty() {
                let count = self.wire.read_within(&mut body[come..], left(deadline)?);
                self.came(count)?
            } else {
                self.input.move_into(&mut body[come..])
            };
        }
        Ok(Body::Apart(body, lease))
    }

    fn chunked(&mut self, deadline: Instant) -> Result<Body<'a>, End> {
        let limit = self.door.limits.rules.body_bytes;
        // As above.
        let mut lease = None;
        let mut chunks = Chunks::new(limit);
        loop {
            let taken = chunks.take(self.input.bytes())?;
            self.input.consume(taken);
            if chunks.is_done() {
                return Ok(Body::Apart(chunks.into_body(), lease));
            }
            if lease.is_none() && chunks.body_len() > FREE_BYTES - BUFFER_BYTES {
                lease = Some(self.reserve(limit.saturating_sub(FREE_BYTES), deadline)?);
                chunks.move_into(body_buffer(limit));
            }
            self.more(deadline)?;
        }
    }

    fn reserve(&self, bytes: usize, deadline: Instant) -> Result<Lease<'a>, End> {
        let lease = self.door.budget.reserve(bytes, deadline, || self.place.is_leaving());
        lease.ok_or_else(|| if self.place.is_leaving() { self.sent_away() } else { refusal::NO_MEMORY }.into())
    }

    /// Reads on within a request.
    fn more(&mut self, deadline: Instant) -> Result<usize, End> {
        let count = self.fill(left(deadline)?);
        self.came(count)
    }

    /// Within a request, an end or a silence is a fault.
    fn came(&self, count: io::Result<usize>) -> Result<usize, End> {
        match count {
            Ok(0) if self.place.is_leaving() => Err(self.sent_away().into()),
            Ok(0) => Err(refusal::CUT_SHORT.into()),
            Ok(count) => Ok(count),
            Err(error) if is_timeout(&error) => Err(refusal::TOO_SLOW.into()),
            Err(_) => Err(End::Quiet),
        }
    }

    fn fill(&mut self, wait: Duration) -> io::Result<usize> {
        let count = self.wire.read_within(self.input.room(), wait)?;
        self.input.came(count);
        Ok(count)
    }

    /// Why a place was taken away.
    fn sent_away(&self) -> Refusal {
        if self.door.stop.is_given() { refusal::STOPPING } else { refusal::FULL }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let client = self.client.map_or_else(|| "local".to_owned(), |client| client.to_string());
        let (name, status, code) = (self.door.name, refusal.status, refusal.code);
        if self.door.refused.admit(code, Instant::now()) {
            log::info!("{name}: refused client={client} status={status} code={code}: {}", refusal.message);
        }
        // Others wait for the place of one that was told to go.
        let wait = if self.place.is_leaving() { FAREWELL } else { self.door.limits.request_timeout };
        let told = self.wire.write_all_within(&refusal::bytes(refusal), wait);
        if told.is_ok() {
            self.linger();
        }
    }

    /// Reads on for a moment, so that closing does not destroy the answer on its way. It may give way meanwhile.
    fn linger(&mut self) {
        self.place.idle(self.seat);
        self.place.socket.shutdown(Shutdown::Write);
        let deadline = Instant::now() + if self.place.is_leaving() { FAREWELL } else { LINGER };
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

fn left(deadline: Instant) -> Result<Duration, End> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(refusal::TOO_SLOW.into()) } else { Ok(left) }
}

/// The answer with a word on what becomes of the connection, where that does not go without saying.
fn framed(answer: Answer, keep_alive: bool, is_http_10: bool) -> Vec<u8> {
    let word: &[u8] = match (keep_alive, is_http_10) {
        (false, _) => b"Connection: close\r\n",
        (true, true) => b"Connection: keep-alive\r\n",
        (true, false) => return answer.bytes,
    };
    let mut bytes = answer.bytes;
    // In place of the empty line's CR LF: one more header, then the empty line.
    let end = answer.head.saturating_sub(2);
    bytes.splice(end..end, word.iter().copied());
    bytes
}
