//! Threads for requests that may wait for Stripe, so that those that are answered at once never wait behind them. A fixed
//! number of threads and of requests in hand; one more is told to come again. Called by `daemon`, which gives it what
//! answers.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::request::Request;
use super::response::{ApiError, Response};
use super::server::Reply;
use crate::thread::{Handle, Threads};

/// Threads; most of them wait for an answer of Stripe's, or for their turn at the bucket.
const THREADS: usize = 32;
/// Requests in hand at most, those that wait for a thread included.
pub const IN_HAND: usize = 216;
/// Seconds after which a request that found no room comes again.
const COME_AGAIN_S: &str = "2";

type Job = (Request, Reply);
/// Answers a request.
pub type Answer = dyn Fn(&Request) -> Response + Send + Sync;

/// The way to these threads; they end when it is gone.
pub struct Aside {
    jobs: Sender<Job>,
}

impl Aside {
    /// Starts the threads, for so many requests in hand.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(threads: &Threads, answer: &Arc<Answer>, in_hand: usize) -> std::io::Result<(Self, Vec<Handle>)> {
        let count = in_hand.clamp(1, THREADS);
        let (jobs, waiting) = bounded(in_hand.saturating_sub(count));
        let handles = (0..count).map(|number| {
            let (waiting, answer) = (waiting.clone(), Arc::clone(answer));
            threads.spawn(&format!("call-{number}"), move || work(&waiting, answer.as_ref()))
        });
        Ok((Self { jobs }, handles.collect::<Result<_, _>>()?))
    }

    /// Hands a request over, or refuses it when there is no room.
    pub fn take(&self, request: Request, reply: Reply) {
        if let Err(TrySendError::Full((_, reply)) | TrySendError::Disconnected((_, reply))) =
            self.jobs.try_send((request, reply))
        {
            let message = "too many requests wait for Stripe; nothing was done, try again";
            let mut error = ApiError::new(503, "busy", message);
            error.headers.push(("Retry-After", COME_AGAIN_S.to_owned()));
            reply.send(error.into());
        }
    }
}

fn work(waiting: &Receiver<Job>, answer: &Answer) {
    for (request, reply) in waiting {
        // A panic must not end the thread: the reply, dropped, answers 500.
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| answer(&request)));
        match answered {
            Ok(response) => reply.send(response),
            Err(panic) => log::error!("a handler panicked: {}", crate::thread::panic_text(panic.as_ref())),
        }
    }
}
