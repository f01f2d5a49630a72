//! `webhook_endpoint_disabled`: an endpoint of the application gets no more events. Called by `notice`, and by `endpoints`,
//! which disables one.

use serde::{Deserialize, Serialize};

use super::Notice;
use super::letter::{Letter, LetterTone, day_of, line};
use super::queue::{self, MailRecipient, NewMail};
use crate::notify::text::UntrustedText;
use crate::store::{StoreError, StoreReader, Tx, webhook_endpoints};

/// An endpoint that gets no more events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointFacts {
    /// Scheme and host: the rest may be a secret.
    pub(crate) url: UntrustedText,
    pub(crate) reason: Option<UntrustedText>,
    pub(crate) error: Option<UntrustedText>,
    pub(crate) disabled_at: Option<i64>,
    pub(crate) failing_since: Option<i64>,
    pub(crate) last_success_at: Option<i64>,
}

impl EndpointFacts {
    /// What its mail is about, by which the endpoint is found again.
    pub(super) fn key(url: &str, disabled_at_ms: i64) -> String {
        format!("{url}:{disabled_at_ms}")
    }

    pub(super) fn url_of(key: &str) -> Option<&str> {
        key.rsplit_once(':').map(|(url, _)| url)
    }

    pub(super) fn reason_to_skip(reader: &StoreReader, key: Option<&str>) -> Result<Option<&'static str>, StoreError> {
        let url = key.and_then(Self::url_of);
        let found = url.map_or(Ok(None), |url| webhook_endpoints::find(reader, url))?;
        Ok(found.filter(|found| found.disabled_at_ms.is_none()).map(|_| "the endpoint takes its events again"))
    }
}

/// Writes the mail to the operator; `url`: of the endpoint, in full.
pub(in crate::notify) fn announce(
    tx: &Tx,
    facts: EndpointFacts,
    url: &str,
    operator: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let key = EndpointFacts::key(url, now_ms);
    let recipient = MailRecipient { to: Some(operator.to_owned()), ..MailRecipient::default() };
    let notice = Notice::WebhookEndpointDisabled(facts);
    queue::add(tx, NewMail { notice, key: &key, recipient: &recipient, not_before_ms: now_ms }, None, (None, now_ms))
        .map(|_| ())
}

pub(super) fn letter(facts: &EndpointFacts, product: &str) -> Letter {
    // What follows a question mark may be a secret.
    let url = facts.url.line().map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned());
    let subject = format!("{product}: an endpoint gets no more events");
    Letter::new(LetterTone::Grave, subject, "An endpoint gets no more events")
        .say("tilld no longer sends events to this endpoint of your application. They are kept in the outbox.")
        .about(day_of(facts.disabled_at))
        .show("Endpoint", url.clone())
        .show("Why", line(facts.reason.as_ref()))
        .show("Last answer", line(facts.error.as_ref()))
        .show("Last success", day_of(facts.last_success_at))
        .show("Since", day_of(facts.disabled_at))
        .with([("endpoint", url), ("error", line(facts.error.as_ref())), ("reason", line(facts.reason.as_ref()))])
}
