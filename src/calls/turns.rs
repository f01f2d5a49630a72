//! One at a time for each name: writes for one user, or to one payment intent, follow one another, since Stripe refuses
//! parallel writes to one object, and two customers for one user come from two requests at once. Called by `calls`.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who has a turn.
#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<String>>,
    given_back: Condvar,
}

/// A turn; given back when dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    name: String,
}

impl Turns {
    /// Waits for the turn of that name; `None` when it does not come in time.
    pub(super) fn take(&self, name: &str, patience: Duration) -> Option<Turn<'_>> {
        let deadline = Instant::now() + patience;
        let mut taken = self.lock();
        while taken.contains(name) {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            taken = self.given_back.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.insert(name.to_owned());
        Some(Turn { turns: self, name: name.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        // The set is whole whatever its holder did.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.name);
        self.turns.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_turn_is_had_by_one_until_it_is_given_back_and_other_names_do_not_wait() {
        let turns = Turns::default();
        let first = turns.take("a", Duration::ZERO).unwrap();
        assert!(turns.take("a", Duration::ZERO).is_none());
        assert!(turns.take("b", Duration::ZERO).is_some());
        drop(first);
        assert!(turns.take("a", Duration::ZERO).is_some());
    }
}
