//! Who is inside: every open connection, and what it is doing. At the cap the one that has been idle longest gives way;
//! where none is idle, the one whose request has been coming longest, or whose answer has been leaving longest, once that
//! has taken more than [`PATIENCE`]: otherwise whoever sends half a request often enough would keep everybody out.
//! A request costs no lock here, only a change of its slot's state.

use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stream::ClientSocket;

type SeatTicket = u64;

/// So many that were told to go may still be going when others have taken their slots.
const LEAVING_AT_MOST: usize = 32;
/// How long a new connection waits for them.
const LEAVING_WAIT: Duration = Duration::from_secs(1);

/// How long a request may take to come, or an answer to be taken, before its connection gives way at the cap.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a connection is doing, in one number: the kind in its lowest bits, and above them since when, so that a change
/// and a return between looking and acting are noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RegistryState(u64);

/// A request is coming; above it the millisecond since the door was opened.
const ARRIVING: u64 = 0;
/// A request is being answered: it is ours to end, so it stays.
const ANSWERING: u64 = 1;
/// It was told to go; its thread is about to leave.
const LEAVING: u64 = 2;
/// It waits for the first byte of a request; above it its turn: the smaller, the longer.
const IDLE: u64 = 3;
/// Its answer is being written; above it the millisecond since the door was opened.
const TAKING: u64 = 4;
const KIND_BITS: u32 = 3;

impl RegistryState {
    const LEAVING: Self = Self(LEAVING);

    const fn new(kind: u64, since: u64) -> Self {
        Self(since << KIND_BITS | kind)
    }

    const fn kind(self) -> u64 {
        self.0 & ((1 << KIND_BITS) - 1)
    }

    const fn since(self) -> u64 {
        self.0 >> KIND_BITS
    }
}

/// A connection's slot.
pub(super) struct Slot {
    pub(super) socket: ClientSocket,
    state: AtomicU64,
    /// It has not asked anything yet.
    fresh: AtomicBool,
}

impl Slot {
    pub(super) fn new(socket: ClientSocket) -> Self {
        Self { socket, state: AtomicU64::new(RegistryState::LEAVING.0), fresh: AtomicBool::new(true) }
    }

    /// A request is coming; false when the connection was told to go a moment earlier.
    pub(super) fn arriving(&self, seat: &Seat) -> bool {
        self.fresh.store(false, Ordering::SeqCst);
        self.change(RegistryState::new(ARRIVING, seat.registry.now_ms()))
    }

    /// The request is complete and is being answered.
    pub(super) fn answering(&self) -> bool {
        self.change(RegistryState::new(ANSWERING, 0))
    }

    /// The answer is there, and is being taken by the client.
    pub(super) fn taking(&self, seat: &Seat) -> bool {
        self.change(RegistryState::new(TAKING, seat.registry.now_ms()))
    }

    /// The connection waits for its next request, or is not worth keeping.
    pub(super) fn idle(&self, seat: &Seat) {
        self.change(RegistryState::new(IDLE, seat.registry.turn()));
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.state() == RegistryState::LEAVING
    }

    fn state(&self) -> RegistryState {
        RegistryState(self.state.load(Ordering::SeqCst))
    }

    fn change(&self, to: RegistryState) -> bool {
        let staying = |state| (state != RegistryState::LEAVING.0).then_some(to.0);
        self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, staying).is_ok()
    }

    /// Tells it to go, if its state is still `seen`. Its thread wakes up and can still say why; where it is writing, only
    /// the end of the connection wakes it.
    fn dismiss(&self, seen: RegistryState) -> bool {
        let leaving = RegistryState::LEAVING.0;
        let told = self.state.compare_exchange(seen.0, leaving, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if told {
            let how = if seen.kind() == TAKING { Shutdown::Both } else { Shutdown::Read };
            self.socket.shutdown(how);
        }
        told
    }
}

#[derive(Default)]
struct Inside {
    slots: HashMap<SeatTicket, Arc<Slot>>,
    last: SeatTicket,
}

/// All connections of a door.
pub(super) struct Registry {
    inside: Mutex<Inside>,
    left: Condvar,
    cap: usize,
    /// How often a connection became idle.
    turns: AtomicU64,
    opened: Instant,
}

