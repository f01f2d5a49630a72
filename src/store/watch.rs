//! Watches for damage: once SQLite has found the file damaged, nothing is written to it any more. What Stripe is not told
//! we have, it sends again to the backup put in its place. Called by `store`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{StoreError, damage};

/// What is known of the file.
pub(super) struct Watch {
    path: PathBuf,
    /// What SQLite said when it first found the file damaged.
    said: OnceLock<String>,
}

impl Watch {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), said: OnceLock::new() }
    }

    /// Whether the file may still be written to.
    pub(super) fn confirm(&self) -> Result<(), StoreError> {
        self.said.get().map_or(Ok(()), |said| Err(StoreError::Damaged(said.clone())))
    }

    /// Looks at what became of a read or write.
    pub(super) fn noting<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
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
