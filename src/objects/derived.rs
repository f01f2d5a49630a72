//! What follows from the tables and is kept beside them: how a failure case stands, which subscription of a user counts
//! (`standing` has what follows from the history of one). Each function computes its answer from rows alone, so that it
//! may be called any number of times in any order. Called by the families, and by whatever may change an answer.

use super::fact::{AnswerChange, ObjectFact, ObjectFacts, WantedComparisons};
use super::{invoice, payment_intent, standing, subscription};
use crate::base::entitlement::{self, EntitlementAnswer, EntitlementPolicy, EntitlementReason};
use crate::base::ownership::LinkRules;
use crate::objects::effective::{self, EffectiveRow, StoredAnswer};
use crate::objects::payment_failures;
use crate::objects::payment_failures::Resolution;
use crate::store::{StoreError, Tx};

/// What a computation rests on besides the tables.
#[derive(Clone, Copy)]
pub struct DerivationBasis<'a> {
    /// Plans and periods.
    pub(crate) policy: &'a EntitlementPolicy,
    /// Whose word counts for what.
    pub(crate) link: &'a LinkRules,
    /// Where what happened is noted.
    pub(crate) facts: &'a ObjectFacts,
    /// What is compared with what it was.
    pub(crate) compared: WantedComparisons,
    /// Unix milliseconds.
    pub(crate) now_ms: i64,
}

/// Brings a failure case in line with its invoice, its payment and its subscription. `false`: there is no case.
pub(super) fn refresh_case(tx: &Tx, invoice_id: &str) -> Result<bool, StoreError> {
    let Some(case) = payment_failures::find(tx, invoice_id)? else { return Ok(false) };
    let invoice = invoice::find_standing(tx, invoice_id)?;
    let intent_id = invoice.as_ref().and_then(|invoice| invoice.payment_intent_id.as_deref());
    let reason = payment_intent::find_failure_code(tx, intent_id, invoice_id)?;
    let resolution = match invoice.as_ref().and_then(resolution_of_invoice) {
        None => resolution_of_subscription(tx, case.subscription_id.as_deref())?,
        known => known,
    };
    payment_failures::settle(tx, invoice_id, intent_id, reason.as_deref(), resolution)?;
    Ok(true)
}

fn resolution_of_invoice(invoice: &invoice::InvoiceStanding) -> Option<Resolution> {
    let (kind, at) = match invoice.status.as_deref()? {
        "paid" => ("paid", invoice.paid_at),
        "void" => ("void", invoice.voided_at),
        "uncollectible" => ("uncollectible", invoice.marked_uncollectible_at),
        _ => return None,
    };
    Some(Resolution { kind, at: at.unwrap_or(invoice.event_created) })
}

fn resolution_of_subscription(tx: &Tx, subscription_id: Option<&str>) -> Result<Option<Resolution>, StoreError> {
    let Some(subscription_id) = subscription_id else { return Ok(None) };
    let standing = standing::find_standing(tx, subscription_id)?;
    Ok(standing
        .filter(|standing| standing.deleted || matches!(standing.status.as_str(), "canceled" | "incomplete_expired"))
        .map(|standing| Resolution {
            kind: "subscription_ended",
            at: standing.ended_at.unwrap_or(standing.event_created),
        }))
}

/// Computes which subscription of a user counts, and what it gives.
///
/// # Errors
/// When the database cannot take it.
pub(crate) fn refresh_effective(tx: &Tx, user_id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    let all = subscription::list_of_user(tx, user_id)?;
    let facts: Vec<entitlement::SubscriptionInput> = all.iter().map(subscription::ShownSubscription::facts).collect();
    let now = basis.now_ms.div_euclid(1000);
    let chosen = entitlement::effective(&facts, basis.policy, now);
    let shown = chosen.and_then(|fact| all.iter().find(|one| one.subscription.stripe_subscription_id == fact.id));
    let (Some(fact), Some(shown)) = (chosen, shown) else {
        note_answer(tx, user_id, &entitlement::no_subscription(), basis)?;
        return effective::remove(tx, user_id);
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
    effective::put(tx, &effective_row, basis.now_ms)
}

/// Notes that a user's answer is another than the stored one. To be called before the row is replaced.
fn note_answer(tx: &Tx, user_id: &str, answer: &EntitlementAnswer, basis: DerivationBasis) -> Result<(), StoreError> {
    if basis.compared.answers {
        let before = effective::find_answered(tx, user_id)?;
        if !is_same(before.as_ref(), answer) {
            let (user_id, answer) = (user_id.to_owned(), answer.clone());
            basis.facts.note(ObjectFact::AnswerChanged(Box::new(AnswerChange { user_id, before, answer })));
        }
    }
    Ok(())
}

/// All that counts, which is not how fresh an answer is. Who has no row has the answer of those without a subscription.
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

/// Says what an operator should look at: somebody pays and gets nothing.
fn warn(fact: &entitlement::SubscriptionInput, answer: &EntitlementAnswer) {
    let (id, price_id) = (&fact.id, answer.price_id.as_deref().unwrap_or("none"));
    match answer.reason {
        EntitlementReason::UnknownPrice => log::warn!(
            "a paid subscription gives nothing: its price is in no [[plan]] subscription_id={id} price_id={price_id}"
        ),
        EntitlementReason::Partial => log::warn!(
            "a paid subscription gives nothing: Stripe sent only its first items, and none of their prices is in a \
             [[plan]] subscription_id={id} price_id={price_id}"
        ),
        EntitlementReason::UnknownStatus => log::warn!(
            "a subscription gives nothing: its status is unknown to this tilld subscription_id={id} status={}",
            fact.status
        ),
        _ => {}
    }
}

/// As [`refresh_effective`], for the owner of a subscription, if it has one.
pub(super) fn refresh_effective_of(tx: &Tx, subscription_id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    match subscription::find_user(tx, subscription_id)? {
        Some(user_id) => refresh_effective(tx, &user_id, basis),
        None => Ok(()),
    }
}
