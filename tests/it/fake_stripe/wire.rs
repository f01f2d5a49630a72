//! HTTP/1.1 by hand: reads one request after the other from a connection and writes answers, whole or spoiled.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than any form that Stripe takes.
const MAX_BYTES: usize = 8 * 1024 * 1024;
const MAX_HEADERS: usize = 64;

/// A request as it came.
pub struct Incoming {
    pub method: String,
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Incoming {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An answer before it is spoiled.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// What becomes of a request.
pub enum Reply {
    Send(Outgoing),
    /// All of the head, half of the body, the end.
    Half(Outgoing),
    /// So long before each piece of the body.
    Slow(Outgoing, Duration),
    /// The connection is reset.
    Reset,
    /// Nothing, until the client or the test gives up.
    Never,
}

/// The next request, or `None` when the client has gone between two.
pub fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Incoming>> {
    let (mut incoming, head_bytes) = loop {
        if let Some(read) = head(buffer)? {
            break read;
        }
        if more(stream, buffer)? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
    };
    if incoming.header("transfer-encoding").is_some() {
        return Err(io::Error::new(ErrorKind::InvalidData, "a body in chunks"));
    }
    if incoming.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length = incoming.header("content-length").unwrap_or("0").parse::<usize>();
    let length = length.ok().filter(|length| *length <= MAX_BYTES);
    let end = head_bytes + length.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a wrong length"))?;
    while buffer.len() < end {
        if more(stream, buffer)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    incoming.body = buffer[head_bytes..end].to_vec();
    buffer.drain(..end);
    Ok(Some(incoming))
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 16 * 1024];
    let count = stream.read(&mut piece)?;
    buffer.extend_from_slice(&piece[..count]);
    Ok(count)
}

fn head(buffer: &[u8]) -> io::Result<Option<(Incoming, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(buffer).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(bytes) = status else { return Ok(None) };
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |header: &httparse::Header| {
        (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
    };
    let incoming = Incoming {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: request.headers.iter().map(header).collect(),
        body: Vec::new(),
    };
    Ok(Some((incoming, bytes)))
}

/// Writes the reply; false when the connection is at its end.
pub fn write(stream: &mut TcpStream, reply: &Reply, keep: bool) -> io::Result<bool> {
    match reply {
        Reply::Send(answer) => {
            let mut bytes = head_of(answer, keep);
            bytes.extend_from_slice(&answer.body);
            stream.write_all(&bytes)?;
            Ok(keep)
        }
        Reply::Half(answer) => {
            let mut bytes = head_of(answer, keep);
            bytes.extend_from_slice(&answer.body[..answer.body.len() / 2]);
            stream.write_all(&bytes)?;
            Ok(false)
        }
        Reply::Slow(answer, pause) => {
            stream.write_all(&head_of(answer, keep))?;
            for piece in answer.body.chunks(answer.body.len().div_ceil(8).max(1)) {
                std::thread::sleep(*pause);
                stream.write_all(piece)?;
            }
            Ok(keep)
        }
        Reply::Reset => {
            // Closing with no time to linger sends RST instead of FIN.
            rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO))?;
            Ok(false)
        }
        Reply::Never => {
            // Ends when the client closes, or the fake does it for all.
            let _ = io::copy(stream, &mut io::sink());
            Ok(false)
        }
    }
}

fn head_of(answer: &Outgoing, keep: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} x\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(if keep { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
    head.into_bytes()
}
