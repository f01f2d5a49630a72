//! Events for the application: rows of the outbox, one per event and endpoint, written in the transaction of the fact.
//! Each has a key made from what it is about, so that its cause may be processed any number of times:
//! - `stripe.<type>` by Stripe's event id, and not when the event is older than [`FORWARDED_S`]: a replay of the whole log
//!   after the outbox was lost forwards what Stripe itself still keeps, and no more. A reading forwards nothing.
//! - `entitlement.changed` exactly when the answer differs from the one in `subscriptions`, whatever changed it
//!   (`objects::derived` compares). A replay and a second copy from the API change no answer; a first copy changes at most
//!   one answer per user.
//! - `subscription.changed` exactly when the row differs from the one before, whatever changed it.
//! - The others by dispute, invoice, or invoice and attempt.
//!
//! A change has no key of its own, since what changed may change back. Its key, and with it the `webhook-id`, is random and
//! written with the row: a counter would begin again in a restored file, and the application would ignore a payment as one
//! that it knows already. Its `sequence` is the time in microseconds, or one more than the last: it rises over a restore.
//!
//! It must never send anything. Called by `notify`, the notices, `resync` and `jobs::rebuild`.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::settings::NotifyBasis;
use crate::base::entitlement::EntitlementAnswer;
use crate::base::ids;
use crate::notify::event_type::AppEventType;
use crate::objects::effective::{self, StoredAnswer};
use crate::objects::fact::AnswerChange;
use crate::objects::subscription::{self, SubscriptionWithItems};
use crate::objects::{ProjectedEvent, customer};
use crate::store::outbox::{self, NewEffect, OutboxKind, answers};
use crate::store::{StoreError, Tx, inbox, settings};
use crate::stripe::event::{EventContent, Snapshot};
use crate::stripe::object::{invoice_subscription, reference};

/// Stripe's events are forwarded up to this age, in seconds: as long as Stripe keeps them.
const FORWARDED_S: i64 = 30 * 86_400;

/// An event for the application.
pub(super) struct AppEvent<'a, T> {
    /// Its type.
    pub event_type: AppEventType,
    /// What it is about; one event per type and key.
    pub key: &'a str,
    /// Whom it concerns; order is kept per user.
    pub user_id: Option<&'a str>,
    /// When it happened, unix seconds.
    pub at_s: i64,
    /// What it says.
    pub data: &'a T,
}

/// What is sent, by the convention.
#[derive(Serialize)]
struct EventBody<'a, T> {
    r#type: &'a str,
    timestamp: String,
    data: &'a T,
}

impl<T: Serialize> EventBody<'_, T> {
    fn text(&self) -> Result<String, StoreError> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Facts, and the user whom they concern.
#[derive(Serialize)]
pub(super) struct OfUser<'a, T> {
    #[serde(flatten)]
    pub facts: &'a T,
    pub user_id: Option<&'a str>,
}

/// Writes an event into the outbox for every endpoint that wants it.
pub(super) fn publish<T: Serialize>(tx: &Tx, event: &AppEvent<T>, basis: NotifyBasis) -> Result<(), StoreError> {
    let event_type = event.event_type.as_str();
    if !basis.notify.is_wanted(event_type) {
        return Ok(());
    }
    let payload = EventBody { r#type: event_type, timestamp: rfc3339(event.at_s), data: event.data }.text()?;
    put(tx, &WrittenEvent { event_type, key: event.key, user_id: event.user_id, payload: &payload }, basis)
}

/// An event with its body, of tilld's own types or one of Stripe's.
struct WrittenEvent<'a> {
    event_type: &'a str,
    key: &'a str,
    user_id: Option<&'a str>,
    payload: &'a str,
}

fn put(tx: &Tx, event: &WrittenEvent, basis: NotifyBasis) -> Result<(), StoreError> {
    let WrittenEvent { event_type, key, user_id, payload } = *event;
    for subscriber in basis.notify.subscribers(event_type) {
        let dedupe_key = format!("webhook:{}:{event_type}:{key}", subscriber.url);
        let new = NewEffect {
            kind: OutboxKind::Webhook,
            dedupe_key: &dedupe_key,
            user_id,
            target: Some(&subscriber.url),
            payload,
            cause: basis.cause,
            due_ms: basis.now_ms,
            now_ms: basis.now_ms,
        };
        outbox::put(tx, &new)?;
    }
    Ok(())
}