/// The right to be inside; given back when dropped.
pub(super) struct Seat {
    registry: Arc<Registry>,
    ticket: SeatTicket,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.lock().slots.remove(&self.ticket);
        self.registry.left.notify_one();
    }
}

impl Registry {
    pub(super) fn new(cap: usize) -> Self {
        let (left, turns) = (Condvar::new(), AtomicU64::new(0));
        Self { inside: Mutex::default(), left, cap, turns, opened: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No code that holds it can leave it half-changed.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next turn in the order of becoming idle.
    fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::SeqCst)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX >> KIND_BITS)
    }

    /// Gives a connection a slot; `None` when there is none and nobody can give way.
    pub(super) fn enter(self: &Arc<Self>, slot: &Arc<Slot>) -> Option<Seat> {
        let mut inside = self.lock();
        if inside.slots.len() >= self.cap {
            if !inside.make_room(self.cap, self.now_ms()) {
                return None;
            }
            // A burst must not make more threads than the cap and a few.
            let crowded = |inside: &mut Inside| inside.slots.len() >= self.cap + LEAVING_AT_MOST;
            let waited = self.left.wait_timeout_while(inside, LEAVING_WAIT, crowded);
            inside = waited.unwrap_or_else(PoisonError::into_inner).0;
            if crowded(&mut inside) {
                return None;
            }
        }
        inside.last = inside.last.wrapping_add(1);
        let ticket = inside.last;
        slot.state.store(RegistryState::new(IDLE, self.turn()).0, Ordering::SeqCst);
        inside.slots.insert(ticket, Arc::clone(slot));
        Some(Seat { registry: Arc::clone(self), ticket })
    }

    /// Tells the connection that has been idle longest to go; false when none is idle.
    pub(super) fn dismiss_oldest_idle(&self) -> bool {
        self.lock().dismiss_oldest_idle()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    /// Closes those that wait idly. One whose next request has begun to arrive is not idle, though its thread may not
    /// know yet; one that has just come is given its first request.
    pub(super) fn close_idle_but_fresh(&self) {
        self.close(|state, slot| {
            state.kind() == IDLE && !slot.fresh.load(Ordering::SeqCst) && !slot.socket.has_something()
        });
    }

    /// Idle ones, and those whose request is not complete.
    pub(super) fn close_unanswered(&self) {
        self.close(|state, _| matches!(state.kind(), IDLE | ARRIVING));
    }

    pub(super) fn close_all(&self) {
        self.lock().slots.values().for_each(|slot| {
            slot.state.store(RegistryState::LEAVING.0, Ordering::SeqCst);
            slot.socket.shutdown(Shutdown::Both);
        });
    }

    fn close(&self, is_meant: impl Fn(RegistryState, &Slot) -> bool) {
        for slot in self.lock().slots.values() {
            let state = slot.state();
            if is_meant(state, slot) {
                slot.dismiss(state);
            }
        }
    }
}

impl Inside {
    /// Whether there is a slot among `cap`, if need be by sending somebody away.
    fn make_room(&mut self, cap: usize, now_ms: u64) -> bool {
        self.slots.values().filter(|slot| !slot.is_leaving()).count() < cap
            || self.dismiss_oldest_idle()
            || self.dismiss_slowest(now_ms)
    }

    fn dismiss_oldest_idle(&mut self) -> bool {
        self.dismiss_oldest(|state| state.kind() == IDLE)
    }

    /// The one that has kept us waiting longest, if it is too long.
    fn dismiss_slowest(&mut self, now_ms: u64) -> bool {
        let patience_ms = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        let is_slow = |state: RegistryState| now_ms.saturating_sub(state.since()) > patience_ms;
        self.dismiss_oldest(|state| matches!(state.kind(), ARRIVING | TAKING) && is_slow(state))
    }

