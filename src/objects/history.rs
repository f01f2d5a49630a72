//! What every event adds, whether it is newer than the row or not: the users and customers that it names and a row in its
//! subscription's history ([`record`], before the kind's own tables, which refer to them), and a row in the audit log
//! ([`audit`], after them, when the owner is known). Each is written once per event and must never be changed later. The
//! second half is the table `subscription_events`: a row whose event shows the subscription itself keeps what of that
//! state may count later. Called by the kinds; its queries by `past`.

use super::{ProjectionError, ProjectionStep, customer, subscription, user};
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx, audit as audit_log};

/// Whom and what an event concerns.
#[derive(Default)]
pub(super) struct EventConcern<'a> {
    pub(super) customer_id: Option<&'a str>,
    /// The user that its metadata name.
    pub(super) user_id: Option<&'a str>,
    pub(super) subscription_id: Option<&'a str>,
    /// The subscription itself, if the event shows it.
    pub(super) state: Option<SubscriptionState<'a>>,
}

pub(super) fn record(step: &ProjectionStep, concern: &EventConcern) -> Result<(), ProjectionError> {
    if let Some(user_id) = concern.user_id {
        user::ensure(step.tx, user_id, step.now_ms)?;
    }
    if let Some(customer_id) = concern.customer_id {
        customer::ensure(step.tx, customer_id)?;
    }
    if let Some(subscription_id) = concern.subscription_id {
        let entry = HistoryEntry {
            subscription_id,
            event_type: &step.event.event_type,
            event_id: &step.event.id,
            state: concern.state.as_ref(),
            event_created: step.event.created,
        };
        add(step.tx, &entry, step.now_ms)?;
    }
    Ok(())
}

/// Writes the event into the audit log. An entry about a subscription belongs to the subscription's owner, whoever that
/// becomes; one about a customer alone, to the customer's; one about neither, to the user that the event names.
pub(super) fn audit(step: &ProjectionStep, concern: &EventConcern) -> Result<(), ProjectionError> {
    // Nothing happened where something was only read; whoever asked for it has written that down.
    if step.is_reading() {
        return Ok(());
    }
    let owner = match (concern.subscription_id, concern.customer_id) {
        (Some(subscription_id), _) => subscription::find_user(step.tx, subscription_id)?,
        (None, Some(customer_id)) => customer::find_owner(step.tx, customer_id)?,
        (None, None) => concern.user_id.map(str::to_owned),
    };
    let entry = audit_log::NewEntry {
        at_ms: step.event.created.saturating_mul(1000),
        actor: "stripe",
        action: &step.event.event_type,
        user_id: owner.as_deref(),
        customer_id: concern.customer_id,
        subscription_id: concern.subscription_id,
        subject: step.snapshot.object.get("id").and_then(serde_json::Value::as_str),
        event_id: Some(&step.event.id),
        detail: "{}",
    };
    Ok(audit_log::add(step.tx, &entry)?)
}

/// One thing that happened to a subscription.
struct HistoryEntry<'a> {
    /// `sub_…`.
    subscription_id: &'a str,
    /// `resource.verb`.
    event_type: &'a str,
    /// Stripe's event id.
    event_id: &'a str,
    /// The subscription as the event shows it; `None` for invoice events.
    state: Option<&'a SubscriptionState<'a>>,
    /// When it happened, unix seconds.
    event_created: i64,
}

/// A subscription at one time, as far as it may count later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SubscriptionState<'a> {
    /// Stripe's word.
    pub(super) status: &'a str,
    /// A payment is missing: it is past due, unpaid, or paused because one failed.
    pub(super) delinquent: bool,
    /// Stripe does not collect.
    pub(super) collection_paused: bool,
    /// Prices of its items, a JSON array.
    pub(super) price_ids: String,
    /// Latest end of its items, unix seconds.
    pub(super) period_end: Option<i64>,
}

