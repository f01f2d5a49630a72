//! Answers that are held back for a while, on one thread of their own, so that none of the threads that answer waits with
//! them. Their number is fixed; one more is refused at once, so who sends many at a time does not wait. It must never
//! hold back an answer longer than its own time, nor a stop at all. Called by `app::daemon`, which passes it what `dashboard`
//! wants held back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};

use super::response::Response;
use super::server::Reply;
use crate::base::thread::{Handle, Stop, Threads};

/// The most answers that are held back at once. Each holds a connection between the door and tiny_http.
pub(crate) const ROOM: usize = 8;
/// `Retry-After` where there was no room, in seconds.
const RETRY_AFTER_S: &str = "5";

/// An answer and when it is due.
struct HeldAnswer {
    due: Instant,
    response: Response,
    reply: Reply,
}

/// Passes answers to the thread that sends them later.
pub(crate) struct Later {
    held: Sender<HeldAnswer>,
    in_hand: Arc<AtomicUsize>,
}

impl Later {
    /// Starts the thread, which ends when it is time to stop.
    pub(crate) fn start(threads: &Threads, stop: &Stop) -> std::io::Result<(Self, Handle)> {
        let (held, waiting) = bounded(ROOM);
        let in_hand = Arc::new(AtomicUsize::new(0));
        let (stop, counted) = (stop.clone(), Arc::clone(&in_hand));
        let handle = threads.spawn("later", move || work(&waiting, &stop, &counted))?;
        Ok((Self { held, in_hand }, handle))
    }

    /// Sends an answer after that time; a refusal at once, if there is no room for it.
    pub(crate) fn send(&self, after: Duration, response: Response, reply: Reply) {
        let has_room = |count: usize| (count < ROOM).then_some(count.saturating_add(1));
        if self.in_hand.fetch_update(Ordering::SeqCst, Ordering::SeqCst, has_room).is_err() {
            return reply.send(too_many());
        }
        let due = Instant::now().checked_add(after).unwrap_or_else(Instant::now);
        if let Err(unsent) = self.held.try_send(HeldAnswer { due, response, reply }) {
            let unsent = unsent.into_inner();
            unsent.reply.send(unsent.response);
        }
    }
}

fn too_many() -> Response {
    let mut response =
        Response::text(429, "Too many wrong tokens are being answered. Wait a few seconds and try again.\n");
    response.headers.push(("Retry-After", RETRY_AFTER_S.to_owned()));
    response
}

fn work(waiting: &Receiver<HeldAnswer>, stop: &Stop, in_hand: &AtomicUsize) {
    let mut held: Vec<HeldAnswer> = Vec::with_capacity(ROOM);
    loop {
        let timer = held.iter().map(|one| one.due).min().map_or_else(never, at);
        select! {
            recv(waiting) -> one => match one {
                Ok(one) => held.push(one),
                Err(_) => break,
            },
            recv(timer) -> _ => {}
            recv(stop.signal()) -> _ => break,
        }
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = held.into_iter().partition(|one| one.due <= now);
        held = later;
        send_all(due, in_hand);
    }
    held.extend(waiting.try_iter());
    send_all(held, in_hand);
}

fn send_all(answers: Vec<HeldAnswer>, in_hand: &AtomicUsize) {
    for one in answers {
        one.reply.send(one.response);
        in_hand.fetch_sub(1, Ordering::SeqCst);
    }
}
