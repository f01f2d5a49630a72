//! Every open connection, and what it is doing; ground for every request. When all slots are taken, the connection that has been
//! idle longest is dismissed; if none is idle, the one whose request has been arriving longest, or whose answer has been read
//! longest, once that has taken more than [`PATIENCE`]: otherwise a client that sends half a request often enough would keep
//! everybody out. It must never dismiss a connection whose request is being answered. A request needs no lock here, only a
//! change of its slot's state. Called by `door` and `connection`.

use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stream::ClientSocket;

type SeatTicket = u64;

/// How many dismissed connections may not have ended yet when others have taken their slots.
const MAX_LEAVING: usize = 32;
/// How long a new connection waits for them to end.
const LEAVING_WAIT: Duration = Duration::from_secs(1);

/// How long a request may take to arrive, or an answer to be read, before its connection may be dismissed.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a connection is doing, in one number: the kind in its lowest bits, and above them since when, so that a change and a
/// change back between looking and acting are noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RegistryState(u64);

/// A request is arriving; above it the millisecond since the door was opened.
const ARRIVING: u64 = 0;
/// A request is being answered: the client is not at fault, so it stays.
const ANSWERING: u64 = 1;
/// It was dismissed; its thread is about to end.
const LEAVING: u64 = 2;
/// It waits for the first byte of a request; above it a number: the smaller, the longer it has been idle.
const IDLE: u64 = 3;
/// The client is reading its answer; above it the millisecond since the door was opened.
const RECEIVING: u64 = 4;
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
    /// It has not sent a request yet.
    fresh: AtomicBool,
}

impl Slot {
    pub(super) fn new(socket: ClientSocket) -> Self {
        Self { socket, state: AtomicU64::new(RegistryState::LEAVING.0), fresh: AtomicBool::new(true) }
    }

    /// A request is arriving; false if the connection was dismissed a moment earlier.
    pub(super) fn arriving(&self, seat: &Seat) -> bool {
        self.fresh.store(false, Ordering::SeqCst);
        self.change(RegistryState::new(ARRIVING, seat.registry.now_ms()))
    }

    /// The request is complete and is being answered.
    pub(super) fn answering(&self) -> bool {
        self.change(RegistryState::new(ANSWERING, 0))
    }

    /// The client is reading the answer.
    pub(super) fn receiving(&self, seat: &Seat) -> bool {
        self.change(RegistryState::new(RECEIVING, seat.registry.now_ms()))
    }

