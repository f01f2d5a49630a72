//! A listener, the guard before it and the threads that answer it. The only file that knows tiny_http; handlers see
//! [`Request`] and [`Response`], and may answer later, on another thread ([`Reply`]). It must never take the process down by
//! a request, nor hold a lock while a handler runs. Called by `daemon`. tiny_http 0.12's faults, and what of them is left
//! to the guard: ARCHITECTURE.md.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::process::geteuid;

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
    /// Beginning of its threads' names.
    pub name: &'static str,
    /// Threads that take requests.
    pub threads: usize,
    /// Requests in hand at once: being taken, or waiting for their answer.
    pub in_hand: usize,
    /// What a client may ask.
    pub limits: DoorLimits,
}

/// A listener that is being answered.
pub struct HttpServer {
    guard: Option<DoorHandle>,
    server: Arc<tiny_http::Server>,
    stopper: Stopper,
    threads: Vec<Handle>,
    /// The public face, where it is a file.
    socket: Option<PathBuf>,
    /// Where the guard meets tiny_http; removed when it is dropped.
    _meeting: TicketTable,
}

/// Starts the threads that answer a listener, and opens the guard's door to it.
///
/// # Errors
/// When the system has no thread or socket to give.
pub fn serve(
    bound: Bound,
    options: ServerOptions,
    threads: &Threads,
    handler: &Arc<Handler>,
) -> io::Result<HttpServer> {
    let meeting = TicketTable::new()?;
    let listener = UnixListener::bind(meeting.socket())?;
    let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
    let (stopper, stop) = stopper();
    let path = meeting.socket();
    let bodies = Arc::new(Bodies::new(options.in_hand));
    let mut started = HttpServer {
        guard: None,
        server: Arc::new(server),
        stopper,
        threads: Vec::new(),
        socket: bound.socket,
        _meeting: meeting,
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
        Ok(guard) => started.guard = Some(guard),
        Err(error) => {
            started.stop();
            return Err(error);
        }
    }
    Ok(started)
}

impl HttpServer {
    /// Takes no further request, answers those in hand, and ends the threads.
    pub fn stop(self) {
        if let Some(guard) = self.guard {
            guard.stop();
        }
        if let Some(socket) = self.socket
            && let Err(error) = std::fs::remove_file(&socket)
        {
            log::info!("the socket {} was not removed: {error}", socket.display());
        }
        drop(self.stopper);
        // One call frees one waiting thread.
        self.threads.iter().for_each(|_| self.server.unblock());
        self.threads.into_iter().for_each(Handle::join);
        // Dropped here, tiny_http calls its own address to free its accepting thread, and then removes its socket's
        // file. Removed any earlier, that thread would be left waiting, with the socket open.
    }
}

/// A folder of our own for the socket between guard and tiny_http. Nobody else may enter it. Its lock is held as long as
/// the process lives, however it ends.
struct TicketTable {
    folder: PathBuf,
    _lock: File,
}

const MEETING_PREFIX: &str = "tilld-http-";
/// A folder that is not locked yet.
const DRAFT_PREFIX: &str = "tilld-new-";
/// Few, since the path of a socket has room for 107 bytes.
const CHANCE_CHARS: usize = 12;
const MEETING_SOCKET: &str = "http.sock";
const MEETING_LOCK: &str = "lock";

impl TicketTable {
    fn new() -> io::Result<Self> {
        let place = std::env::var_os("RUNTIME_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from);
        sweep(&place);
        // By chance, so that nobody can have put something there before.
        let chance = random_token("").map_err(io::Error::other)?;
        let name = format!("{}-{}", std::process::id(), &chance[..CHANCE_CHARS]);
        let [draft, folder] = [DRAFT_PREFIX, MEETING_PREFIX].map(|prefix| place.join(format!("{prefix}{name}")));
        std::fs::DirBuilder::new().mode(0o700).create(&draft)?;
        let lock = File::create(draft.join(MEETING_LOCK))?;
        lock.try_lock()?;
        // It gets the name that others look for when it is locked, so that none takes it for a dead one.
        std::fs::rename(&draft, &folder)?;
        Ok(Self { folder, _lock: lock })
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(MEETING_SOCKET)
    }
}

/// Removes the folders of processes that were killed: those whose lock nobody holds. Calling their sockets would tell as
/// much, but tiny_http starts a thread for every caller. What lies there in a place that everybody may write to need not be
/// ours: only a folder of this user's with a regular file in it is looked at, since opening a FIFO waits for ever.
fn sweep(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for folder in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(MEETING_PREFIX)) {
        let path = folder.path().join(MEETING_LOCK);
        let is_ours = folder.metadata().is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
            && std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if is_ours && File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

impl Drop for TicketTable {
    fn drop(&mut self) {
        // What is left there is in nobody's way.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn answer_all(server: &tiny_http::Server, stop: &Stop, bodies: &Bodies, handler: &Handler) {
    loop {
        match server.recv() {
            Ok(request) => answer(request, bodies, handler),
            Err(_) if stop.is_given() => return,
            Err(error) => {
                // tiny_http accepts nothing after this; the process must not stay up and be deaf.
                log::error!("the listener failed: {error}");
                return;
            }
        }
    }
}

fn answer(inner: tiny_http::Request, bodies: &Bodies, handler: &Handler) {
    let request = read(&inner, bodies);
    let reply = Reply { inner: Some(inner), began: Instant::now() };
    // Without its body it would mean something else, and nobody waits for it any more.
    let Some(request) = request else {
        log::warn!("not done, it was given up before its turn came: {}", reply.label());
        return reply
            .send(ErrorResponse::new(503, "no_answer", "the request was not answered in time; try again").into());
    };
    // The reply goes down with the handler, and then says which request it was.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(request, reply))) {
        log::error!("a handler panicked: {}", crate::base::thread::panic_text(panic.as_ref()));
    }
}

/// The duty to answer a request. Who drops it unsent has failed, and the client is told so.
pub struct Reply {
    inner: Option<tiny_http::Request>,
    began: Instant,
}

impl Reply {
    /// Answers.
    pub fn send(mut self, response: Response) {
        self.respond(response);
    }

    fn respond(&mut self, response: Response) {
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("{} status={} ms={}", self.label(), response.status, self.began.elapsed().as_millis());
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
            let error = ErrorResponse::internal(&format!("given up without an answer: {}", self.label()));
            self.respond(error.into());
        }
    }
}

/// A request as the log names it: without its query, which may hold mail addresses, and on one line, though tiny_http
/// lets a lone line feed pass in the path.
fn label(method: Method, url: &str) -> String {
    let path = url.split('?').next().unwrap_or_default();
    format!("{} {}", method.as_str(), path.escape_debug())
}

/// The request; `None` when its body is gone, as it is once the guard has given the request up.
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