/// A time as the convention has it.
fn rfc3339(at_s: i64) -> String {
    jiff::Timestamp::from_second(at_s).map_or_else(|_| at_s.to_string(), |at| at.to_string())
}

/// Forwards Stripe's event, byte for byte.
pub(super) fn forward(tx: &Tx, event: &ProjectedEvent, basis: NotifyBasis) -> Result<(), StoreError> {
    if basis.notify.webhooks.is_empty() {
        return Ok(());
    }
    let event_type = format!("stripe.{}", event.event_type);
    let age_s = basis.now_ms.div_euclid(1000).saturating_sub(event.created);
    if age_s > FORWARDED_S || !basis.notify.is_wanted(&event_type) {
        return Ok(());
    }
    let Some(body) = inbox::find_payload(tx, &event.id)? else { return Ok(()) };
    let body = RawValue::from_string(body)?;
    let payload = EventBody { r#type: &event_type, timestamp: rfc3339(event.created), data: &body }.text()?;
    let user_id = concerned(tx, event)?;
    let written =
        WrittenEvent { event_type: &event_type, key: &event.id, user_id: user_id.as_deref(), payload: &payload };
    put(tx, &written, basis)
}

/// The user whom an event concerns, as far as is known.
fn concerned(tx: &Tx, event: &ProjectedEvent) -> Result<Option<String>, StoreError> {
    let (None, EventContent::Snapshot(Snapshot { object, .. })) = (&event.account, &event.content) else {
        return Ok(None);
    };
    let kind = object.get("object").and_then(Value::as_str);
    let subscription_id = match kind {
        Some("subscription") => reference(object, "id"),
        _ => invoice_subscription(object),
    };
    let customer_id = reference(object, if kind == Some("customer") { "id" } else { "customer" });
    match (subscription_id, customer_id) {
        (Some(subscription_id), _) => subscription::find_user(tx, subscription_id),
        (None, Some(customer_id)) => customer::find_owner(tx, customer_id),
        (None, None) => Ok(None),
    }
}

/// The parts of an answer that are compared when it may have changed: all but how fresh it is.
fn counted(answer: &EntitlementAnswer) -> Value {
    json!({
        "entitled": answer.entitled, "tier": answer.tier, "reason": answer.reason.as_str(), "status": answer.status,
        "subscription_id": answer.subscription_id, "price_id": answer.price_id, "valid_until": answer.valid_until,
        "grace_period_end": answer.grace_period_end, "ends_at": answer.ends_at,
    })
}

fn counted_before(before: &StoredAnswer) -> Value {
    json!({
        "entitled": before.entitled, "tier": before.tier, "reason": before.reason, "status": before.status,
        "subscription_id": before.subscription_id, "price_id": before.price_id, "valid_until": before.valid_until,
        "grace_period_end": before.grace_period_end, "ends_at": before.ends_at,
    })
}

/// Writes that a user's answer has changed.
pub(super) fn entitlement_changed(tx: &Tx, change: &AnswerChange, basis: NotifyBasis) -> Result<(), StoreError> {
    let AnswerChange { user_id, before, answer } = change;
    let old = before.as_ref().map_or_else(|| counted(&crate::base::entitlement::no_subscription()), counted_before);
    announce_change(tx, user_id, &old, &counted(answer), basis)
}

/// The same, after the answer was stored: `before` is what was stored before.
pub(crate) fn stored_answer_changed(
    tx: &Tx,
    user_id: &str,
    before: Option<&StoredAnswer>,
    basis: NotifyBasis,
) -> Result<(), StoreError> {
    let now = effective::find_answered(tx, user_id)?;
    let counted = |row: Option<&StoredAnswer>| {
        row.map_or_else(|| counted(&crate::base::entitlement::no_subscription()), counted_before)
    };
    announce_change(tx, user_id, &counted(before), &counted(now.as_ref()), basis)
}

fn announce_change(tx: &Tx, user_id: &str, old: &Value, new: &Value, basis: NotifyBasis) -> Result<(), StoreError> {
    if old == new || !basis.notify.is_wanted(AppEventType::EntitlementChanged.as_str()) {
        return Ok(());
    }
    let (key, sequence) = new_change(tx, basis)?;
    let data = json!({"user_id": user_id, "sequence": sequence, "old": old, "new": new});
    let event = AnswerEvent { user_id, key, sequence, data };
    basis
        .notify
        .subscribers(AppEventType::EntitlementChanged.as_str())
        .try_for_each(|subscriber| put_answer(tx, &subscriber.url, &event, basis))
}

/// Writes the stored answer of a user for one endpoint, without an answer before it. `false`: there is none, and the endpoint
/// never got one.
pub(super) fn resync_answer(tx: &Tx, user_id: &str, url: &str, basis: NotifyBasis) -> Result<bool, StoreError> {
    let stored = effective::find_answered(tx, user_id)?;
    if stored.is_none() && !answers::was_sent(tx, url, user_id)? {
        return Ok(false);
    }
    let new = stored.as_ref().map_or_else(|| counted(&crate::base::entitlement::no_subscription()), counted_before);
    let (key, sequence) = new_change(tx, basis)?;
    let data = json!({"user_id": user_id, "sequence": sequence, "old": null, "new": new, "resync": true});
    put_answer(tx, url, &AnswerEvent { user_id, key, sequence, data }, basis)?;
    Ok(true)
}

/// One `entitlement.changed`, for whichever endpoints get it.
struct AnswerEvent<'a> {
    user_id: &'a str,
    key: String,
    sequence: i64,
    data: Value,
}

