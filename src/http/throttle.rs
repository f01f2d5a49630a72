//! Keeps refusals from flooding the log: of each kind the first few of a minute get a line, the others one line with their number.
//! All are counted. The caller must have a fixed set of kinds: a kind must never be a client's text. Used by `public` and by
//! `door`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many of each kind get a line of their own
const LINES: u32 = 10;
/// within this time.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct RefusalKind {
    count: u64,
    began: Instant,
    lines: u32,
    unlogged: u64,
}

/// Counts refusals, and decides which of them are logged.
#[derive(Debug, Default)]
pub struct Throttle {
    kinds: Mutex<BTreeMap<String, RefusalKind>>,
    /// Saves taking the lock if all refusals have been logged.
    has_unlogged: AtomicBool,
}

impl Throttle {
    /// Counts a refusal. Returns whether it should be logged now.
    pub(crate) fn admit(&self, kind: &str, now: Instant) -> bool {
        let mut kinds = self.lock();
        let new = || RefusalKind { count: 0, began: now, lines: 0, unlogged: 0 };
        let known = kinds.entry(kind.to_owned()).or_insert_with(new);
        known.count += 1;
        if now.duration_since(known.began) >= WINDOW {
            (known.began, known.lines) = (now, 0);
        }
        if known.lines < LINES {
            known.lines += 1;
            return true;
        }
        known.unlogged += 1;
        self.has_unlogged.store(true, Ordering::SeqCst);
        false
    }

    /// The kinds whose minute is over, with how many of each got no line.
    pub fn more(&self, now: Instant) -> Vec<(String, u64)> {
        if !self.has_unlogged.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut kinds = self.lock();
        let is_due = |kind: &RefusalKind| kind.unlogged > 0 && now.duration_since(kind.began) >= WINDOW;
        let due = kinds.iter_mut().filter(|(_, kind)| is_due(kind)).map(|(name, kind)| {
            (kind.began, kind.lines) = (now, 0);
            (name.clone(), std::mem::take(&mut kind.unlogged))
        });
        let due = due.collect();
        self.has_unlogged.store(kinds.values().any(|kind| kind.unlogged > 0), Ordering::SeqCst);
        due
    }

    /// How many refusals of each kind there have been.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().iter().map(|(name, kind)| (name.clone(), kind.count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RefusalKind>> {
        // No code that holds the lock can leave the value half-changed.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_get_lines_and_the_others_a_number_once_a_minute() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let logged = |kind, at, count| (0..count).filter(|_| throttle.admit(kind, at)).count();
        assert_eq!(logged("stale", start, 51), 10);
        assert_eq!(logged("missing", start, 1), 1);
        assert_eq!(throttle.more(after(59)), []);
        assert_eq!(throttle.more(after(60)), [("stale".to_owned(), 41)]);
        assert_eq!(throttle.more(after(300)), []);
        assert_eq!(logged("stale", after(300), 12), 10, "after a pause they are logged again");
        assert_eq!(throttle.counts(), [("missing".to_owned(), 1), ("stale".to_owned(), 63)].into());
    }
}
