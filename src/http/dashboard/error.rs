//! Why there is no page. How it is shown says `page`. Made by every page.

use crate::store::StoreError;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// A status, and words that say what to do.
    #[error("{1}")]
    Refused(u16, String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A template.
    #[error("a page could not be written: {0}")]
    Template(#[from] askama::Error),
}

impl PageError {
    /// 404.
    pub(super) fn not_found(words: impl Into<String>) -> Self {
        Self::Refused(404, words.into())
    }
}