    /// The connection waits for its next request, or for its end.
    pub(super) fn idle(&self, seat: &Seat) {
        self.change(RegistryState::new(IDLE, seat.registry.next_idle()));
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

    /// Dismisses the connection if its state is still `seen`. Its thread wakes up and can still tell the client why; while it is
    /// writing, only the end of the connection wakes it.
    fn dismiss(&self, seen: RegistryState) -> bool {
        let leaving = RegistryState::LEAVING.0;
        let dismissed = self.state.compare_exchange(seen.0, leaving, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if dismissed {
            let how = if seen.kind() == RECEIVING { Shutdown::Both } else { Shutdown::Read };
            self.socket.shutdown(how);
        }
        dismissed
    }
}

#[derive(Default)]
struct OpenSlots {
    slots: HashMap<SeatTicket, Arc<Slot>>,
    last: SeatTicket,
}

/// All connections of a door.
pub(super) struct Registry {
    open: Mutex<OpenSlots>,
    left: Condvar,
    cap: usize,
    /// How often a connection has become idle.
    idle_count: AtomicU64,
    opened: Instant,
}

/// A connection's place in the registry; given back when dropped.
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
        let (left, idle_count) = (Condvar::new(), AtomicU64::new(0));
        Self { open: Mutex::default(), left, cap, idle_count, opened: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, OpenSlots> {
        // No code that holds the lock can leave the value half-changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number in the order of becoming idle.
    fn next_idle(&self) -> u64 {
        self.idle_count.fetch_add(1, Ordering::SeqCst)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX >> KIND_BITS)
    }

    /// Gives a connection a slot; `None` if there is none and no connection can be dismissed.
    pub(super) fn enter(self: &Arc<Self>, slot: &Arc<Slot>) -> Option<Seat> {
        let mut open = self.lock();
        if open.slots.len() >= self.cap {
            if !open.make_room(self.cap, self.now_ms()) {
                return None;
            }
            // A burst must not start more threads than the cap and a few.
            let crowded = |open: &mut OpenSlots| open.slots.len() >= self.cap + MAX_LEAVING;
            let waited = self.left.wait_timeout_while(open, LEAVING_WAIT, crowded);
            open = waited.unwrap_or_else(PoisonError::into_inner).0;
            if crowded(&mut open) {
                return None;
            }
        }
        open.last = open.last.wrapping_add(1);
        let ticket = open.last;
        slot.state.store(RegistryState::new(IDLE, self.next_idle()).0, Ordering::SeqCst);
        open.slots.insert(ticket, Arc::clone(slot));
        Some(Seat { registry: Arc::clone(self), ticket })
    }

    /// Dismisses the connection that has been idle longest; false if none is idle.
    pub(super) fn dismiss_oldest_idle(&self) -> bool {
        self.lock().dismiss_oldest_idle()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    /// Dismisses idle connections. One whose next request has begun to arrive is not idle, though its thread may not know it yet;
    /// a new one may still send its first request.
    pub(super) fn close_idle(&self) {
        self.close(|state, slot| {
            state.kind() == IDLE && !slot.fresh.load(Ordering::SeqCst) && !slot.socket.is_readable()
        });
    }

    /// Dismisses idle connections, and those whose request is not complete.
    pub(super) fn close_unanswered(&self) {
        self.close(|state, _| matches!(state.kind(), IDLE | ARRIVING));
    }

    pub(super) fn close_all(&self) {
        self.lock().slots.values().for_each(|slot| {
            slot.state.store(RegistryState::LEAVING.0, Ordering::SeqCst);
            slot.socket.shutdown(Shutdown::Both);
        });
    }

    fn close(&self, is_chosen: impl Fn(RegistryState, &Slot) -> bool) {
        for slot in self.lock().slots.values() {
            let state = slot.state();
            if is_chosen(state, slot) {
                slot.dismiss(state);
            }
        }
    }
}

impl OpenSlots {
    /// Whether one of `cap` slots is free, if necessary after dismissing a connection.
    fn make_room(&mut self, cap: usize, now_ms: u64) -> bool {
        self.slots.values().filter(|slot| !slot.is_leaving()).count() < cap
            || self.dismiss_oldest_idle()
            || self.dismiss_slowest(now_ms)
    }

    fn dismiss_oldest_idle(&mut self) -> bool {
        self.dismiss_oldest(|state| state.kind() == IDLE)
    }

    /// Dismisses the connection that has been slow longest, if that is too long.
    fn dismiss_slowest(&mut self, now_ms: u64) -> bool {
        let patience_ms = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        let is_slow = |state: RegistryState| now_ms.saturating_sub(state.since()) > patience_ms;
        self.dismiss_oldest(|state| matches!(state.kind(), ARRIVING | RECEIVING) && is_slow(state))
    }

    fn dismiss_oldest(&mut self, is_chosen: impl Fn(RegistryState) -> bool) -> bool {
        loop {
            let states = self.slots.values().map(|slot| (slot.state(), slot));
            match states.filter(|(state, _)| is_chosen(*state)).min_by_key(|(state, _)| state.since()) {
                None => return false,
                Some((state, slot)) if slot.dismiss(state) => return true,
                // Its state changed at this moment; it stays, and another one is chosen.
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
    fn at_the_cap_the_oldest_idle_connection_is_dismissed_and_never_a_busy_one() {
        let registry = Arc::new(Registry::new(3));
        let [(busy, _a), (old, _b), (young, _c), (next, _d), (last, _e)] = std::array::from_fn(|_| slot());
        let seats: Vec<Seat> = [&busy, &old, &young].map(|slot| registry.enter(slot).unwrap()).into();
        assert!(busy.arriving(&seats[0]));
        let newcomer = registry.enter(&next).unwrap();
        assert_eq!([&busy, &old, &young].map(|slot| slot.is_leaving()), [false, true, false]);
        // A dismissed connection accepts no request any more.
        assert!(!old.arriving(&seats[1]) && !old.answering());
        assert!(young.arriving(&seats[2]) && next.arriving(&newcomer));
        assert!(registry.enter(&last).is_none());
        drop(newcomer);
        assert!(registry.enter(&last).is_some());
    }

    #[test]
    fn at_the_cap_the_slowest_is_dismissed_after_a_second_and_never_one_that_is_being_answered() {
        let registry = Arc::new(Registry::new(4));
        let [(slow, _a), (deaf, _b), (asked, _c), (young, _d), (first, _e), (second, _f), (third, _g)] =
            std::array::from_fn(|_| slot());
        let open = [&slow, &deaf, &asked, &young];
        let seats: Vec<Seat> = open.map(|slot| registry.enter(slot).unwrap()).into();
        assert!(slow.arriving(&seats[0]) && asked.answering());
        std::thread::sleep(Duration::from_millis(10));
        assert!(deaf.receiving(&seats[1]));
        assert!(young.arriving(&seats[3]) && registry.enter(&first).is_none(), "nobody has been slow for long");
        std::thread::sleep(PATIENCE + Duration::from_millis(50));
        assert!(young.arriving(&seats[3]));
        let leaving = || open.map(|slot| slot.is_leaving());
        let mut newcomers = vec![registry.enter(&first).unwrap()];
        assert!(first.arriving(&newcomers[0]));
        assert_eq!(leaving(), [true, false, false, false]);
        newcomers.push(registry.enter(&second).unwrap());
        assert!(second.arriving(&newcomers[1]));
        assert_eq!(leaving(), [true, true, false, false]);
        assert!(registry.enter(&third).is_none());
    }

    #[test]
    fn a_dropped_seat_frees_its_slot() {
        let registry = Arc::new(Registry::new(1));
        let (slot, _other) = slot();
        drop(registry.enter(&slot).unwrap());
        assert!(registry.is_empty());
    }

    #[test]
    fn a_stop_dismisses_what_is_idle_then_what_is_incomplete_and_lets_answers_end() {
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
        registry.close_idle();
        assert_eq!(
            leaving(),
            [true, false, false, false, false],
            "a new connection, and one with a request, are answered"
        );
        registry.close_unanswered();
        assert_eq!(leaving(), [true, true, true, true, false]);
        registry.close_all();
        assert_eq!(leaving(), [true; 5]);
    }
}
