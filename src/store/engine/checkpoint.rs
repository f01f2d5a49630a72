//! Brings what is in the write-ahead log into the database file, beside the writer and without holding it up: SQLite's own
//! automatic checkpoint would run inside the commit that crosses its mark, and everyone waiting would wait for its
//! fsync, too. A thread of its own copies while commits go on; the writer copies only what was added meanwhile, which is
//! little, so that the log can begin anew. It must never hold up a commit for more than that. Called by `writer`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::Connection;

use super::connection::waiting_shortly;
use super::row;
use crate::base::thread::{Handle, Threads};

/// Pages in the log at which copying begins: 16 MiB of 4 KiB pages. Fewer, and hot pages are copied over and over; more,
/// and a start after a crash reads longer.
const BEGIN_AT_PAGES: i32 = 4000;
/// As many pages, or fewer, are left to the writer.
const LEFT_TO_WRITER: i64 = 300;
/// Passes made to come down to that; a writer that is faster than all of them is waited for no longer.
const MAX_PASSES: usize = 4;
/// Pages at which the writer copies everything itself and waits for readers to leave the log, whoever waits: the log
/// must not fill the disk. Without that, reads that overlap keep it from ever beginning anew.
const MAX_PAGES: i32 = 65_536;

/// Pages at which a warning says that the log is too long: 64 MiB.
const WARN_AT_PAGES: i32 = 16_384;

/// What the writer and the copying thread share.
#[derive(Default)]
struct CheckpointState {
    /// Pages in the log after the newest commit.
    pages: AtomicI32,
    /// The writer is to copy the rest.
    finish: AtomicBool,
    /// Another program was at it when the newest pass was made.
    held: AtomicBool,
}

/// The writer's side.
pub(crate) struct Checkpoints {
    shared: Arc<CheckpointState>,
    bell: Sender<()>,
    copying: Handle,
    /// Pages at which the writer waits for readers the next time.
    wait_at: Cell<i32>,
    /// The warning that it is too long was logged.
    warned: Cell<bool>,
}

impl Checkpoints {
    /// Replaces SQLite's automatic checkpoint on `writer`; `copier` is a connection of the thread's own.
    pub(crate) fn start(
        writer: &mut Connection,
        copier: Connection,
        threads: &Threads,
    ) -> Result<Self, std::io::Error> {
        let shared = Arc::new(CheckpointState::default());
        let seen = Arc::clone(&shared);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.pages.store(pages, Ordering::Relaxed);
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(std::io::Error::other)?;
        let (bell, rung) = bounded(1);
        let theirs = Arc::clone(&shared);
        let copying = threads.spawn("checkpoint", move || copy_when_rung(&copier, &rung, &theirs))?;
        Ok(Self { shared, bell, copying, wait_at: Cell::new(MAX_PAGES), warned: Cell::new(false) })
    }

    /// Looks, between two commits, whether anything is to be done.
    pub(crate) fn after_commit(&self, writer: &Connection) {
        let pages = self.shared.pages.load(Ordering::Relaxed);
        self.warn_of_length(pages);
        if pages < MAX_PAGES {
            self.wait_at.set(MAX_PAGES);
        }
        if pages >= self.wait_at.get() {
            // A reader that stays, such as a backup, is not waited for at every commit.
            self.wait_at.set(pages.saturating_add(BEGIN_AT_PAGES));
            begin_anew(writer);
        } else if self.shared.finish.swap(false, Ordering::Relaxed) {
            pass(writer);
        } else if pages >= BEGIN_AT_PAGES {
            // Full: it is at it already.
            if let Err(TrySendError::Disconnected(())) = self.bell.try_send(()) {
                pass(writer);
            }
        }
    }

    /// Logs once that the log is too long, and what keeps it so.
    fn warn_of_length(&self, pages: i32) {
        let is_long = pages >= WARN_AT_PAGES;
        if is_long == self.warned.replace(is_long) {
            return;
        }
        if !is_long {
            log::info!("the write-ahead log has begun anew");
            return;
        }
        log::warn!("{}", too_long(pages, self.shared.held.load(Ordering::Relaxed)));
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        drop(self.bell);
        self.copying.join();
    }
}

