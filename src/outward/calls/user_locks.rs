//! One at a time for each name: writes for one user, or to one payment intent, follow one another, since Stripe refuses
//! parallel writes to one object, and two customers for one user come from two requests at once. Called by `calls`.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who is locked.
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
    /// Waits for the lock of that name; `None` when it does not come in time.
    pub(super) fn take(&self, name: &str, patience: Duration) -> Option<UserLock<'_>> {
        let deadline = Instant::now() + patience;
        let mut taken = self.lock();
        while taken.contains(name) {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            taken = self.released.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.insert(name.to_owned());
        Some(UserLock { locks: self, name: name.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        // The set is whole whatever its holder did.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserLock<'_> {
    fn drop(&mut self) {
        self.locks.lock().remove(&self.name);
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
        let first = locks.take("a", Duration::ZERO).unwrap();
        assert!(locks.take("a", Duration::ZERO).is_none());
        assert!(locks.take("b", Duration::ZERO).is_some());
        drop(first);
        assert!(locks.take("a", Duration::ZERO).is_some());
    }
}
