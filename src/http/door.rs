//! The front door: accepts every connection itself, and lets only complete, well-formed requests within limits through
//! to tiny_http, over a Unix socket of ours. tiny_http 0.12 aborts the process on one absurd Content-Length, has no
//! timeout and no limit, and goes deaf at the first failing accept; behind this door it never meets any of that.
//!
//! One thread accepts and cannot die of an error. Each connection has a thread, a deadline for every request, and one of
//! `limits.connections` slots; at the cap the oldest idle connection gives way, then the one that has been sending its
//! request longest, once that has taken more than a second; if there is none, the new one is refused with 503. A
//! connection borrows one of a fixed number of upstream connections per request. The memory of bodies that are coming is
//! limited for all of them together.

mod bodies;
mod chunks;
mod connection;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod refusal;
mod registry;
mod stream;
mod upstream;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use bodies::{BODY_HEADER, Bodies};
pub use head::{HeadRules, PEER_HEADER};
pub use stream::Listener;
pub use upstream::Pool;

use super::throttle::Throttle;
use crate::base::thread::{Handle, Stop, Stopper, Threads, stopper};
use bodies::Budget;
use connection::Connection;
use refusal::TurnedAway;
use registry::{Registry, Slot};

/// How often the accepting thread looks whether it is to stop.
const STOP_POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Pause after a failed accept: descriptors used up, memory short. Connections wait in the system's queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A fault of accepting that goes on is logged so often and no more.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);
/// How long a stop waits for requests that are still coming, and for the first one of a connection that has just come.
const DRAIN_ARRIVING: Duration = Duration::from_secs(2);
/// How long a stop waits for answers. Two doors are stopped within the daemon's 30 s.
const DRAIN: Duration = Duration::from_secs(12);
/// How often a stop looks whether they are done.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// How long a connection may wait between two requests, where nobody says otherwise.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// What a client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorLimits {
    /// Lengths of a request.
    pub rules: HeadRules,
    /// Connections at once.
    pub connections: usize,
    /// Time within which a request must have come completely, and its answer must have been taken.
    pub request_timeout: Duration,
    /// How long a connection may wait between two requests.
    pub idle_timeout: Duration,
    /// Bytes of all large bodies that are coming at once. One body of the longest length always has room.
    pub buffered_bytes: usize,
}

/// What all connections of a door share.
struct DoorParts {
    name: &'static str,
    limits: DoorLimits,
    pool: Pool,
    registry: Arc<Registry>,
    budget: Budget,
    stop: Stop,
    refused: Throttle,
}

/// A door that is open.
pub struct DoorHandle {
    door: Arc<DoorParts>,
    stopper: Stopper,
    accepting: Handle,
}

/// Opens the door `name`: what comes in at `listener` goes to `pool`.
///
/// # Errors
/// When the system has no thread to give.
pub fn open(
    name: &'static str,
    listener: Listener,
    pool: Pool,
    limits: DoorLimits,
    threads: &Threads,
) -> io::Result<DoorHandle> {
    listener.prepare()?;
    let (stopper, stop) = stopper();
    let registry = Arc::new(Registry::new(limits.connections));
    let budget = Budget::new(limits.buffered_bytes.max(limits.rules.body_bytes));
    let door = Arc::new(DoorParts { name, limits, pool, registry, budget, stop, refused: Throttle::default() });
    let (accepting, spawner) = (Arc::clone(&door), threads.clone());
    let accepting = threads.spawn(&format!("{name}-guard"), move || accept_all(&listener, &accepting, &spawner))?;
    Ok(DoorHandle { door, stopper, accepting })
}

impl DoorHandle {
    /// Accepts nothing more, lets requests in hand be answered, and closes every connection. What was accepted is never
    /// dropped unasked: a request that has begun to arrive is answered, the last one of a connection with
    /// `Connection: close`.
    pub fn stop(self) {
        drop(self.stopper);
        self.accepting.join();
        let registry = &self.door.registry;
        let began = Instant::now();
        while !registry.is_empty() && began.elapsed() < DRAIN {
            if began.elapsed() < DRAIN_ARRIVING {
                registry.close_idle_but_fresh();
            } else {
                registry.close_unanswered();
                self.door.budget.close();
            }
            std::thread::sleep(DRAIN_POLL);
        }
        registry.close_all();
    }
}

fn accept_all(listener: &Listener, door: &Arc<DoorParts>, threads: &Threads) {
    let mut turned_away = TurnedAway::default();
    let mut complained: Option<Instant> = None;
    // What is not accepted any more waits in the system's queue: for the next process, where the socket is passed on.
    while is_somebody_there(listener, door, &mut turned_away) {
        let accepted = match listener.accept() {
            Ok((socket, peer)) => {
                let slot = Arc::new(Slot::new(socket));
                if let Err(slot) = admit(slot, peer, door, threads) {
                    turned_away.refuse(slot);
                }
                continue;
            }
            Err(error) => error,
        };
        match accepted.kind() {
            // That client has gone.
            io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
            _ => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_EVERY) {
                    log::warn!("{}: connections cannot be accepted now: {accepted}", door.name);
                    complained = Some(Instant::now());
                }
                // Whoever is idle gives back what is missing, most likely a descriptor.
                door.registry.dismiss_oldest_idle();
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Waits until there is somebody to accept; `false` when it is time to stop. Accepting just to see would look like a lack of
/// descriptors where none is left: the system takes one before it looks whether anybody is there.
fn is_somebody_there(listener: &Listener, door: &DoorParts, turned_away: &mut TurnedAway) -> bool {
    while !door.stop.is_given() {
        turned_away.close_old();
        for (code, count) in door.refused.more(Instant::now()) {
            log::info!("{}: refused code={code}: and {count} more", door.name);
        }
        // An interrupted wait is as good as one that ended.
        if poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&STOP_POLL)).is_ok_and(|ready| ready > 0) {
            return true;
        }
    }
    false
}

/// Gives a connection a slot and a thread, or gives it back.
fn admit(
    slot: Arc<Slot>,
    peer: Option<std::net::IpAddr>,
    door: &Arc<DoorParts>,
    threads: &Threads,
) -> Result<(), Arc<Slot>> {
    let Some(seat) = door.registry.enter(&slot) else { return Err(slot) };
    let (inside, at) = (Arc::clone(door), Arc::clone(&slot));
    let started = threads.spawn_passing(&format!("{}-conn", door.name), move || {
        Connection::new(&inside, &at, &seat, peer).serve();
    });
    started.map_err(|error| {
        log::warn!("{}: no thread for a connection: {error}", door.name);
        slot
    })
}
