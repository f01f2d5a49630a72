//! Objects that have to be fetched: one that a thin event names without showing it, one whose events of one second could not
//! be put in order for certain, and one of which only a part was sent. With a key that becomes an effect in the outbox, which
//! `outward::fetch` performs. It must never call Stripe itself. Called by `objects`, `guard` and `reading`.

use serde_json::{Value, json};

use super::{ProjectedEvent, ProjectionContext, ProjectionError, ProjectionStep, WinningState, kinds};
use crate::store::inbox::EventCompletion;
use crate::store::mirror::ObjectKey;
use crate::store::outbox::{self, NewEffect, OutboxKind};
use crate::store::{StoreError, Tx};
use crate::stripe::call::{Call, Priority, Verb};
use crate::stripe::event::Thin;
use crate::stripe::object;

/// Begins the key in the outbox of a thin event's fetch; the event's id follows.
pub(crate) const PREFIX: &str = "thin:";
/// The same, where the order of an object's events is not certain; object, id and second follow.
const AGAIN: &str = "again:";
/// The same, where only a part of an object was sent; object, id and the event follow.
const WHOLE: &str = "whole:";
/// The same, where an operator asked for it; object, id and the second follow, so that each time is a row of its own.
const ASKED: &str = "asked:";

/// A fetch, as the outbox keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFetch {
    /// Stripe's id of the thin event; `None` where it is about an object alone.
    pub(crate) event_id: Option<String>,
    /// The value of the header `Stripe-Context`.
    pub(crate) context: Option<String>,
    /// The account that objects are mirrored under; `None` is our own.
    pub(crate) account: Option<String>,
    /// The path of the object; `None` where the event names none.
    pub(crate) object_path: Option<String>,
}

impl PlannedFetch {
    /// The path of the event itself.
    #[must_use]
    pub(crate) fn event_path(&self) -> Option<String> {
        self.event_id.as_ref().map(|id| format!("/v2/core/events/{id}"))
    }

    /// The event or the object it is about, for the log.
    #[must_use]
    pub(crate) fn subject(&self) -> &str {
        self.event_id.as_deref().or(self.object_path.as_deref()).unwrap_or_default()
    }

    /// Reads a row of the outbox; `None` where it is not a fetch.
    #[must_use]
    pub(crate) fn parse(payload: &str) -> Option<Self> {
        let payload: Value = serde_json::from_str(payload).ok()?;
        let text = |name: &str| payload[name].as_str().map(str::to_owned);
        let (context, account) = (text("context"), text("account"));
        Some(Self { event_id: text("event_id"), context, account, object_path: text("object_path") })
            .filter(|fetch| fetch.event_id.is_some() || fetch.object_path.is_some())
    }

    /// A call that reads one of the two paths.
    #[must_use]
    pub(crate) fn call<'a>(&'a self, path: &'a str) -> Call<'a> {
        let (context, priority) = (self.context.as_deref(), Priority::Background);
        Call { verb: Verb::Get, path, form: "", idempotency_key: None, priority, context }
    }

    /// Whether both paths may be requested: they must be in Stripe's API, whatever the event names.
    fn is_allowed(&self) -> bool {
        let event_path = self.event_path();
        let mut paths = event_path.as_deref().into_iter().chain(self.object_path.as_deref());
        paths.all(|path| {
            let is_in_api = path.starts_with("/v1/") || path.starts_with("/v2/");
            is_in_api && self.call(path).check().is_ok()
        })
    }
}

