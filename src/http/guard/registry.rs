//! Who is inside: every open connection, and what it is doing. At the cap the one that has been idle longest gives way.
//! A request costs no lock here, only a change of its place's state.

use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::stream::Socket;

type Ticket = u64;

/// So many that were told to go may still be going when others have taken their places.
const LEAVING_AT_MOST: usize = 32;
/// How long a new connection waits for them.
const LEAVING_WAIT: Duration = Duration::from_secs(1);

/// A request is coming.
const ARRIVING: u64 = 0;
/// A request is being answered.
const ANSWERING: u64 = 1;
/// It was told to go; its thread is about to leave.
const LEAVING: u64 = 2;
/// From here on: it waits for the first byte of a request. The smaller, the longer.
const IDLE: u64 = 3;

/// A connection's place.
pub(super) struct Place {
    pub(super) socket: Socket,
    state: AtomicU64,
    /// It has not asked anything yet.
    fresh: AtomicBool,
}

impl Place {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, state: AtomicU64::new(LEAVING), fresh: AtomicBool::new(true) }
    }

    /// A request is coming; false when the connection was told to go a moment earlier.
    pub(super) fn arriving(&self) -> bool {
        self.fresh.store(false, Ordering::SeqCst);
        self.change(ARRIVING)
    }

    /// The request is complete and is being answered.
    pub(super) fn answering(&self) -> bool {
        self.change(ANSWERING)
    }

    /// The connection waits for its next request, or is not worth keeping.
    pub(super) fn idle(&self, seat: &Seat) {
        self.change(seat.registry.turn());
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.state.load(Ordering::SeqCst) == LEAVING
    }

    fn change(&self, to: u64) -> bool {
        let staying = |state| (state != LEAVING).then_some(to);
        self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, staying).is_ok()
    }

    /// Tells it to go, if its state is still `seen`. Its thread wakes up and can still say why.
    fn dismiss(&self, seen: u64) -> bool {
        let told = self.state.compare_exchange(seen, LEAVING, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if told {
            self.socket.shutdown(Shutdown::Read);
        }
        told
    }
}

#[derive(Default)]
struct Inside {
    places: HashMap<Ticket, Arc<Place>>,
    last: Ticket,
}

/// All connections of a door.
pub(super) struct Registry {
    inside: Mutex<Inside>,
    left: Condvar,
    cap: usize,
    /// How often a connection became idle, counted from `IDLE`.
    turns: AtomicU64,
}

/// The right to be inside; given back when dropped.
pub(super) struct Seat {
    registry: Arc<Registry>,
    ticket: Ticket,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.lock().places.remove(&self.ticket);
        self.registry.left.notify_one();
    }
}

impl Registry {
    pub(super) fn new(cap: usize) -> Self {
        Self { inside: Mutex::default(), left: Condvar::new(), cap, turns: AtomicU64::new(IDLE) }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No code that holds it can leave it half-changed.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next turn in the order of becoming idle.
    fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::SeqCst)
    }

    /// Gives a connection a place; `None` when there is none and nobody can give way.
    pub(super) fn enter(self: &Arc<Self>, place: &Arc<Place>) -> Option<Seat> {
        let mut inside = self.lock();
        if inside.places.len() >= self.cap {
            if !inside.make_room(self.cap) {
                return None;
            }
            // A burst must not make more threads than the cap and a few.
            let crowded = |inside: &mut Inside| inside.places.len() >= self.cap + LEAVING_AT_MOST;
            let waited = self.left.wait_timeout_while(inside, LEAVING_WAIT, crowded);
            inside = waited.unwrap_or_else(PoisonError::into_inner).0;
            if crowded(&mut inside) {
                return None;
            }
        }
        inside.last = inside.last.wrapping_add(1);
        let ticket = inside.last;
        place.state.store(self.turn(), Ordering::SeqCst);
        inside.places.insert(ticket, Arc::clone(place));
        Some(Seat { registry: Arc::clone(self), ticket })
    }

    /// Tells the connection that has been idle longest to go; false when none is idle.
    pub(super) fn dismiss_oldest_idle(&self) -> bool {
        self.lock().dismiss_oldest_idle()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().places.is_empty()
    }

    /// Closes those that wait idly. One whose next request has begun to arrive is not idle, though its thread may not
    /// know yet; one that has just come is given its first request.
    pub(super) fn close_idle_but_fresh(&self) {
        self.close(|state, place| {
            state >= IDLE && !place.fresh.load(Ordering::SeqCst) && !place.socket.has_something()
        });
    }

    /// Idle ones, and those whose request is not complete.
    pub(super) fn close_unanswered(&self) {
        self.close(|state, _| state >= IDLE || state == ARRIVING);
    }

    pub(super) fn close_all(&self) {
        self.lock().places.values().for_each(|place| {
            place.state.store(LEAVING, Ordering::SeqCst);
            place.socket.shutdown(Shutdown::Both);
        });
    }

    fn close(&self, is_meant: impl Fn(u64, &Place) -> bool) {
        for place in self.lock().places.values() {
            let state = place.state.load(Ordering::SeqCst);
            if is_meant(state, place) {
                place.dismiss(state);
            }
        }
    }
}

