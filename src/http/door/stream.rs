//! TCP and Unix sockets behind one type; ground for every request. It must never read or write without a timeout on behalf of a
//! client. Called by the door alone.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The most connections that wait to be accepted. The library's 128 are one burst: a later client waits a second until its system
/// tries again. The system caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// host:port.
    Tcp(TcpListener),
    /// A file.
    Unix(UnixListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    pub(super) fn prepare(&self) -> io::Result<()> {
        // If the system refuses it, the backlog stays as the library set it.
        let _ = rustix::net::listen(self, BACKLOG);
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    /// The next connection, and the address of its peer; on a Unix socket there is none.
    pub(super) fn accept(&self) -> io::Result<(ClientSocket, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                stream.set_nonblocking(false)?;
                // Answers are small and must not be delayed.
                stream.set_nodelay(true)?;
                Ok((ClientSocket::Tcp(stream), Some(address.ip().to_canonical())))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Ok((ClientSocket::Unix(stream), None))
            }
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum ClientSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl ClientSocket {
    /// Whether bytes can be read, or the other end has closed.
    pub(super) fn is_readable(&self) -> bool {
        let mut waiting = [PollFd::new(self, PollFlags::IN)];
        poll(&mut waiting, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        // It fails if the other end has closed already, which is as good.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }

    /// Reads and writes no longer block.
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(true),
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).read(buffer),
            Self::Unix(stream) => (&*stream).read(buffer),
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).write(bytes),
            Self::Unix(stream) => (&*stream).write(bytes),
        }
    }
}

/// A socket with timeouts, as its one thread uses it. A timeout costs a system call only when it changes.
pub(super) struct ClientWire<'a> {
    socket: &'a ClientSocket,
    read_wait: Duration,
    write_wait: Duration,
}

impl<'a> ClientWire<'a> {
    pub(super) fn new(socket: &'a ClientSocket) -> Self {
        Self { socket, read_wait: Duration::ZERO, write_wait: Duration::ZERO }
    }

    /// Reads what arrives within `wait`; a timeout is `WouldBlock`.
    pub(super) fn read_within(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        let wait = wait.max(Duration::from_millis(1));
        if self.read_wait != wait {
            match self.socket {
                ClientSocket::Tcp(stream) => stream.set_read_timeout(Some(wait))?,
                ClientSocket::Unix(stream) => stream.set_read_timeout(Some(wait))?,
            }
            self.read_wait = wait;
        }
        loop {
            match self.socket.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Writes all of `bytes` within `wait`.
    pub(super) fn write_all_within(&mut self, mut bytes: &[u8], wait: Duration) -> io::Result<()> {
        let deadline = Instant::now() + wait;
        let mut left = wait;
        loop {
            match self.write_within(bytes, left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) if count == bytes.len() => return Ok(()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn write_within(&mut self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        let wait = wait.max(Duration::from_millis(1));
        if self.write_wait != wait {
            match self.socket {
                ClientSocket::Tcp(stream) => stream.set_write_timeout(Some(wait))?,
                ClientSocket::Unix(stream) => stream.set_write_timeout(Some(wait))?,
            }
            self.write_wait = wait;
        }
        self.socket.write(bytes)
    }
}