    fn dismiss_oldest(&mut self, is_meant: impl Fn(RegistryState) -> bool) -> bool {
        loop {
            let states = self.slots.values().map(|slot| (slot.state(), slot));
            match states.filter(|(state, _)| is_meant(*state)).min_by_key(|(state, _)| state.since()) {
                None => return false,
                Some((state, slot)) if slot.dismiss(state) => return true,
                // It went on at this moment; it stays, another goes.
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

    fn slot() -> (Arc<Slot>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Arc::new(Slot::new(ClientSocket::Unix(ours))), theirs)
    }

    #[test]
    fn at_the_cap_the_oldest_idle_one_goes_and_never_a_busy_one() {
        let registry = Arc::new(Registry::new(3));
        let [(busy, _a), (old, _b), (young, _c), (next, _d), (last, _e)] = std::array::from_fn(|_| slot());
        let seats: Vec<Seat> = [&busy, &old, &young].map(|slot| registry.enter(slot).unwrap()).into();
        assert!(busy.arriving(&seats[0]));
        let newcomer = registry.enter(&next).unwrap();
        assert_eq!([&busy, &old, &young].map(|slot| slot.is_leaving()), [false, true, false]);
        // What is told to go takes no request any more.
        assert!(!old.arriving(&seats[1]) && !old.answering());
        assert!(young.arriving(&seats[2]) && next.arriving(&newcomer));
        assert!(registry.enter(&last).is_none());
        drop(newcomer);
        assert!(registry.enter(&last).is_some());
    }

    #[test]
    fn at_the_cap_the_slowest_one_goes_once_it_has_been_slow_for_a_second_and_never_one_that_is_being_answered() {
        let registry = Arc::new(Registry::new(4));
        let [(slow, _a), (deaf, _b), (asked, _c), (young, _d), (first, _e), (second, _f), (third, _g)] =
            std::array::from_fn(|_| slot());
        let inside = [&slow, &deaf, &asked, &young];
        let seats: Vec<Seat> = inside.map(|slot| registry.enter(slot).unwrap()).into();
        assert!(slow.arriving(&seats[0]) && asked.answering());
        std::thread::sleep(Duration::from_millis(10));
        assert!(deaf.taking(&seats[1]));
        assert!(young.arriving(&seats[3]) && registry.enter(&first).is_none(), "nobody has been slow for long");
        std::thread::sleep(PATIENCE + Duration::from_millis(50));
        assert!(young.arriving(&seats[3]));
        let leaving = || inside.map(|slot| slot.is_leaving());
        let mut newcomers = vec![registry.enter(&first).unwrap()];
        assert!(first.arriving(&newcomers[0]));
        assert_eq!(leaving(), [true, false, false, false]);
        newcomers.push(registry.enter(&second).unwrap());
        assert!(second.arriving(&newcomers[1]));
        assert_eq!(leaving(), [true, true, false, false]);
        assert!(registry.enter(&third).is_none());
    }

    #[test]
    fn a_seat_dropped_by_whatever_way_frees_its_slot() {
        let registry = Arc::new(Registry::new(1));
        let (slot, _other) = slot();
        drop(registry.enter(&slot).unwrap());
        assert!(registry.is_empty());
    }

    #[test]
    fn a_stop_closes_what_is_idle_then_what_is_incomplete_and_lets_answers_end() {
        let registry = Arc::new(Registry::new(5));
        let [(idle, _a), (fresh, _b), (asking, mut client), (arriving, _d), (answering, _e)] =
            std::array::from_fn(|_| slot());
        let all = [&idle, &fresh, &asking, &arriving, &answering];
        let seats: Vec<Seat> = all.map(|slot| registry.enter(slot).unwrap()).into();
        for (slot, seat) in [(&idle, &seats[0]), (&asking, &seats[2])] {
            assert!(slot.arriving(seat));
            slot.idle(seat);
        }
        client.write_all(b"GET").unwrap();
        assert!(arriving.arriving(&seats[3]) && answering.answering());
        let leaving = || all.map(|slot| slot.is_leaving());
        registry.close_idle_but_fresh();
        assert_eq!(leaving(), [true, false, false, false, false], "who has just come, or asks, is answered");
        registry.close_unanswered();
        assert_eq!(leaving(), [true, true, true, true, false]);
        registry.close_all();
        assert_eq!(leaving(), [true; 5]);
    }
}
