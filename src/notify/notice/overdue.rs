//! Subscriptions whose invoices are sent to be paid (`send_invoice`): when one is overdue, Stripe makes no attempt that
//! could fail, so there is no failure case; and yet access ends with the grace period. Two mails are written when the
//! subscription becomes past due, each for its time: a warning before the end, and a notice at the end. Both are judged
//! again when they are sent, so that whoever has paid by then gets none. Called by `notice`.

use super::Notice;
use super::failed_payment::{is_leaving, subscriptions_of_same_user};
use super::payment::PaymentFacts;
use super::queue::{self, MailRecipient, NewMail};
use crate::base::dunning::TOO_OLD_S;
use crate::base::entitlement;
use crate::notify::settings::NotifyBasis;
use crate::notify::text::{UntrustedLink, UntrustedText};
use crate::objects::failure_case;
use crate::objects::invoice::{self, SentInvoice};
use crate::objects::subscription::{self, FoundSubscription};
use crate::store::{StoreError, StoreReader, Tx};

/// The end of the grace period of a subscription that owes an invoice that was sent; `None`: it does not.
fn grace_end(found: &FoundSubscription, basis: NotifyBasis) -> Option<i64> {
    let is_sent = found.subscription.collection_method.as_deref() == Some("send_invoice");
    let is_owed = is_sent && found.facts().is_payment_missing() && !is_leaving(&found.subscription);
    let started_at = found.past.grace_started_at.filter(|_| is_owed)?;
    Some(started_at.saturating_add(basis.policy.grace_period_s))
}

/// Writes the mails that an overdue invoice of a subscription calls for, each once.
pub(super) fn review(tx: &Tx, subscription_id: &str, basis: NotifyBasis) -> Result<(), StoreError> {
    if !basis.notify.mail {
        return Ok(());
    }
    let Some(found) = subscription::find(tx, subscription_id)? else { return Ok(()) };
    let Some(end) = grace_end(&found, basis) else { return Ok(()) };
    let Some(invoice) = invoice::find_sent(tx, subscription_id)? else { return Ok(()) };
    let now_s = basis.now_ms.div_euclid(1000);
    if failure_case::find(tx, &invoice.id)?.is_some() || now_s.saturating_sub(end) > TOO_OLD_S {
        return Ok(());
    }
    let facts = facts(tx, &found, &invoice, end, basis)?;
    let recipient = MailRecipient::of_customer(tx, Some(&found.subscription.stripe_customer_id), Some(&invoice.id))?;
    let key = format!("{}:1", invoice.id);
    let put = |notice: Notice, at_s: i64| {
        let not_before_ms = at_s.saturating_mul(1000);
        queue::put(tx, NewMail { notice, key: &key, recipient: &recipient, not_before_ms }, None, basis)
    };
    let warning_at = end.saturating_sub(basis.notify.warning_s).max(now_s);
    if warning_at < end {
        put(Notice::GracePeriodWarning(facts.clone()), warning_at)?;
    }
    put(Notice::SubscriptionDowngraded(facts), end)
}

fn facts(
    tx: &Tx,
    found: &FoundSubscription,
    invoice: &SentInvoice,
    end: i64,
    basis: NotifyBasis,
) -> Result<PaymentFacts, StoreError> {
    let details = invoice::find_details(tx, &invoice.id)?;
    let details = details.as_ref();
    Ok(PaymentFacts {
        invoice_id: UntrustedText::from(invoice.id.as_str()),
        subscription_id: Some(UntrustedText::from(found.subscription.stripe_subscription_id.as_str())),
        customer_id: Some(UntrustedText::from(found.subscription.stripe_customer_id.as_str())),
        amount: details.and_then(|details| details.amount_remaining),
        currency: invoice.currency.as_deref().map(UntrustedText::from),
        due_date: invoice.due_date,
        grace_period_end: Some(end),
        tier: entitlement::tier_bought(&found.facts(), basis.policy).map(UntrustedText::from),
        invoice_number: details.and_then(|details| details.number.as_deref()).map(UntrustedText::from),
        hosted_invoice_url: details.and_then(|details| details.hosted_invoice_url.as_deref()).map(UntrustedLink::from),
        invoice_pdf: details.and_then(|details| details.invoice_pdf.as_deref()).map(UntrustedLink::from),
        sent: true,
        ..PaymentFacts::default()
    })
}

/// Why a warning is not to be sent any more; `None`: it is.
pub(super) fn reason_to_skip_warning(
    reader: &StoreReader,
    facts: &PaymentFacts,
    basis: NotifyBasis,
) -> Result<Option<&'static str>, StoreError> {
    reason_to_skip(reader, false, facts, basis)
}

/// Why the mail at the end is not to be sent any more; `None`: it is.
pub(super) fn reason_to_skip_end(
    reader: &StoreReader,
    facts: &PaymentFacts,
    basis: NotifyBasis,
) -> Result<Option<&'static str>, StoreError> {
    reason_to_skip(reader, true, facts, basis)
}

fn reason_to_skip(
    reader: &StoreReader,
    is_about_end: bool,
    facts: &PaymentFacts,
    basis: NotifyBasis,
) -> Result<Option<&'static str>, StoreError> {
    let now_s = basis.now_ms.div_euclid(1000);
    let subscription_id = facts.subscription_id.as_ref().map(UntrustedText::raw).unwrap_or_default();
    let Some(found) = subscription::find(reader, subscription_id)? else { return Ok(None) };
    let Some(end) = grace_end(&found, basis) else { return Ok(Some("the subscription owes nothing any more")) };
    let status = invoice::find_payable(reader, facts.invoice_id.raw())?.map(|(status, _)| status);
    if status.is_some_and(|status| status != "open") {
        return Ok(Some("the invoice was settled before this could be sent"));
    }
    let is_over = end <= now_s;
    if is_over != is_about_end {
        return Ok(Some(if is_over { "the grace period was over" } else { "access has not ended" }));
    }
    if now_s.saturating_sub(end) > TOO_OLD_S {
        return Ok(Some("it could not be sent in time"));
    }
    let all: Vec<entitlement::SubscriptionInput> =
        subscriptions_of_same_user(reader, &found)?.iter().map(FoundSubscription::facts).collect();
    let is_covered = entitlement::is_covered(&all, subscription_id, basis.policy, now_s);
    Ok(is_covered.then_some("another subscription gives as much"))
}
