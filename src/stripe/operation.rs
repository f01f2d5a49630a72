//! What tilld changes or makes at Stripe, one row each: how it is asked for, what shows that it was done, and which
//! permission it takes. Data and pure functions: knows no database, sends nothing. `store::stripe_operations` reads its
//! words from the table, `calls` sends and finds out, `http::api` chooses, `tilld check` asks for the permissions; each of
//! them goes by the row. The rows themselves are in `table`.

mod table;

use serde_json::Value;

use super::call::{Verb, segment};
pub use table::{OperationKind, OperationParameters};

/// Where a path has the id of what the operation is done to.
const SUBJECT: &str = "{subject}";

/// A row.
#[derive(Debug)]
pub struct OperationRow {
    /// In the column `kind` and in the audit log. Never changed: rows with it are on people's disks.
    pub word: &'static str,
    /// POST or DELETE.
    pub verb: Verb,
    /// `{subject}` stands for the percent-encoded id of what it is done to.
    pub path: &'static str,
    /// Whether Stripe compares an idempotency key, or doing it twice is doing it once.
    pub repeat: KeyRepeat,
    /// What Stripe's answer shows; anything else is not an answer to it.
    pub answer: OperationAnswer,
    /// How its outcome is found out once the key shows nothing any more.
    pub without_key: WithoutKey,
    /// Whether its answer is an object for the mirror.
    pub mirrored: bool,
    /// What a restricted key must be given.
    pub permission: Permission,
}

/// How an operation may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRepeat {
    /// Under its idempotency key: Stripe answers as it did the first time.
    UnderKey,
    /// As it is, without a key. After one that was done it finds nothing (404), and the subject shows it.
    AsItIs,
}

/// What an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationAnswer {
    /// An object of this kind, with its id.
    Object(&'static str),
    /// One that exists nowhere, and has no id.
    Preview(&'static str),
}

/// How an outcome is found out when its idempotency key has expired at Stripe, or belongs to a stored failure.
#[derive(Debug, Clone, Copy)]
pub enum WithoutKey {
    /// It made an object that carries the key in its metadata, and is searched for in this list. Not there: not done.
    Search(&'static str),
    /// Its subject is read at this path, and shows whether it is what it was to become.
    LookAtSubject(&'static str, fn(&Value, &OperationParameters) -> bool),
    /// It leaves nothing that matters: it counts as not done.
    NotDone,
}

/// A permission on the page of a restricted key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// To read this resource.
    Read(&'static str),
    /// To write it.
    Write(&'static Writable),
    /// Nothing is asked of Stripe.
    None,
}

/// A resource that is changed, and a change of nothing to an id that does not exist: Stripe looks at the permission
/// first, 403 without it, 404 with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Writable {
    /// On the page of the key.
    pub name: &'static str,
    /// Where it is asked.
    pub probe_path: &'static str,
    /// With which parameters.
    pub probe_form: &'static str,
}

impl OperationKind {
    /// The kind of a word.
    #[must_use]
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    /// The words of all of them.
    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|kind| kind.word())
    }

    /// The word in the column and in the audit log.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        self.row().word
    }

    /// Where it is asked for.
    #[must_use]
    pub(crate) fn path(self, subject: Option<&str>) -> String {
        path(self.row().path, subject)
    }

    /// Where its subject is read; `None` where that shows nothing.
    #[must_use]
    pub(crate) fn subject_path(self, subject: Option<&str>) -> Option<String> {
        match self.row().without_key {
            WithoutKey::LookAtSubject(at, _) => subject.map(|id| path(at, Some(id))),
            WithoutKey::Search(_) | WithoutKey::NotDone => None,
        }
    }

    /// Whether its subject, as Stripe shows it now, is what the operation was to make of it.
    #[must_use]
    pub(crate) fn was_done(self, subject: &Value, wanted: &OperationParameters) -> bool {
        match self.row().without_key {
            WithoutKey::LookAtSubject(_, is_done) => is_done(subject, wanted),
            WithoutKey::Search(_) | WithoutKey::NotDone => false,
        }
    }

    /// Whether an answer shows what the operation makes or changes.
    #[must_use]
    pub(crate) fn is_shown_by(self, answer: &Value) -> bool {
        match self.row().answer {
            OperationAnswer::Object(object) => {
                answer["object"] == object && answer["id"].as_str().is_some_and(|id| !id.is_empty())
            }
            OperationAnswer::Preview(object) => answer["object"] == object,
        }
    }

    /// Whether it changes its subject's own values, and does nothing else with it.
    #[must_use]
    pub(crate) fn is_update(self) -> bool {
        let row = self.row();
        row.verb == Verb::Post && row.path.ends_with(SUBJECT)
    }
}

/// A path that needs a subject and has none keeps its braces, which no call may have in its path.
fn path(path: &str, subject: Option<&str>) -> String {
    subject.map_or_else(|| path.to_owned(), |id| path.replace(SUBJECT, &segment(id)))
}

#[cfg(test)]
mod tests;
