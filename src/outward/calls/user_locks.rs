//! Locks by name: writes for one user, or to one payment intent, follow one another, since Stripe refuses parallel writes to
//! one object, and two requests at once would make two customers for one user. Called by `calls`.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The names that are locked.
#[derive(Default)]
pub(super) struct UserLocks {
    taken: Mutex<HashSet<String>>,
    released: Condvar,
}

/// A lock; released when dropped.
pub(super) struct UserLock<'a> {
    locks: &'a UserLocks,
    name: String,
}

impl UserLocks {
    /// Waits for the lock of that name; `None`: not in time.
    pub(super) fn acquire(&self, name: &str, timeout: Duration) -> Option<UserLock<'_>> {
        let deadline = Instant::now() + timeout;
        let mut taken = self.names();
        while taken.contains(name) {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            taken = self.released.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.insert(name.to_owned());
        Some(UserLock { locks: self, name: name.to_owned() })
    }

    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        // A panic of its holder leaves the set whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserLock<'_> {
    fn drop(&mut self) {
        self.locks.names().remove(&self.name);
        self.locks.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lock_is_had_by_one_until_it_is_released_and_other_names_do_not_wait() {
        let locks = UserLocks::default();
        let first = locks.acquire("a", Duration::ZERO).unwrap();
        assert!(locks.acquire("a", Duration::ZERO).is_none());
        assert!(locks.acquire("b", Duration::ZERO).is_some());
        drop(first);
        assert!(locks.acquire("a", Duration::ZERO).is_some());
    }
}
