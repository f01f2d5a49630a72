//! Is the database file ours, in its place, and whole? A file that was removed or replaced under a running daemon goes on
//! being written to by the system, and is gone when the daemon ends; so no commit counts that went to such a file. And
//! once SQLite has found the file damaged, nothing is written to it any more: what we do not acknowledge, Stripe sends
//! again to the backup that replaces it. Called by `engine` and `writer`.
//!
//! It asks by name only: opening and closing the file would drop SQLite's locks.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{damage, lock};
use crate::store::{OpenError, StoreError};

/// Which file it is, whatever its name: file system and number there.
type FileIdentity = (u64, u64);

/// The two files that hold what was committed, as they were opened.
pub(crate) struct DatabaseFile {
    file: PathBuf,
    identity: FileIdentity,
    log: PathBuf,
    /// SQLite makes the log with the first use, and keeps it as long as it is open.
    log_identity: OnceLock<FileIdentity>,
}

impl DatabaseFile {
    /// Of the database at `path`, which is about to be opened.
    pub(crate) fn of(path: &Path) -> Result<Self, OpenError> {
        let unusable = |error: io::Error| OpenError::Unusable { path: path.to_owned(), reason: error.to_string() };
        let file = lock::resolved(path).map_err(unusable)?;
        let identity = identity(&file).map_err(unusable)?;
        Ok(Self { identity, log: damage::beside(&file, "-wal"), file, log_identity: OnceLock::new() })
    }

    /// Whether what has been opened since is the same file. `tilld rebuild` may have replaced it in that moment; then SQLite
    /// has the old file and the log of the new one, and must not write.
    pub(crate) fn confirm_opened(&self) -> Result<(), OpenError> {
        confirm(&self.file, self.identity)
            .map_err(|error| OpenError::Unusable { path: self.file.clone(), reason: error.to_string() })
    }

    /// Whether both are where they were.
    pub(crate) fn confirm(&self) -> Result<(), StoreError> {
        confirm(&self.file, self.identity)?;
        let known = match self.log_identity.get() {
            Some(known) => *known,
            None => {
                let found = identity(&self.log).map_err(|error| gone(&self.log, Some(&error)))?;
                *self.log_identity.get_or_init(|| found)
            }
        };
        confirm(&self.log, known)
    }
}

fn identity(path: &Path) -> io::Result<FileIdentity> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn confirm(path: &Path, known: FileIdentity) -> Result<(), StoreError> {
    match identity(path) {
        Ok(found) if found == known => Ok(()),
        Ok(_) => Err(gone(path, None)),
        Err(error) => Err(gone(path, Some(&error))),
    }
}

fn gone(path: &Path, error: Option<&io::Error>) -> StoreError {
    let why = error.map_or_else(|| "another file lies there".to_owned(), ToString::to_string);
    let path = path.display();
    StoreError::Unavailable(format!(
        "{path} was moved or removed while in use ({why}); put it back, or restart tilld to use what lies there"
    ))
}

/// Whether the file was found damaged.
pub(crate) struct Damage {
    path: PathBuf,
    /// What SQLite said when it first found the file damaged.
    said: OnceLock<String>,
}

impl Damage {
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), said: OnceLock::new() }
    }

    /// Whether the file may still be written to.
    pub(crate) fn confirm(&self) -> Result<(), StoreError> {
        self.said.get().map_or(Ok(()), |said| Err(StoreError::Damaged(said.clone())))
    }

    /// Looks at what became of a read or write.
    pub(crate) fn noting<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Damaged(said)) = &outcome
            && self.said.set(said.clone()).is_ok()
        {
            let backups = damage::backups(&self.path);
            log::error!(
                "from now on nothing is written. {} (backups beside it: {backups:?})",
                StoreError::Damaged(said.clone())
            );
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_was_replaced_while_it_was_opened_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("tilld.db"), dir.path().join("new.db"));
        std::fs::write(&path, "old").unwrap();
        std::fs::write(&new, "new").unwrap();
        let file = DatabaseFile::of(&path).unwrap();
        file.confirm_opened().unwrap();
        std::fs::rename(&new, &path).unwrap();
        let refused = file.confirm_opened().unwrap_err().to_string();
        assert!(refused.contains("another file lies there"), "{refused}");
    }
}
