//! Notices about failure cases: asks `dunning` which ought to exist, and writes down each once, in the transaction of the
//! facts: a row in `dunning_attempts`, its mail and the application's event in the outbox. It must never decide by itself
//! what a case calls for. Called by `notice` after an event's rows are written, and by `jobs::tick` when time alone calls
//! for a notice.

use super::Notice;
use super::payment::PaymentFacts;
use super::queue::{self, MailRecipient, NewMail, QueuedMail};
use crate::base::dunning::{
    self, CaseEnd, CaseSettled, Delinquency, DueNotice, DunningCase, DunningPolicy, NoticeReason, NoticeVerdict,
    ReportedAttempt, WrittenNotice,
};
use crate::base::entitlement;
use crate::base::notice_kind::NoticeKind;
use crate::base::ownership;
use crate::notify::app_events::{self, AppEvent, OfUser};
use crate::notify::event_type::AppEventType;
use crate::notify::settings::NotifyBasis;
use crate::notify::text::{UntrustedLink, UntrustedText};
use crate::objects::dunning_attempts::{self, EarlierNotices, MailedNotice, NewNotice};
use crate::objects::failure_case::{self, FailureCase};
use crate::objects::subscription::{self, SubscriptionRow};
use crate::objects::{customer, invoice};
use crate::store::{StoreError, StoreReader, Tx};

/// How long a mail about a failed attempt waits, in milliseconds: Stripe says more about the same attempt in a second event.
pub const HOLD_MS: i64 = 60_000;

/// What is known around a case.
struct CaseContext {
    case: FailureCase,
    /// Who is written to: whose the customer is.
    user_id: Option<String>,
    /// The user of the application's events: whose the subscription is, unless only a `client_reference_id` says so.
    subscriber: Option<String>,
    invoice: Option<invoice::InvoiceDetails>,
    /// Stripe's status of its subscription.
    status: Option<String>,
    /// When that ends by its own terms.
    ends_at: Option<i64>,
    /// Whoever pays has cancelled.
    leaving: bool,
    grace: Option<Delinquency>,
    ended: Option<CaseEnd>,
    /// Since when a payment is missing, or was when Stripe ended the subscription, unix seconds.
    missing_since: Option<i64>,
    tiers: CaseTiers,
}

/// Tiers around a case.
#[derive(Default)]
struct CaseTiers {
    /// What its subscription is billed for.
    bought: Option<String>,
    /// What it gives or gave in the grace period: after an upgrade that was not paid, less.
    at_stake: Option<String>,
    /// What the user has now.
    now: Option<String>,
}

fn policy(basis: NotifyBasis) -> DunningPolicy {
    DunningPolicy { grace_s: basis.policy.grace_period_s, warning_s: basis.notify.warning_s }
}

/// Writes down the notices that an invoice's failure case calls for, and when to look at it again. `attempt`: what an event
/// has just said of an attempt to pay.
pub(crate) fn review(
    tx: &Tx,
    invoice_id: &str,
    attempt: Option<&ReportedAttempt>,
    basis: NotifyBasis,
) -> Result<(), StoreError> {
    let Some(case) = failure_case::find_failure_case(tx, invoice_id)? else { return Ok(()) };
    let around = context_of(tx, case, basis)?;
    let (policy, now_s) = (policy(basis), basis.now_ms.div_euclid(1000));
    let earlier = dunning_attempts::find_earlier_notices(tx, around.case.id)?;
    let case = dunning_case(&around, earlier);
    for notice in dunning::decide(&case, attempt, policy, now_s) {
        record(tx, &around, notice, earlier.by_mail, basis)?;
    }
    failure_case::set_due(tx, invoice_id, dunning::due_at(&case, policy, now_s))
}

/// Why a mail of a case is not to be sent any more; `None`: it is.
pub(super) fn reason_to_skip(
    reader: &StoreReader,
    mailed: &MailedNotice,
    basis: NotifyBasis,
) -> Result<Option<NoticeReason>, StoreError> {
    let case = failure_case::find_failure_case(reader, &mailed.invoice_id)?;
    let (Some(case), Some(kind)) = (case, NoticeKind::of(&mailed.kind)) else { return Ok(None) };
    let around = context_of(reader, case, basis)?;
    let earlier = dunning_attempts::find_earlier_notices(reader, around.case.id)?;
    let (attempt, failed_at) = (mailed.attempt, around.case.last_failed_at);
    let written = WrittenNotice { kind, attempt, failed_at, failure_sent: earlier.sent };
    let now_s = basis.now_ms.div_euclid(1000);
    Ok(dunning::against(&dunning_case(&around, earlier), &written, policy(basis), now_s))
}

