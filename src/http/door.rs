//! The front door; ground for every request. It accepts every connection itself, and passes only complete, well-formed
//! requests within limits on to tiny_http, over a Unix socket of ours. tiny_http 0.12 aborts the process at an absurd
//! Content-Length, has no timeout and no limit, and stops accepting after the first accept that fails; behind this door
//! none of that can happen. It must never know what a request means. Called by `server`.
//!
//! One thread accepts, and no error ends it. Each connection has a thread, a deadline for every request, and one of
//! `limits.connections` slots. When all are taken, the connection that has been idle longest is closed, else the one
//! that has been sending its request longest, once that has taken more than a second; if there is none, the new one is
//! refused with 503. For each request a connection borrows one of a fixed number of connections to tiny_http. The
//! memory of all bodies that are arriving is limited together.

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
pub(crate) use upstream::Pool;

use super::throttle::Throttle;
use crate::base::thread::{Handle, Stop, Stopper, Threads, stopper};
use bodies::Budget;
use connection::Connection;
use refusal::TurnedAway;
use registry::{Registry, Slot};

/// How often the accepting thread looks for the order to stop.
const STOP_POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Pause after an accept that failed for lack of descriptors or memory. Connections wait in the system's queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often accepts that keep failing are logged.
const LOG_FAILURE_EVERY: Duration = Duration::from_secs(10);
/// How long a stop waits for requests that are still arriving, and for the first one of a new connection.
const DRAIN_ARRIVING: Duration = Duration::from_secs(2);
/// How long a stop waits for answers. Two doors are stopped within the daemon's 30 s.
const DRAIN: Duration = Duration::from_secs(12);
/// How often a stop checks whether all connections are closed.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// How long a connection may wait between two requests, by default.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorLimits {
    /// The limits of a head and a body.
    pub rules: HeadRules,
    /// The most connections at once.
    pub connections: usize,
    /// How long a request may take to arrive completely, and its answer to be read by the client.
    pub request_timeout: Duration,
    /// How long a connection may wait between two requests.
    pub idle_timeout: Duration,
    /// The most bytes of all large bodies that are arriving at once. One body of the maximum length always has room.
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

/// An open door.
pub(crate) struct DoorHandle {
    door: Arc<DoorParts>,
    stopper: Stopper,
    accepting: Handle,
}

/// Opens the door `name` from `listener` to `pool`.
pub(crate) fn open(
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
    /// Accepts nothing more, waits until requests are answered, and closes every connection. A request that has begun
    /// to arrive is still answered, the last one of a connection with `Connection: close`.
    pub fn stop(self) {
        drop(self.stopper);
        self.accepting.join();
        let registry = &self.door.registry;
        let began = Instant::now();
        while !registry.is_empty() && began.elapsed() < DRAIN {
            if began.elapsed() < DRAIN_ARRIVING {
                registry.close_idle();
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
    let mut logged: Option<Instant> = None;
    // Connections that are not accepted any more wait in the system's queue, for the next process if the socket is
    // passed on.
    while wait_for_connection(listener, door, &mut turned_away) {
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
                if logged.is_none_or(|at| at.elapsed() >= LOG_FAILURE_EVERY) {
                    log::warn!("{}: connections cannot be accepted now: {accepted}", door.name);
                    logged = Some(Instant::now());
                }
                // Closing an idle connection frees what is missing, most likely a descriptor.
                door.registry.dismiss_oldest_idle();
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Waits for a connection; `false` when it is time to stop. Accepting without waiting would fail when no descriptor is
/// left, even if nobody connects: the system takes a descriptor before it looks for a connection.
fn wait_for_connection(listener: &Listener, door: &DoorParts, turned_away: &mut TurnedAway) -> bool {
    while !door.stop.is_given() {
        turned_away.close_old();
        for (code, count) in door.refused.more(Instant::now()) {
            log::info!(code, count; "{}: refused: {count} more", door.name);
        }
        // An interrupted wait counts as one that has ended.
        if poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&STOP_POLL)).is_ok_and(|ready| ready > 0) {
            return true;
        }
    }
    false
}

/// Gives a connection a slot and a thread, or returns it.
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
        log::warn!("{}: no thread can be started for a connection: {error}", door.name);
        slot
    })
}
