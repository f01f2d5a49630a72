//! The HTTP client of the commands that speak to the local daemon, over TCP or its Unix socket, which `ureq` is taught by
//! `socket`. It must never speak to Stripe or across a network: it knows no TLS and asks no proxy. Called by `tilld trigger`
//! and its kind.

mod socket;

use std::io::{self, ErrorKind};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Request;
use ureq::unversioned::transport::Connector;
use ureq::{Agent, AsSendBody, Timeout};

use socket::{Nowhere, UnixConnector};

/// How long finding and connecting to an address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a single read or write may take.
const IO_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest body of an answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonAnswer {
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

#[derive(Debug, PartialEq, Eq)]
enum DaemonAddress {
    Tcp(String),
    Unix(String),
}

/// Sends a request and returns the answer, whatever its status. Only a POST and a PUT have a body.
///
/// # Errors
/// When the URL is not one of a local daemon, or nobody answers there.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<DaemonAnswer, PostError> {
    let (place, path) = target(url)?;
    let (address, host, agent) = match &place {
        DaemonAddress::Tcp(address) => (address, address.as_str(), Agent::new_with_config(config())),
        DaemonAddress::Unix(path) => {
            let connector = ().chain(UnixConnector::new(path));
            (path, "localhost", Agent::with_parts(config(), connector, Nowhere))
        }
    };
    let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
    for (name, value) in headers.iter().chain(&[("Connection", "close")]) {
        request = request.header(*name, *value);
    }
    let no_request = |_| PostError::Url(url.to_owned());
    let answer = match method {
        "POST" | "PUT" => exchange(&agent, request.body(body).map_err(no_request)?),
        _ => exchange(&agent, request.body(()).map_err(no_request)?),
    };
    answer.map_err(|error| lost(address, error))
}

fn exchange(agent: &Agent, request: Request<impl AsSendBody>) -> Result<DaemonAnswer, ureq::Error> {
    let response = agent.run(request)?;
    let status = response.status().as_u16();
    let body = response.into_body().into_with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
    Ok(DaemonAnswer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn config() -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("tilld/", env!("CARGO_PKG_VERSION")))
        .max_idle_connections(0)
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(IO_TIMEOUT))
        .timeout_per_write(Some(IO_TIMEOUT))
        .build()
}

/// Posts `body`; the rest is as in [`send`].
///
/// # Errors
/// As in [`send`].
pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<DaemonAnswer, PostError> {
    send("POST", url, headers, body)
}

/// Why there is no answer, by what `ureq` says.
fn lost(address: &str, error: ureq::Error) -> PostError {
    use ureq::Error;
    let late = "nothing came or went in time";
    let (connected, reason) = match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => (false, io::Error::other(late)),
        Error::Timeout(_) => (true, io::Error::other(late)),
        Error::HostNotFound => (false, io::Error::other("the name has no address")),
        Error::ConnectionFailed => (false, io::Error::other("no connection")),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => (true, io::Error::other(CUT_SHORT)),
        Error::Io(error) => (is_of_connection(error.kind()), error),
        Error::BodyExceedsLimit(limit) => (true, io::Error::other(format!("the answer is longer than {limit} bytes"))),
        Error::BodyStalled => (true, io::Error::other(CUT_SHORT)),
        Error::Protocol(_) | Error::Http(_) | Error::LargeResponseHeader(..) => {
            (true, io::Error::other("the answer is not HTTP"))
        }
        error => (true, io::Error::other(error.to_string())),
    };
    let address = address.to_owned();
    if connected { PostError::Broken { address, reason } } else { PostError::Refused { address, reason } }
}

const CUT_SHORT: &str = "the connection ended within the answer";

/// Does an error come from a connection that stood? All others come from looking for one.
fn is_of_connection(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, NotConnected, WriteZero};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | NotConnected | WriteZero)
}

fn target(url: &str) -> Result<(DaemonAddress, String), PostError> {
    if url.starts_with("https:") {
        return Err(PostError::Https(url.to_owned()));
    }
    let found = url.strip_prefix("unix:").map_or_else(|| tcp_target(url), unix_target);
    let sound = |(_, path): &(DaemonAddress, String)| path.bytes().all(|byte| byte.is_ascii_graphic());
    found.filter(sound).ok_or_else(|| PostError::Url(url.to_owned()))
}

