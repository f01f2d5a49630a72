//! The words for a row of the outbox: what it is, to whom it goes, where it stands. Pure. Called by the pages of the outbox.

use serde_json::Value;

use crate::base::ago;
use crate::base::secret::without_query;
use crate::http::dashboard::view;
use crate::notify::attempt::MAIL;
use crate::store::outbox::rows::OutboxRow;
use crate::store::webhook_endpoints::EndpointState;

/// A state as it is filtered by, as it is shown, and what it means.
pub(super) struct OutboxState {
    pub(super) word: &'static str,
    pub(super) shown: &'static str,
    pub(super) about: &'static str,
}

const fn of(word: &'static str, shown: &'static str, about: &'static str) -> OutboxState {
    OutboxState { word, shown, about }
}

/// In the order in which they are offered.
pub(super) const STATES: [OutboxState; 6] = [
    of("pending", "waiting", "It waits to be sent."),
    of("claimed", "being sent", "It is being sent now."),
    of(
        "failed",
        "failed",
        "All attempts failed, or the other side refused it for good; it is not tried again by itself.",
    ),
    of("skipped", "skipped", "There was no longer a reason to send it."),
    of("done", "done", "It was sent and accepted."),
    of("discarded", "discarded", "An operator has discarded it."),
];

/// What a row can be, and its words.
pub(super) const KINDS: [(&str, &str); 3] =
    [("mail", "mail"), ("webhook", "event for the application"), ("stripe_call", "request to Stripe")];

/// How a kind is shown.
pub(super) fn kind(word: &str) -> String {
    KINDS.iter().find(|(known, _)| *known == word).map_or(word, |(_, shown)| shown).to_owned()
}

/// How a state is shown.
pub(super) fn state(word: &str) -> &'static str {
    STATES.iter().find(|state| state.word == word).map_or("unknown", |state| state.shown)
}

/// What a state means.
pub(super) fn about(word: &str) -> &'static str {
    STATES.iter().find(|state| state.word == word).map_or("", |state| state.about)
}

/// What is to be sent: `mail payment_failed`, `event entitlement.changed`.
pub(super) fn what(row: &OutboxRow) -> String {
    let payload: Value = serde_json::from_str(&row.payload).unwrap_or_default();
    let name = |field: &str| payload.get(field).and_then(Value::as_str).map(view::cut);
    match row.kind.as_str() {
        "mail" => format!("mail {}", name("notice").unwrap_or_else(|| "of an unknown kind".to_owned())),
        "webhook" => format!("event {}", name("type").unwrap_or_else(|| "of an unknown type".to_owned())),
        _ => row.dedupe_key.split_once(':').map_or_else(
            || "request to Stripe".to_owned(),
            |(verb, subject)| match verb {
                "thin" => format!("fetch what event {subject} names"),
                "whole" => format!("fetch all items of {subject}"),
                "again" => format!("fetch {subject} once more"),
                _ => format!("fetch {}", view::cut(&row.dedupe_key)),
            },
        ),
    }
}

/// To whom it goes: a mail address, a URL, or Stripe.
pub(super) fn to(row: &OutboxRow) -> String {
    match row.target.as_deref() {
        Some(MAIL) => address(row).map_or_else(|| "nobody: no address is known".to_owned(), |to| view::cut(&to)),
        Some(url) => view::cut(&without_query(url)),
        None => "Stripe".to_owned(),
    }
}

/// The mail address of a mail.
pub(super) fn address(row: &OutboxRow) -> Option<String> {
    let payload: Value = serde_json::from_str(&row.payload).ok()?;
    payload.get("to").and_then(Value::as_str).map(str::to_owned)
}

/// The newest error or note; of what waits, when it is due, or that its endpoint is disabled.
pub(super) fn note(row: &OutboxRow, disabled: Option<&EndpointState>, now_ms: i64) -> String {
    let due = || match row.due_ms {
        _ if disabled.is_some() => {
            let probe_ms = disabled.and_then(|state| state.probe_at_ms).filter(|probe_ms| *probe_ms > now_ms);
            format!("its endpoint is disabled, tried again {}", ago::words(probe_ms.unwrap_or(now_ms), now_ms))
        }
        due_ms if due_ms > now_ms => format!("due {}", ago::words(due_ms, now_ms)),
        _ => "due".to_owned(),
    };
    let attempts = match row.attempts {
        1 => "1 attempt".to_owned(),
        count => format!("{count} attempts"),
    };
    let error = row.error.clone().unwrap_or_default();
    match (row.status.as_str(), row.attempts, row.error.is_some()) {
        ("pending", 0, false) => due(),
        ("pending", 0, true) => format!("{}; {error}", due()),
        ("pending", _, _) => format!("{attempts}, {}: {error}", due()),
        ("failed", 1.., _) => format!("{attempts}: {error}"),
        _ => error,
    }
}

/// A row in a sentence.
pub(super) fn sentence(row: &OutboxRow, now_ms: i64) -> String {
    let whom = row.user_id.as_deref().map(|user| format!(" about user {}", view::cut(user))).unwrap_or_default();
    let subject = match row.kind.as_str() {
        "stripe_call" => format!("Request to Stripe ({})", what(row)),
        _ => format!("The {} to {}{whom}", what(row), to(row)),
    };
    let ended = row.finished_at_ms.map(|at_ms| ago::words(at_ms, now_ms)).unwrap_or_default();
    let fate = match row.status.as_str() {
        "pending" if row.due_ms > now_ms => format!("waits; it is due {}", ago::words(row.due_ms, now_ms)),
        "pending" => "waits and is due".to_owned(),
        "claimed" => "is being sent now".to_owned(),
        "done" => format!("was accepted {ended}"),
        "failed" => format!("was given up {ended}"),
        "skipped" => format!("was not sent: {}", row.error.as_deref().unwrap_or("there was no longer a reason")),
        "discarded" => format!("was discarded by an operator {ended}"),
        other => format!("is {other}"),
    };
    format!("{subject} {fate}.")
}

/// Whether an operator can have it sent again: the daemon repeats requests to Stripe by itself.
pub(super) fn can_retry(row: &OutboxRow) -> bool {
    row.kind != "stripe_call" && row.status != "claimed"
}

/// Whether an operator can discard it.
pub(super) fn can_discard(row: &OutboxRow) -> bool {
    matches!(row.status.as_str(), "pending" | "failed" | "skipped")
}
