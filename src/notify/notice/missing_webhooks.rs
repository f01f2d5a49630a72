//! `webhooks_missing`: no webhook has come for longer than the operator allows, or catching up found events that webhooks
//! should have brought. Called by `notice`, and by the jobs that notice it (`jobs::silence`, `jobs::schedule`).

use serde::{Deserialize, Serialize};

use super::Notice;
use super::letter::{Letter, LetterTone, day_of};
use super::queue::{self, MailRecipient, NewMail};
use crate::notify::settings::NotifyBasis;
use crate::store::{StoreError, Tx};

/// Webhooks that do not come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MissingWebhooksFacts {
    /// When the last one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent_since: Option<i64>,
    /// How many events were found by asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late_events: Option<u64>,
}

/// Writes the mail: no webhook has come since then, unix milliseconds.
pub(crate) fn announce_silence(tx: &Tx, since_ms: i64, basis: NotifyBasis) -> Result<(), StoreError> {
    let facts = MissingWebhooksFacts { silent_since: Some(since_ms.div_euclid(1000)), late_events: None };
    let key = format!("silence:{since_ms}");
    announce(tx, &key, facts, basis)
}

/// Writes the mail, one a day: so many events came by catching up that webhooks should have brought.
pub(crate) fn announce_late_events(tx: &Tx, count: u64, basis: NotifyBasis) -> Result<(), StoreError> {
    const DAY_MS: i64 = 86_400_000;
    let facts = MissingWebhooksFacts { silent_since: None, late_events: Some(count) };
    let key = format!("late:{}", basis.now_ms.div_euclid(DAY_MS));
    announce(tx, &key, facts, basis)
}

fn announce(tx: &Tx, key: &str, facts: MissingWebhooksFacts, basis: NotifyBasis) -> Result<(), StoreError> {
    let (recipient, not_before_ms) = (MailRecipient::operator(basis), basis.now_ms);
    let mail = NewMail { notice: Notice::WebhooksMissing(facts), key, recipient: &recipient, not_before_ms };
    queue::put(tx, mail, None, basis)
}

pub(super) fn letter(facts: &MissingWebhooksFacts, product: &str) -> Letter {
    let since = day_of(facts.silent_since);
    let late = facts.late_events.map(|count| count.to_string());
    let subject = format!("{product}: Stripe's webhooks do not come");
    let letter = Letter::new(LetterTone::Grave, subject, "Webhooks do not come");
    let letter = match (&since, &late) {
        (_, Some(_)) => letter.say(
            "tilld finds events by asking Stripe that webhooks should have brought long before. So it answers by what was so \
             some minutes ago.",
        ),
        (Some(day), None) => letter.say(format!("The last webhook came on {day}. Nothing may have happened since, or it is lost.")),
        (None, None) => letter.say("No webhook has come for longer than you allow. Nothing may have happened, or it is lost."),
    };
    letter
        .say("Look whether the endpoint is enabled at Stripe, and whether its URL is still reached from outside.")
        .about(since.clone())
        .show("Last webhook", since)
        .show("Found by asking", late)
        .show("To look at it", Some("tilld check".to_owned()))
        .button("Webhooks at Stripe", Some("https://dashboard.stripe.com/webhooks".to_owned()))
}
