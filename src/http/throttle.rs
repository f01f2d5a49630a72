//! What is refused in masses is told in few lines: of each kind the first few of a minute, then one line with how many more
//! there were. Everything is counted. It must never hold more kinds than its caller has; so a kind is never a text of
//! a client's. Used by `webhook` and by the guard.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many of each kind have a line of their own
const LINES: u32 = 10;
/// in so long.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct RefusalKind {
    count: u64,
    began: Instant,
    lines: u32,
    untold: u64,
}

/// Counts what is refused, and says what of it is worth a line.
#[derive(Debug, Default)]
pub struct Throttle {
    kinds: Mutex<BTreeMap<String, RefusalKind>>,
    /// Saves the lock where nothing waits to be told.
    owes: AtomicBool,
}

impl Throttle {
    /// Counts one; whether it is to be told now.
    pub(crate) fn admit(&self, kind: &str, now: Instant) -> bool {
        let mut kinds = self.lock();
        let new = || RefusalKind { count: 0, began: now, lines: 0, untold: 0 };
        let known = kinds.entry(kind.to_owned()).or_insert_with(new);
        known.count += 1;
        if now.duration_since(known.began) >= WINDOW {
            (known.began, known.lines) = (now, 0);
        }
        if known.lines < LINES {
            known.lines += 1;
            return true;
        }
        known.untold += 1;
        self.owes.store(true, Ordering::SeqCst);
        false
    }

    /// Kinds whose minute is over, and how many of each had no line.
    pub fn more(&self, now: Instant) -> Vec<(String, u64)> {
        if !self.owes.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut kinds = self.lock();
        let is_due = |kind: &RefusalKind| kind.untold > 0 && now.duration_since(kind.began) >= WINDOW;
        let due = kinds.iter_mut().filter(|(_, kind)| is_due(kind)).map(|(name, kind)| {
            (kind.began, kind.lines) = (now, 0);
            (name.clone(), std::mem::take(&mut kind.untold))
        });
        let due = due.collect();
        self.owes.store(kinds.values().any(|kind| kind.untold > 0), Ordering::SeqCst);
        due
    }

    /// How many there have been of each kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().iter().map(|(name, kind)| (name.clone(), kind.count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RefusalKind>> {
        // No code that holds it can leave it half-changed.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_have_lines_and_the_others_a_number_a_minute() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let told = |kind, at, count| (0..count).filter(|_| throttle.admit(kind, at)).count();
        assert_eq!(told("stale", start, 51), 10);
        assert_eq!(told("missing", start, 1), 1);
        assert_eq!(throttle.more(after(59)), []);
        assert_eq!(throttle.more(after(60)), [("stale".to_owned(), 41)]);
        assert_eq!(throttle.more(after(300)), []);
        assert_eq!(told("stale", after(300), 12), 10, "after a silence they are told again");
        assert_eq!(throttle.counts(), [("missing".to_owned(), 1), ("stale".to_owned(), 63)].into());
    }
}
