//! Owner, group and rights of a file that is made for another one: a service must be able to use what root has made in the
//! place of its database. It must never open a database: closing it again would drop SQLite's locks. Called by `replace`,
//! `schema` and `lock`.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::store::OpenError;

/// Whether both have the same owner and group.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.uid(), one.gid()) == (other.uid(), other.gid())
}

/// Gives `new` the owner, the group and the rights of `old`.
///
/// # Errors
/// When this user may not give it away.
pub(super) fn give(new: &Path, old: &Path) -> Result<(), OpenError> {
    let found = fs::metadata(old).map_err(|error| refused(old, error.to_string()))?;
    copy(new, &found).map_err(|error| {
        let (uid, gid) = (found.uid(), found.gid());
        refused(old, format!("it belongs to {uid}:{gid}, and a file cannot be given to them: {error}; run this as its owner or as root"))
    })
}

fn refused(path: &Path, reason: String) -> OpenError {
    OpenError::NotReplaced { path: path.to_owned(), reason }
}

/// As [`give`], where this user may; else it stays as it is, which is private.
pub(super) fn give_if_allowed(new: &Path, old: &Path) {
    if let Err(error) = fs::metadata(old).and_then(|found| copy(new, &found)) {
        log::info!("{} was not given to the owner of {}: {error}", new.display(), old.display());
    }
}

/// The rights come last: a group that is not the same must not have them.
fn copy(new: &Path, old: &Metadata) -> io::Result<()> {
    give_to(new, old)?;
    fs::set_permissions(new, fs::Permissions::from_mode(old.mode() & 0o777))
}

/// Owner and group alone.
fn give_to(new: &Path, old: &Metadata) -> io::Result<()> {
    if is_same(&fs::metadata(new)?, old) {
        return Ok(());
    }
    chown(new, Some(old.uid()), Some(old.gid()))
}

/// Gives `new`, which is beside the database `old`, to the same owner, where this user may.
pub(super) fn share(new: &Path, old: &Path) {
    let Ok(found) = fs::metadata(old) else { return };
    if let Err(error) = give_to(new, &found) {
        log::info!("{} was not given to the owner of {}: {error}", new.display(), old.display());
    }
}
