//! What systemd hands over and is told: sockets in (`sockets`); readiness, state and signs of life out (here). All of
//! it is optional: without systemd nothing is passed and nobody listens. It must never hold up the daemon: who does not
//! take our word is logged. Called by `daemon`.

pub mod sockets;

use std::time::Duration;

use sd_notify::NotifyState;

use crate::base::thread::Stop;

/// Tells that both doors are open; `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: answering what is in hand")]);
}

fn tell(words: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(words) {
        log::warn!("systemd was not told {words:?}: {error}");
    }
}

/// The time within which systemd wants a sign of life (`WatchdogSec=` of the unit); `None` when it wants none.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| !within.is_zero())
}

/// Gives a sign of life every half of `within`, as long as `is_alive` says so within the time it is given. When it does
/// not, nothing is said, and systemd ends and restarts the process.
pub fn feed_watchdog(within: Duration, is_alive: &mut dyn FnMut(Duration) -> Result<(), String>, stop: &Stop) {
    // Half to wait, a quarter to find out: a process that is slow but well is never ended.
    let (interval, patience) = (within / 2, within / 4);
    let mut pause = interval;
    while stop.signal().recv_timeout(pause) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
        pause = match is_alive(patience) {
            Ok(()) => {
                tell(&[NotifyState::Watchdog]);
                interval
            }
            Err(reason) => {
                log::error!("no sign of life for systemd, which restarts a process without one: {reason}");
                // It may come round before the time is up. Never in a circle without a pause.
                patience / 4
            }
        };
    }
}
