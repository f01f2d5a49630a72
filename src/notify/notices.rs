//! Notices about failure cases: asks `dunning` which ought to exist, and writes down each once, in the transaction of the
//! facts: a row in `dunning_attempts`, its mail and the application's events in the outbox. Called by the families after
//! all that follows from an event is computed, and by `tick` when time alone calls for one.

use super::announce::{self, NewsItem, OfUser};
use super::invoiced;
use super::settings::NotifyBasis;
use crate::base::dunning::{
    self, CaseEnd, CaseSettled, Delinquency, DueNotice, DunningCase, DunningPolicy, NoticeReason, NoticeVerdict,
    PaymentNews, WrittenNotice,
};
use crate::base::entitlement;
use crate::base::notice_kind::NoticeKind;
use crate::base::ownership;
use crate::notify::event_type::EventType;
use crate::notify::notice::{Notice, PaymentFacts};
use crate::notify::post::{self, CustomerMail, MailRecipient};
use crate::notify::text::{SafeLink, Text};
use crate::objects::dunning_attempts::{self, MailedNotice, NewAttempt, NoticeAttempt};
use crate::objects::payment_failures::{self, DunnedCase};
use crate::objects::subscription::{self, SubscriptionRow};
use crate::objects::{customer, invoice};
use crate::store::{StoreError, StoreReader, Tx};

/// A mail about a failed attempt waits so long, in milliseconds: Stripe says more about the same attempt in a second event.
pub const HOLD_MS: i64 = 60_000;

/// What is known around a case.
struct NoticeSurroundings {
    case: DunnedCase,
    /// Who is written to: whose the customer is.
    user_id: Option<String>,
    /// Who is told of in events: whose the subscription is, unless a reference alone says so.
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
    tiers: Tiers,
}

