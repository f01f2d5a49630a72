//! systemd: sockets that it passes (`sockets`), and readiness, state and signs of life that it gets (here). All of it is
//! optional: without systemd nothing is passed, and nothing is sent. It must never hold up the daemon: a failure is logged.
//! Called by `daemon`.

pub mod sockets;

use std::time::Duration;

use sd_notify::NotifyState;

use crate::base::thread::Stop;

/// Reports that both listeners are open; `systemctl status` shows `status`.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that the daemon is stopping.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping: finishing open requests")]);
}

fn notify(words: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(words) {
        log::warn!("systemd could not be notified of {words:?}: {error}");
    }
}

/// The time within which systemd wants a sign of life (`WatchdogSec=` of the unit); `None` when it wants none.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| !within.is_zero())
}

/// Gives a sign of life every half of `within`, as long as `is_alive` says so within the time it is given. Otherwise
/// none is given, and systemd ends and restarts the process.
pub fn feed_watchdog(within: Duration, is_alive: &mut dyn FnMut(Duration) -> Result<(), String>, stop: &Stop) {
    // Half to wait, a quarter to find out: a process that is slow but healthy is never ended.
    let (interval, patience) = (within / 2, within / 4);
    let mut pause = interval;
    while stop.signal().recv_timeout(pause) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
        pause = match is_alive(patience) {
            Ok(()) => {
                notify(&[NotifyState::Watchdog]);
                interval
            }
            Err(reason) => {
                log::error!("no sign of life for systemd, which restarts a process without one: {reason}");
                // The answer may come at once; never loop without a pause.
                patience / 4
            }
        };
    }
}
