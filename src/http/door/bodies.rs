//! The bodies of requests; ground for every request. The door has a complete body in memory, and the handler runs in the same
//! process, so only the head goes through the socket to tiny_http, with a ticket for the body. Through the socket a body would be
//! copied four times, and one of more than 1,024 bytes makes tiny_http wake two more threads. It must never give one request the
//! body of another. `connection` puts bodies here, by way of `upstream`; `server` takes them.
//!
//! The memory of bodies that are arriving is limited as well. A small body is free; a larger one reserves the rest of its
//! length at once, and waits until that is available. Since it reserves all at once, a waiting body never holds what others wait
//! for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The header with the ticket; one that a client sends is dropped.
pub const BODY_HEADER: &str = "X-Tilld-Body";

/// A slot for each connection to tiny_http, which carries one request at a time.
pub struct Bodies(Vec<Mutex<BodySlot>>);

#[derive(Default)]
struct BodySlot {
    /// The number of the request on this connection: one that is no longer waited for must not take the body of the next.
    number: u64,
    body: Option<Vec<u8>>,
}

impl Bodies {
    /// Slots for that many connections.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        Self((0..connections).map(|_| Mutex::default()).collect())
    }

    pub(super) fn connections(&self) -> usize {
        self.0.len()
    }

    fn lock(&self, slot: usize) -> Option<MutexGuard<'_, BodySlot>> {
        // No code that holds the lock can leave the value half-changed.
        self.0.get(slot).map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stores the body of the next request on a connection. Returns the ticket for it.
    pub(super) fn put(&self, slot: usize, body: Vec<u8>) -> String {
        let mut number = 0;
        if let Some(mut stored) = self.lock(slot) {
            stored.number = stored.number.wrapping_add(1);
            stored.body = Some(body);
            number = stored.number;
        }
        format!("{slot}.{number}")
    }

    /// The body of a ticket, once.
    #[must_use]
    pub fn take(&self, ticket: &str) -> Option<Vec<u8>> {
        let (slot, number) = ticket.split_once('.')?;
        let mut stored = self.lock(slot.parse().ok()?)?;
        if number.parse() == Ok(stored.number) { stored.body.take() } else { None }
    }
}

/// The bytes of each body that need no reservation, so that small requests pass while large ones arrive slowly.
pub(super) const FREE_BYTES: usize = 32 * 1024;

/// How often a waiting body checks whether its connection is being closed.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// glibc takes anything larger than this directly from the system and gives it back at once (malloc/malloc.c,
/// DEFAULT_MMAP_THRESHOLD_MAX). Anything smaller may stay in the memory of the thread that asked for it, and there are many.
const SYSTEM_BYTES: usize = 33 * 1024 * 1024;

/// An empty buffer for a body of `length` bytes. A large one reserves more addresses than it needs (memory that is not written to
/// is not used), so that all of it is given back when it is dropped. If that many addresses are not available, it reserves
/// only its length: failing to get more than is needed must not end the process.
#[must_use]
pub(crate) fn body_buffer(length: usize) -> Vec<u8> {
    let mut buffer = Vec::new();
    if length > FREE_BYTES && buffer.try_reserve_exact(length.max(SYSTEM_BYTES)).is_ok() {
        return buffer;
    }
    Vec::with_capacity(length)
}

#[derive(Debug)]
struct RemainingBytes {
    bytes: usize,
    closed: bool,
}

/// The memory for the bodies of a door.
#[derive(Debug)]
pub(super) struct Budget {
    remaining: Mutex<RemainingBytes>,
    changed: Condvar,
}

/// Reserved memory; given back when it is dropped.
#[derive(Debug)]
pub(super) struct ReservedBytes<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Drop for ReservedBytes<'_> {
    fn drop(&mut self) {
        self.budget.lock().bytes += self.bytes;
        self.budget.changed.notify_all();
    }
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { remaining: Mutex::new(RemainingBytes { bytes, closed: false }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, RemainingBytes> {
        // No code that holds the lock can leave the value half-changed.
        self.remaining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `bytes`, waiting for them until `deadline`, or until `gives_up` says so.
    pub(super) fn reserve(
        &self,
        bytes: usize,
        deadline: Instant,
        gives_up: impl Fn() -> bool,
    ) -> Option<ReservedBytes<'_>> {
        let mut remaining = self.lock();
        while remaining.bytes < bytes && !remaining.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || gives_up() {
                break;
            }
            let waited = self.changed.wait_timeout(remaining, left.min(CHECK_EVERY));
            remaining = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        remaining.bytes = remaining.bytes.checked_sub(bytes)?;
        Some(ReservedBytes { budget: self, bytes })
    }

    /// Ends all waiting.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_once_and_only_by_its_own_request() {
        let bodies = Bodies::new(2);
        let given_up = bodies.put(1, b"old".to_vec());
        let ticket = bodies.put(1, b"new".to_vec());
        assert_eq!(bodies.take(&given_up), None);
        assert_eq!(bodies.take(&ticket).as_deref(), Some(&b"new"[..]));
        assert_eq!(bodies.take(&ticket), None);
        for ticket in ["", "1", "1.", "7.1", "-1.1", "1.x", "0.0"] {
            assert_eq!(bodies.take(ticket), None, "{ticket}");
        }
    }
}

#[cfg(test)]
mod budget_tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::base::thread::{Handle, Threads};

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn what_is_reserved_is_not_available_until_it_is_given_back() {
        let budget = Budget::new(10);
        let first = budget.reserve(8, soon(), || false).unwrap();
        assert!(budget.reserve(3, soon(), || false).is_none());
        let rest = budget.reserve(2, soon(), || false).unwrap();
        drop((first, rest));
        assert!(budget.reserve(10, soon(), || false).is_some());
    }

    #[test]
    fn many_that_want_more_than_half_all_get_it_one_after_the_other() {
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
    fn a_connection_that_is_being_closed_waits_no_longer() {
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