/// Tiers around a case.
#[derive(Default)]
struct Tiers {
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

/// Writes down the notices that a case calls for, and when to look at it again. No case: nothing to do.
///
/// # Errors
/// When the database cannot take it.
pub fn review(tx: &Tx, invoice_id: &str, heard: Option<&PaymentNews>, basis: NotifyBasis) -> Result<(), StoreError> {
    let Some(case) = payment_failures::find_dunned(tx, invoice_id)? else { return Ok(()) };
    let around = surroundings(tx, case, basis)?;
    let (policy, now_s) = (policy(basis), basis.now_ms.div_euclid(1000));
    let told = dunning_attempts::find_told(tx, around.case.id)?;
    let standing = standing(&around, told);
    for notice in dunning::decide(&standing, heard, policy, now_s) {
        record(tx, &around, notice, told.by_mail, basis)?;
    }
    payment_failures::set_due(tx, invoice_id, dunning::due_at(&standing, policy, now_s))
}

/// What speaks by now against a mail of a case; `None`: nothing.
///
/// # Errors
/// When the database cannot be read.
pub fn against(
    reader: &StoreReader,
    mailed: &MailedNotice,
    basis: NotifyBasis,
) -> Result<Option<NoticeReason>, StoreError> {
    let case = payment_failures::find_dunned(reader, &mailed.invoice_id)?;
    let (Some(case), Some(kind)) = (case, NoticeKind::of(&mailed.kind)) else { return Ok(None) };
    let around = surroundings(reader, case, basis)?;
    let told = dunning_attempts::find_told(reader, around.case.id)?;
    let (attempt, failed_at) = (mailed.attempt, around.case.last_failed_at);
    let written = WrittenNotice { kind, attempt, failed_at, failure_sent: told.sent };
    let now_s = basis.now_ms.div_euclid(1000);
    Ok(dunning::against(&standing(&around, told), &written, policy(basis), now_s))
}

fn standing(around: &NoticeSurroundings, told: NoticeAttempt) -> DunningCase {
    DunningCase {
        attempt: around.case.attempt_count.max(1),
        settled: settled(&around.case),
        first_payment: is_first_payment(around),
        told: told.any,
        asked: told.asked,
        mailed: told.mailed,
        leaving: around.leaving,
        delinquency: around.grace,
        ended: around.ended,
    }
}

/// What a subscription's user has, as far as a mail about it may rest on that: what a stranger links to the user by a
/// reference covers nothing, and of what the user has the stranger hears nothing.
pub(super) fn beside(
    reader: &StoreReader,
    shown: &subscription::ShownSubscription,
) -> Result<Vec<subscription::ShownSubscription>, StoreError> {
    let Some(user_id) = shown.user_id.as_deref().filter(|_| ownership::may_be_called(shown.linked_by)) else {
        return Ok(vec![shown.clone()]);
    };
    let mut all = subscription::list_of_user(reader, user_id)?;
    all.retain(|one| ownership::may_be_called(one.linked_by));
    Ok(all)
}

/// Reviews the open cases of a subscription.
///
/// # Errors
/// When the database cannot take it.
pub(crate) fn review_subscription(tx: &Tx, subscription_id: &str, basis: NotifyBasis) -> Result<(), StoreError> {
    let open = payment_failures::list_open_of(tx, subscription_id)?;
    open.iter().try_for_each(|invoice_id| review(tx, invoice_id, None, basis))?;
    invoiced::review(tx, subscription_id, basis)
}

fn settled(case: &DunnedCase) -> Option<CaseSettled> {
    let at = case.resolved_at_ms?.div_euclid(1000);
    Some(CaseSettled { paid: case.resolution.as_deref() == Some("paid"), at })
}

/// A subscription that has never been anything but incomplete. One that is paid by bank transfer is active at once.
fn is_first_payment(around: &NoticeSurroundings) -> bool {
    let begins = around.invoice.as_ref().and_then(|told| told.billing_reason.as_deref()) == Some("subscription_create");
    begins && matches!(around.status.as_deref(), None | Some("incomplete" | "incomplete_expired"))
}

fn surroundings(tx: &StoreReader, case: DunnedCase, basis: NotifyBasis) -> Result<NoticeSurroundings, StoreError> {
    let user_id = case.customer_id.as_deref().map_or(Ok(None), |id| customer::find_owner(tx, id))?;
    let invoice = invoice::find_details(tx, &case.invoice_id)?;
    let subscriber = user_id.clone();
    let tiers = Tiers::default();
    let mut around = NoticeSurroundings {
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
    let Some(shown) = subscription::find(tx, &subscription_id)? else { return Ok(around) };
    let now_s = basis.now_ms.div_euclid(1000);
    let fact = shown.facts();
    if ownership::may_be_called(shown.linked_by) {
        around.subscriber.clone_from(&shown.user_id);
    }
    let all: Vec<entitlement::SubscriptionInput> =
        beside(tx, &shown)?.iter().map(subscription::ShownSubscription::facts).collect();
    around.tiers = Tiers {
        bought: entitlement::tier_bought(&fact, basis.policy).map(str::to_owned),
        at_stake: entitlement::tier_at_stake(&fact, basis.policy).map(str::to_owned),
        now: Some(entitlement::entitlement(&all, basis.policy, now_s).tier),
    };
    around.ends_at = fact.ends_at();
    around.leaving = is_leaving(&shown.subscription);
    let recorded = |kind: NoticeKind, since| dunning_attempts::is_on_record(tx, &subscription_id, kind, since);
    let is_lost =
        shown.subscription.cancellation_reason.as_deref() == Some("payment_failed") && !shown.customer_deleted;
    if let Some((speaker, since)) = payment_failures::find_ended_speaker(tx, &subscription_id)?.filter(|_| is_lost) {
        around.missing_since = Some(since);
        around.ended = Some(CaseEnd {
            at: shown.subscription.ended_at.unwrap_or(shown.subscription.event_created),
            speaks: speaker == around.case.invoice_id,
            downgraded: recorded(NoticeKind::SubscriptionDowngraded, since)?,
            covered: entitlement::is_covered(&all, &subscription_id, basis.policy, now_s),
        });
    }
    around.status = Some(shown.subscription.status);
    // Whoever is deleted at Stripe is owed nothing and owes nothing.
    if let Some(started_at) = shown.past.grace_started_at.filter(|_| !shown.customer_deleted) {
        around.missing_since = Some(started_at);
        let speaker = payment_failures::find_speaker(tx, &subscription_id, started_at)?;
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

/// Somebody wanted the subscription to end, with the period or by a date. One that was ended at once owes nothing.
pub(super) fn is_leaving(row: &SubscriptionRow) -> bool {
    // One that was to end by a date from its beginning was not cancelled.
    let is_later = row.canceled_at.is_some_and(|at| row.created.is_none_or(|created| at > created));
    let by_date = row.cancel_at.is_some() && is_later;
    row.cancel_at_period_end || by_date
}

/// Writes a notice down, unless it is on record.
fn record(
    tx: &Tx,
    around: &NoticeSurroundings,
    due: DueNotice,
    by_mail: bool,
    basis: NotifyBasis,
) -> Result<(), StoreError> {
    let about_grace = matches!(due.kind, NoticeKind::GracePeriodWarning | NoticeKind::SubscriptionDowngraded);
    let against = match due.verdict {
        NoticeVerdict::Tell => None,
        NoticeVerdict::Skip(why) => Some(why),
    };
    let (why, is_told) = (against.map(NoticeReason::as_str), against.is_none_or(NoticeReason::is_about_mail));
    let attempt = NewAttempt {
        case_id: around.case.id,
        user_id: around.user_id.as_deref(),
        attempt: due.attempt,
        kind: due.kind,
        told: is_told,
        grace_started_at: around.missing_since.filter(|_| about_grace),
        outcome: why,
        now_ms: basis.now_ms,
    };
    if !dunning_attempts::add(tx, &attempt)? || !is_told {
        return Ok(());
    }
    let facts = facts(around, due, basis);
    announce_to_application(tx, around, due, &facts, basis)?;
    let grace_period_end = end_for_the_customer(&facts, around, due, basis);
    let notice = Notice::of_case(due.kind, PaymentFacts { grace_period_end, ..facts });
    let Some(notice) = notice.filter(|_| why.is_none()) else { return Ok(()) };
    let case = &around.case;
    let recipient = MailRecipient::of_customer(tx, case.customer_id.as_deref(), Some(&case.invoice_id))?;
    let key = format!("{}:{}", case.invoice_id, due.attempt);
    let hold_ms = if matches!(due.kind, NoticeKind::PaymentFailed | NoticeKind::PaymentRetry) { HOLD_MS } else { 0 };
    let not_before_ms = basis.now_ms.saturating_add(hold_ms);
    let mail = CustomerMail { notice, key: &key, recipient: &recipient, not_before_ms };
    let queued = if due.kind == NoticeKind::PaymentRecovered && basis.notify.mail && !by_mail {
        Err(dunning::NoticeReason::Untold.as_str())
    } else {
        post::queue(tx, mail, basis)?
    };
    dunning_attempts::set_mail(tx, &attempt, queued.ok(), queued.err())
}

/// Who reads a mail wants to know how long it works: a subscription that ends before does not, and what is over is none.
fn end_for_the_customer(
    facts: &PaymentFacts,
    around: &NoticeSurroundings,
    due: DueNotice,
    basis: NotifyBasis,
) -> Option<i64> {
    let grace_end = facts.grace_period_end?;
    let end = around.ends_at.map_or(grace_end, |ends_at| grace_end.min(ends_at));
    let is_over = end <= basis.now_ms.div_euclid(1000) && due.kind != NoticeKind::SubscriptionDowngraded;
    (!is_over).then_some(end)
}

fn announce_to_application(
    tx: &Tx,
    around: &NoticeSurroundings,
    due: DueNotice,
    facts: &PaymentFacts,
    basis: NotifyBasis,
) -> Result<(), StoreError> {
    let case = &around.case;
    let (event_type, at_s) = match due.kind {
        NoticeKind::PaymentFailed | NoticeKind::PaymentRetry => (EventType::PaymentFailed, case.last_failed_at),
        NoticeKind::PaymentRecovered => {
            (EventType::PaymentRecovered, settled(case).map_or(case.last_failed_at, |settled| settled.at))
        }
        _ => return Ok(()),
    };
    let user_id = around.subscriber.as_deref();
    let data = OfUser { facts: &facts.without_links(), user_id };
    let key = format!("{}:{}", case.invoice_id, due.attempt);
    announce::tell(tx, &NewsItem { event_type, key: &key, user_id, at_s, data: &data }, basis)
}

/// What mails and events about a case are made from.
fn facts(around: &NoticeSurroundings, due: DueNotice, basis: NotifyBasis) -> PaymentFacts {
    let (case, invoice) = (&around.case, around.invoice.as_ref());
    let has_recovered = due.kind == NoticeKind::PaymentRecovered;
    // When a payment is heard of, Stripe's word that the subscription is active again is still on its way.
    let tier_now = around.tiers.now.as_deref().filter(|_| !has_recovered);
    // What is to be paid for, or has been; but what ends is what was had.
    let ended = due.kind == NoticeKind::SubscriptionDowngraded;
    let tier = if ended { &around.tiers.at_stake } else { &around.tiers.bought };
    // An invoice that is paid after all brings back no subscription that has ended.
    let is_lost = has_recovered && matches!(around.status.as_deref(), Some("canceled" | "incomplete_expired"));
    let paid = invoice.filter(|_| has_recovered).and_then(|invoice| invoice.amount_paid);
    let owed = invoice.and_then(|invoice| invoice.amount_remaining).filter(|left| *left > 0).or(case.amount_due);
    PaymentFacts {
        invoice_id: Text::from(case.invoice_id.as_str()),
        subscription_id: case.subscription_id.as_deref().map(Text::from),
        customer_id: case.customer_id.as_deref().map(Text::from),
        amount: paid.or(owed),
        currency: case.currency.as_deref().map(Text::from),
        failure_code: case.failure_reason.as_deref().map(Text::from),
        attempt: Some(case.attempt_count.max(due.attempt)),
        next_attempt_at: case.next_retry_at,
        first_failed_at: Some(case.first_failed_at),
        failed_at: Some(case.last_failed_at),
        settled_at: settled(case).map(|settled| settled.at),
        grace_period_end: grace_period_end(around, basis),
        invoice_number: invoice.and_then(|invoice| invoice.number.as_deref()).map(Text::from),
        hosted_invoice_url: invoice.and_then(|invoice| invoice.hosted_invoice_url.as_deref()).map(SafeLink::from),
        invoice_pdf: invoice.and_then(|invoice| invoice.invoice_pdf.as_deref()).map(SafeLink::from),
        tier: tier.as_deref().filter(|_| !is_lost).map(Text::from),
        tier_now: tier_now.map(Text::from),
        ended: around.ended.is_some(),
        ended_at: around.ended.map(|ended| ended.at),
        ..PaymentFacts::default()
    }
}

/// The end of the grace period, also where Stripe's word that there is one has not come yet. One that is settled has none.
fn grace_period_end(around: &NoticeSurroundings, basis: NotifyBasis) -> Option<i64> {
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
