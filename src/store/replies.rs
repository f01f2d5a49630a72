//! Tells those who do not wait what became of their writes. What they then do, such as answering a webhook, is done on a
//! thread of its own: the writer has better things to do, and one thread that answers a whole group wakes up once where a
//! thread for each would wake up many times. Called by `writer`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::StoreError;
use super::writer::Tell;
use crate::thread::{Handle, Threads, panic_text};

/// Groups that wait for their answers at most; then the writer waits, too.
const GROUPS: usize = 16;

/// A group that was committed, or was not.
type Group = (Vec<Tell>, Result<(), StoreError>);

/// The writer's side.
pub(super) struct Replies {
    groups: Sender<Group>,
    thread: Handle,
}

impl Replies {
    pub(super) fn start(threads: &Threads) -> std::io::Result<Self> {
        let (groups, waiting) = bounded(GROUPS);
        let thread = threads.spawn("replies", move || tell_all(&waiting))?;
        Ok(Self { groups, thread })
    }

    pub(super) fn tell(&self, those: Vec<Tell>, committed: Result<(), StoreError>) {
        if !those.is_empty() {
            // The thread lives as long as the writer.
            let _ = self.groups.send((those, committed));
        }
    }

    /// Tells those who are left, and ends the thread.
    pub(super) fn stop(self) {
        drop(self.groups);
        self.thread.join();
    }
}

fn tell_all(groups: &Receiver<Group>) {
    while let Ok((those, committed)) = groups.recv() {
        for tell in those {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| tell(committed.clone()))) {
                log::error!("panic after a commit: {}", panic_text(panic.as_ref()));
            }
        }
    }
}