fn put_answer(tx: &Tx, url: &str, event: &AnswerEvent, basis: NotifyBasis) -> Result<(), StoreError> {
    let AnswerEvent { user_id, key, sequence, data } = event;
    let at = rfc3339(basis.now_ms.div_euclid(1000));
    let event_type = AppEventType::EntitlementChanged.as_str();
    let payload = EventBody { r#type: event_type, timestamp: at, data }.text()?;
    let new = NewEffect {
        kind: OutboxKind::Webhook,
        dedupe_key: &format!("webhook:{url}:{event_type}:{key}"),
        user_id: Some(user_id),
        target: Some(url),
        payload: &payload,
        cause: basis.cause,
        due_ms: basis.now_ms,
        now_ms: basis.now_ms,
    };
    answers::put(tx, &new, *sequence)
}

/// The key and the sequence number of a change.
fn new_change(tx: &Tx, basis: NotifyBasis) -> Result<(String, i64), StoreError> {
    let key = ids::random_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok((key, settings::next_number(tx, settings::CHANGES, basis.now_ms.saturating_mul(1000))?))
}

/// Writes that a subscription has changed.
pub(super) fn subscription_changed(
    tx: &Tx,
    present: &SubscriptionWithItems,
    basis: NotifyBasis,
) -> Result<(), StoreError> {
    let row = &present.row;
    let user_id = subscription::find_user(tx, &row.stripe_subscription_id)?;
    let (key, sequence) = new_change(tx, basis)?;
    let data = subscription_data(present, user_id.as_deref(), sequence);
    let user_id = user_id.as_deref();
    let (event_type, at_s) = (AppEventType::SubscriptionChanged, row.event_created);
    publish(tx, &AppEvent { event_type, key: &key, user_id, at_s, data: &data }, basis)
}

fn subscription_data(
    SubscriptionWithItems { row, items }: &SubscriptionWithItems,
    user_id: Option<&str>,
    sequence: i64,
) -> Value {
    let items: Vec<Value> = items
        .iter()
        .map(|item| {
            json!({
                "id": item.stripe_item_id, "price_id": item.stripe_price_id, "product_id": item.stripe_product_id,
                "quantity": item.quantity, "current_period_end": item.current_period_end,
            })
        })
        .collect();
    json!({
        "subscription_id": row.stripe_subscription_id, "user_id": user_id, "sequence": sequence,
        "customer_id": row.stripe_customer_id,
        "status": row.status, "deleted": row.deleted, "price_id": row.stripe_price_id, "items": items,
        "current_period_start": row.current_period_start, "current_period_end": row.current_period_end,
        "cancel_at_period_end": row.cancel_at_period_end, "cancel_at": row.cancel_at, "canceled_at": row.canceled_at,
        "ended_at": row.ended_at, "trial_start": row.trial_start, "trial_end": row.trial_end,
        "livemode": row.livemode,
    })
}
