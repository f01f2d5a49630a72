//! Brings what is in the write-ahead log into the database file, beside the writer and not in its way: SQLite's own
//! automatic checkpoint would run inside the commit that crosses its mark, and everyone waiting would wait for its
//! fsync, too. A thread of its own copies while commits go on; the writer copies only what was added meanwhile, which is
//! little, so that the log can begin anew. It must never hold up a commit for more than that. Called by `writer`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::Connection;

use crate::thread::{Handle, Threads};

/// Pages in the log at which copying begins: 16 MiB of 4 KiB pages. Fewer, and hot pages are copied over and over; more,
/// and a start after a crash reads longer.
const BEGIN_AT_PAGES: i32 = 4000;
/// As many pages, or fewer, are left to the writer.
const LEFT_TO_WRITER: i64 = 300;
/// Passes made to come down to that; a writer that is faster than all of them is waited for no longer.
const MAX_PASSES: usize = 4;
/// Pages at which the writer copies everything itself, whoever waits: the log must not fill the disk.
const MAX_PAGES: i32 = 65_536;

/// What the writer and the copying thread tell each other.
#[derive(Default)]
struct Shared {
    /// Pages in the log after the newest commit.
    pages: AtomicI32,
    /// The writer is to copy the rest.
    finish: AtomicBool,
}

/// The writer's side.
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
    bell: Sender<()>,
    copying: Handle,
}

impl Checkpoints {
    /// Takes the place of SQLite's automatic checkpoint on `writer`; `copier` is a connection of the thread's own.
    pub(super) fn start(
        writer: &mut Connection,
        copier: Connection,
        threads: &Threads,
    ) -> Result<Self, std::io::Error> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.pages.store(pages, Ordering::Relaxed);
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(std::io::Error::other)?;
        let (bell, rung) = bounded(1);
        let theirs = Arc::clone(&shared);
        let copying = threads.spawn("checkpoint", move || copy_when_rung(&copier, &rung, &theirs))?;
        Ok(Self { shared, bell, copying })
    }

    /// Looks, between two commits, whether anything is to be done.
    pub(super) fn after_commit(&self, writer: &Connection) {
        let pages = self.shared.pages.load(Ordering::Relaxed);
        if self.shared.finish.swap(false, Ordering::Relaxed) || pages >= MAX_PAGES {
            pass(writer);
        } else if pages >= BEGIN_AT_PAGES {
            // Full: it is at it already.
            if let Err(TrySendError::Disconnected(())) = self.bell.try_send(()) {
                pass(writer);
            }
        }
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        drop(self.bell);
        self.copying.join();
    }
}

fn copy_when_rung(copier: &Connection, rung: &Receiver<()>, shared: &Shared) {
    while rung.recv().is_ok() {
        for _ in 0..MAX_PASSES {
            match pass(copier) {
                Some(left) if left > LEFT_TO_WRITER => {}
                _ => break,
            }
        }
        shared.finish.store(true, Ordering::Relaxed);
        // What was rung meanwhile is done.
        let _ = rung.try_recv();
    }
}

/// Copies what no reader needs in the log any more, without waiting for anyone. How many pages are left; `None` when
/// that is not known.
fn pass(connection: &Connection) -> Option<i64> {
    let counts = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    match counts {
        Ok((false, in_log, copied)) => Some(in_log.saturating_sub(copied)),
        // The other side is at it.
        Ok(_) => None,
        Err(error) => {
            log::warn!("the write-ahead log stays long for now, its pages could not be copied: {error}");
            None
        }
    }
}
