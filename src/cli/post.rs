//! A minimal HTTP client for the commands that speak to the local daemon, over TCP or its Unix socket. It must never
//! speak to Stripe or across a network: it knows no TLS. Called by `tilld trigger` and its kind.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a single read or write may take.
const IO_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is read, head included, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Headers of an answer at most.
const MAX_HEADERS: usize = 64;
/// Bytes asked for in one read.
const READ_BYTES: usize = 64 * 1024;

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
    /// An address behind TLS.
    #[error("{0}: this is for the local daemon only, which does not speak https; use http:// or unix:")]
    Https(String),
    /// Nobody listens there.
    #[error("nobody answers at {address} ({reason}); is `tilld serve` or `tilld dev` running there?")]
    Refused {
        /// Where.
        address: String,
        /// The system's words.
        reason: io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("no answer from {address}: {reason}")]
    Broken {
        /// Where.
        address: String,
        /// What happened.
        reason: io::Error,
    },
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp(String),
    Unix(String),
}

/// Sends a request and returns the answer, whatever its status.
///
/// # Errors
/// When the URL is not one of a local daemon, or nobody answers there.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, PostError> {
    let (place, path) = target(url)?;
    let (Place::Tcp(address) | Place::Unix(address)) = &place;
    let mut stream =
        connect(&place).map_err(|reason| PostError::Refused { address: address.clone(), reason: in_words(reason) })?;
    let host = if matches!(place, Place::Unix(_)) { "localhost" } else { address };
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    // A server that refuses a body answers, and closes, before it has read all of it.
    receive(&mut stream).map_err(|error| {
        let reason = in_words(sent.err().unwrap_or(error));
        PostError::Broken { address: address.clone(), reason }
    })
}

/// Posts `body`; the rest is as in [`send`].
///
/// # Errors
/// As in [`send`].
pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, PostError> {
    send("POST", url, headers, body)
}

fn target(url: &str) -> Result<(Place, String), PostError> {
    if url.starts_with("https:") {
        return Err(PostError::Https(url.to_owned()));
    }
    let found = url.strip_prefix("unix:").map_or_else(|| tcp_target(url), unix_target);
    let sound = |(_, path): &(Place, String)| path.bytes().all(|byte| byte.is_ascii_graphic());
    found.filter(sound).ok_or_else(|| PostError::Url(url.to_owned()))
}

fn unix_target(rest: &str) -> Option<(Place, String)> {
    let (socket, path) = rest.split_once(":/")?;
    socket.starts_with('/').then(|| (Place::Unix(socket.to_owned()), format!("/{path}")))
}

fn tcp_target(url: &str) -> Option<(Place, String)> {
    let rest = url.strip_prefix("http://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((Place::Tcp(authority), format!("{slash}{path}")))
}

fn connect(place: &Place) -> io::Result<Box<dyn Stream>> {
    match place {
        Place::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(IO_TIMEOUT))?;
            stream.set_write_timeout(Some(IO_TIMEOUT))?;
            Ok(Box::new(stream))
        }
        Place::Tcp(address) => {
            let stream = connect_tcp(address)?;
            stream.set_read_timeout(Some(IO_TIMEOUT))?;
            stream.set_write_timeout(Some(IO_TIMEOUT))?;
            Ok(Box::new(stream))
        }
    }
}

/// Tries every address of the name: `localhost` has two, and the daemon listens on one of them.
fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        // What a socket's timeout is called differs.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::other("nothing came or went in time"),
        _ => error,
    }
}

fn receive(stream: &mut dyn Read) -> io::Result<Answer> {
    let mut raw = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        raw.extend_from_slice(buffer.get(..read).unwrap_or_default());
        match (parse(&raw)?, read) {
            (Progress::Complete(answer), _) | (Progress::UntilClosed(answer), 0) => return Ok(answer),
            (Progress::Unfinished, 0) => return Err(io::Error::other("the connection ended within the answer")),
            _ if raw.len() > MAX_ANSWER_BYTES => {
                return Err(io::Error::other(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes")));
            }
            _ => {}
        }
    }
}

/// How much of an answer has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Unfinished,
    /// It has no length, so it is complete when the connection is closed.
    UntilClosed(Answer),
    Complete(Answer),
}

fn parse(raw: &[u8]) -> io::Result<Progress> {
    let not_http = || io::Error::other("the answer is not HTTP");
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(raw).map_err(|_| not_http())? else {
        return Ok(Progress::Unfinished);
    };
    let status = head.code.ok_or_else(not_http)?;
    let header = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let answer = |body: &[u8]| Answer { status, body: String::from_utf8_lossy(body).into_owned() };
    let body = raw.get(length..).unwrap_or_default();
    if header("Transfer-Encoding").is_some() {
        let whole = unchunk(body).map_err(|_| not_http())?;
        return Ok(whole.map_or(Progress::Unfinished, |body| Progress::Complete(answer(&body))));
    }
    let Some(declared) = header("Content-Length") else { return Ok(Progress::UntilClosed(answer(body))) };
    let declared = std::str::from_utf8(declared.value).ok().and_then(|text| text.trim().parse().ok());
    let whole = body.get(..declared.ok_or_else(not_http)?);
    Ok(whole.map_or(Progress::Unfinished, |body| Progress::Complete(answer(body))))
}

