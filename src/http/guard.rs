//! The front door: accepts every connection itself, and lets only complete, well-formed requests within limits through
//! to tiny_http, over a Unix socket of ours. tiny_http 0.12 aborts the process on one absurd Content-Length, has no
//! timeout and no limit, and goes deaf at the first failing accept; behind this door it never meets any of that.
//!
//! One thread accepts and cannot die of an error. Each connection has a thread, a deadline for every request, and a
//! place among at most `limits.connections`; at the cap the oldest idle connection gives way, and if none is idle the
//! new one is told 503. A connection borrows one of a fixed number of upstream connections per request.

mod chunks;
mod connection;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod registry;
mod stream;
mod upstream;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use head::Rules;
pub use stream::Listener;
pub use upstream::{PEER_HEADER, Pool};

use crate::thread::{Handle, Stop, Stopper, Threads, stopper};
use connection::Connection;
use registry::Registry;
use stream::Stream;

/// How often the accepting thread looks whether it is to stop.
const STOP_POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Pause after a failed accept: descriptors used up, memory short. Connections wait in the system's queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a stop waits for requests in hand.
const DRAIN: Duration = Duration::from_secs(20);
/// How often a stop looks whether they are done.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// What a client may ask.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Lengths of a request.
    pub rules: Rules,
    /// Connections at once.
    pub connections: usize,
    /// Time within which a request must have come completely.
    pub request_timeout: Duration,
}

/// What all connections of a door share.
struct Door {
    name: &'static str,
    limits: Limits,
    pool: Pool,
    registry: Registry,
    stop: Stop,
}

/// A door that is open.
pub struct Guard {
    door: Arc<Door>,
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
    limits: Limits,
    threads: &Threads,
) -> io::Result<Guard> {
    listener.set_nonblocking()?;
    let (stopper, stop) = stopper();
    let door = Arc::new(Door { name, limits, pool, registry: Registry::new(limits.connections), stop });
    let (accepting, spawner) = (Arc::clone(&door), threads.clone());
    let accepting = threads.spawn(&format!("{name}-guard"), move || accept_all(&listener, &accepting, &spawner))?;
    Ok(Guard { door, stopper, accepting })
}

impl Guard {
    /// Accepts nothing more, lets requests in hand be answered, and closes every connection.
    pub fn stop(self) {
        drop(self.stopper);
        self.accepting.join();
        self.door.registry.close_idle();
        let began = Instant::now();
        while !self.door.registry.is_empty() && began.elapsed() < DRAIN {
            std::thread::sleep(DRAIN_POLL);
            self.door.registry.close_idle();
        }
        self.door.registry.close_all();
    }
}

fn accept_all(listener: &Listener, door: &Arc<Door>, threads: &Threads) {
    while !door.stop.is_given() {
        let mut waiting = [PollFd::new(listener, PollFlags::IN)];
        // An interrupted wait is as good as one that ended.
        let _ = poll(&mut waiting, Some(&STOP_POLL));
        loop {
            match listener.accept() {
                Ok(stream) => admit(stream, door, threads),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    log::warn!("{}: a connection could not be accepted: {error}", door.name);
                    std::thread::sleep(ACCEPT_PAUSE);
                    break;
                }
            }
        }
    }
}

fn admit(stream: Stream, door: &Arc<Door>, threads: &Threads) {
    let ticket = match door.registry.enter(&stream) {
        Ok(Some(ticket)) => ticket,
        Ok(None) => return connection::turn_away(stream),
        Err(error) => return log::warn!("{}: a connection was dropped: {error}", door.name),
    };
    let inside = Arc::clone(door);
    let started = threads.spawn_passing(&format!("{}-conn", door.name), move || {
        Connection::new(stream, &inside, ticket).serve();
        inside.registry.leave(ticket);
    });
    if let Err(error) = started {
        log::warn!("{}: no thread for a connection: {error}", door.name);
        door.registry.leave(ticket);
    }
}