fn unix_target(rest: &str) -> Option<(DaemonAddress, String)> {
    let (socket, path) = rest.split_once(":/")?;
    socket.starts_with('/').then(|| (DaemonAddress::Unix(socket.to_owned()), format!("/{path}")))
}

fn tcp_target(url: &str) -> Option<(DaemonAddress, String)> {
    let rest = url.strip_prefix("http://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((DaemonAddress::Tcp(authority), format!("{slash}{path}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::thread::{Handle, Threads};
    use std::io::{Read, Write};
    use std::net::TcpListener;

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
            let head = seen.to_ascii_lowercase();
            for header in
                [&format!("host: {address}"), "stripe-signature: t=1", "connection: close", "content-length: 2"]
            {
                assert!(head.contains(&format!("\r\n{header}\r\n")), "{seen}");
            }
            assert!(seen.ends_with("\r\n\r\n{}"), "{seen}");
        };
        (format!("http://{address}/hook?x=1"), Threads::default().spawn("server", work).unwrap())
    }

    fn post_to(answer: &'static [u8]) -> Result<DaemonAnswer, PostError> {
        let (url, server) = tcp_server(answer);
        let answer = post(&url, &[("Stripe-Signature", "t=1")], b"{}");
        server.join();
        answer
    }

    #[test]
    fn an_answer_of_any_status_is_returned_with_its_body() {
        let answer = post_to(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nno!").unwrap();
        assert_eq!(answer, DaemonAnswer { status: 400, body: "no!".to_owned() });
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let endless = move || {
            let mut stream = listener.accept().unwrap().0;
            serve_once(&mut stream, "\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n");
            // Until the other side has had enough.
            while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        };
        let server = Threads::default().spawn("server", endless).unwrap();
        let error = send("GET", &url, &[], &[]).unwrap_err();
        assert!(error.to_string().contains("longer than 4194304 bytes"), "{error}");
        server.join();
    }

    #[test]
    fn chunks_are_joined_and_must_come_to_their_end() {
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n1;x=y\r\n!\r\n0\r\n\r\n";
        assert_eq!(post_to(whole).unwrap(), DaemonAnswer { status: 200, body: "no!".to_owned() });
        for end in [whole.len() - 20, whole.len() - 12, whole.len() - 7, whole.len() - 5] {
            let error = post_to(&whole[..end]).unwrap_err().to_string();
            assert!(error.contains("the connection ended within the answer"), "{end}: {error}");
        }
    }

    #[test]
    fn a_name_without_an_address_is_nobody() {
        let error = post("http://nobody.invalid:1/", &[], b"").unwrap_err();
        assert!(matches!(error, PostError::Refused { .. }), "{error}");
    }

    #[test]
    fn a_unix_socket_is_spoken_to() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let work = move || {
            let answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
            let seen = serve_once(listener.accept().unwrap().0, "\r\n\r\n", answer);
            assert!(seen.starts_with("DELETE /a/b HTTP/1.1\r\n"), "{seen}");
            assert!(seen.to_ascii_lowercase().contains("\r\nhost: localhost\r\n"), "{seen}");
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
        let work = move || drop(serve_once(listener.accept().unwrap().0, "\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n"));
        let server = Threads::default().spawn("server", work).unwrap();
        assert_eq!(send("GET", &format!("http://localhost:{port}/"), &[], &[]).unwrap().status, 204);
        server.join();
    }

    #[test]
    fn addresses_are_http_or_a_socket() {
        let tcp = |address: &str, path: &str| (DaemonAddress::Tcp(address.to_owned()), path.to_owned());
        assert_eq!(target("http://127.0.0.1:1/a/b").unwrap(), tcp("127.0.0.1:1", "/a/b"));
        assert_eq!(target("http://localhost").unwrap(), tcp("localhost:80", "/"));
        assert_eq!(target("http://[::1]?x=/y").unwrap(), tcp("[::1]:80", "/?x=/y"));
        let unix = (DaemonAddress::Unix("/run/t.sock".to_owned()), "/hook".to_owned());
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
