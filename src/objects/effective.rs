//! `subscriptions`: of every user the effective subscription, with the tier and the answer as last computed, and the
//! computation of it from the tables. The table is for people and reports, and for noticing that an answer has changed; it
//! must never be what the entitlement call answers with, which computes anew. Called by the kinds and `owner`, and by the
//! tick and the recomputation at start.

use rusqlite::named_params;

use super::fact::{AnswerChange, ObjectFact};
use super::{DerivationBasis, subscription};
use crate::base::entitlement::{self, EntitlementAnswer, EntitlementReason};
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

/// A user's effective subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EffectiveRow<'a> {
    /// Whose it is.
    pub(crate) user_id: &'a str,
    /// `cus_…`.
    pub(crate) customer_id: &'a str,
    /// `sub_…`.
    pub(crate) subscription_id: &'a str,
    /// The price that the tier comes from.
    pub(crate) price_id: Option<&'a str>,
    /// Stripe's word.
    pub(crate) status: &'a str,
    /// The plan's.
    pub(crate) tier: &'a str,
    /// The answer.
    pub(crate) entitled: bool,
    /// Why.
    pub(crate) reason: &'a str,
    /// Unix seconds.
    pub(crate) period: (Option<i64>, Option<i64>),
    /// Ends with the period.
    pub(crate) cancel_at_period_end: bool,
    /// Unix seconds.
    pub(crate) canceled_at: Option<i64>,
    /// Unix seconds.
    pub(crate) trial: (Option<i64>, Option<i64>),
    /// Unix seconds.
    pub(crate) grace_period_end: Option<i64>,
    /// Unix seconds.
    pub(crate) valid_until: Option<i64>,
    /// Unix seconds.
    pub(crate) ends_at: Option<i64>,
    /// When the answer changes by time alone, unix seconds.
    pub(crate) changes_at: Option<i64>,
}

/// Replaces a row, but for the columns of the answer that have an index and a trigger: SQLite rewrites an index entry
/// whenever a statement sets its column, and most events change no answer.
macro_rules! put {
    ($rest:literal) => {
        concat!(
            "INSERT INTO subscriptions
    (user_id, stripe_customer_id, stripe_subscription_id, stripe_price_id, status, tier, entitled, reason,
     current_period_start, current_period_end, cancel_at_period_end, canceled_at, trial_start, trial_end,
     grace_period_end, valid_until, ends_at, changes_at, updated_at_ms)
    VALUES (:user, :customer, :subscription, :price, :status, :tier, :entitled, :reason, :period_start, :period_end,
     :at_period_end, :canceled_at, :trial_start, :trial_end, :grace_period_end, :valid_until, :ends_at, :changes_at,
     :now_ms)
    ON CONFLICT (user_id) DO UPDATE SET stripe_customer_id = :customer, stripe_subscription_id = :subscription,
     stripe_price_id = :price, status = :status,
     current_period_start = :period_start, current_period_end = :period_end, cancel_at_period_end = :at_period_end,
     canceled_at = :canceled_at, trial_start = :trial_start, trial_end = :trial_end,
     grace_period_end = :grace_period_end, valid_until = :valid_until, ends_at = :ends_at,
     updated_at_ms = :now_ms",
            $rest
        )
    };
}
const PUT_SAME: &str =
    put!(" WHERE tier = :tier AND entitled = :entitled AND reason = :reason AND changes_at IS :changes_at");
const PUT: &str = put!(", tier = :tier, entitled = :entitled, reason = :reason, changes_at = :changes_at");

/// Replaces a user's row.
pub(crate) fn put(tx: &Tx, row: &EffectiveRow, now_ms: i64) -> Result<(), StoreError> {
    let params = named_params! {
        ":user": row.user_id, ":customer": row.customer_id, ":subscription": row.subscription_id,
        ":price": row.price_id, ":status": row.status, ":tier": row.tier, ":entitled": row.entitled,
        ":reason": row.reason, ":period_start": row.period.0, ":period_end": row.period.1,
        ":at_period_end": row.cancel_at_period_end, ":canceled_at": row.canceled_at, ":trial_start": row.trial.0,
        ":trial_end": row.trial.1, ":grace_period_end": row.grace_period_end,
        ":valid_until": row.valid_until, ":ends_at": row.ends_at, ":changes_at": row.changes_at, ":now_ms": now_ms,
    };
    if tx.execute_named(PUT_SAME, params)? == 0 {
        tx.execute_named(PUT, params)?;
    }
    Ok(())
}

/// Removes the row of a user who has no subscription any more.
pub(crate) fn remove(tx: &Tx, user_id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM subscriptions WHERE user_id = ?1", [user_id]).map(|_| ())
}

columns! {
    /// The answer that a row holds.
    pub(crate) struct StoredAnswer {
        entitled: bool,
        tier: String,
        reason: String,
        status: String,
        subscription_id: String = "stripe_subscription_id",
        price_id: Option<String> = "stripe_price_id",
        valid_until: Option<i64>,
        grace_period_end: Option<i64>,
        ends_at: Option<i64>,
    }
}

/// The answer as it was last computed for a user; `None`: the user had no subscription.
pub(crate) fn find_answered(reader: &StoreReader, user_id: &str) -> Result<Option<StoredAnswer>, StoreError> {
    const SQL: &str = select!(StoredAnswer, "FROM subscriptions WHERE user_id = ?1");
    reader.find(SQL, [user_id], StoredAnswer::read)
}

