//! Another file in the place of the database, at once and with a copy of what it replaces. It must never leave half a file
//! under the database's name, and never lose what another process has committed to the file that goes. Called by
//! `app::cli::rebuild`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::damage::beside;
use super::lock::{self, Lock};
use super::{connection, owner, schema};
use crate::store::OpenError;

/// What SQLite has beside a database.
const ENDINGS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Takes a file away that counts for nothing, with what SQLite has beside it.
fn remove_all(path: &Path) {
    for ending in ENDINGS {
        schema::remove(&beside(path, ending));
    }
}

/// A file in the making. It is taken away when this is dropped; what a process that was killed has left, by the next one.
pub struct PartFile {
    path: PathBuf,
    _lock: Lock,
}

impl PartFile {
    /// The one beside `target`, that is to become it. One process at a time makes it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process is making it.
    pub fn of(target: &Path) -> Result<Self, OpenError> {
        Self::take(beside(target, ".rebuild.part"))
    }

    /// One beside `from` that is only compared with it. Each process has its own.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn to_compare(from: &Path) -> Result<Self, OpenError> {
        remove_left_over(from);
        Self::take(beside(from, &format!(".check-{}.part", std::process::id())))
    }

    fn take(path: PathBuf) -> Result<Self, OpenError> {
        let lock = lock::take(&path)?;
        remove_all(&path);
        Ok(Self { path, _lock: lock })
    }

    /// Its name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name; nothing is overwritten.
    ///
    /// # Errors
    /// When there is a file of that name by now.
    pub fn rename(self, into: &Path) -> Result<(), OpenError> {
        let unusable = |reason: String| OpenError::Unusable { path: into.to_owned(), reason };
        if into.exists() {
            return Err(unusable("it has been made meanwhile".to_owned()));
        }
        rename(&self.path, into).map_err(|error| unusable(error.to_string()))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        remove_all(&self.path);
        schema::remove(&beside(&self.path, ".lock"));
    }
}

/// Takes away what checks of `from` have left that were killed. One that is in use is locked.
fn remove_left_over(from: &Path) {
    let begin = beside(from, ".check-");
    let (Some(folder), Some(begin)) = (begin.parent(), begin.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let of_check = |name: &str| {
        let (process, _) = name.strip_prefix(begin)?.split_once(".part")?;
        process.bytes().all(|byte| byte.is_ascii_digit()).then(|| folder.join(format!("{begin}{process}.part")))
    };
    let found: BTreeSet<PathBuf> =
        entries.flatten().filter_map(|entry| of_check(entry.file_name().to_str()?)).collect();
    // Each takes its file away when it is dropped.
    found.into_iter().for_each(|left| drop(PartFile::take(left)));
}

/// The database that is to be replaced. From now on nobody else writes to it: a command waits, and then fails.
pub struct HeldFile {
    path: PathBuf,
    /// `None`: there is no file.
    writer: Option<Connection>,
}

impl HeldFile {
    /// Holds the file at `path`, which must be its own name and not that of a link.
    ///
    /// # Errors
    /// When it cannot be used, or another process writes to it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: rusqlite::Error| OpenError::of(path, &error);
        let writer = if path.exists() { Some(connection::open_writer(path).map_err(failed)?) } else { None };
        if let Some(writer) = &writer {
            writer.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), writer })
    }

    /// Puts `new` in its place, with the same owner and rights. Where the file was copied to that was there.
    ///
    /// # Errors
    /// When the file cannot be copied, when the new one cannot be given to the same owner, or another process has it open;
    /// then it is as it was.
    pub fn replace(self, new: &PartFile, now_ms: i64) -> Result<Option<PathBuf>, OpenError> {
        let unusable =
            |error: std::io::Error| OpenError::Unusable { path: self.path.clone(), reason: error.to_string() };
        let Some(writer) = &self.writer else {
            return rename(&new.path, &self.path).map(|()| None).map_err(unusable);
        };
        owner::give(&new.path, &self.path)?;
        let copy = schema::copy_aside(&self.path, schema::number_of(&self.path), now_ms)?;
        let replaced = exclude_all(writer, &self.path).and_then(|()| {
            // The log is empty, and would be taken for the new file's.
            ["-wal", "-shm"].iter().for_each(|ending| schema::remove(&beside(&self.path, ending)));
            rename(&new.path, &self.path).map_err(unusable)
        });
        if let Err(error) = replaced {
            schema::remove(&copy);
            return Err(error);
        }
        Ok(Some(copy))
    }
}

/// Brings the whole log into the file, and keeps every other process from opening it as long as `writer` lives. Between the
/// hold and this the file is free for a moment; who has used it is found out by the version of its data.
fn exclude_all(writer: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy) => in_use(path, "another process has it open; end it and try again"),
        _ => OpenError::of(path, &error),
    };
    let version = || writer.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
    let held = version().map_err(failed)?;
    // In this mode a transaction that writes locks the file itself, which ends with the connection only.
    writer.execute_batch("ROLLBACK; PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE").map_err(failed)?;
    if version().map_err(failed)? != held {
        return Err(in_use(path, "another process has written to it meanwhile; try again"));
    }
    writer.execute_batch("COMMIT").map_err(failed)?;
    let busy = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)).map_err(failed)?;
    if busy {
        return Err(in_use(path, "another process has it open; end it and try again"));
    }
    // By then another process may have made a log of that name, which must stay.
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed).map(|_| ())
}

fn in_use(path: &Path, reason: &str) -> OpenError {
    OpenError::NotReplaced { path: path.to_owned(), reason: reason.to_owned() }
}

fn rename(new: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::rename(new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}
