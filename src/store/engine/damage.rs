//! Is the file whole? A look at every start that takes no longer for a large file than for a small one, and the backups
//! to go back to. `tilld check` reads everything. Called by `app::daemon` before anything is written, and by `error`.
//!
//! What the look finds: a file that is not a database, is shorter than its header says, has lost its beginning while its
//! log is there, or whose schema or b-trees cannot be read at their roots; and all that `quick_check` finds within
//! [`BUDGET`], which for a file of a few megabytes is everything. What it cannot find is met later: then the file
//! counts as damaged from the first read on that SQLite refuses (`Store::write`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::{connection, lock, row};
use crate::store::OpenError;

/// How long `quick_check` may take at start.
const BUDGET: Duration = Duration::from_millis(10);
/// Pages or instructions after which it is looked whether that is over.
const STRIDE: i32 = 10;
/// First bytes of every SQLite file (sqlite.org/fileformat2.html#magic_header_string).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Backups named in a refusal at most.
const NAMED: usize = 3;

/// Looks at the file at `path`, if there is one, before this process has opened it: closing it here drops the locks that
/// SQLite would hold.
///
/// # Errors
/// [`OpenError::Damaged`], [`OpenError::ReadOnly`], or why it cannot be opened.
pub fn look(path: &Path) -> Result<(), OpenError> {
    may_be_written(path)?;
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason, backups: backups(path) };
    let length = std::fs::metadata(path).map_or(0, |found| found.len());
    if length == 0 {
        let log = beside(path, "-wal");
        // SQLite would begin anew and throw the log away.
        if std::fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
            return Err(damaged(format!("it is missing or empty, but its log {} is not", log.display())));
        }
        if path.exists() && !backups(path).is_empty() {
            return Err(damaged("it is empty, but backups of it are not".to_owned()));
        }
        return Ok(());
    }
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    if beside(path, "-journal").exists() {
        connection::roll_back(path).map_err(failed)?;
    }
    let mut connection = connection::open_reader(path).map_err(failed)?;
    match roots(&connection).and_then(|()| quick(&mut connection)).map_err(failed)? {
        None => Ok(()),
        Some(found) => Err(damaged(found)),
    }
}

/// SQLite takes a file that it may not write as one to be read, and gives its log the same rights, which then outlast
/// the cause.
fn may_be_written(path: &Path) -> Result<(), OpenError> {
    for ending in ["", "-wal", "-shm"] {
        let file = beside(path, ending);
        match File::options().write(true).open(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let reason = format!("{}: {error}", file.display());
                return Err(OpenError::ReadOnly { path: path.to_owned(), reason });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first page of every b-tree, whatever the size of the tree (sqlite.org/dbstat.html).
fn roots(connection: &Connection) -> rusqlite::Result<()> {
    let names: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_master WHERE rootpage > 0")?
        .query_map([], row::only)?
        .collect::<rusqlite::Result<_>>()?;
    let mut pages = connection.prepare("SELECT pagetype FROM dbstat WHERE name = ?1 LIMIT 1")?;
    for name in names {
        let kind: String = pages.query_row([&name], row::only)?;
        if kind == "corrupted" {
            let text = format!("the first page of {name} cannot be read");
            let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(error, Some(text)));
        }
    }
    Ok(())
}

/// The first words of `quick_check` on damage; `None` also when the time was up before it found any.
fn quick(connection: &mut Connection) -> rusqlite::Result<Option<String>> {
    let began = Instant::now();
    connection.progress_handler(STRIDE, Some(move || began.elapsed() > BUDGET))?;
    match connection.query_row("PRAGMA quick_check(1)", [], row::only::<String>) {
        Ok(said) if said == "ok" => Ok(None),
        Ok(said) => Ok(Some(said.lines().filter(|line| !line.starts_with("***")).collect::<Vec<_>>().join("; "))),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies of the database that lie beside it, newest first: files named after it (`tilld.db.…`, `tilld….bak`) with the
/// beginning of a SQLite file; any other file there may be anybody's. The database itself is not opened.
#[must_use]
pub(crate) fn backups(path: &Path) -> Vec<PathBuf> {
    let Ok(own) = lock::resolved(path) else { return Vec::new() };
    let (Some(folder), Some(name), Some(stem)) = (own.parent(), text(own.file_name()), text(own.file_stem())) else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let begins = format!("{name}.");
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(&begins) || (name.starts_with(stem) && name.ends_with(".bak"))
        })
        .filter(|entry| entry.path() != own)
        .filter(|entry| is_sqlite(&entry.path()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).take(NAMED).collect()
}

fn text(name: Option<&OsStr>) -> Option<&str> {
    name.and_then(OsStr::to_str)
}

fn is_sqlite(path: &Path) -> bool {
    let mut begin = [0; MAGIC.len()];
    path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *MAGIC
}

/// The file that SQLite keeps beside the database under this ending.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let own = lock::resolved(path).unwrap_or_else(|_| path.to_owned());
    let mut name = own.into_os_string();
    name.push(ending);
    PathBuf::from(name)
}
