//! Findings: how the daemon and its database stand, and what to do where they do not stand well. The one source of what
//! `tilld check` prints and of what the dashboard says first. What a page asks for itself ([`at_hand`]) is read by indexes
//! and within milliseconds; what scans whole tables, and what only Stripe knows, is looked at by [`hourly`] and remembered.
//! It must never change what it looks at. Called by `http::dashboard` and the command line.

pub mod hourly;
mod links;
mod setup;
mod tables;
mod urgent;

use crate::base::finding::Finding;
use crate::notify::NotifyContext;
use crate::store::engine::schema;
use crate::store::{Store, StoreError, StoreReader, Tx, inbox, settings};
use crate::stripe::event;
use serde::{Deserialize, Serialize};
pub(crate) use setup::{clock, plans, refused, tokens};
pub(crate) use tables::waiting_for_nobody;

/// Names of checks that a page knows where to mend.
pub mod checks {
    /// Events that were given up.
    pub const DEAD_LETTERS: &str = "dead letters";
    /// Events that wait.
    pub const EVENTS: &str = "events";
    /// Mails and events for the application.
    pub const OUTBOX: &str = "outbox";
    /// Endpoints of the application.
    pub const ENDPOINT: &str = "endpoint";
    /// Whose customers and subscriptions are.
    pub const LINKS: &str = "links";
    /// What a refused webhook was refused for.
    pub const REFUSED: &str = "refused webhooks";
    /// Whether Stripe's objects were read.
    pub const SYNC: &str = "sync";
}

/// What one look at the database shows, without scanning a table.
///
/// # Errors
/// When the database cannot be read.
pub fn at_hand(store: &Store, context: &NotifyContext, now_s: i64) -> Result<Vec<Finding>, StoreError> {
    store.read(|reader| {
        let urgent = urgent::read(reader)?;
        let mut findings = vec![clock(now_s, urgent.last_event_s())];
        findings.extend(schema::has_other_rules(reader)?.then(setup::other_rules));
        findings.extend(inbox::find_newest_version(reader)?.as_deref().and_then(api_version));
        findings.extend(urgent.findings(context.projection.fetches, now_s));
        findings.push(urgent::size(store.path()));
        Ok(findings)
    })
}

/// What only a scan of whole tables shows.
///
/// # Errors
/// When the database cannot be read.
pub fn in_tables(reader: &StoreReader, context: &NotifyContext) -> Result<Vec<Finding>, StoreError> {
    tables::findings(reader, context)
}

/// An event of the newest ones that is not of the mode of the API key.
pub(crate) fn find_of_other_mode(reader: &StoreReader, context: &NotifyContext) -> Result<Option<String>, StoreError> {
    let Some(livemode) = context.projection.livemode else { return Ok(None) };
    inbox::find_of_mode(reader, !livemode)
}

/// Events of an API version that is newer than this program.
fn api_version(version: &str) -> Option<Finding> {
    event::is_newer_than_known(version).then(|| setup::newer_version(version))
}

/// What is looked at now and then, and remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// [`in_tables`].
    Tables,
    /// What Stripe was asked.
    Stripe,
}

impl Remembered {
    fn name(self) -> &'static str {
        match self {
            Self::Tables => settings::FINDINGS_IN_TABLES,
            Self::Stripe => settings::FINDINGS_AT_STRIPE,
        }
    }
}

/// Findings of a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsOf {
    /// When it was looked at, unix milliseconds.
    pub at_ms: i64,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Remembers what was found.
///
/// # Errors
/// When the database does not take it.
pub fn remember(tx: &Tx, what: Remembered, found: &FindingsOf) -> Result<(), StoreError> {
    // Texts and a number: that cannot fail.
    let text = serde_json::to_string(found).unwrap_or_default();
    settings::put(tx, what.name(), &text)
}

/// What was found when it was last looked at. `None`: never, or another version of this program has written it.
///
/// # Errors
/// When the database cannot be read.
pub fn recall(reader: &StoreReader, what: Remembered) -> Result<Option<FindingsOf>, StoreError> {
    let text = settings::find(reader, what.name())?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::finding::{fail, ok};

    #[test]
    fn what_is_remembered_reads_as_it_was_written() {
        let found = FindingsOf { at_ms: 5, findings: vec![ok("a", "b"), fail("c", "\"d\"")] };
        let text = serde_json::to_string(&found).unwrap_or_default();
        assert_eq!(serde_json::from_str::<FindingsOf>(&text).ok(), Some(found));
        assert!(text.contains(r#""verdict":"fail""#), "{text}");
    }
}
