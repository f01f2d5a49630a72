//! The time of day. The only place that reads the system clock; everything else is handed a
//! [`Clock`] or, better, the time itself. Must never sleep or decide anything. Made in the daemon
//! and in the tests, passed down to the threads.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a thread gets the time from, so that a test can move it.
pub trait Clock: Send + Sync {
    /// Unix time in milliseconds, as in our own `…_ms` columns.
    fn now_ms(&self) -> i64;

    /// Unix time in whole seconds, as in Stripe's own times, rounded down.
    fn now_s(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }
}

/// The clock of the machine. A clock set before 1970 reads as 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[allow(clippy::disallowed_methods)] // the one place
impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved. Share it between threads in an `Arc`.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
}

impl ManualClock {
    /// A clock standing at `now_ms` (unix milliseconds).
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self { now_ms: AtomicI64::new(now_ms) }
    }

    /// Puts the clock to `now_ms` (unix milliseconds), forwards or back.
    pub fn set(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }

    /// Moves the clock by `by_ms` milliseconds; a negative number moves it back.
    pub fn advance(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_system_clock_is_past_the_day_this_was_written() {
        assert!(SystemClock.now_s() > 1_700_000_000);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told_and_for_all_its_owners() {
        let clock = Arc::new(ManualClock::new(1_999));
        let seen: Arc<dyn Clock> = clock.clone();
        assert_eq!((seen.now_ms(), seen.now_s()), (1_999, 1));
        clock.advance(1);
        assert_eq!((seen.now_ms(), seen.now_s()), (2_000, 2));
        clock.set(-1);
        assert_eq!((seen.now_ms(), seen.now_s()), (-1, -1));
    }
}
