//! The one token bucket of all calls to Stripe: so many a second, interactive before background, first come first
//! served within a class. [`BucketCore`] is pure; [`Bucket`] waits for it. Must never know what is called. Used by `client.rs`.
//!
//! Each waiting thread has a condition variable of its own, and only the one whose turn is next is woken: two hundred
//! waiting callers do not all wake for each token.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stripe::call::Priority;

const SECOND_NS: u64 = 1_000_000_000;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BucketTicket(u64);

/// The answer to a waiting caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketTurn {
    /// It has a token, and its ticket is used up.
    Go,
    /// It is the next; there is a token after this time.
    In(Duration),
    /// Others are before it.
    Behind,
}

/// The bucket without its clock. Times are durations since one fixed moment and are handed in.
#[derive(Debug)]
pub(crate) struct BucketCore {
    /// What a token costs, in nanoseconds of time.
    price_ns: u64,
    /// The most that is saved up.
    full_ns: u64,
    saved_ns: u64,
    /// Up to when time has been turned into savings; ahead of now during a pause.
    reckoned_ns: u64,
    last_ticket: u64,
    interactive: VecDeque<BucketTicket>,
    background: VecDeque<BucketTicket>,
}

impl BucketCore {
    /// A full bucket of `burst` tokens that gets `per_s` a second; neither is less than one.
    #[must_use]
    pub(crate) fn new(per_s: u32, burst: u32) -> Self {
        // Rounded up: rather too slow by a nanosecond than too fast.
        let price_ns = SECOND_NS.div_ceil(u64::from(per_s.max(1)));
        let full_ns = price_ns.saturating_mul(u64::from(burst.max(1)));
        let (interactive, background) = (VecDeque::new(), VecDeque::new());
        Self { price_ns, full_ns, saved_ns: full_ns, reckoned_ns: 0, last_ticket: 0, interactive, background }
    }

    /// Takes a place at the end of its class's queue.
    pub(crate) fn join(&mut self, priority: Priority) -> BucketTicket {
        self.last_ticket += 1;
        let ticket = BucketTicket(self.last_ticket);
        match priority {
            Priority::Interactive => self.interactive.push_back(ticket),
            Priority::Background => self.background.push_back(ticket),
        }
        ticket
    }

    /// Whose turn is next: the first interactive caller, and a background caller only if none is waiting.
    #[must_use]
    pub(crate) fn next(&self) -> Option<BucketTicket> {
        self.interactive.front().or(self.background.front()).copied()
    }

    /// What the holder of `ticket` may do at `now`.
    pub(crate) fn at(&mut self, now: Duration, ticket: BucketTicket) -> BucketTurn {
        let now_ns = nanoseconds(now);
        let earned_ns = now_ns.saturating_sub(self.reckoned_ns);
        self.saved_ns = self.saved_ns.saturating_add(earned_ns).min(self.full_ns);
        self.reckoned_ns = self.reckoned_ns.max(now_ns);
        if self.next() != Some(ticket) {
            return BucketTurn::Behind;
        }
        let Some(left_ns) = self.saved_ns.checked_sub(self.price_ns) else {
            let pause_ns = self.reckoned_ns - now_ns;
            return BucketTurn::In(Duration::from_nanos(pause_ns.saturating_add(self.price_ns - self.saved_ns)));
        };
        self.saved_ns = left_ns;
        self.leave(ticket);
        BucketTurn::Go
    }

    /// Gives a place up.
    pub(crate) fn leave(&mut self, ticket: BucketTicket) {
        // Tickets rise within a queue.
        for queue in [&mut self.interactive, &mut self.background] {
            if let Ok(place) = queue.binary_search(&ticket) {
                queue.remove(place);
            }
        }
    }

    /// Pours everything out, and lets nothing in for `pause`.
    pub(crate) fn empty(&mut self, now: Duration, pause: Duration) {
        self.saved_ns = 0;
        self.reckoned_ns = self.reckoned_ns.max(nanoseconds(now.saturating_add(pause)));
    }

    /// Callers waiting: interactive, background.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.interactive.len(), self.background.len())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Why a caller got no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Not in its time.
    TimedOut,
    /// [`Bucket::close`] was called.
    Closed,
}

struct BucketState {
    core: BucketCore,
    doors: BTreeMap<BucketTicket, Arc<Condvar>>,
    closed: bool,
}

impl BucketState {
    fn wake_next(&self) {
        if let Some(door) = self.core.next().and_then(|ticket| self.doors.get(&ticket)) {
            door.notify_one();
        }
    }
}

/// The bucket that threads wait at.
pub(crate) struct Bucket {
    state: Mutex<BucketState>,
    /// Those who rest between two attempts wait here, for their time or for the end.
    resting: Condvar,
    began: Instant,
}

impl Bucket {
    /// See [`BucketCore::new`].
    #[must_use]
    pub(crate) fn new(per_s: u32, burst: u32) -> Self {
        let state = BucketState { core: BucketCore::new(per_s, burst), doors: BTreeMap::new(), closed: false };
        Self { state: Mutex::new(state), resting: Condvar::new(), began: Instant::now() }
    }

    /// Waits for a token, at most for `limit`.
    ///
    /// # Errors
    /// [`NoTurn`]: no token was taken.
    pub(crate) fn take(&self, priority: Priority, limit: Duration) -> Result<(), NoTurn> {
        let asked = Instant::now();
        let door = Arc::new(Condvar::new());
        let mut state = self.lock();
        let ticket = state.core.join(priority);
        state.doors.insert(ticket, Arc::clone(&door));
        let outcome = loop {
            if state.closed {
                break Err(NoTurn::Closed);
            }
            let left = limit.saturating_sub(asked.elapsed());
            let wait = match state.core.at(self.began.elapsed(), ticket) {
                BucketTurn::Go => break Ok(()),
                _ if left.is_zero() => break Err(NoTurn::TimedOut),
                // Hopeless: better refused now than after the wait, and the token goes to another.
                BucketTurn::In(wait) if wait > left => break Err(NoTurn::TimedOut),
                BucketTurn::In(wait) => wait,
                BucketTurn::Behind => left,
            };
            let (woken, _) = door.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = woken;
        };
        state.core.leave(ticket);
        state.doors.remove(&ticket);
        state.wake_next();
        outcome
    }

    /// Stripe has said that calls came too fast: nobody calls for `pause`.
    pub(crate) fn empty(&self, pause: Duration) {
        self.lock().core.empty(self.began.elapsed(), pause);
    }

    /// Waits for `pause`; `false` if the bucket was closed before its end.
    #[must_use]
    pub(crate) fn rest(&self, pause: Duration) -> bool {
        let state = self.lock();
        let resting = self.resting.wait_timeout_while(state, pause, |state| !state.closed);
        let (state, _) = resting.unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    /// Sends everybody away who waits or rests, now and from now on: the daemon is stopping.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.doors.values().for_each(|door| door.notify_one());
        self.resting.notify_all();
    }

    /// Whether it was closed.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Callers waiting: interactive, background.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.lock().core.waiting()
    }

    fn lock(&self) -> MutexGuard<'_, BucketState> {
        // Nothing panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