fn dunning_case(around: &CaseContext, earlier: EarlierNotices) -> DunningCase {
    DunningCase {
        attempt: around.case.attempt_count.max(1),
        settled: settled(&around.case),
        first_payment: is_first_payment(around),
        told: earlier.any,
        asked: earlier.asked,
        mailed: earlier.mailed,
        leaving: around.leaving,
        delinquency: around.grace,
        ended: around.ended,
    }
}

/// The subscriptions of the same user, as far as a mail about this one may rest on them. What a stranger has linked to the
/// user by a `client_reference_id` does not count for the user, and the stranger learns nothing of what the user has.
pub(super) fn subscriptions_of_same_user(
    reader: &StoreReader,
    found: &subscription::FoundSubscription,
) -> Result<Vec<subscription::FoundSubscription>, StoreError> {
    let Some(user_id) = found.user_id.as_deref().filter(|_| ownership::may_be_called(found.linked_by)) else {
        return Ok(vec![found.clone()]);
    };
    let mut all = subscription::list_of_user(reader, user_id)?;
    all.retain(|one| ownership::may_be_called(one.linked_by));
    Ok(all)
}

/// Reviews the open cases of a subscription.
pub(super) fn review_subscription(tx: &Tx, subscription_id: &str, basis: NotifyBasis) -> Result<(), StoreError> {
    let open = failure_case::list_open_of(tx, subscription_id)?;
    open.iter().try_for_each(|invoice_id| review(tx, invoice_id, None, basis))
}

fn settled(case: &FailureCase) -> Option<CaseSettled> {
    let at = case.resolved_at_ms?.div_euclid(1000);
    Some(CaseSettled { paid: case.resolution.as_deref() == Some("paid"), at })
}

/// A subscription that has never been anything but incomplete. One that is paid by bank transfer is active at once.
fn is_first_payment(around: &CaseContext) -> bool {
    let begins =
        around.invoice.as_ref().and_then(|invoice| invoice.billing_reason.as_deref()) == Some("subscription_create");
    begins && matches!(around.status.as_deref(), None | Some("incomplete" | "incomplete_expired"))
}

fn context_of(tx: &StoreReader, case: FailureCase, basis: NotifyBasis) -> Result<CaseContext, StoreError> {
    let user_id = case.customer_id.as_deref().map_or(Ok(None), |id| customer::find_owner(tx, id))?;
    let invoice = invoice::find_details(tx, &case.invoice_id)?;
    let subscriber = user_id.clone();
    let tiers = CaseTiers::default();
    let mut around = CaseContext {
        case,
        user_id,
        subscriber,
        invoice,
        status: None,
        ends_at: None,
        leaving: false,
        grace: None,
        ended: None,
        missing_since: None,
        tiers,
    };
    let Some(subscription_id) = around.case.subscription_id.clone() else { return Ok(around) };
    let Some(found) = subscription::find(tx, &subscription_id)? else { return Ok(around) };
    let now_s = basis.now_ms.div_euclid(1000);
    let fact = found.facts();
    if ownership::may_be_called(found.linked_by) {
        around.subscriber.clone_from(&found.user_id);
    }
    let all: Vec<entitlement::SubscriptionInput> =
        subscriptions_of_same_user(tx, &found)?.iter().map(subscription::FoundSubscription::facts).collect();
    around.tiers = CaseTiers {
        bought: entitlement::tier_bought(&fact, basis.policy).map(str::to_owned),
        at_stake: entitlement::tier_at_stake(&fact, basis.policy).map(str::to_owned),
        now: Some(entitlement::entitlement(&all, basis.policy, now_s).tier),
    };
    around.ends_at = fact.ends_at();
    around.leaving = is_leaving(&found.subscription);
    let recorded = |kind: NoticeKind, since| dunning_attempts::is_on_record(tx, &subscription_id, kind, since);
    let is_lost =
        found.subscription.cancellation_reason.as_deref() == Some("payment_failed") && !found.customer_deleted;
    if let Some((speaker, since)) = failure_case::find_oldest_case_of_ended(tx, &subscription_id)?.filter(|_| is_lost) {
        around.missing_since = Some(since);
        around.ended = Some(CaseEnd {
            at: found.subscription.ended_at.unwrap_or(found.subscription.event_created),
            speaks: speaker == around.case.invoice_id,
            downgraded: recorded(NoticeKind::SubscriptionDowngraded, since)?,
            covered: entitlement::is_covered(&all, &subscription_id, basis.policy, now_s),
        });
    }
    around.status = Some(found.subscription.status);
    // Whoever is deleted at Stripe is owed nothing and owes nothing.
    if let Some(started_at) = found.past.grace_started_at.filter(|_| !found.customer_deleted) {
        around.missing_since = Some(started_at);
        let speaker = failure_case::find_oldest_open_case(tx, &subscription_id, started_at)?;
        around.grace = Some(Delinquency {
            started_at,
            speaks: speaker.as_deref() == Some(around.case.invoice_id.as_str()),
            warned: recorded(NoticeKind::GracePeriodWarning, started_at)?,
            downgraded: recorded(NoticeKind::SubscriptionDowngraded, started_at)?,
            covered: entitlement::is_covered(&all, &subscription_id, basis.policy, now_s),
        });
    }
    Ok(around)
}

