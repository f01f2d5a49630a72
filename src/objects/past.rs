//! What the history of a subscription says of it, kept beside its row: when its grace period began, which prices were last
//! paid for, in which period collecting was paused. It is computed from tables alone, and from the log where several states
//! are of one second, so that it may be computed any number of times in any order. An ordinary subscription, which is paid
//! and collected for, has none of it, and it costs nothing. It must never change another column of the row. Called by the
//! kinds whose events change it.

use super::history::{self, PastState, PastStates};
use super::{ProjectionError, READING_PREFIX, failure_case, subscription};
use crate::base::entitlement;
use crate::base::order::{self, OrderCandidate};
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader, Tx, inbox};
use crate::stripe::event::{self, EventContent};
use crate::stripe::object;

/// Brings what history says of a subscription up to date.
pub(super) fn refresh(tx: &Tx, subscription_id: &str) -> Result<(), ProjectionError> {
    let Some(current) = find_current(tx, subscription_id)? else { return Ok(()) };
    let past = if current.deleted { SubscriptionPast::default() } else { past(tx, subscription_id, &current)? };
    if past != current.past {
        set_past(tx, subscription_id, &past)?;
    }
    Ok(())
}

fn past(tx: &Tx, subscription_id: &str, current: &CurrentSubscription) -> Result<SubscriptionPast, ProjectionError> {
    let mut past = SubscriptionPast::default();
    let paused_by_failure = object::is_payment_failure(current.paused_reason.as_deref());
    if entitlement::is_payment_missing(&current.status, paused_by_failure) {
        past.grace_started_at = Some(grace_start(tx, subscription_id, current)?);
        past.good_price_ids = newest(tx, subscription_id, PastStates::Good)?.and_then(|state| state.price_ids);
    }
    if current.collection_paused {
        past.pause_period_end = match newest(tx, subscription_id, PastStates::Collecting)? {
            Some(state) => state.period_end,
            None => history::oldest_period_end(tx, subscription_id)?,
        };
    }
    Ok(past)
}

/// When the present delinquency began: with the first failed payment since the subscription was last in good standing,
/// or with its first `past_due` (or pause because a payment is missing), if that came first or nothing else is known. Later
/// failures do not move it. A failure that was paid since does not count, and a payment after which nothing was owed ended
/// the delinquency before it, whether or not an event said `active` afterwards.
fn grace_start(tx: &Tx, subscription_id: &str, current: &CurrentSubscription) -> Result<i64, StoreError> {
    let shown_good = history::last_good_standing(tx, subscription_id)?;
    let last_good = shown_good.max(failure_case::last_made_good(tx, subscription_id)?).unwrap_or(i64::MIN);
    let first_failure = failure_case::first_failure_since(tx, subscription_id, last_good)?;
    let first_shown = history::first_delinquent_after(tx, subscription_id, last_good)?;
    Ok(first_failure.into_iter().chain(first_shown).min().unwrap_or(current.event_created))
}

/// The newest of these states. Where several of one second differ, their events decide which was the last.
fn newest(tx: &Tx, subscription_id: &str, which: PastStates) -> Result<Option<PastState>, ProjectionError> {
    let mut states = history::list_newest(tx, subscription_id, which)?;
    let differ = states.windows(2).any(|pair| match which {
        PastStates::Good => pair[0].price_ids != pair[1].price_ids,
        PastStates::Collecting => pair[0].period_end != pair[1].period_end,
    });
    if differ { last_of_second(tx, states) } else { Ok(states.pop()) }
}

fn last_of_second(tx: &Tx, mut states: Vec<PastState>) -> Result<Option<PastState>, ProjectionError> {
    let mut candidates = Vec::new();
    // A reading replaces all that was known before it; it counts unless something came after it.
    let newest_read = states.iter().rposition(|state| state.event_id.starts_with(READING_PREFIX));
    if let Some(index) = newest_read {
        states.drain(..index);
    }
    for state in &states {
        candidates.extend(candidate(tx, state)?);
    }
    match order::decide(&subscription::KIND, &candidates) {
        Some(decision) => {
            let event_id = candidates.swap_remove(decision.winner).event_id;
            Ok(states.into_iter().find(|state| state.event_id == event_id))
        }
        // There is a reading and no event.
        None => Ok(states.pop()),
    }
}

/// The event that showed a state; `None` for a reading.
fn candidate(tx: &Tx, state: &PastState) -> Result<Option<OrderCandidate>, ProjectionError> {
    let Some(body) = inbox::find_payload(tx, &state.event_id)? else { return Ok(None) };
    let EventContent::Snapshot(snapshot) = event::content(&body)? else { return Ok(None) };
    Ok(Some(OrderCandidate {
        event_id: state.event_id.clone(),
        event_type: state.event_type.clone(),
        created: state.event_created,
        object: snapshot.object,
        previous: snapshot.previous_attributes,
        read: false,
        contained: false,
    }))
}

columns! {
    /// What the history of a subscription says of it; all empty while it is paid and collected.
    #[derive(Default)]
    pub(crate) struct SubscriptionPast {
        /// First failure of the present delinquency, unix seconds.
        grace_started_at: Option<i64>,
        /// While a payment is missing: the prices of its newest state that was active or trialing, a JSON array.
        good_price_ids: Option<String>,
        /// While collection is paused: the end of the period in which that began, unix seconds.
        pause_period_end: Option<i64>,
    }
}

columns! {
    /// A subscription as its row has it now, as far as the past or a failure case depends on it.
    pub(super) struct CurrentSubscription {
        customer_id: String = "stripe_customer_id",
        /// Stripe's word.
        status: String,
        /// Why it is paused, where it is.
        paused_reason: Option<String>,
        /// Stripe does not collect.
        collection_paused: bool = "pause_collection IS NOT NULL",
        /// Whether it has ended for good.
        deleted: bool,
        /// When it ended, where Stripe says so.
        ended_at: Option<i64>,
        event_created: i64,
        past: SubscriptionPast = SubscriptionPast::COLUMNS => SubscriptionPast::take,
    }
}

/// A subscription as its row has it now.
pub(super) fn find_current(reader: &StoreReader, id: &str) -> Result<Option<CurrentSubscription>, StoreError> {
    const SQL: &str = select!(CurrentSubscription, "FROM stripe_subscriptions WHERE stripe_subscription_id = ?1");
    reader.find(SQL, [id], CurrentSubscription::read)
}

fn set_past(tx: &Tx, subscription_id: &str, past: &SubscriptionPast) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_subscriptions
        SET grace_started_at = ?2, good_price_ids = ?3, pause_period_end = ?4 WHERE stripe_subscription_id = ?1";
    let params = (subscription_id, past.grace_started_at, past.good_price_ids.as_deref(), past.pause_period_end);
    tx.execute(SQL, params).map(|_| ())
}
