//! Who is inside: every open connection, and which of them wait idly. At the cap the one that has been idle longest
//! gives way.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::stream::Stream;

/// A connection's place.
pub(super) type Ticket = u64;

struct Place {
    stream: Stream,
    /// Since when it waits for the first byte of a request; `None` while one is coming or being answered.
    idle_since: Option<Instant>,
    /// It has not asked anything yet.
    fresh: bool,
    /// It was told to go; its thread is about to leave.
    leaving: bool,
}

#[derive(Default)]
struct Inside {
    places: HashMap<Ticket, Place>,
    last: Ticket,
}

/// All connections of a door.
pub(super) struct Registry {
    inside: Mutex<Inside>,
    cap: usize,
}

impl Registry {
    pub(super) fn new(cap: usize) -> Self {
        Self { inside: Mutex::default(), cap }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No code that holds it can leave it half-changed.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a connection a place; `None` when there is none and nobody can give way.
    pub(super) fn enter(&self, stream: &Stream) -> io::Result<Option<Ticket>> {
        let stream = stream.try_clone()?;
        let mut inside = self.lock();
        let staying = inside.places.values().filter(|place| !place.leaving).count();
        if staying >= self.cap && !inside.dismiss_oldest_idle() {
            return Ok(None);
        }
        inside.last = inside.last.wrapping_add(1);
        let ticket = inside.last;
        inside.places.insert(ticket, Place { stream, idle_since: Some(Instant::now()), fresh: true, leaving: false });
        Ok(Some(ticket))
    }

    pub(super) fn leave(&self, ticket: Ticket) {
        self.lock().places.remove(&ticket);
    }

    /// A request is coming, or is being answered.
    pub(super) fn busy(&self, ticket: Ticket) {
        if let Some(place) = self.lock().places.get_mut(&ticket) {
            (place.idle_since, place.fresh) = (None, false);
        }
    }

    /// The connection waits for its next request.
    pub(super) fn idle(&self, ticket: Ticket) {
        if let Some(place) = self.lock().places.get_mut(&ticket) {
            place.idle_since = Some(Instant::now());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().places.is_empty()
    }

    /// Closes those that wait idly. One whose next request has begun to arrive is not idle, though its thread may not
    /// know yet; one that has just come is given its first request, when `but_fresh` says so.
    pub(super) fn close_idle(&self, but_fresh: bool) {
        let mut inside = self.lock();
        let idle = inside.places.values_mut().filter(|place| place.idle_since.is_some() && !place.leaving);
        let asks = |place: &Place| (but_fresh && place.fresh) || place.stream.has_something();
        idle.filter(|place| !asks(place)).for_each(Place::dismiss);
    }

    pub(super) fn close_all(&self) {
        self.lock().places.values_mut().for_each(Place::dismiss);
    }
}

impl Inside {
    fn dismiss_oldest_idle(&mut self) -> bool {
        let idle = self.places.values_mut().filter(|place| !place.leaving && place.idle_since.is_some());
        match idle.min_by_key(|place| place.idle_since) {
            Some(place) => {
                place.dismiss();
                true
            }
            None => false,
        }
    }
}

impl Place {
    fn dismiss(&mut self) {
        self.leaving = true;
        self.stream.shutdown(Shutdown::Both);
    }
}
