//! A listener and the threads that answer it. The only file that knows tiny_http; handlers see [`Request`] and
//! [`Response`]. It must never take the process down by a request, nor hold a lock while a handler runs. Called by
//! `daemon`. tiny_http 0.12's faults, and what of them is left to the guard: ARCHITECTURE.md.

use std::io::{self, ErrorKind, Read};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::request::{Method, Request};
use super::response::{ApiError, Response};
use crate::config::Address;
use crate::thread::{Handle, Stop, Stopper, Threads, stopper};

/// Answers a request. Called on several threads at once.
pub type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{key}: {address} is in use; is another tilld running? Stop it, or choose another address")]
    InUse {
        /// Configuration key.
        key: &'static str,
        /// The address.
        address: String,
    },
    /// Anything else.
    #[error("{key}: cannot listen on {address}: {reason}{}", advice(reason))]
    Other {
        /// Configuration key.
        key: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        reason: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => "; a port below 1024 takes privileges, a socket a folder that can be written",
        ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        ErrorKind::NotFound => "; create the folder of the socket first",
        _ => "",
    }
}

/// A bound listener that nobody serves yet.
pub struct Bound {
    listener: tiny_http::Listener,
    address: String,
}

impl Bound {
    /// The address really used, as it can be called; port 0 has become a port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Binds `address`. A Unix socket gets the permissions `mode`; a stale one that nobody answers on is replaced.
///
/// # Errors
/// With the configuration key and what to do.
pub fn bind(key: &'static str, address: &Address, mode: u32) -> Result<Bound, BindError> {
    let failed = |reason: io::Error| match reason.kind() {
        ErrorKind::AddrInUse => BindError::InUse { key, address: address.to_string() },
        _ => BindError::Other { key, address: address.to_string(), reason },
    };
    match address {
        Address::Tcp(host_port) => {
            let listener = TcpListener::bind(host_port.as_str()).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?.to_string();
            Ok(Bound { listener: listener.into(), address })
        }
        Address::Unix(path) => {
            let listener = bind_unix(path, mode).map_err(failed)?;
            Ok(Bound { listener: listener.into(), address: address.to_string() })
        }
    }
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Removes what a process that died left. Only a refused connection says that nobody listens: one that is not
/// permitted may lead to a living process of another user.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("the file there is not a socket; remove it or choose another path"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// How a listener is served.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Beginning of its threads' names.
    pub name: &'static str,
    /// Requests answered at once.
    pub threads: usize,
    /// Longest body, in bytes.
    pub body_bytes: usize,
}

/// A listener that is being answered.
pub struct Server {
    server: Arc<tiny_http::Server>,
    stopper: Stopper,
    threads: Vec<Handle>,
}

/// Starts the threads that answer a listener.
///
/// # Errors
/// When the system has no thread or socket to give.
pub fn serve(bound: Bound, options: Options, threads: &Threads, handler: &Arc<Handler>) -> io::Result<Server> {
    let server = tiny_http::Server::from_listener(bound.listener, None).map_err(io::Error::other)?;
    let (stopper, stop) = stopper();
    let mut started = Server { server: Arc::new(server), stopper, threads: Vec::new() };
    for number in 0..options.threads {
        let (server, stop, handler) = (Arc::clone(&started.server), stop.clone(), Arc::clone(handler));
        let work = move || answer_all(&server, &stop, options.body_bytes, handler.as_ref());
        match threads.spawn(&format!("{}-{number}", options.name), work) {
            Ok(handle) => started.threads.push(handle),
            Err(error) => {
                started.stop();
                return Err(error);
            }
        }
    }
    Ok(started)
}

impl Server {
    /// Takes no further request, answers those in hand, and ends the threads. A connection that stays open gets no
    /// answer to what it sends afterwards; it ends with the process.
    pub fn stop(self) {
        drop(self.stopper);
        // One call frees one waiting thread.
        self.threads.iter().for_each(|_| self.server.unblock());
        self.threads.into_iter().for_each(Handle::join);
        while let Ok(Some(late)) = self.server.try_recv() {
            // A client that has gone away needs no answer.
            let _ = send(late, ApiError::new(503, "shutting_down", "tilld is stopping; try again").into());
        }
        // Dropped here, tiny_http calls its own address to free its accepting thread, and then removes a Unix socket's
        // file. Removed any earlier, that thread would be left waiting, with the socket open.
    }
}

fn answer_all(server: &tiny_http::Server, stop: &Stop, body_bytes: usize, handler: &Handler) {
    loop {
        match server.recv() {
            Ok(request) => answer(request, body_bytes, handler),
            Err(_) if stop.is_given() => return,
            Err(error) => {
                // tiny_http accepts nothing after this; the process must not stay up and be deaf.
                log::error!("the listener failed: {error}");
                return;
            }
        }
    }
}

fn answer(mut inner: tiny_http::Request, body_bytes: usize, handler: &Handler) {
    let began = Instant::now();
    let label = label(Method::parse(inner.method().as_str()), inner.url());
    let outcome = catch_unwind(AssertUnwindSafe(|| read(&mut inner, body_bytes).map(|request| handler(&request))));
    let response = match outcome {
        Ok(answered) => answered.unwrap_or_else(Response::from),
        Err(panic) => {
            let text = crate::thread::panic_text(panic.as_ref());
            ApiError::internal(&format!("panic at {label}: {text}")).into()
        }
    };
    log::debug!("{label} status={} ms={}", response.status, began.elapsed().as_millis());
    if let Err(error) = send(inner, response) {
        log::debug!("{label} was not received: {error}");
    }
}

/// A request as the log names it: without its query, which may hold mail addresses, and on one line, though tiny_http
/// lets a lone line feed pass in the path.
fn label(method: Method, url: &str) -> String {
    let path = url.split('?').next().unwrap_or_default();
    format!("{} {}", method.as_str(), path.escape_debug())
}

fn read(inner: &mut tiny_http::Request, body_bytes: usize) -> Result<Request, ApiError> {
    let body = read_body(inner, body_bytes)?;
    let headers = inner.headers().iter().map(|header| (header.field.to_string(), header.value.to_string()));
    Ok(Request {
        headers: headers.collect(),
        body,
        peer: inner.remote_addr().map(std::net::SocketAddr::ip),
        ..Request::new(Method::parse(inner.method().as_str()), inner.url())
    })
}

/// The whole body. tiny_http reports one that was cut short as read, so its length is compared with the declared one;
/// of a chunked body that was cut within a chunk nothing can be known here.
fn read_body(inner: &mut tiny_http::Request, body_bytes: usize) -> Result<Vec<u8>, ApiError> {
    let declared = inner.body_length();
    let too_large = || ApiError::new(413, "body_too_large", format!("the body is larger than {body_bytes} bytes"));
    if declared.is_some_and(|length| length > body_bytes) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(declared.unwrap_or(0));
    let limit = u64::try_from(body_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let cut = || ApiError::new(400, "body_truncated", "the body ended early, or its chunks cannot be read");
    inner.as_reader().take(limit).read_to_end(&mut body).map_err(|_| cut())?;
    if body.len() > body_bytes {
        return Err(too_large());
    }
    if declared.is_some_and(|length| length != body.len()) {
        return Err(cut());
    }
    Ok(body)
}

fn send(inner: tiny_http::Request, response: Response) -> io::Result<()> {
    let headers = response.headers.iter().filter_map(|(name, value)| header(name, value)).collect();
    let length = response.body.len();
    let body = io::Cursor::new(response.body);
    let response = tiny_http::Response::new(response.status.into(), headers, body, Some(length), None);
    // Always with a Content-Length: the guard relays it as it is.
    inner.respond(response.with_chunked_threshold(usize::MAX))
}

/// A header as tiny_http wants it. Control characters would begin another header, so such a value is left out.
fn header(name: &str, value: &str) -> Option<tiny_http::Header> {
    let sound = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if !sound {
        log::error!("the header {name} of an answer was left out: it has characters that a header cannot have");
        return None;
    }
    tiny_http::Header::from_bytes(name, value).ok()
}

#[cfg(test)]
mod tests;
