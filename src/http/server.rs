//! A listener with the door in front of it and the threads that answer it; ground for every request. The only file that
//! knows tiny_http: handlers see [`Request`] and [`Response`], and may answer later, on another thread ([`Reply`]). No
//! request may ever end the process, and no lock may be held while a handler runs. Called by `app::daemon`. The faults
//! of tiny_http 0.12, and which of them the door keeps away: ARCHITECTURE.md.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::process::geteuid;

use super::error_code::ErrorCode;
use super::listen::Bound;
use super::request::{Method, Request};
use super::response::{ErrorResponse, Response};
use crate::base::ids::random_token;
use crate::base::thread::{Handle, Stop, Stopper, Threads, stopper};
use crate::http::door::{self, BODY_HEADER, Bodies, DoorHandle, DoorLimits, PEER_HEADER, Pool};

/// Answers a request, now or later. Called on several threads at once.
pub type Handler = dyn Fn(Request, Reply) + Send + Sync;

/// How a listener is served.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    /// The first part of the names of its threads.
    pub name: &'static str,
    /// Threads that take requests.
    pub threads: usize,
    /// The most requests at once that are being answered or wait to be.
    pub in_hand: usize,
    /// What a client may send.
    pub limits: DoorLimits,
}

/// A listener that is being served.
pub struct HttpServer {
    door: Option<DoorHandle>,
    server: Arc<tiny_http::Server>,
    stopper: Stopper,
    threads: Vec<Handle>,
    /// The file of the listening socket, if it is a Unix socket that was bound here.
    socket: Option<PathBuf>,
    /// The folder of the socket between the door and tiny_http; removed when it is dropped.
    _internal: SocketFolder,
}

/// Starts the threads that answer a listener, and opens its door.
pub fn serve(
    bound: Bound,
    options: ServerOptions,
    threads: &Threads,
    handler: &Arc<Handler>,
) -> io::Result<HttpServer> {
    let internal = SocketFolder::new()?;
    let listener = UnixListener::bind(internal.socket())?;
    let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
    let (stopper, stop) = stopper();
    let path = internal.socket();
    let bodies = Arc::new(Bodies::new(options.in_hand));
    let mut started = HttpServer {
        door: None,
        server: Arc::new(server),
        stopper,
        threads: Vec::new(),
        socket: bound.socket,
        _internal: internal,
    };
    for number in 0..options.threads {
        let (server, stop) = (Arc::clone(&started.server), stop.clone());
        let (bodies, handler) = (Arc::clone(&bodies), Arc::clone(handler));
        let work = move || answer_all(&server, &stop, &bodies, handler.as_ref());
        match threads.spawn(&format!("{}-{number}", options.name), work) {
            Ok(handle) => started.threads.push(handle),
            Err(error) => {
                started.stop();
                return Err(error);
            }
        }
    }
    let opened = Pool::open(&path, bodies)
        .and_then(|pool| door::open(options.name, bound.listener, pool, options.limits, threads));
    match opened {
        Ok(door) => started.door = Some(door),
        Err(error) => {
            started.stop();
            return Err(error);
        }
    }
    Ok(started)
}

impl HttpServer {
    /// Accepts no further request, answers those that have arrived, and ends the threads.
    pub fn stop(self) {
        if let Some(door) = self.door {
            door.stop();
        }
        if let Some(socket) = self.socket
            && let Err(error) = std::fs::remove_file(&socket)
        {
            log::info!("the socket {} was not removed: {error}", socket.display());
        }
        drop(self.stopper);
        // One call wakes one waiting thread.
        self.threads.iter().for_each(|_| self.server.unblock());
        self.threads.into_iter().for_each(Handle::join);
        // When it is dropped here, tiny_http connects to its own address to wake its accepting thread, and then removes
        // the socket's file. If the file were removed earlier, that thread would wait for ever, with the socket open.
    }
}

/// A folder for the socket between the door and tiny_http, which no other user may enter. Its lock is held as long as
/// the process lives, however it ends.
struct SocketFolder {
    folder: PathBuf,
    _lock: File,
}

const FOLDER_PREFIX: &str = "tilld-http-";
/// The name of a folder that is not locked yet.
const DRAFT_PREFIX: &str = "tilld-new-";
/// Few, since the path of a socket may have 107 bytes.
const RANDOM_CHARS: usize = 12;
const SOCKET_NAME: &str = "http.sock";
const LOCK_NAME: &str = "lock";