/// Whether somebody has cancelled the subscription, for the end of the period or for a date. One that was cancelled at once
/// owes nothing.
pub(super) fn is_leaving(row: &SubscriptionRow) -> bool {
    // If it was to end on a date from its beginning, nobody has cancelled it.
    let is_later = row.canceled_at.is_some_and(|at| row.created.is_none_or(|created| at > created));
    let by_date = row.cancel_at.is_some() && is_later;
    row.cancel_at_period_end || by_date
}

/// Writes a notice down, unless it is on record.
fn record(tx: &Tx, around: &CaseContext, due: DueNotice, by_mail: bool, basis: NotifyBasis) -> Result<(), StoreError> {
    let about_grace = matches!(due.kind, NoticeKind::GracePeriodWarning | NoticeKind::SubscriptionDowngraded);
    let against = match due.verdict {
        NoticeVerdict::Send => None,
        NoticeVerdict::Skip(why) => Some(why),
    };
    let (why, is_announced) = (against.map(NoticeReason::as_str), against.is_none_or(NoticeReason::is_about_mail));
    let attempt = NewNotice {
        case_id: around.case.id,
        user_id: around.user_id.as_deref(),
        attempt: due.attempt,
        kind: due.kind,
        told: is_announced,
        grace_started_at: around.missing_since.filter(|_| about_grace),
        outcome: why,
        cause: basis.cause,
        now_ms: basis.now_ms,
    };
    if !dunning_attempts::add(tx, &attempt)? || !is_announced {
        return Ok(());
    }
    let facts = facts(around, due, basis);
    announce_to_application(tx, around, due, &facts, basis)?;
    let grace_period_end = end_for_the_customer(&facts, around, due, basis);
    let notice = Notice::of_case(due.kind, PaymentFacts { grace_period_end, ..facts });
    if why.is_some() {
        return Ok(());
    }
    let case = &around.case;
    let recipient = MailRecipient::of_customer(tx, case.customer_id.as_deref(), Some(&case.invoice_id))?;
    let key = format!("{}:{}", case.invoice_id, due.attempt);
    let hold_ms = if matches!(due.kind, NoticeKind::PaymentFailed | NoticeKind::PaymentRetry) { HOLD_MS } else { 0 };
    let not_before_ms = basis.now_ms.saturating_add(hold_ms);
    let mail = NewMail { notice, key: &key, recipient: &recipient, not_before_ms };
    let queued = if due.kind == NoticeKind::PaymentRecovered && basis.notify.mail && !by_mail {
        QueuedMail::Skipped(NoticeReason::FailureNotSent.as_str())
    } else {
        queue::put_of_case(tx, mail, basis)?
    };
    match queued {
        QueuedMail::Queued(id) => dunning_attempts::set_mail(tx, &attempt, Some(id), None),
        QueuedMail::Skipped(why) => dunning_attempts::set_mail(tx, &attempt, None, Some(why)),
    }
}