/// The same, from the file that is attached as `old`.
pub(crate) fn find_answered_before(reader: &StoreReader, user_id: &str) -> Result<Option<StoredAnswer>, StoreError> {
    const SQL: &str = select!(StoredAnswer, "FROM old.subscriptions WHERE user_id = ?1");
    reader.find(SQL, [user_id], StoredAnswer::read)
}

const LIST_FUTURE: &str = "SELECT user_id FROM subscriptions WHERE updated_at_ms > ?1 ORDER BY id LIMIT ?2";

/// Users whose answer was computed at a time that is still in the future.
pub(crate) fn list_future(reader: &StoreReader, latest_ms: i64, limit: u32) -> Result<Vec<String>, StoreError> {
    reader.list(LIST_FUTURE, (latest_ms, limit), row::only)
}

const LIST_DUE: &str = "SELECT user_id FROM subscriptions WHERE changes_at <= ?1 ORDER BY changes_at, user_id LIMIT ?2";

/// Users whose answer has changed by time alone, longest ago first.
pub(crate) fn list_due(reader: &StoreReader, now_s: i64, limit: u32) -> Result<Vec<String>, StoreError> {
    reader.list(LIST_DUE, (now_s, limit), row::only)
}

/// Computes which subscription of a user counts, and what it gives.
pub(crate) fn refresh(tx: &Tx, user_id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    let all = subscription::list_of_user(tx, user_id)?;
    let facts: Vec<entitlement::SubscriptionInput> = all.iter().map(subscription::FoundSubscription::facts).collect();
    let now = basis.now_ms.div_euclid(1000);
    let chosen = entitlement::effective(&facts, basis.policy, now);
    let shown = chosen.and_then(|fact| all.iter().find(|one| one.subscription.stripe_subscription_id == fact.id));
    let (Some(fact), Some(shown)) = (chosen, shown) else {
        note_answer(tx, user_id, &entitlement::no_subscription(), basis)?;
        return remove(tx, user_id);
    };
    let answer = entitlement::of_one(fact, basis.policy, now);
    warn(fact, &answer);
    let row = &shown.subscription;
    let effective_row = EffectiveRow {
        user_id,
        customer_id: &row.stripe_customer_id,
        subscription_id: &row.stripe_subscription_id,
        price_id: answer.price_id.as_deref(),
        status: &row.status,
        tier: &answer.tier,
        entitled: answer.entitled,
        reason: answer.reason.as_str(),
        period: (row.current_period_start, row.current_period_end),
        cancel_at_period_end: row.cancel_at_period_end,
        canceled_at: row.canceled_at,
        trial: (row.trial_start, row.trial_end),
        grace_period_end: answer.grace_period_end,
        valid_until: answer.valid_until,
        ends_at: answer.ends_at,
        changes_at: entitlement::changes_at(fact, basis.policy, now),
    };
    note_answer(tx, user_id, &answer, basis)?;
    put(tx, &effective_row, basis.now_ms)
}

/// Notes that a user's answer differs from the stored one. To be called before the row is replaced.
fn note_answer(tx: &Tx, user_id: &str, answer: &EntitlementAnswer, basis: DerivationBasis) -> Result<(), StoreError> {
    if basis.compared.answers {
        let before = find_answered(tx, user_id)?;
        if !is_same(before.as_ref(), answer) {
            let (user_id, answer) = (user_id.to_owned(), answer.clone());
            basis.facts.note(ObjectFact::AnswerChanged(Box::new(AnswerChange { user_id, before, answer })));
        }
    }
    Ok(())
}

/// Whether two answers say the same, however fresh they are. A user without a row has the answer of one without a
/// subscription.
fn is_same(before: Option<&StoredAnswer>, answer: &EntitlementAnswer) -> bool {
    let Some(before) = before else { return answer.reason == EntitlementReason::NoSubscription };
    before.entitled == answer.entitled
        && before.tier == answer.tier
        && before.reason == answer.reason.as_str()
        && Some(&before.status) == answer.status.as_ref()
        && Some(&before.subscription_id) == answer.subscription_id.as_ref()
        && before.price_id == answer.price_id
        && before.valid_until == answer.valid_until
        && before.grace_period_end == answer.grace_period_end
        && before.ends_at == answer.ends_at
}

/// Logs what an operator should look at: somebody pays and gets nothing.
fn warn(fact: &entitlement::SubscriptionInput, answer: &EntitlementAnswer) {
    let (id, price_id) = (&fact.id, answer.price_id.as_deref().unwrap_or("none"));
    match answer.reason {
        EntitlementReason::UnknownPrice => log::warn!(
            subscription_id = id, price_id;
            "a paid subscription gives nothing: its price is in no [[plan]]"
        ),
        EntitlementReason::Partial => log::warn!(
            subscription_id = id, price_id;
            "a paid subscription gives nothing: Stripe sent only its first items, and none of their prices is in a [[plan]]"
        ),
        EntitlementReason::UnknownStatus => log::warn!(
            subscription_id = id, status = fact.status;
            "a subscription gives nothing: its status is unknown to this tilld"
        ),
        _ => {}
    }
}

/// As [`refresh`], for the owner of a subscription, if it has one.
pub(super) fn refresh_of_subscription(
    tx: &Tx,
    subscription_id: &str,
    basis: DerivationBasis,
) -> Result<(), StoreError> {
    match subscription::find_user(tx, subscription_id)? {
        Some(user_id) => refresh(tx, &user_id, basis),
        None => Ok(()),
    }
}
