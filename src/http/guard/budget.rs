//! The memory that bodies may take while they come. A small body costs nothing here; one that outgrows that reserves the
//! rest of its length at once, and waits until it is there. Reserving all at once means that bodies which wait never
//! hold what others wait for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many bytes of each body are free, so that small requests pass while large ones take their time.
pub(super) const FREE_BYTES: usize = 32 * 1024;

/// How often a body that waits looks whether its connection was told to go.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is larger than this, glibc takes from the system alone and gives back at once (malloc/malloc.c,
/// DEFAULT_MMAP_THRESHOLD_MAX). Anything smaller may stay with whichever thread's memory it came from, and there are many.
const SYSTEM_BYTES: usize = 33 * 1024 * 1024;

/// An empty buffer for a body of `length` bytes. Memory that is not written to is not taken, so a large one reserves
/// addresses beyond need, and all of it is given back when it is dropped. Where addresses are short, it has no more than
/// its length: asking in vain for what is not needed must not end the process.
#[must_use]
pub fn body_buffer(length: usize) -> Vec<u8> {
    let mut buffer = Vec::new();
    if length > FREE_BYTES && buffer.try_reserve_exact(length.max(SYSTEM_BYTES)).is_ok() {
        return buffer;
    }
    Vec::with_capacity(length)
}

#[derive(Debug)]
struct Purse {
    bytes: usize,
    closed: bool,
}

/// What is left for the bodies of a door.
#[derive(Debug)]
pub(super) struct Budget {
    purse: Mutex<Purse>,
    changed: Condvar,
}

/// A reserved part; given back when dropped.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.budget.lock().bytes += self.bytes;
        self.budget.changed.notify_all();
    }
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { purse: Mutex::new(Purse { bytes, closed: false }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Purse> {
        // No code that holds it can leave it half-changed.
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `bytes`, waiting for them until `deadline`, or until `gives_up`.
    pub(super) fn reserve(&self, bytes: usize, deadline: Instant, gives_up: impl Fn() -> bool) -> Option<Lease<'_>> {
        let mut purse = self.lock();
        while purse.bytes < bytes && !purse.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || gives_up() {
                break;
            }
            let waited = self.changed.wait_timeout(purse, left.min(LOOK_EVERY));
            purse = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        purse.bytes = purse.bytes.checked_sub(bytes)?;
        Some(Lease { budget: self, bytes })
    }

    /// Nobody waits any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::thread::{Handle, Threads};

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn what_is_reserved_is_gone_until_it_is_given_back() {
        let budget = Budget::new(10);
        let lease = budget.reserve(8, soon(), || false).unwrap();
        assert!(budget.reserve(3, soon(), || false).is_none());
        let rest = budget.reserve(2, soon(), || false).unwrap();
        drop((lease, rest));
        assert!(budget.reserve(10, soon(), || false).is_some());
    }

    #[test]
    fn many_that_want_more_than_half_all_get_it_in_turn() {
        let budget = Arc::new(Budget::new(10));
        let deadline = Instant::now() + Duration::from_secs(20);
        let (threads, (got, gotten)) = (Threads::default(), crossbeam_channel::bounded(8));
        let work = || {
            let (budget, got) = (Arc::clone(&budget), got.clone());
            move || got.send(budget.reserve(6, deadline, || false).is_some()).unwrap()
        };
        let waiting: Vec<Handle> = (0..8).map(|_| threads.spawn("wants", work()).unwrap()).collect();
        waiting.into_iter().for_each(Handle::join);
        assert_eq!(gotten.try_iter().collect::<Vec<_>>(), [true; 8]);
    }

    #[test]
    fn who_was_told_to_go_waits_no_longer() {
        let budget = Budget::new(0);
        let began = Instant::now();
        assert!(budget.reserve(1, began + Duration::from_secs(60), || true).is_none());
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn closing_ends_every_wait() {
        let budget = Arc::new(Budget::new(0));
        let (threads, waits) = (Threads::default(), Arc::clone(&budget));
        let forever = Instant::now() + Duration::from_secs(600);
        let waiting = threads.spawn("waits", move || assert!(waits.reserve(1, forever, || false).is_none())).unwrap();
        budget.close();
        waiting.join();
        assert_eq!(threads.reports().recv().unwrap().panic, None);
    }
}