impl SocketFolder {
    fn new() -> io::Result<Self> {
        let parent = std::env::var_os("RUNTIME_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from);
        remove_leftovers(&parent);
        // Random, so that nobody can have put anything there before.
        let random = random_token("").map_err(io::Error::other)?;
        let name = format!("{}-{}", std::process::id(), &random[..RANDOM_CHARS]);
        let [draft, folder] = [DRAFT_PREFIX, FOLDER_PREFIX].map(|prefix| parent.join(format!("{prefix}{name}")));
        std::fs::DirBuilder::new().mode(0o700).create(&draft)?;
        let lock = File::create(draft.join(LOCK_NAME))?;
        lock.try_lock()?;
        // It gets its final name only when it is locked, so that no other process takes it for a leftover.
        std::fs::rename(&draft, &folder)?;
        Ok(Self { folder, _lock: lock })
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET_NAME)
    }
}

/// Removes the folders of processes that were killed: those whose lock nobody holds. Connecting to their sockets would
/// show the same, but tiny_http starts a thread for every connection. In a directory that everybody may write to, what
/// is there need not be ours: only a folder of this user's with a regular file in it is examined, since opening a FIFO
/// waits for ever.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for folder in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX)) {
        let path = folder.path().join(LOCK_NAME);
        let is_ours = folder.metadata().is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
            && std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if is_ours && File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        // What cannot be removed does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn answer_all(server: &tiny_http::Server, stop: &Stop, bodies: &Bodies, handler: &Handler) {
    loop {
        match server.recv() {
            Ok(request) => answer(request, bodies, handler),
            Err(_) if stop.is_given() => return,
            Err(error) => {
                // tiny_http accepts nothing after this; the process must not stay up without answering.
                log::error!("the listener failed: {error}");
                return;
            }
        }
    }
}

fn answer(inner: tiny_http::Request, bodies: &Bodies, handler: &Handler) {
    let request = read(&inner, bodies);
    let reply = Reply { inner: Some(inner), began: Instant::now() };
    // Without its body it would mean something else, and its client no longer waits.
    let Some(request) = request else {
        log::warn!("not done, since the client was answered before a thread was free: {}", reply.label());
        return reply
            .send(ErrorResponse::new(ErrorCode::NoAnswer, "the request was not answered in time; try again").into());
    };
    // The reply is dropped with the handler, and then logs which request it was.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(request, reply))) {
        log::error!("a handler panicked: {}", crate::base::thread::panic_text(panic.as_ref()));
    }
}

/// The answer that is still owed to a request. If it is dropped without having been sent, the client gets a 500.
pub struct Reply {
    inner: Option<tiny_http::Request>,
    began: Instant,
}

impl Reply {
    /// Sends the answer.
    pub fn send(mut self, response: Response) {
        self.respond(response);
    }

    fn respond(&mut self, response: Response) {
        if log::log_enabled!(log::Level::Debug) {
            let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            log::debug!(status = response.status, ms; "{}", self.label());
        }
        let Some(inner) = self.inner.take() else { return };
        if let Err(error) = send(inner, response) {
            log::debug!("an answer was not received: {error}");
        }
    }

    fn label(&self) -> String {
        self.inner.as_ref().map_or_else(String::new, |inner| label(Method::parse(inner.method().as_str()), inner.url()))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.inner.is_some() {
            let error = ErrorResponse::internal(&format!("a handler ended without an answer: {}", self.label()));
            self.respond(error.into());
        }
    }
}

/// A request for the log: without its query, which may contain mail addresses, and on one line, since tiny_http lets a
/// lone line feed in the path pass.
fn label(method: Method, url: &str) -> String {
    let path = url.split('?').next().unwrap_or_default();
    format!("{} {}", method.as_str(), path.escape_debug())
}

/// The request; `None` if its body is gone, because the door no longer waits for the answer.
fn read(inner: &tiny_http::Request, bodies: &Bodies) -> Option<Request> {
    let mut request = Request::new(Method::parse(inner.method().as_str()), inner.url());
    for header in inner.headers() {
        let (name, value) = (header.field.as_str().as_str(), header.value.as_str());
        if name.eq_ignore_ascii_case(PEER_HEADER) {
            request.peer = value.parse().ok();
        } else if name.eq_ignore_ascii_case(BODY_HEADER) {
            request.body = bodies.take(value)?;
        } else {
            request.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    Some(request)
}

fn send(inner: tiny_http::Request, response: Response) -> io::Result<()> {
    let headers = response.headers.iter().filter_map(|(name, value)| header(name, value)).collect();
    let length = response.body.len();
    let body = io::Cursor::new(response.body);
    let response = tiny_http::Response::new(response.status.into(), headers, body, Some(length), None);
    // Always with a Content-Length: the door passes the answer on as it is.
    inner.respond(response.with_chunked_threshold(usize::MAX))
}

/// A header for tiny_http. Control characters could begin another header, so such a header is left out.
fn header(name: &str, value: &str) -> Option<tiny_http::Header> {
    let is_valid = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if !is_valid {
        log::error!("the header {name} of an answer was left out: it contains characters that no header may contain");
        return None;
    }
    tiny_http::Header::from_bytes(name, value).ok()
}

#[cfg(test)]
mod tests;
