//! A minimal HTTP client for the commands that speak to the local daemon. Not for Stripe, and not for the network.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a single read or write may take.
const IO_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;
/// Headers of an answer at most.
const MAX_HEADERS: usize = 64;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Not an address of a local daemon.
    #[error("{0}: give an address of the local daemon, like http://127.0.0.1:4242/path or unix:/path/socket:/path")]
    Url(String),
    /// Nobody listens there.
    #[error("nobody answers at {address} ({reason}); is `tilld serve` or `tilld dev` running?")]
    Refused {
        /// Where.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("no answer from {address}: {reason}")]
    Broken {
        /// Where.
        address: String,
        /// What happened.
        reason: String,
    },
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

struct Target {
    address: String,
    path: String,
    unix: bool,
}

fn target(url: &str) -> Result<Target, PostError> {
    let bad = || PostError::Url(url.to_owned());
    if let Some(rest) = url.strip_prefix("unix:") {
        let (address, path) = rest.split_once(":/").ok_or_else(bad)?;
        return Ok(Target { address: address.to_owned(), path: format!("/{path}"), unix: true });
    }
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
    Ok(Target { address, path: format!("/{path}"), unix: false })
}

/// Posts `body` with `headers` and returns the answer, whatever its status.
///
/// # Errors
/// When nobody answers there.
pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, PostError> {
    let target = target(url)?;
    let broken = |reason: &dyn std::fmt::Display| PostError::Broken {
        address: target.address.clone(),
        reason: reason.to_string(),
    };
    let mut stream = connect(&target)?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
        target.path,
        if target.unix { "localhost" } else { &target.address },
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(|error| broken(&error))?;
    let mut raw = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut raw).map_err(|error| broken(&error))?;
    parse(&raw).ok_or_else(|| broken(&"the answer is not HTTP"))
}

fn connect(target: &Target) -> Result<Box<dyn Stream>, PostError> {
    let refused =
        |error: std::io::Error| PostError::Refused { address: target.address.clone(), reason: error.to_string() };
    if target.unix {
        let stream = UnixStream::connect(&target.address).map_err(refused)?;
        stream.set_read_timeout(Some(IO_TIMEOUT)).map_err(refused)?;
        return Ok(Box::new(stream));
    }
    let address = target.address.to_socket_addrs().map_err(refused)?.next();
    let address = address.ok_or_else(|| refused(std::io::Error::other("no such host")))?;
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(refused)?;
    stream.set_read_timeout(Some(IO_TIMEOUT)).map_err(refused)?;
    stream.set_write_timeout(Some(IO_TIMEOUT)).map_err(refused)?;
    Ok(Box::new(stream))
}

/// The connection is closed after the answer, so the body is what follows the head.
fn parse(raw: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(raw).ok()? else { return None };
    let chunked = head.headers.iter().any(|header| header.name.eq_ignore_ascii_case("Transfer-Encoding"));
    let body = raw.get(length..)?;
    let body = if chunked { unchunk(body)? } else { body.to_vec() };
    Some(Answer { status: head.code?, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((start, size)) = httparse::parse_chunk_size(raw).ok()? else { return None };
        let size = usize::try_from(size).ok()?;
        if size == 0 {
            return Some(body);
        }
        let end = start.checked_add(size)?;
        body.extend_from_slice(raw.get(start..end)?);
        raw = raw.get(end.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_with_and_without_chunks_are_read() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(parse(plain).unwrap(), Answer { status: 200, body: "ok".to_owned() });
        let chunked = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), Answer { status: 400, body: "no!".to_owned() });
        assert_eq!(parse(b"garbage"), None);
    }

    #[test]
    fn addresses_are_http_or_a_socket() {
        assert_eq!(target("http://127.0.0.1:1/a/b").unwrap().path, "/a/b");
        let unix = target("unix:/run/t.sock:/hook").unwrap();
        assert_eq!((unix.address.as_str(), unix.path.as_str()), ("/run/t.sock", "/hook"));
        assert!(matches!(target("https://example.com/"), Err(PostError::Url(_))));
    }
}
