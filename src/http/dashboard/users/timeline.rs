//! What happened about a user, in words: who did what to what, how it stands, and because of which event. Called by `user`.

use serde_json::Value;

use crate::http::dashboard::page::encoded;
use crate::http::dashboard::view::{self, Id, When};
use crate::objects::dunning_attempts::UnsentNotice;
use crate::objects::timeline::{TimelineEntry, TimelineItem};
use crate::store::audit::AuditEntry;
use crate::store::outbox::rows::OutboxRowOfUser;
use crate::store::stripe_operations::OperationOfUser;

/// One thing that happened.
pub(super) struct Happened {
    pub(super) when: When,
    /// Who did it, or what it is.
    pub(super) who: &'static str,
    pub(super) what: String,
    /// The page about it.
    pub(super) link: Option<String>,
    /// The object it was done to.
    pub(super) about: Option<Id>,
    pub(super) detail: String,
    pub(super) state: Option<String>,
    /// The event that brought it about, and its page.
    pub(super) cause: Option<(Id, String)>,
}

pub(super) fn happened((place, entry): &TimelineItem, now_ms: i64) -> Happened {
    let when = When::ms(place.at_ms(), now_ms);
    match entry {
        TimelineEntry::Audit(row) => audit(row, when),
        TimelineEntry::Effect(row) => effect(row, when),
        TimelineEntry::Operation(row) => operation(row, when),
        TimelineEntry::Unsent(row) => unsent(row, when),
    }
}

fn event_link(id: &str) -> String {
    format!("event?id={}", encoded(id))
}

fn cause(event_id: Option<&str>) -> Option<(Id, String)> {
    event_id.map(|id| (Id::new(id), event_link(id)))
}

fn audit(row: &AuditEntry, when: When) -> Happened {
    let who = match row.actor.as_str() {
        "stripe" => "Stripe",
        "api" => "Application",
        "cli" => "Operator, by command",
        "dashboard" => "Operator, here",
        _ => "tilld",
    };
    let is_event = row.actor == "stripe";
    Happened {
        when,
        who,
        what: view::cut(&row.action),
        link: row.event_id.as_deref().filter(|_| is_event).map(event_link),
        about: row.subject.as_deref().map(Id::new),
        detail: detail(&row.detail),
        state: None,
        cause: cause(row.event_id.as_deref().filter(|_| !is_event)),
    }
}

/// The fields of a row of the audit log that have a value.
fn detail(json: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(json) else { return String::new() };
    let said = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        value => format!("{name}: {value}"),
    });
    view::cut(&said.collect::<Vec<_>>().join(", "))
}

fn effect(row: &OutboxRowOfUser, when: When) -> Happened {
    let (who, what, about) = match row.kind.as_str() {
        "mail" => {
            let key = row.dedupe_key.strip_prefix("mail:").unwrap_or(&row.dedupe_key);
            let mut parts = key.split(':');
            let (kind, subject) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            ("Mail", kind.to_owned(), Some(subject).filter(|subject| !subject.is_empty()).map(Id::new))
        }
        "webhook" => ("Told the application", event_type(row).to_owned(), None),
        _ => ("Read from Stripe", row.path.clone().unwrap_or_default(), None),
    };
    let told = [row.change.as_deref().map(change), row.error.clone()];
    Happened {
        when,
        who,
        what: view::cut(&what),
        link: Some(format!("outbox-row?id={}", row.id)),
        about,
        detail: view::cut(&told.into_iter().flatten().collect::<Vec<_>>().join(" · ")),
        state: Some(row.status.clone()),
        cause: cause(row.cause.as_deref()),
    }
}

/// The type of an event for the application, from its key.
fn event_type(row: &OutboxRowOfUser) -> &str {
    let target = row.target.as_deref().unwrap_or_default();
    let key = row.dedupe_key.strip_prefix("webhook:").and_then(|key| key.strip_prefix(target));
    key.and_then(|key| key.strip_prefix(':')).and_then(|key| key.split(':').next()).unwrap_or("event")
}

/// A change of the answer: before and after.
fn change(data: &str) -> String {
    let Ok(data) = serde_json::from_str::<Value>(data) else { return String::new() };
    let side = |name: &str| {
        let side = &data[name];
        let words: Vec<&str> = ["tier", "reason"].into_iter().filter_map(|field| side[field].as_str()).collect();
        words.join(", ")
    };
    match data["old"].is_null() {
        true => format!("the answer is {}", side("new")),
        false => format!("{} → {}", side("old"), side("new")),
    }
}

fn operation(row: &OperationOfUser, when: When) -> Happened {
    Happened {
        when,
        who: "Call to Stripe",
        what: view::cut(&row.kind),
        link: Some(format!("call?id={}", row.id)),
        about: row.object_id.as_deref().or(row.subject.as_deref()).map(Id::new),
        detail: view::cut(row.error.as_deref().unwrap_or_default()),
        state: Some(row.status.clone()),
        cause: None,
    }
}

fn unsent(row: &UnsentNotice, when: When) -> Happened {
    Happened {
        when,
        who: "No mail",
        what: view::cut(&row.kind),
        link: None,
        about: Some(Id::new(&row.invoice_id)),
        detail: view::cut(row.outcome.as_deref().unwrap_or("on its way")),
        state: None,
        cause: cause(row.cause.as_deref()),
    }
}