pub(super) fn project(
    tx: &Tx,
    event: &ProjectedEvent,
    named: &Thin,
    context: &ProjectionContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    let ignored = |reason: &str| Ok(EventCompletion::Ignored(reason.to_owned()));
    if !context.fetches {
        return ignored("a thin event: it names its object without showing it; set stripe.api_key and replay it");
    }
    let fetch = PlannedFetch {
        event_id: Some(event.id.clone()),
        context: named.context.clone(),
        account: event.account.clone(),
        object_path: named.related.as_ref().and_then(|related| related.url.clone()),
    };
    if !fetch.is_allowed() {
        return ignored("a thin event whose object has no address in Stripe's API");
    }
    let dedupe_key = format!("{PREFIX}{}", event.id);
    // It was projected before and is being replayed, so it is fetched again.
    if !put(tx, &dedupe_key, &fetch, now_ms)? {
        outbox::reopen(tx, &dedupe_key, now_ms)?;
    }
    ignored("a thin event: what it names is being fetched")
}

/// Fetches an object whose events of one second could not be put in order for certain: its state at Stripe decides. One row
/// for each such second, reopened when one more event makes it uncertain again: an earlier answer need not contain it.
pub(super) fn fetch_again(step: &ProjectionStep, key: ObjectKey, second: i64) -> Result<(), StoreError> {
    fetch_object(step, key, &format!("{AGAIN}{}:{}:{second}", key.object, key.id))
}

/// Fetches an object whose row rests on an event with only the first members of a list on which answers depend.
pub(super) fn fetch_whole(
    step: &ProjectionStep,
    key: ObjectKey,
    winner: Option<&WinningState>,
) -> Result<(), StoreError> {
    let kind = kinds::of(key.object);
    let (Some(winner), Some(list), true) = (winner, kind.nested, kind.decides) else { return Ok(()) };
    let is_whole = object::list(&winner.object, list.key).1;
    if is_whole || winner.deleted || kind.is_terminal(&winner.object) {
        return Ok(());
    }
    fetch_object(step, key, &format!("{WHOLE}{}:{}:{}", key.object, key.id, winner.event_id))
}

fn fetch_object(step: &ProjectionStep, key: ObjectKey, dedupe_key: &str) -> Result<(), StoreError> {
    let Some(kind) = kinds::find(key.object).filter(|_| step.context.fetches && key.account.is_empty()) else {
        return Ok(());
    };
    let fetch = of_object(kind.path_of(key.id));
    if fetch.is_allowed() && !put(step.tx, dedupe_key, &fetch, step.now_ms)? {
        outbox::reopen(step.tx, dedupe_key, step.now_ms)?;
    }
    Ok(())
}

fn of_object(path: String) -> PlannedFetch {
    PlannedFetch { event_id: None, context: None, account: None, object_path: Some(path) }
}

/// Fetches an object, given by kind and id, because an operator asked for it; `user_id`: for whose sake.
pub(super) fn fetch_asked(tx: &Tx, (object, id): (&str, &str), user_id: &str, now_ms: i64) -> Result<(), StoreError> {
    let fetch = of_object(kinds::of(object).path_of(id));
    let dedupe_key = format!("{ASKED}{object}:{id}:{}", now_ms.div_euclid(1000));
    if fetch.is_allowed() && !put_for(tx, (&dedupe_key, Some(user_id)), &fetch, now_ms)? {
        outbox::reopen(tx, &dedupe_key, now_ms)?;
    }
    Ok(())
}

/// Puts a fetch into the outbox, due at once. `false`: it is there already.
fn put(tx: &Tx, dedupe_key: &str, fetch: &PlannedFetch, now_ms: i64) -> Result<bool, StoreError> {
    put_for(tx, (dedupe_key, None), fetch, now_ms)
}

/// The same, for a user's sake.
fn put_for(
    tx: &Tx,
    (dedupe_key, user_id): (&str, Option<&str>),
    fetch: &PlannedFetch,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let payload = json!({
        "event_id": fetch.event_id, "context": fetch.context, "account": fetch.account,
        "object_path": fetch.object_path,
    })
    .to_string();
    let (kind, target, cause) = (OutboxKind::StripeCall, None, fetch.event_id.as_deref());
    outbox::put(tx, &NewEffect { kind, dedupe_key, user_id, target, payload: &payload, cause, due_ms: now_ms, now_ms })
}
