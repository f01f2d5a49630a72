//! Is the process alive? Only if the writer thread answers and the observed loops make steps, systemd gets its sign of life.
//! It must never count a database that refuses as a dead process: no restart frees a full disk. Called by `daemon`.

use std::time::{Duration, Instant};

use crate::app::systemd;
use crate::base::thread::{Handle, Pulse, Stopper, Threads, stopper};
use crate::store::Store;

/// A loop that has made no step for so long is stuck. The longest healthy step waits 5 s for a bell, and some more for a
/// database that another process holds.
const STANDSTILL: Duration = Duration::from_secs(30);

/// The thread that gives signs of life.
pub(super) struct Watchdog {
    stopper: Stopper,
    thread: Handle,
}

/// Starts it: a sign of life within every `within`.
pub(super) fn start(
    within: Duration,
    store: Store,
    pulses: Vec<(&'static str, Pulse)>,
    threads: &Threads,
) -> std::io::Result<Watchdog> {
    let (stopper, stop) = stopper();
    let mut loops: Vec<Watched> = pulses.into_iter().map(Watched::new).collect();
    let thread = threads.spawn("watchdog", move || {
        let mut is_alive = |patience: Duration| {
            // All of them are observed each time: a loop that is not observed would seem to be stuck.
            let moving = loops.iter_mut().map(|watched| watched.check(STANDSTILL)).fold(Ok(()), Result::and);
            let answers = store.writer_answers(patience);
            if answers { moving } else { Err(format!("the writer gave no answer within {patience:?}")) }
        };
        systemd::feed_watchdog(within, &mut is_alive, &stop);
    })?;
    Ok(Watchdog { stopper, thread })
}

impl Watchdog {
    /// Ends the thread, which holds the store open.
    pub(super) fn stop(self) {
        drop(self.stopper);
        self.thread.join();
    }
}

/// A loop, and when it was last seen to make a step.
struct Watched {
    name: &'static str,
    pulse: Pulse,
    beats: u64,
    since: Instant,
}

impl Watched {
    fn new((name, pulse): (&'static str, Pulse)) -> Self {
        Self { name, beats: pulse.beats(), pulse, since: Instant::now() }
    }

    fn check(&mut self, at_least_every: Duration) -> Result<(), String> {
        let beats = self.pulse.beats();
        if beats != self.beats {
            (self.beats, self.since) = (beats, Instant::now());
        }
        let stood = self.since.elapsed();
        if stood <= at_least_every {
            Ok(())
        } else {
            Err(format!("the {} has made no step for {stood:.1?}", self.name))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_named_and_one_that_turns_again_is_well() {
        let pulse = Pulse::default();
        let mut watched = Watched::new(("worker", pulse.clone()));
        assert!(watched.check(Duration::from_secs(60)).is_ok(), "it has only just begun");
        assert!(watched.check(Duration::ZERO).unwrap_err().contains("worker has made no step"));
        pulse.beat();
        assert!(watched.check(Duration::from_secs(60)).is_ok());
    }
}
