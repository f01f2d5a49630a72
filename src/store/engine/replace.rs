//! Another file in the place of the database, at once and with a copy of what it replaces. It must never leave half a file
//! under the database's name. Called by `app::cli::rebuild` while it holds the lock.

use std::path::{Path, PathBuf};

use super::damage::beside;
use super::{connection, schema};
use crate::store::OpenError;

/// Takes a file away that counts for nothing, with what SQLite has beside it.
pub(crate) fn remove_all(path: &Path) {
    for ending in ["", "-wal", "-shm", "-journal"] {
        schema::remove(&beside(path, ending));
    }
}

/// Renames `new` to `path`. Where the file was copied to that was there.
///
/// # Errors
/// When the file cannot be copied, or another process has it open; then it is as it was.
pub(crate) fn put_in_place(new: &Path, path: &Path, now_ms: i64) -> Result<Option<PathBuf>, OpenError> {
    let unusable = |reason: String| OpenError::Unusable { path: path.to_owned(), reason };
    let copy = if path.exists() {
        // One that this program does not know is copied all the same.
        let version = schema::version_of(path).unwrap_or_default();
        let copy = schema::copy_aside(path, version, now_ms)?;
        close_log(path)?;
        if beside(path, "-wal").exists() {
            schema::remove(&copy);
            return Err(unusable("another process has it open; end it and try again".to_owned()));
        }
        Some(copy)
    } else {
        None
    };
    let renamed = std::fs::rename(new, path).and_then(|()| sync_folder(path));
    renamed.map_err(|error| unusable(error.to_string()))?;
    Ok(copy)
}

/// What is in the write-ahead log goes into the file; the last one to close it takes the log away. A log that stayed would
/// be taken for the new file's.
fn close_log(path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    let file = connection::open_writer(path).map_err(failed)?;
    file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    file.close().map_err(|(_, error)| failed(error))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}
