//! Bodies on their way. The guard has a complete body in memory, and the handler runs in the same process, so only the
//! head goes through the socket to tiny_http, with a ticket for the body. Through the socket it would be copied four
//! times, and a body of over 1,024 bytes makes tiny_http wake up two more threads. The guard puts bodies here, `server`
//! takes them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Header that carries the ticket; one that a client sends is dropped.
pub const BODY_HEADER: &str = "X-Tilld-Body";

/// A place per upstream connection, which carries one request at a time.
pub struct Bodies(Vec<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// Which request of this connection: one that was given up must not take the body of the next.
    turn: u64,
    body: Option<Vec<u8>>,
}

impl Bodies {
    /// For so many connections.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        Self((0..connections).map(|_| Mutex::default()).collect())
    }

    pub(super) fn places(&self) -> usize {
        self.0.len()
    }

    fn lock(&self, place: usize) -> Option<MutexGuard<'_, Waiting>> {
        // No code that holds it can leave it half-changed.
        self.0.get(place).map(|waiting| waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the body of the next request of a connection; the ticket for it.
    pub(super) fn put(&self, place: usize, body: Vec<u8>) -> String {
        let mut turn = 0;
        if let Some(mut waiting) = self.lock(place) {
            waiting.turn = waiting.turn.wrapping_add(1);
            waiting.body = Some(body);
            turn = waiting.turn;
        }
        format!("{place}.{turn}")
    }

    /// The body of a ticket, once.
    #[must_use]
    pub fn take(&self, ticket: &str) -> Option<Vec<u8>> {
        let (place, turn) = ticket.split_once('.')?;
        let mut waiting = self.lock(place.parse().ok()?)?;
        if turn.parse() == Ok(waiting.turn) { waiting.body.take() } else { None }
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