impl Inside {
    /// Whether there is a place among `cap`, if need be by sending somebody away.
    fn make_room(&mut self, cap: usize) -> bool {
        self.places.values().filter(|place| !place.is_leaving()).count() < cap || self.dismiss_oldest_idle()
    }

    fn dismiss_oldest_idle(&mut self) -> bool {
        loop {
            let states = self.places.values().map(|place| (place.state.load(Ordering::SeqCst), place));
            match states.filter(|(state, _)| *state >= IDLE).min_by_key(|(state, _)| *state) {
                None => return false,
                Some((state, place)) if place.dismiss(state) => return true,
                // Its request came at this moment; it stays, another goes.
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place() -> (Arc<Place>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Arc::new(Place::new(Socket::Unix(ours))), theirs)
    }

    #[test]
    fn at_the_cap_the_oldest_idle_one_goes_and_never_a_busy_one() {
        let registry = Arc::new(Registry::new(3));
        let [(busy, _a), (old, _b), (young, _c), (next, _d), (last, _e)] = std::array::from_fn(|_| place());
        let _seats: Vec<Seat> = [&busy, &old, &young].map(|place| registry.enter(place).unwrap()).into();
        assert!(busy.arriving());
        let newcomer = registry.enter(&next).unwrap();
        assert_eq!([&busy, &old, &young].map(|place| place.is_leaving()), [false, true, false]);
        // What is told to go takes no request any more.
        assert!(!old.arriving() && !old.answering());
        assert!(young.arriving() && next.arriving());
        assert!(registry.enter(&last).is_none());
        drop(newcomer);
        assert!(registry.enter(&last).is_some());
    }

    #[test]
    fn a_seat_dropped_by_whatever_way_frees_its_place() {
        let registry = Arc::new(Registry::new(1));
        let (place, _other) = place();
        drop(registry.enter(&place).unwrap());
        assert!(registry.is_empty());
    }

    #[test]
    fn a_stop_closes_what_is_idle_then_what_is_incomplete_and_lets_answers_end() {
        let registry = Arc::new(Registry::new(5));
        let [(idle, _a), (fresh, _b), (asking, mut client), (arriving, _d), (answering, _e)] =
            std::array::from_fn(|_| place());
        let all = [&idle, &fresh, &asking, &arriving, &answering];
        let seats: Vec<Seat> = all.map(|place| registry.enter(place).unwrap()).into();
        for (place, seat) in [(&idle, &seats[0]), (&asking, &seats[2])] {
            assert!(place.arriving());
            place.idle(seat);
        }
        client.write_all(b"GET").unwrap();
        assert!(arriving.arriving() && answering.answering());
        let leaving = || all.map(|place| place.is_leaving());
        registry.close_idle_but_fresh();
        assert_eq!(leaving(), [true, false, false, false, false], "who has just come, or asks, is answered");
        registry.close_unanswered();
        assert_eq!(leaving(), [true, true, true, true, false]);
        registry.close_all();
        assert_eq!(leaving(), [true; 5]);
    }
}
