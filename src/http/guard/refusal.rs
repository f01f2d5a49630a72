//! What the guard itself says to a client: its refusals, in the shape of every other error. Called by `connection` and
//! `farewell`.

use super::head::Refusal;
use crate::http::response::{ApiError, Response};

pub(super) const TOO_SLOW: Refusal =
    Refusal { status: 408, code: "request_timeout", message: "the request did not come completely in time" };
pub(super) const CUT_SHORT: Refusal =
    Refusal { status: 400, code: "body_truncated", message: "the connection ended before the request did" };
pub(super) const FULL: Refusal =
    Refusal { status: 503, code: "too_many_connections", message: "all connections are in use; try again" };
pub(super) const NO_MEMORY: Refusal =
    Refusal { status: 503, code: "too_many_bodies", message: "too many large bodies are coming at once; try again" };
pub(super) const NO_ANSWER: Refusal =
    Refusal { status: 503, code: "no_answer", message: "the request was not answered in time; try again" };
pub(super) const STOPPING: Refusal =
    Refusal { status: 503, code: "stopping", message: "tilld is being stopped; try again" };

/// A whole answer, after which the connection ends.
pub(super) fn bytes(refusal: Refusal) -> Vec<u8> {
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
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    }
}