/// That the log grows, and what keeps it from beginning anew.
fn too_long(pages: i32, held: bool) -> String {
    let cause = if held {
        "another program holds checkpoints back, as replicators do (Litestream): is it still running, and does it make progress?"
    } else {
        "a read does not end: a backup, a replicator, or a shell with an open transaction (`fuser` or `lsof` on \
         the file names it)"
    };
    format!("the write-ahead log has grown to {} MiB and cannot begin anew: {cause}", pages / 256)
}

fn copy_when_rung(copier: &Connection, rung: &Receiver<()>, shared: &CheckpointState) {
    while rung.recv().is_ok() {
        for _ in 0..MAX_PASSES {
            let left = pass(copier);
            shared.held.store(left.is_none(), Ordering::Relaxed);
            match left {
                Some(left) if left > LEFT_TO_WRITER => {}
                _ => break,
            }
        }
        shared.finish.store(true, Ordering::Relaxed);
        // What was rung meanwhile is done.
        let _ = rung.try_recv();
    }
}

/// Copies everything and waits, not for long, until no reader needs the log; the next commit then begins it anew.
/// Whether it will.
fn begin_anew(writer: &Connection) -> bool {
    let all = waiting_shortly(writer, || checkpoint(writer, "PRAGMA wal_checkpoint(RESTART)"));
    matches!(all, Some((false, in_log, copied)) if in_log == copied)
}

/// Copies what no reader needs in the log any more, without waiting for anyone. How many pages are left; `None` when
/// that is not known.
fn pass(connection: &Connection) -> Option<i64> {
    match checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
        Some((false, in_log, copied)) => Some(in_log.saturating_sub(copied)),
        // The other side is at it.
        _ => None,
    }
}

/// Whether something was in the way, pages in the log, and how many of them are copied.
fn checkpoint(connection: &Connection, sql: &str) -> Option<(bool, i64, i64)> {
    let counts = connection.query_row(sql, [], row::tuple::<(bool, i64, i64)>);
    counts
        .inspect_err(|error| {
            log::warn!("the write-ahead log stays long for now, its pages could not be copied: {error}");
        })
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::engine::connection::{LOG_BYTES, open_reader, open_writer};

    #[test]
    fn the_log_begins_anew_once_no_reader_needs_it_and_one_that_stays_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tilld.db");
        let writer = open_writer(&path).unwrap();
        writer.execute_batch("CREATE TABLE t (a)").unwrap();
        let log = || std::fs::metadata(dir.path().join("tilld.db-wal")).unwrap().len();
        let commit = || writer.execute("INSERT INTO t VALUES (randomblob(50000))", []).unwrap();
        let reader = open_reader(&path).unwrap();
        let reading = reader.unchecked_transaction().unwrap();
        let count = || reading.query_row("SELECT count(*) FROM t", [], row::only::<i64>).unwrap();
        assert_eq!(count(), 0);
        commit();
        assert!(!begin_anew(&writer), "it is still read");
        commit();
        assert_eq!(count(), 0, "as it was");
        drop(reading);
        let before = log();
        assert!(begin_anew(&writer));
        commit();
        assert_eq!(log(), before, "what is there is written over");
    }

    #[test]
    fn a_log_that_a_long_read_has_made_long_is_cut_when_it_begins_anew_and_its_cause_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tilld.db");
        let writer = open_writer(&path).unwrap();
        writer.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF; CREATE TABLE t (a)").unwrap();
        let log = || i64::try_from(std::fs::metadata(dir.path().join("tilld.db-wal")).unwrap().len()).unwrap();
        let commit = |bytes: i64| writer.execute("INSERT INTO t VALUES (zeroblob(?1))", [bytes]).unwrap();
        let reader = open_reader(&path).unwrap();
        let reading = reader.unchecked_transaction().unwrap();
        reading.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
        for _ in 0..10 {
            commit(5_000_000);
        }
        assert!(log() > LOG_BYTES);
        drop(reading);
        assert!(begin_anew(&writer));
        commit(1);
        assert!(log() <= LOG_BYTES, "{} bytes are left", log());
        assert!(too_long(16_384, false).contains("64 MiB") && too_long(16_384, false).contains("a read does not end"));
        assert!(too_long(16_384, true).contains("replicators"));
    }
}
