//! The connection to a mail server: a socket, plain or with TLS, on which every read and write has what is left of the mail's
//! timeout and no answer is longer than [`MAX_LINE`] and [`MAX_LINES`] allow. A stop ends it while it waits. It must never
//! know what a command means. Called by `transport`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::base::thread::Stop;

/// Bytes of a line of an answer (RFC 5321, 4.5.3.1.5 has 512).
const MAX_LINE: usize = 2048;
/// Lines of an answer.
const MAX_LINES: usize = 100;
/// How often a wait looks for a stop.
const STOP_CHECK_EVERY: Duration = Duration::from_millis(200);
/// How long connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits for the answer once the whole mail is sent: without it the mail would be sent twice.
const LAST_REPLY_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The mail's time is over.
    #[error("timed out")]
    TimedOut,
    /// It is time to stop.
    #[error("stopped")]
    Stopped,
    /// No address could be connected to.
    #[error("{0}")]
    Unreachable(String),
    /// TLS could not be established.
    #[error("{0}")]
    Insecure(String),
    /// The connection broke, or the server does not speak SMTP.
    #[error("{0}")]
    Broken(String),
}

/// An answer: its code, and its lines without the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SmtpReply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

impl SmtpReply {
    pub(super) fn words(&self) -> String {
        self.lines.join(" ")
    }
}

/// How much time is left, and what may end it earlier.
#[derive(Clone)]
pub(super) struct SmtpTimeouts {
    deadline: Instant,
    stop: Option<Stop>,
    /// Set when the whole mail has been sent.
    is_mail_sent: bool,
}

impl SmtpTimeouts {
    pub(super) fn new(timeout: Duration, stop: Option<Stop>) -> Self {
        Self { deadline: Instant::now() + timeout, stop, is_mail_sent: false }
    }

    fn left(&mut self) -> io::Result<Duration> {
        let now = Instant::now();
        if self.stop.as_ref().is_some_and(Stop::is_given) {
            if !self.is_mail_sent {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, WireError::Stopped));
            }
            self.stop = None;
            self.deadline = self.deadline.min(now + LAST_REPLY_TIMEOUT);
        }
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// A socket that is never waited for longer than there is time.
struct SmtpSocket {
    stream: TcpStream,
    timeouts: SmtpTimeouts,
}

impl SmtpSocket {
    fn retried<T>(&mut self, mut act: impl FnMut(&mut TcpStream) -> io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        loop {
            let slice = self.timeouts.left()?.min(STOP_CHECK_EVERY);
            self.stream.set_read_timeout(Some(slice))?;
            self.stream.set_write_timeout(Some(slice))?;
            match act(&mut self.stream) {
                Err(error) if matches!(error.kind(), Interrupted | TimedOut | WouldBlock) => {}
                done => return done,
            }
        }
    }
}

impl Read for SmtpSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retried(|stream| stream.read(buffer))
    }
}

