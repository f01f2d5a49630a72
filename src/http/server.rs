//! A listener and the threads that answer it. The only file that knows tiny_http; handlers see [`Request`] and
//! [`Response`]. It must never take the process down by a request, nor hold a lock while a handler runs.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
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
    #[error("{key}: cannot listen on {address}: {reason}")]
    Other {
        /// Configuration key.
        key: &'static str,
        /// The address.
        address: String,
        /// The system's words.
        reason: String,
    },
}

/// A bound listener that nobody serves yet.
pub struct Bound {
    listener: tiny_http::Listener,
    address: String,
    socket: Option<PathBuf>,
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
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => BindError::InUse { key, address: address.to_string() },
        _ => BindError::Other { key, address: address.to_string(), reason: error.to_string() },
    };
    match address {
        Address::Tcp(host_port) => {
            let listener = TcpListener::bind(host_port.as_str()).map_err(failed)?;
            let real = listener.local_addr().map_err(failed)?.to_string();
            Ok(Bound { listener: tiny_http::Listener::Tcp(listener), address: real, socket: None })
        }
        Address::Unix(path) => {
            let listener = bind_unix(path, mode).map_err(failed)?;
            let listener = tiny_http::Listener::Unix(listener);
            Ok(Bound { listener, address: address.to_string(), socket: Some(path.clone()) })
        }
    }
}

fn bind_unix(path: &Path, mode: u32) -> std::io::Result<UnixListener> {
    let stale = std::fs::symlink_metadata(path)
        .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
    if stale && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
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
    socket: Option<PathBuf>,
}

/// Starts the threads that answer a listener.
///
/// # Errors
/// When the system has no thread or socket to give.
pub fn serve(bound: Bound, options: Options, threads: &Threads, handler: &Arc<Handler>) -> std::io::Result<Server> {
    let server = tiny_http::Server::from_listener(bound.listener, None)
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    let server = Arc::new(server);
    let (stopper, stop) = stopper();
    let threads = (0..options.threads)
        .map(|number| {
            let (server, stop, handler) = (Arc::clone(&server), stop.clone(), Arc::clone(handler));
            let name = format!("{}-{number}", options.name);
            threads.spawn(&name, move || answer_all(&server, &stop, options.body_bytes, handler.as_ref()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Server { server, stopper, threads, socket: bound.socket })
}

impl Server {
    /// Takes no further request, answers those in hand, and ends the threads.
    pub fn stop(self) {
        drop(self.stopper);
        // One call frees one waiting thread.
        self.threads.iter().for_each(|_| self.server.unblock());
        self.threads.into_iter().for_each(Handle::join);
        if let Some(socket) = self.socket
            && let Err(error) = std::fs::remove_file(&socket)
        {
            log::info!("the socket {} was not removed: {error}", socket.display());
        }
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
    let (response, line) = match read(&mut inner, body_bytes) {
        Ok(request) => {
            let line = format!("{} {}", request.method.as_str(), request.path);
            (call(handler, &request), line)
        }
        Err(error) => (error.into(), "unreadable request".to_owned()),
    };
    log::debug!("{line} status={} ms={}", response.status, began.elapsed().as_millis());
    if let Err(error) = send(inner, response) {
        log::debug!("{line} was not received: {error}");
    }
}

fn call(handler: &Handler, request: &Request) -> Response {
    catch_unwind(AssertUnwindSafe(|| handler(request))).unwrap_or_else(|panic| {
        let text = crate::thread::panic_text(panic.as_ref());
        ApiError::internal(&format!("panic at {} {}: {text}", request.method.as_str(), request.path)).into()
    })
}

fn read(inner: &mut tiny_http::Request, body_bytes: usize) -> Result<Request, ApiError> {
    let declared = inner.body_length();
    let too_large = || ApiError::new(413, "body_too_large", format!("the body is larger than {body_bytes} bytes"));
    if declared.is_some_and(|length| length > body_bytes) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(declared.unwrap_or(0));
    let limit = u64::try_from(body_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let cut = || ApiError::new(400, "body_truncated", "the connection ended before the body did");
    inner.as_reader().take(limit).read_to_end(&mut body).map_err(|_| cut())?;
    if body.len() > body_bytes {
        return Err(too_large());
    }
    if declared.is_some_and(|length| length != body.len()) {
        return Err(cut());
    }
    let (path, query) = inner.url().split_once('?').unwrap_or((inner.url(), ""));
    Ok(Request {
        method: Method::parse(inner.method().as_str()),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: inner.headers().iter().map(|header| (header.field.to_string(), header.value.to_string())).collect(),
        body,
        peer: inner.remote_addr().map(std::net::SocketAddr::ip),
    })
}

fn send(inner: tiny_http::Request, response: Response) -> std::io::Result<()> {
    let headers = response
        .headers
        .iter()
        .filter_map(|(name, value)| tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()).ok())
        .collect();
    let length = response.body.len();
    let body = std::io::Cursor::new(response.body);
    inner.respond(tiny_http::Response::new(response.status.into(), headers, body, Some(length), None))
}
