//! The health of the application's endpoints: one that says that it is gone, or that was tried on five days or more and
//! accepted nothing, is disabled, and the operator gets a mail and a line in the log. Days on which nothing was sent do not
//! count. Its events wait and keep their attempts; one of them is tried once a day, and when it is accepted, the others
//! follow. An endpoint is enabled at once by `tilld outbox retry` of one of them, or by a start with another configuration
//! of it: its secrets, events, or `allow_private`. It must never send anything. Called by `jobs::lane`, in the transaction
//! that records an attempt.

pub mod sign;
pub mod target;
pub mod webhook;

use sha2::{Digest, Sha256};
use ureq::http::Uri;

use crate::base::secret::Secret;
use crate::notify::notice::endpoint::{self, EndpointFacts};
use crate::notify::text::UntrustedText;
use crate::store::outbox::answers;
use crate::store::{StoreError, StoreReader, Tx, webhook_endpoints};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// An endpoint is disabled after so many days without success, if it was tried on that many.
pub(crate) const PATIENCE_DAYS: u32 = 5;
/// How often a disabled endpoint is tried, in milliseconds.
pub(crate) const PROBE_EVERY_MS: i64 = DAY_MS;
const GONE: &str = "it answered 410: it is gone";
const SILENT: &str = "it was tried on five days or more and took nothing";

/// An endpoint of the application's, as configured.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// Where events are sent.
    pub url: String,
    /// One, or two while one is replaced; every event is signed with each.
    pub secrets: Vec<Secret>,
    /// Types, `stripe.*`, or `*`.
    pub events: Vec<String>,
    /// Its name may lead into a private network.
    pub allow_private: bool,
}

impl EndpointSettings {
    /// The bytes that sign, one key for each secret.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        self.secrets.iter().filter_map(|secret| sign::key_of(secret.expose())).collect()
    }
}

/// An endpoint whose health is kept.
#[derive(Debug, Clone)]
pub struct EndpointLane {
    /// As configured.
    pub url: String,
    /// Changes with its configuration.
    pub fingerprint: String,
    /// The mail address that gets a notice; `None`: nobody.
    pub operator: Option<String>,
}

/// A hash that changes with the configuration of an endpoint, and does not disclose its keys.
#[must_use]
pub fn fingerprint(keys: &[Vec<u8>], events: &[String], allow_private: bool) -> String {
    let mut hash = Sha256::new();
    let words = keys.iter().map(Vec::as_slice).chain(events.iter().map(String::as_bytes));
    words.for_each(|word| {
        hash.update(word.len().to_be_bytes());
        hash.update(word);
    });
    hash.update([u8::from(allow_private)]);
    hex::encode(hash.finalize())
}

/// What may be shown of a URL: path and query may hold a secret.
#[must_use]
pub(crate) fn origin(url: &str) -> String {
    let uri = url.parse::<Uri>().ok();
    let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
    parts.map_or_else(
        || "an endpoint".to_owned(),
        |(scheme, authority)| {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}")
        },
    )
}

impl EndpointLane {
    /// Notes that it is configured, before anything is sent to it.
    pub fn configure(&self, tx: &Tx) -> Result<(), StoreError> {
        webhook_endpoints::configure(tx, &self.url, &self.fingerprint)
    }

    /// Whether it gets its events.
    pub(crate) fn is_enabled(&self, reader: &StoreReader) -> Result<bool, StoreError> {
        Ok(webhook_endpoints::find(reader, &self.url)?.is_none_or(|endpoint| endpoint.disabled_at_ms.is_none()))
    }

    /// How many of its events may be sent now, one or `most`; `None`: none.
    pub(crate) fn room(&self, reader: &StoreReader, most: usize, now_ms: i64) -> Result<Option<usize>, StoreError> {
        let found = webhook_endpoints::find(reader, &self.url)?;
        let Some(found) = found.filter(|found| found.disabled_at_ms.is_some()) else { return Ok(Some(most)) };
        Ok(found.probe_at_ms.is_none_or(|probe_at_ms| probe_at_ms <= now_ms).then_some(1))
    }

    /// Brings the next try of a disabled endpoint forward if it is later than it can be from now on.
    pub(crate) fn bring_forward(&self, tx: &Tx, now_ms: i64) -> Result<(), StoreError> {
        webhook_endpoints::bring_forward(tx, &self.url, now_ms.saturating_add(PROBE_EVERY_MS), now_ms)
    }

