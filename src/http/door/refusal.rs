//! The door's own refusals, in the shape of every other error, and the refusal of connections for which there is no
//! room. Such a connection has no thread, and is kept open for a moment: closing it at once, with its request unread,
//! would turn the answer into a reset. It must never wait for a client. Called by `connection` and `door`.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::head::RequestRefusal;
use super::registry::Slot;
use crate::http::error_code::ErrorCode;
use crate::http::response::{ErrorResponse, Response};

pub(super) const TOO_SLOW: RequestRefusal =
    RequestRefusal { code: ErrorCode::RequestTimeout, message: "the request did not arrive completely in time" };
pub(super) const CUT_SHORT: RequestRefusal =
    RequestRefusal { code: ErrorCode::BodyTruncated, message: "the connection ended before the request did" };
pub(super) const FULL: RequestRefusal =
    RequestRefusal { code: ErrorCode::TooManyConnections, message: "all connections are in use; try again" };
pub(super) const NO_MEMORY: RequestRefusal =
    RequestRefusal { code: ErrorCode::TooManyBodies, message: "too many large bodies are arriving at once; try again" };
pub(super) const NO_ANSWER: RequestRefusal =
    RequestRefusal { code: ErrorCode::NoAnswer, message: "the request was not answered in time; try again" };
pub(super) const STOPPING: RequestRefusal =
    RequestRefusal { code: ErrorCode::Stopping, message: "tilld is being stopped; try again" };

/// A whole answer, after which the connection is closed.
pub(super) fn bytes(refusal: RequestRefusal) -> Vec<u8> {
    let mut response: Response = ErrorResponse::new(refusal.code, refusal.message).into();
    match refusal.status() {
        503 => response.headers.push(("Retry-After", "1".to_owned())),
        405 => response.headers.push(("Allow", "GET, HEAD, POST, PUT, DELETE".to_owned())),
        _ => {}
    }
    let mut text = format!("HTTP/1.1 {} {}\r\nConnection: close\r\n", refusal.status(), reason(refusal.status()));
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
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    }
}

/// How many are kept open at once; one more closes the oldest.
const KEPT: usize = 64;
/// And for how long.
const KEPT_FOR: Duration = Duration::from_millis(500);
/// The bytes that are read from each before it is closed.
const READ_BYTES: usize = 16 * 1024;

/// Connections that have been refused, and are still open.
#[derive(Default)]
pub(super) struct TurnedAway(VecDeque<(Instant, Arc<Slot>)>);

impl TurnedAway {
    /// Answers that all connections are in use.
    pub(super) fn refuse(&mut self, slot: Arc<Slot>) {
        // The client of a socket that cannot take so little at once would not read it either.
        let written = slot.socket.set_nonblocking().and_then(|()| slot.socket.write(&bytes(FULL)));
        if written.is_err() {
            return;
        }
        slot.socket.shutdown(Shutdown::Write);
        if self.0.len() == KEPT {
            self.close_oldest();
        }
        self.0.push_back((Instant::now(), slot));
    }

    /// Closes those that have been open long enough.
    pub(super) fn close_old(&mut self) {
        while self.0.front().is_some_and(|(since, _)| since.elapsed() >= KEPT_FOR) {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        let Some((_, slot)) = self.0.pop_front() else { return };
        // Unread bytes would turn the close into a reset.
        let _ = slot.socket.read(&mut [0; READ_BYTES]);
    }
}
