//! `webhook_dead_letter`: tilld has given up an event, and an operator decides what becomes of it. What breaks one event
//! may break thousands, so the mails of an hour are limited; the application's event is written for each. Called by
//! `notice`, and by the job that gives events up (`jobs::retrier`).

use serde::{Deserialize, Serialize};

use super::Notice;
use super::letter::{Letter, LetterTone, day_of, is_id, line};
use super::queue::{self, MailRecipient, NewMail};
use crate::notify::app_events::{self, AppEvent};
use crate::notify::event_type::AppEventType;
use crate::notify::settings::NotifyBasis;
use crate::notify::text::UntrustedText;
use crate::store::dead_letters::{self, DeadLetter};
use crate::store::{StoreError, StoreReader, Tx, settings};

const MAILS_PER_HOUR: u64 = 20;
const LIMITED: &str = "enough mails about dead letters in this hour";

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeadLetterFacts {
    pub(crate) event_id: UntrustedText,
    pub(crate) event_type: Option<UntrustedText>,
    pub(crate) attempts: Option<i64>,
    pub(crate) error: Option<UntrustedText>,
    pub(crate) received_at: Option<i64>,
}

/// Writes the mail and the application's event.
pub(crate) fn announce(tx: &Tx, letter: &DeadLetter, basis: NotifyBasis) -> Result<(), StoreError> {
    let facts = DeadLetterFacts {
        event_id: UntrustedText::from(letter.event_id.as_str()),
        event_type: Some(UntrustedText::from(letter.event_type.as_str())),
        attempts: Some(i64::from(letter.retry_count)),
        error: Some(UntrustedText::from(letter.error.as_str())),
        received_at: Some(letter.received_ms.div_euclid(1000)),
    };
    let recipient = MailRecipient::operator(basis);
    let (notice, key) = (Notice::WebhookDeadLetter(facts.clone()), letter.event_id.as_str());
    let mail = NewMail { notice, key, recipient: &recipient, not_before_ms: 0 };
    let is_limited = basis.notify.mail && is_over_limit(tx, basis.now_ms)?;
    queue::put(tx, mail, is_limited.then_some(LIMITED), basis)?;
    let at_s = letter.created_at_ms.div_euclid(1000);
    let event = AppEvent { event_type: AppEventType::WebhookDeadLetter, key, user_id: None, at_s, data: &facts };
    app_events::publish(tx, &event, basis)
}

/// Counts the mail, and says whether there were enough in this hour. Kept are the hour and the count.
fn is_over_limit(tx: &Tx, now_ms: i64) -> Result<bool, StoreError> {
    let hour = now_ms.div_euclid(3_600_000).to_string();
    let before = settings::find(tx, settings::DEAD_LETTER_MAILS)?.unwrap_or_default();
    let in_this_hour = before.split_once(' ').filter(|(of, _)| *of == hour).and_then(|(_, count)| count.parse().ok());
    let count = in_this_hour.unwrap_or(0_u64).saturating_add(1);
    settings::put(tx, settings::DEAD_LETTER_MAILS, &format!("{hour} {count}"))?;
    Ok(count > MAILS_PER_HOUR)
}

impl DeadLetterFacts {
    pub(super) fn reason_to_skip(&self, reader: &StoreReader) -> Result<Option<&'static str>, StoreError> {
        let is_dead = dead_letters::find(reader, self.event_id.raw())?.is_some();
        Ok((!is_dead).then_some("the event is no dead letter any more"))
    }
}

pub(super) fn letter(facts: &DeadLetterFacts, product: &str) -> Letter {
    let kind = line(facts.event_type.as_ref()).unwrap_or_else(|| "of unknown type".to_owned());
    let subject = format!("{product}: an event {kind} could not be processed");
    let letter = Letter::new(LetterTone::Attention, subject, "An event could not be processed")
        .say("tilld tried it as often as it may and gave it up. Until it is processed, what it says is not in the database.")
        .about(day_of(facts.received_at))
        .show("Event", facts.event_id.line())
        .show("Type", line(facts.event_type.as_ref()))
        .show("Attempts", facts.attempts.map(|attempts| attempts.to_string()))
        .show("Received", day_of(facts.received_at))
        .show("Error", line(facts.error.as_ref()))
        .with([
            ("attempt", facts.attempts.map(|attempts| attempts.to_string())),
            ("error", line(facts.error.as_ref())),
            ("event_id", facts.event_id.line()),
            ("event_type", line(facts.event_type.as_ref())),
        ]);
    match facts.event_id.line().filter(|id| is_id(id)) {
        Some(id) => letter
            .show("To look at it", Some(format!("tilld dead-letters show {id}")))
            .show("To try again", Some(format!("tilld dead-letters replay {id}"))),
        None => letter,
    }
}