impl Write for SmtpSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retried(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum SmtpLine {
    Plain(SmtpSocket),
    Secure(Box<StreamOwned<ClientConnection, SmtpSocket>>),
}

/// A connection to a mail server.
pub(super) struct SmtpWire {
    line: Option<SmtpLine>,
    /// Read and not used yet.
    unread: Vec<u8>,
}

impl SmtpWire {
    /// Connects to the first address that answers.
    pub(super) fn open(server: (&str, u16), mut timeouts: SmtpTimeouts) -> Result<Self, WireError> {
        let unreachable = |error: io::Error| WireError::Unreachable(error.to_string());
        let mut last = None;
        for address in server.to_socket_addrs().map_err(unreachable)? {
            let left = timeouts.left().map_err(|error| fault(&error))?.min(CONNECT_TIMEOUT);
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    let line = Some(SmtpLine::Plain(SmtpSocket { stream, timeouts }));
                    return Ok(Self { line, unread: Vec::new() });
                }
                Err(error) => last = Some(error),
            }
        }
        timeouts.left().map_err(|error| fault(&error))?;
        Err(last.map_or_else(|| WireError::Unreachable("its name has no address".to_owned()), unreachable))
    }

    /// Changes to TLS. Anything that the server has sent before is refused: somebody on the way may have inserted it.
    pub(super) fn secure(&mut self, config: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<(), WireError> {
        let insecure = |error: rustls::Error| WireError::Insecure(error.to_string());
        if !self.unread.is_empty() {
            return Err(WireError::Insecure("it sent something before TLS began that nobody had asked for".to_owned()));
        }
        let Some(SmtpLine::Plain(mut socket)) = self.line.take() else {
            return Err(WireError::Insecure("it is under TLS already".to_owned()));
        };
        let mut tls = ClientConnection::new(Arc::clone(config), name.clone()).map_err(insecure)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(|error| match fault(&error) {
                WireError::Broken(words) => WireError::Insecure(words),
                other => other,
            })?;
        }
        self.line = Some(SmtpLine::Secure(Box::new(StreamOwned::new(tls, socket))));
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let written = match self.line.as_mut() {
            Some(SmtpLine::Plain(socket)) => socket.write_all(bytes),
            Some(SmtpLine::Secure(stream)) => stream.write_all(bytes).and_then(|()| stream.flush()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        written.map_err(|error| fault(&error))
    }

    /// The mail has been sent: from now on a stop waits for the answer, up to [`LAST_REPLY_TIMEOUT`].
    pub(super) fn expect_last_reply(&mut self) {
        if let Some(timeouts) = self.timeouts() {
            timeouts.is_mail_sent = true;
        }
    }

    /// Limits the time that is left.
    pub(super) fn limit(&mut self, most: Duration) {
        if let Some(timeouts) = self.timeouts() {
            timeouts.deadline = timeouts.deadline.min(Instant::now() + most);
        }
    }

    fn timeouts(&mut self) -> Option<&mut SmtpTimeouts> {
        match self.line.as_mut()? {
            SmtpLine::Plain(socket) => Some(&mut socket.timeouts),
            SmtpLine::Secure(stream) => Some(&mut stream.sock.timeouts),
        }
    }

    /// Waits for an answer.
    pub(super) fn read_reply(&mut self) -> Result<SmtpReply, WireError> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let (code, goes_on, words) =
                read_line(&line).ok_or_else(|| WireError::Broken("its answer is not SMTP".to_owned()))?;
            lines.push(words);
            if !goes_on {
                return Ok(SmtpReply { code, lines });
            }
            if lines.len() >= MAX_LINES {
                return Err(WireError::Broken(format!("its answer has more than {MAX_LINES} lines")));
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, WireError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.unread, rest));
            }
            if self.unread.len() > MAX_LINE {
                return Err(WireError::Broken(format!("a line of its answer has more than {MAX_LINE} bytes")));
            }
            let mut buffer = [0; 512];
            let read = match self.line.as_mut() {
                Some(SmtpLine::Plain(socket)) => socket.read(&mut buffer),
                Some(SmtpLine::Secure(stream)) => stream.read(&mut buffer),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            match read {
                Ok(0) => return Err(WireError::Broken("it ended in the middle".to_owned())),
                Ok(read) => self.unread.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(error) => return Err(fault(&error)),
            }
        }
    }
}

/// Code, whether more lines follow, and words of a line (RFC 5321, 4.2).
fn read_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let code = text.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let rest = text.get(3..)?;
    let goes_on = rest.starts_with('-');
    (rest.is_empty() || goes_on || rest.starts_with(' ')).then(|| (code, goes_on, rest.chars().skip(1).collect()))
}

fn fault(error: &io::Error) -> WireError {
    let is_stop =
        error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(|inner| matches!(inner, WireError::Stopped));
    match error.kind() {
        _ if is_stop => WireError::Stopped,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => WireError::TimedOut,
        _ => WireError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_code_and_says_whether_more_follow() {
        let read = |line: &str| read_line(line.as_bytes());
        assert_eq!(read("250-SIZE 100\r\n"), Some((250, true, "SIZE 100".to_owned())));
        assert_eq!(read("250 ok\r\n"), Some((250, false, "ok".to_owned())));
        assert_eq!(read("221\r\n"), Some((221, false, String::new())));
        for wrong in ["", "ok", "25", "2500 x", "nonsense", "é50 x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
