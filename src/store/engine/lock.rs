//! The lock that one daemon holds for its life, so that no second one works on the same file and no `migrate` changes
//! the schema beneath it. It is the system's lock on a file beside the database and ends with its process, however
//! that ends; the file itself may lie there for ever. Commands that read or write beside a daemon do not take it.
//!
//! A hard link is another name of the same file, with another file beside it. So the file itself is claimed, too, by its
//! device and number: as the name of a socket that nobody ever calls (unix(7), "abstract"), which ends with its process.
//!
//! It must never open the database file itself: closing that again would drop SQLite's own locks of this process.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use super::owner;
use crate::store::OpenError;

/// Only its owner reads it; it says no more than a process number.
const MODE: u32 = 0o600;
/// What is read of it at most, in bytes.
const HOLDER_BYTES: u64 = 64;

/// Held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    claim: Option<UnixListener>,
}

impl Lock {
    /// Claims the file itself, where it was not there yet when the lock was taken.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when it is claimed under another name.
    pub fn claim(&mut self, path: &Path) -> Result<(), OpenError> {
        if self.claim.is_none() {
            self.claim = claim(path)?;
        }
        Ok(())
    }
}

/// Takes the lock of the database at `path`, by whatever name that is reached.
///
/// # Errors
/// [`OpenError::InUse`] naming the holder; [`OpenError::Unusable`] when the folder does not allow it.
pub fn take(path: &Path) -> Result<Lock, OpenError> {
    let unusable = |error: io::Error| OpenError::Unusable { path: path.to_owned(), reason: error.to_string() };
    let beside = lock_path(path).map_err(unusable)?;
    let unusable = |error: io::Error| {
        let (path, reason) = (path.to_owned(), format!("its lock {} cannot be had: {error}", beside.display()));
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path, reason },
            _ => OpenError::Unusable { path, reason },
        }
    };
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(&beside);
    let mut file = open.map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = holder(&mut file);
            return Err(OpenError::InUse { path: path.to_owned(), lock: beside, holder });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    // Made by root, it would keep the owner of the database out.
    owner::share(&beside, path);
    if let Err(error) = sign(&mut file) {
        // The lock holds all the same; a full disk must not keep a daemon from starting.
        log::info!("the process number was not written into {}: {error}", beside.display());
    }
    Ok(Lock { _file: file, claim: claim(path)? })
}

/// `None` where there is no file yet, or the system has no such names.
fn claim(path: &Path) -> Result<Option<UnixListener>, OpenError> {
    let Ok(found) = std::fs::metadata(path) else { return Ok(None) };
    let name = claim_name(&found);
    let address = SocketAddr::from_abstract_name(&name);
    match address.and_then(|address| UnixListener::bind_addr(&address)) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = "another tilld, under another name of the same file (a hard link)".to_owned();
            Err(OpenError::InUse { path: path.to_owned(), lock: PathBuf::from(format!("@{name}")), holder })
        }
        Err(error) => {
            log::info!("{} cannot be claimed by its number: {error}", path.display());
            Ok(None)
        }
    }
}

fn claim_name(found: &Metadata) -> String {
    format!("tilld-database-{:x}-{:x}", found.dev(), found.ino())
}

/// Whether it is claimed, under whatever name, found out without calling (proc_net(5), "unix").
fn is_claimed(path: &Path) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return false };
    let name = format!("@{}", claim_name(&found));
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets.lines().any(|line| line.ends_with(&name))
}

/// Whether somebody holds it, found out without taking it: a daemon that starts in that moment must not be refused. Where
/// the system does not say (`/proc/locks`, proc_locks(5)), somebody does.
#[must_use]
pub(crate) fn is_held(path: &Path) -> bool {
    is_claimed(path) || is_held_by_name(path)
}

fn is_held_by_name(path: &Path) -> bool {
    let Ok(beside) = lock_path(path) else { return false };
    let Ok(found) = std::fs::metadata(beside) else { return false };
    // Some file systems report another device number here than to `stat`; a number of another file that is locked, too,
    // only makes the caller more careful.
    let ours = format!(":{} ", found.ino());
    let held = |locks: String| locks.lines().any(|line| line.contains("FLOCK") && line.contains(&ours));
    std::fs::read_to_string("/proc/locks").map_or(true, held)
}

/// Beside the file that is meant, whichever symlinks and relative ways lead there.
fn lock_path(path: &Path) -> io::Result<PathBuf> {
    let mut name = resolved(path)?.into_os_string();
    name.push(".lock");
    Ok(PathBuf::from(name))
}

/// The database's own path, also when it is still to be made.
pub(crate) fn resolved(path: &Path) -> io::Result<PathBuf> {
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    // A symlink to a file that is not there yet: SQLite would make that file.
    let absolute = std::path::absolute(path)?;
    let aimed = match std::fs::read_link(&absolute) {
        Ok(target) => absolute.parent().unwrap_or(Path::new("/")).join(target),
        Err(_) => absolute,
    };
    let name = aimed.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let folder = aimed.parent().unwrap_or(Path::new("/")).canonicalize()?;
    Ok(folder.join(name))
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // Unreadable is unknown; the refusal holds either way.
    let _ = file.take(HOLDER_BYTES).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid}"),
        Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_by_every_name_of_the_file_and_again_after_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tilld.db");
        std::os::unix::fs::symlink("tilld.db", dir.path().join("link.db")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("round")).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let names = ["tilld.db", "link.db", "round/tilld.db", "sub/../round/link.db"];
        // Before there is a file, and after.
        for _ in 0..2 {
            let held = take(&path).unwrap();
            for name in names {
                let refused = take(&dir.path().join(name)).unwrap_err().to_string();
                let pid = std::process::id();
                assert!(refused.contains(&format!("process {pid}")), "{name}: {refused}");
            }
            drop(held);
            for name in names {
                take(&dir.path().join(name)).unwrap();
            }
            std::fs::write(&path, "").unwrap();
        }
        take(&dir.path().join("other.db")).unwrap();
    }

    #[test]
    fn that_it_is_held_is_seen_without_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tilld.db");
        assert!(!is_held(&path), "there is no lock yet");
        let held = take(&path).unwrap();
        assert!(is_held(&path));
        drop(held);
        assert!(!is_held(&path));
        take(&path).unwrap();
    }

    #[test]
    fn a_hard_link_is_the_same_file() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, link) = (dir.path().join("tilld.db"), elsewhere.path().join("other.db"));
        let mut held = take(&path).unwrap();
        // The file is made after the lock was taken.
        std::fs::write(&path, "").unwrap();
        held.claim(&path).unwrap();
        std::fs::hard_link(&path, &link).unwrap();
        let refused = take(&link).unwrap_err();
        assert!(matches!(&refused, OpenError::InUse { .. }), "{refused}");
        assert!(refused.to_string().contains("hard link"), "{refused}");
        assert!(is_held(&link));
        drop(held);
        assert!(!is_held(&link));
        take(&link).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tilld.db.lock"), "4711\nold").unwrap();
        let path = dir.path().join("tilld.db");
        let _held = take(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("tilld.db.lock")).unwrap().trim().parse(),
            Ok(std::process::id())
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = take(&dir.path().join("none/tilld.db")).unwrap_err();
        assert!(matches!(&error, OpenError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("none/tilld.db"), "{error}");
    }
}