const ADD: &str = "INSERT INTO subscription_events
    (stripe_subscription_id, event_type, stripe_event_id, status, delinquent, collection_paused, price_ids, period_end,
     event_created, created_at_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (stripe_event_id) DO NOTHING";

/// Adds an event to its subscription's history, once.
fn add(tx: &Tx, entry: &HistoryEntry, now_ms: i64) -> Result<(), StoreError> {
    let state = entry.state;
    let params = (
        entry.subscription_id,
        entry.event_type,
        entry.event_id,
        state.map(|state| state.status),
        state.map(|state| state.delinquent),
        state.map(|state| state.collection_paused),
        state.map(|state| state.price_ids.as_str()),
        state.and_then(|state| state.period_end),
        entry.event_created,
        now_ms,
    );
    tx.execute(ADD, params).map(|_| ())
}

const LAST_GOOD: &str = "SELECT max(event_created) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IN ('active', 'trialing')";

/// The newest time at which the subscription was known to be in good standing, unix seconds.
pub(super) fn last_good_standing(reader: &StoreReader, subscription_id: &str) -> Result<Option<i64>, StoreError> {
    reader.get(LAST_GOOD, [subscription_id], row::only)
}

const FIRST_DELINQUENT: &str = "SELECT min(event_created) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND delinquent = 1 AND event_created > ?2";

/// The first time after `after` at which a payment was known to be missing, unix seconds.
pub(super) fn first_delinquent_after(
    reader: &StoreReader,
    subscription_id: &str,
    after: i64,
) -> Result<Option<i64>, StoreError> {
    reader.get(FIRST_DELINQUENT, (subscription_id, after), row::only)
}

columns! {
    /// What a subscription showed in one row of its history.
    pub(super) struct PastState {
        /// The event, or the reading.
        event_id: String = "stripe_event_id",
        /// `resource.verb`.
        event_type: String,
        /// Unix seconds.
        event_created: i64,
        /// Prices of its items, a JSON array.
        price_ids: Option<String>,
        /// Latest end of its items, unix seconds.
        period_end: Option<i64>,
    }
}

/// Which states of the past are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PastStates {
    /// Those that were `active` or `trialing`.
    Good,
    /// Those in which Stripe collected.
    Collecting,
}

const NEWEST_GOOD: &str = select!(
    PastState,
    "FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IN ('active', 'trialing') AND event_created =
        (SELECT max(event_created) FROM subscription_events
         WHERE stripe_subscription_id = ?1 AND status IN ('active', 'trialing'))
    ORDER BY id"
);
const NEWEST_COLLECTING: &str = select!(
    PastState,
    "FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND collection_paused = 0 AND event_created =
        (SELECT max(event_created) FROM subscription_events
         WHERE stripe_subscription_id = ?1 AND collection_paused = 0)
    ORDER BY id"
);

/// The newest of these states: several if they are of one second. In the order of their arrival.
pub(super) fn list_newest(
    reader: &StoreReader,
    subscription_id: &str,
    which: PastStates,
) -> Result<Vec<PastState>, StoreError> {
    let sql = match which {
        PastStates::Good => NEWEST_GOOD,
        PastStates::Collecting => NEWEST_COLLECTING,
    };
    reader.list(sql, [subscription_id], PastState::read)
}

// The earliest end if several are of one second: a period only ever moves forward.
const OLDEST_PERIOD_END: &str = "SELECT min(period_end) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IS NOT NULL AND event_created =
        (SELECT min(event_created) FROM subscription_events
         WHERE stripe_subscription_id = ?1 AND status IS NOT NULL)";

/// The end of the period in the oldest state that is known of a subscription, unix seconds.
pub(super) fn oldest_period_end(reader: &StoreReader, subscription_id: &str) -> Result<Option<i64>, StoreError> {
    reader.get(OLDEST_PERIOD_END, [subscription_id], row::only)
}