/// Until when the customer has access: the end of the grace period, or of the subscription if that comes first. An end
/// that has passed is left out.
fn end_for_the_customer(facts: &PaymentFacts, around: &CaseContext, due: DueNotice, basis: NotifyBasis) -> Option<i64> {
    let grace_end = facts.grace_period_end?;
    let end = around.ends_at.map_or(grace_end, |ends_at| grace_end.min(ends_at));
    let is_over = end <= basis.now_ms.div_euclid(1000) && due.kind != NoticeKind::SubscriptionDowngraded;
    (!is_over).then_some(end)
}

fn announce_to_application(
    tx: &Tx,
    around: &CaseContext,
    due: DueNotice,
    facts: &PaymentFacts,
    basis: NotifyBasis,
) -> Result<(), StoreError> {
    let case = &around.case;
    let (event_type, at_s) = match due.kind {
        NoticeKind::PaymentFailed | NoticeKind::PaymentRetry => (AppEventType::PaymentFailed, case.last_failed_at),
        NoticeKind::PaymentRecovered => {
            (AppEventType::PaymentRecovered, settled(case).map_or(case.last_failed_at, |settled| settled.at))
        }
        _ => return Ok(()),
    };
    let user_id = around.subscriber.as_deref();
    let data = OfUser { facts: &facts.without_links(), user_id };
    let key = format!("{}:{}", case.invoice_id, due.attempt);
    app_events::publish(tx, &AppEvent { event_type, key: &key, user_id, at_s, data: &data }, basis)
}

/// What mails and events about a case are made from.
fn facts(around: &CaseContext, due: DueNotice, basis: NotifyBasis) -> PaymentFacts {
    let (case, invoice) = (&around.case, around.invoice.as_ref());
    let has_recovered = due.kind == NoticeKind::PaymentRecovered;
    // The event of a payment comes before the one by which the subscription is active again.
    let tier_now = around.tiers.now.as_deref().filter(|_| !has_recovered);
    // The tier that is paid for; but where access ends, the one that the user had.
    let ended = due.kind == NoticeKind::SubscriptionDowngraded;
    let tier = if ended { &around.tiers.at_stake } else { &around.tiers.bought };
    // A late payment does not bring back a subscription that has ended.
    let is_lost = has_recovered && matches!(around.status.as_deref(), Some("canceled" | "incomplete_expired"));
    let paid = invoice.filter(|_| has_recovered).and_then(|invoice| invoice.amount_paid);
    let owed = invoice.and_then(|invoice| invoice.amount_remaining).filter(|left| *left > 0).or(case.amount_due);
    PaymentFacts {
        invoice_id: UntrustedText::from(case.invoice_id.as_str()),
        subscription_id: case.subscription_id.as_deref().map(UntrustedText::from),
        customer_id: case.customer_id.as_deref().map(UntrustedText::from),
        amount: paid.or(owed),
        currency: case.currency.as_deref().map(UntrustedText::from),
        failure_code: case.failure_reason.as_deref().map(UntrustedText::from),
        attempt: Some(case.attempt_count.max(due.attempt)),
        next_attempt_at: case.next_retry_at,
        first_failed_at: Some(case.first_failed_at),
        failed_at: Some(case.last_failed_at),
        settled_at: settled(case).map(|settled| settled.at),
        grace_period_end: grace_period_end(around, basis),
        invoice_number: invoice.and_then(|invoice| invoice.number.as_deref()).map(UntrustedText::from),
        hosted_invoice_url: invoice.and_then(|invoice| invoice.hosted_invoice_url.as_deref()).map(UntrustedLink::from),
        invoice_pdf: invoice.and_then(|invoice| invoice.invoice_pdf.as_deref()).map(UntrustedLink::from),
        tier: tier.as_deref().filter(|_| !is_lost).map(UntrustedText::from),
        tier_now: tier_now.map(UntrustedText::from),
        ended: around.ended.is_some(),
        ended_at: around.ended.map(|ended| ended.at),
        ..PaymentFacts::default()
    }
}

/// The end of the grace period, also where the event by which it begins has not come yet. A settled case has none.
fn grace_period_end(around: &CaseContext, basis: NotifyBasis) -> Option<i64> {
    let case = &around.case;
    let status = around.status.as_deref()?;
    if settled(case).is_some() {
        return None;
    }
    match around.grace {
        Some(grace) => Some(grace.ends_at(policy(basis))),
        None if matches!(status, "active" | "trialing") => {
            Some(case.first_failed_at.saturating_add(basis.policy.grace_period_s))
        }
        None => None,
    }
}