    pub(crate) fn succeed(&self, tx: &Tx, now_ms: i64) -> Result<(), StoreError> {
        let before = webhook_endpoints::find(tx, &self.url)?;
        if webhook_endpoints::enable(tx, &self.url)? {
            log::info!(endpoint = origin(&self.url); "endpoint takes its events again");
        }
        if let Some(before) = before.filter(|before| before.first_failure_ms.is_some()) {
            // What was given up on a day on which others were accepted was itself at fault.
            let since_ms = before.last_success_ms.map_or(0, |last_ms| last_ms.saturating_add(DAY_MS));
            let revived = answers::revive(tx, &self.url, since_ms, now_ms)?;
            if revived > 0 {
                let origin = origin(&self.url);
                log::info!(count = revived, endpoint = origin; "present answers that were given up are sent now");
            }
        }
        webhook_endpoints::succeed(tx, &self.url, now_ms)
    }

    /// An attempt has failed. `true`: the endpoint was disabled before, so the attempt was the try of that day.
    pub(crate) fn fail(&self, tx: &Tx, error: &str, now_ms: i64) -> Result<bool, StoreError> {
        if webhook_endpoints::postpone(tx, &self.url, now_ms.saturating_add(PROBE_EVERY_MS))? {
            return Ok(true);
        }
        let failing = webhook_endpoints::fail(tx, &self.url, now_ms)?;
        let is_lost = failing.is_some_and(|failing| {
            let long_ms = i64::from(PATIENCE_DAYS) * DAY_MS;
            failing.days >= PATIENCE_DAYS && now_ms.saturating_sub(failing.since_ms) >= long_ms
        });
        if is_lost {
            self.disable(tx, (SILENT, error), now_ms)?;
        }
        Ok(false)
    }

    pub(crate) fn gone(&self, tx: &Tx, now_ms: i64) -> Result<(), StoreError> {
        self.disable(tx, (GONE, "answered 410"), now_ms)
    }

    fn disable(&self, tx: &Tx, (reason, error): (&str, &str), now_ms: i64) -> Result<(), StoreError> {
        let probe_at_ms = now_ms.saturating_add(PROBE_EVERY_MS);
        if !webhook_endpoints::disable(tx, &self.url, reason, (now_ms, probe_at_ms))? {
            webhook_endpoints::postpone(tx, &self.url, probe_at_ms)?;
            return Ok(());
        }
        let origin = origin(&self.url);
        log::error!(
            endpoint = origin;
            "endpoint disabled, its events wait; it is tried once a day, and at once by `tilld outbox retry` of one of `tilld outbox list --kind webhook`: {reason}"
        );
        let Some(to) = self.operator.as_deref() else { return Ok(()) };
        let state = webhook_endpoints::find(tx, &self.url)?;
        let seconds = |ms: Option<i64>| ms.map(|ms| ms.div_euclid(1000));
        let facts = EndpointFacts {
            url: UntrustedText::from(origin),
            reason: Some(UntrustedText::from(reason)),
            error: Some(UntrustedText::from(error)),
            disabled_at: Some(now_ms.div_euclid(1000)),
            failing_since: seconds(state.as_ref().and_then(|state| state.first_failure_ms)),
            last_success_at: seconds(state.as_ref().and_then(|state| state.last_success_ms)),
        };
        endpoint::announce(tx, facts, &self.url, to, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_and_host_of_a_url_are_shown() {
        assert_eq!(origin("https://a.example:8443/hooks/SECRET?token=SECRET"), "https://a.example:8443");
        assert_eq!(origin("SECRET of some kind"), "an endpoint");
    }

    #[test]
    fn every_change_of_the_configuration_changes_the_fingerprint() {
        let (key, events) = (vec![vec![1_u8; 24]], vec!["*".to_owned()]);
        let usual = fingerprint(&key, &events, false);
        assert_eq!(usual, fingerprint(&key, &events, false));
        assert_ne!(usual, fingerprint(&[vec![2; 24]], &events, false));
        assert_ne!(usual, fingerprint(&key, &["stripe.*".to_owned()], false));
        assert_ne!(usual, fingerprint(&key, &events, true));
    }
}
