//! Threads for requests that may wait for Stripe, so that requests which are answered at once never wait behind them.
//! The number of threads and of requests at once is fixed; one more gets a 503. Requests about one user run one after
//! the other anyway, so few of them may take a thread at once: a user whose calls hang must not block the others. It
//! must never know what a request means. Called by `app::daemon`, which passes the function that answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::error_code::ErrorCode;
use super::request::Request;
use super::response::{ErrorResponse, Response};
use super::server::Reply;
use crate::base::thread::{Handle, Threads};

/// The number of threads; most of them wait for an answer from Stripe, or for a token of the bucket.
const THREADS: usize = 32;
/// The most threads for requests about one user or payment.
const PER_LANE: usize = 2;
/// The most requests at once, including those that wait for a thread.
pub(crate) const IN_HAND: usize = 216;
/// `Retry-After` of a request for which there was no room, in seconds.
const RETRY_AFTER_S: &str = "2";

type StripeJob = (Request, Reply);
/// Answers a request.
pub(crate) type DeferredResponse = dyn Fn(&Request) -> Response + Send + Sync;

/// Passes requests to these threads, which end when it is dropped.
pub(crate) struct StripeThreads {
    jobs: Sender<StripeJob>,
    lanes: Arc<Lanes>,
}

/// The requests at once, by the user or payment that they are about.
struct Lanes {
    most: usize,
    state: Mutex<LaneState>,
}

#[derive(Default)]
struct LaneState {
    in_hand: usize,
    lanes: HashMap<String, RequestLane>,
}

/// Requests about one user or payment.
#[derive(Default)]
struct RequestLane {
    /// How many are on a thread, or in the channel to one.
    running: usize,
    parked: VecDeque<StripeJob>,
}

impl StripeThreads {
    /// Starts the threads, for at most `in_hand` requests at once.
    pub fn start(
        threads: &Threads,
        answer: &Arc<DeferredResponse>,
        in_hand: usize,
    ) -> std::io::Result<(Self, Vec<Handle>)> {
        let most = in_hand.max(1);
        let lanes = Arc::new(Lanes { most, state: Mutex::default() });
        // Room for all that are admitted, so that sending never fails for lack of it.
        let (jobs, waiting) = bounded(most);
        let handles = (0..most.min(THREADS)).map(|number| {
            let (waiting, lanes, answer) = (waiting.clone(), Arc::clone(&lanes), Arc::clone(answer));
            threads.spawn(&format!("call-{number}"), move || work(&waiting, &lanes, answer.as_ref()))
        });
        let handles = handles.collect::<Result<_, _>>()?;
        Ok((Self { jobs, lanes }, handles))
    }

    /// Passes a request on, or refuses it if there is no room.
    pub fn take(&self, request: Request, reply: Reply) {
        let lane = lane_of(&request.path).to_owned();
        let refused = match self.lanes.admit(&lane, (request, reply)) {
            Admitted::Runs(job) => match self.jobs.try_send(job) {
                Ok(()) => return,
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
            },
            Admitted::Parked => return,
            Admitted::Not(job) => job,
        };
        let mut error = ErrorResponse::new(
            ErrorCode::Busy,
            "too many requests are waiting for Stripe; nothing was done, try again",
        );
        error.headers.push(("Retry-After", RETRY_AFTER_S.to_owned()));
        refused.1.send(error.into());
    }
}

enum Admitted {
    Runs(StripeJob),
    Parked,
    Not(StripeJob),
}

impl Lanes {
    fn admit(&self, name: &str, job: StripeJob) -> Admitted {
        let mut state = self.lock();
        if state.in_hand >= self.most {
            return Admitted::Not(job);
        }
        state.in_hand = state.in_hand.saturating_add(1);
        let lane = state.lanes.entry(name.to_owned()).or_default();
        if lane.running >= PER_LANE {
            lane.parked.push_back(job);
            return Admitted::Parked;
        }
        lane.running = lane.running.saturating_add(1);
        Admitted::Runs(job)
    }

    /// Ends a request of a lane. Returns the next one for its thread, if one is parked.
    fn next(&self, name: &str) -> Option<StripeJob> {
        let mut state = self.lock();
        state.in_hand = state.in_hand.saturating_sub(1);
        let lane = state.lanes.get_mut(name)?;
        if let Some(job) = lane.parked.pop_front() {
            return Some(job);
        }
        lane.running = lane.running.saturating_sub(1);
        if lane.running == 0 {
            state.lanes.remove(name);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        // No code that holds the lock can leave the value half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user or payment that a request is about: `/api/v1/users/alice/…`, `/api/v1/payment-intents/pi_1/…`.
fn lane_of(path: &str) -> &str {
    const SEGMENTS: usize = 5;
    path.match_indices('/').nth(SEGMENTS - 1).map_or(path, |(end, _)| path.get(..end).unwrap_or(path))
}

fn work(waiting: &Receiver<StripeJob>, lanes: &Lanes, answer: &DeferredResponse) {
    for job in waiting {
        let mut next = Some(job);
        while let Some((request, reply)) = next {
            // A panic must not end the thread. The dropped reply answers 500.
            let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| answer(&request)));
            match answered {
                Ok(response) => reply.send(response),
                Err(panic) => log::error!("a handler panicked: {}", crate::base::thread::panic_text(panic.as_ref())),
            }
            next = lanes.next(lane_of(&request.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_about_the_same_user_or_payment_are_of_one_lane() {
        assert_eq!(lane_of("/api/v1/users/alice/subscription/cancel"), "/api/v1/users/alice");
        assert_eq!(lane_of("/api/v1/users/alice/customer"), "/api/v1/users/alice");
        assert_eq!(lane_of("/api/v1/payment-intents/pi_1/refund"), "/api/v1/payment-intents/pi_1");
        assert_eq!(lane_of("/healthz"), "/healthz");
    }
}