/// The body without its chunks' sizes; `None` while the last chunk is missing.
fn unchunk(mut raw: &[u8]) -> Result<Option<Vec<u8>>, httparse::InvalidChunkSize> {
    let mut body = Vec::new();
    while let httparse::Status::Complete((start, size)) = httparse::parse_chunk_size(raw)? {
        if size == 0 {
            return Ok(Some(body));
        }
        let size = usize::try_from(size).map_err(|_| httparse::InvalidChunkSize)?;
        let end = start.checked_add(size).ok_or(httparse::InvalidChunkSize)?;
        let Some(chunk) = raw.get(start..end) else { return Ok(None) };
        body.extend_from_slice(chunk);
        // A line end follows each chunk.
        raw = raw.get(end.saturating_add(2)..).unwrap_or_default();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::thread::{Handle, Threads};
    use std::net::TcpListener;

    fn complete(status: u16, body: &str) -> Progress {
        Progress::Complete(Answer { status, body: body.to_owned() })
    }

    /// A server for one connection: reads until `marker` came, sends `answer`, and reports what it read.
    fn serve_once(mut stream: impl Read + Write, marker: &str, answer: &[u8]) -> String {
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(marker.as_bytes()) && stream.read(&mut byte).unwrap() == 1 {
            seen.extend_from_slice(&byte);
        }
        stream.write_all(answer).unwrap();
        String::from_utf8(seen).unwrap()
    }

    fn tcp_server(answer: &'static [u8]) -> (String, Handle) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let work = move || {
            let seen = serve_once(listener.accept().unwrap().0, "{}", answer);
            assert!(seen.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{seen}");
            assert!(seen.contains(&format!("\r\nHost: {address}\r\n")), "{seen}");
            assert!(seen.contains("\r\nStripe-Signature: t=1\r\n"), "{seen}");
            assert!(seen.contains("\r\nConnection: close\r\n"), "{seen}");
            assert!(seen.ends_with("\r\nContent-Length: 2\r\n\r\n{}"), "{seen}");
        };
        (format!("http://{address}/hook?x=1"), Threads::default().spawn("server", work).unwrap())
    }

    fn post_to(answer: &'static [u8]) -> Result<Answer, PostError> {
        let (url, server) = tcp_server(answer);
        let answer = post(&url, &[("Stripe-Signature", "t=1")], b"{}");
        server.join();
        answer
    }

    #[test]
    fn an_answer_of_any_status_is_returned_with_its_body() {
        let answer = post_to(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nno!").unwrap();
        assert_eq!(answer, Answer { status: 400, body: "no!".to_owned() });
    }

    #[test]
    fn an_answer_without_a_length_ends_with_the_connection() {
        assert_eq!(post_to(b"HTTP/1.0 200 OK\r\n\r\nall of it").unwrap().body, "all of it");
    }

    #[test]
    fn an_answer_that_was_cut_short_is_an_error() {
        for cut in [&b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"[..], b"HTTP/1.1 200 O", b""] {
            let error = post_to(cut).unwrap_err().to_string();
            assert!(error.contains("the connection ended within the answer"), "{error}");
        }
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        let error = post_to(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap_err().to_string();
        assert!(error.contains("the answer is not HTTP"), "{error}");
    }

    #[test]
    fn an_answer_over_the_limit_is_an_error() {
        let endless = &mut io::repeat(b'x');
        let error = receive(&mut (&b"HTTP/1.1 200 OK\r\n\r\n"[..]).chain(endless)).unwrap_err();
        assert!(error.to_string().contains("longer than"), "{error}");
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n1;x=y\r\n!\r\n0\r\n\r\n";
        assert_eq!(parse(answer).unwrap(), complete(200, "no!"));
        for end in 0..answer.len() - 2 {
            assert_eq!(parse(&answer[..end]).unwrap(), Progress::Unfinished, "{end}");
        }
    }

    #[test]
    fn a_unix_socket_is_spoken_to() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let work = move || {
            let answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
            let seen = serve_once(listener.accept().unwrap().0, "\r\n\r\n", answer);
            assert!(seen.starts_with("DELETE /a/b HTTP/1.1\r\nHost: localhost\r\n"), "{seen}");
        };
        let server = Threads::default().spawn("server", work).unwrap();
        let answer = send("DELETE", &format!("unix:{}:/a/b", socket.display()), &[], b"").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        server.join();
    }

    #[test]
    fn where_nobody_listens_the_error_asks_for_the_daemon() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for url in [format!("http://{free}/"), "unix:/nowhere/sock:/".to_owned()] {
            let error = post(&url, &[], b"").unwrap_err().to_string();
            assert!(error.contains("is `tilld serve` or `tilld dev` running"), "{error}");
        }
    }

    #[test]
    fn every_address_of_a_name_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connect_tcp(&format!("localhost:{port}")).is_ok());
    }

    #[test]
    fn addresses_are_http_or_a_socket() {
        let tcp = |address: &str, path: &str| (Place::Tcp(address.to_owned()), path.to_owned());
        assert_eq!(target("http://127.0.0.1:1/a/b").unwrap(), tcp("127.0.0.1:1", "/a/b"));
        assert_eq!(target("http://localhost").unwrap(), tcp("localhost:80", "/"));
        assert_eq!(target("http://[::1]?x=/y").unwrap(), tcp("[::1]:80", "/?x=/y"));
        let unix = (Place::Unix("/run/t.sock".to_owned()), "/hook".to_owned());
        assert_eq!(target("unix:/run/t.sock:/hook").unwrap(), unix);
        for wrong in
            ["ftp://x/", "127.0.0.1:4242", "unix:/run/t.sock", "unix:t.sock:/", "http://x/a b", "http://x/\r\n"]
        {
            assert!(matches!(target(wrong), Err(PostError::Url(_))), "{wrong}");
        }
        let error = target("https://example.com/").unwrap_err().to_string();
        assert!(error.contains("for the local daemon only"), "{error}");
    }
}
