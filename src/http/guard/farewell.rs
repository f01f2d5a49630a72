//! Connections for which there was no place. They are told so without anybody waiting for them, and are kept open for a
//! moment: closing at once, with their request unread, would turn the answer into a reset.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusal;
use super::registry::Place;

/// So many are kept open at once; one more closes the oldest.
const KEPT: usize = 64;
/// And so long.
const KEPT_FOR: Duration = Duration::from_millis(500);
/// Read of each before it is closed, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// Those that have been told.
#[derive(Default)]
pub(super) struct Farewell(VecDeque<(Instant, Arc<Place>)>);

impl Farewell {
    /// Tells it that all places are taken.
    pub(super) fn tell(&mut self, place: Arc<Place>) {
        // A socket that cannot take so little at once belongs to nobody who would read it.
        let told = place.socket.set_nonblocking().and_then(|()| place.socket.write(&refusal::bytes(refusal::FULL)));
        if told.is_err() {
            return;
        }
        place.socket.shutdown(Shutdown::Write);
        if self.0.len() == KEPT {
            self.close_oldest();
        }
        self.0.push_back((Instant::now(), place));
    }

    /// Closes those that have had their moment.
    pub(super) fn close_old(&mut self) {
        while self.0.front().is_some_and(|(told, _)| told.elapsed() >= KEPT_FOR) {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        let Some((_, place)) = self.0.pop_front() else { return };
        // What it has sent is taken, so that nothing unread makes a reset of the close.
        let _ = place.socket.read(&mut [0; READ_BYTES]);
    }
}
