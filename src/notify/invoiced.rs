//! Subscriptions whose invoices are sent to be paid (`send_invoice`): when one is overdue Stripe makes no attempt that could
//! fail, so there is no failure case, and yet access ends with the grace period. Two mails are written when the delinquency
//! is heard of, each for its time: a warning before the end, and a word at the end. Both are judged again when they are
//! sent ([`against`]), so whoever has paid by then hears nothing. Called by `notices`.

use super::notices;
use super::settings::NotifyBasis;
use crate::base::dunning::OLD_NEWS_S;
use crate::base::entitlement;
use crate::base::notice_kind::NoticeKind;
use crate::notify::notice::{Notice, PaymentFacts};
use crate::notify::post::{self, CustomerMail, MailRecipient};
use crate::notify::text::{SafeLink, Text};
use crate::objects::invoice::{self, SentInvoice};
use crate::objects::payment_failures;
use crate::objects::subscription::{self, ShownSubscription};
use crate::store::{StoreError, StoreReader, Tx};

/// The end of the grace period of a subscription that owes an invoice that was sent; `None`: it does not.
pub(super) fn grace_end(shown: &ShownSubscription, basis: NotifyBasis) -> Option<i64> {
    let is_sent = shown.subscription.collection_method.as_deref() == Some("send_invoice");
    let is_owed = is_sent && shown.facts().is_payment_missing() && !notices::is_leaving(&shown.subscription);
    let started_at = shown.past.grace_started_at.filter(|_| is_owed)?;
    Some(started_at.saturating_add(basis.policy.grace_period_s))
}

/// Writes the mails that an overdue invoice of a subscription calls for, each once.
pub(super) fn review(tx: &Tx, subscription_id: &str, basis: NotifyBasis) -> Result<(), StoreError> {
    if !basis.notify.mail {
        return Ok(());
    }
    let Some(shown) = subscription::find(tx, subscription_id)? else { return Ok(()) };
    let Some(end) = grace_end(&shown, basis) else { return Ok(()) };
    let Some(invoice) = invoice::find_sent(tx, subscription_id)? else { return Ok(()) };
    let now_s = basis.now_ms.div_euclid(1000);
    if payment_failures::find(tx, &invoice.id)?.is_some() || now_s.saturating_sub(end) > OLD_NEWS_S {
        return Ok(());
    }
    let facts = facts(tx, (&shown, &invoice), end, basis)?;
    let recipient = MailRecipient::of_customer(tx, Some(&shown.subscription.stripe_customer_id), Some(&invoice.id))?;
    let key = format!("{}:1", invoice.id);
    let post = |notice: Notice, at_s: i64| {
        let not_before_ms = at_s.saturating_mul(1000);
        post::post(tx, CustomerMail { notice, key: &key, recipient: &recipient, not_before_ms }, None, basis)
    };
    let warning_at = end.saturating_sub(basis.notify.warning_s).max(now_s);
    if warning_at < end {
        post(Notice::GracePeriodWarning(facts.clone()), warning_at)?;
    }
    post(Notice::SubscriptionDowngraded(facts), end)
}

fn facts(
    tx: &Tx,
    (shown, invoice): (&ShownSubscription, &SentInvoice),
    end: i64,
    basis: NotifyBasis,
) -> Result<PaymentFacts, StoreError> {
    let told = invoice::find_details(tx, &invoice.id)?;
    let told = told.as_ref();
    Ok(PaymentFacts {
        invoice_id: Text::from(invoice.id.as_str()),
        subscription_id: Some(Text::from(shown.subscription.stripe_subscription_id.as_str())),
        customer_id: Some(Text::from(shown.subscription.stripe_customer_id.as_str())),
        amount: told.and_then(|told| told.amount_remaining),
        currency: invoice.currency.as_deref().map(Text::from),
        due_date: invoice.due_date,
        grace_period_end: Some(end),
        tier: entitlement::tier_bought(&shown.facts(), basis.policy).map(Text::from),
        invoice_number: told.and_then(|told| told.number.as_deref()).map(Text::from),
        hosted_invoice_url: told.and_then(|told| told.hosted_invoice_url.as_deref()).map(SafeLink::from),
        invoice_pdf: told.and_then(|told| told.invoice_pdf.as_deref()).map(SafeLink::from),
        sent: true,
        ..PaymentFacts::default()
    })
}

/// What speaks by now against one of these mails, which were written for this subscription and invoice.
pub(crate) fn against(
    reader: &StoreReader,
    kind: NoticeKind,
    facts: &PaymentFacts,
    basis: NotifyBasis,
) -> Result<Option<&'static str>, StoreError> {
    let now_s = basis.now_ms.div_euclid(1000);
    let subscription_id = facts.subscription_id.as_ref().map(Text::raw).unwrap_or_default();
    let Some(shown) = subscription::find(reader, subscription_id)? else { return Ok(None) };
    let Some(end) = grace_end(&shown, basis) else { return Ok(Some("the subscription owes nothing any more")) };
    let status = invoice::find_payable(reader, facts.invoice_id.raw())?.map(|(status, _)| status);
    if status.is_some_and(|status| status != "open") {
        return Ok(Some("the invoice was settled before this could be sent"));
    }
    let is_over = end <= now_s;
    if is_over != (kind == NoticeKind::SubscriptionDowngraded) {
        return Ok(Some(if is_over { "the grace period was over" } else { "access has not ended" }));
    }
    if now_s.saturating_sub(end) > OLD_NEWS_S {
        return Ok(Some("it could not be sent in time"));
    }
    let all: Vec<entitlement::SubscriptionInput> =
        notices::beside(reader, &shown)?.iter().map(ShownSubscription::facts).collect();
    let is_covered = entitlement::is_covered(&all, subscription_id, basis.policy, now_s);
    Ok(is_covered.then_some("another subscription gives as much"))
}
