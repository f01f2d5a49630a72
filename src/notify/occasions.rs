//! Notices and events that hang on no failure case: an invoice, the end of a trial, a dispute, a dead letter. Each once
//! per object, by its key in the outbox; what is not sent for a reason of its own is there as skipped, with the reason.
//! Where mail is off, nothing is. Called by `notify` and by `retrier`.

use serde_json::Value;

use super::announce::{self, NewsItem, OfUser};
use super::settings::NotifyBasis;
use crate::base::dunning::OLD_NEWS_S;
use crate::base::entitlement;
use crate::notify::event_type::EventType;
use crate::notify::notice::{DeadLetterFacts, DisputeFacts, InvoiceFacts, MissingFacts, Notice, TrialFacts};
use crate::notify::post::{self, CustomerMail, MailRecipient};
use crate::notify::text::{SafeLink, Text};
use crate::objects::fact::SeenObject;
use crate::objects::subscription::{self, ItemRow, ShownSubscription};
use crate::objects::{ProjectionError, customer};
use crate::store::dead_letters::DeadLetter;
use crate::store::mirror::{self, ObjectKey};
use crate::store::{StoreError, Tx, settings};
use crate::stripe::object;

const TOO_LATE: &str = "heard of too late";
/// Mails about dead letters in one hour at most: what breaks one event may break thousands.
const DEAD_LETTER_MAILS_PER_HOUR: u64 = 20;
const FLOOD: &str = "enough mails about dead letters in this hour";

/// An invoice is final: its number and its file exist now.
pub(crate) fn invoice_finalized(tx: &Tx, seen: &SeenObject, basis: NotifyBasis) -> Result<(), ProjectionError> {
    let mailed = basis.notify.mail && basis.notify.invoice_finalized;
    if !(mailed || basis.notify.is_wanted(EventType::InvoiceFinalized.as_str())) {
        return Ok(());
    }
    let (id, shown) = (seen.id.as_str(), &seen.object);
    let customer_id = object::reference(shown, "customer");
    let recipient = MailRecipient::of_customer(tx, customer_id, Some(id))?;
    let (period_start, period_end) = object::invoice_period(shown)?;
    let facts = InvoiceFacts {
        invoice_id: Text::from(id),
        customer_id: customer_id.map(Text::from),
        subscription_id: object::invoice_subscription(shown).map(Text::from),
        invoice_number: object::text(shown, "number")?.map(Text::from),
        amount: object::integer(shown, "amount_due")?,
        total: object::integer(shown, "total")?,
        currency: object::text(shown, "currency")?.map(Text::from),
        due_date: object::integer(shown, "due_date")?,
        period_start,
        period_end,
        hosted_invoice_url: object::text(shown, "hosted_invoice_url")?.map(SafeLink::from),
        invoice_pdf: object::text(shown, "invoice_pdf")?.map(SafeLink::from),
        finalized_at: Some(seen.at_s),
    };
    let user_id = recipient.user_id.as_deref();
    let news = NewsItem {
        event_type: EventType::InvoiceFinalized,
        key: id,
        user_id,
        at_s: seen.at_s,
        data: &OfUser { facts: &facts.without_links(), user_id },
    };
    if mailed {
        let notice = Notice::InvoiceFinalized(facts);
        let mail = CustomerMail { notice, key: id, recipient: &recipient, not_before_ms: 0 };
        post::post(tx, mail, is_old(seen, basis).then_some(TOO_LATE), basis)?;
    }
    Ok(announce::tell(tx, &news, basis)?)
}

/// A trial ends in some days, Stripe says three.
pub(crate) fn trial_will_end(tx: &Tx, seen: &SeenObject, basis: NotifyBasis) -> Result<(), ProjectionError> {
    if !basis.notify.mail {
        return Ok(());
    }
    let (id, shown) = (seen.id.as_str(), &seen.object);
    let Some(trial_end) = object::integer(shown, "trial_end")? else { return Ok(()) };
    let customer_id = object::reference(shown, "customer");
    let recipient = MailRecipient::of_customer(tx, customer_id, None)?;
    let Some(known) = subscription::find(tx, id)? else { return Ok(()) };
    let bought = known.facts();
    let tier = entitlement::tier_bought(&bought, basis.policy);
    let price = price(tx, shown, &known)?;
    let ends = known.subscription.cancel_at_period_end || known.subscription.cancel_at.is_some();
    let price = price.as_ref();
    let facts = TrialFacts {
        subscription_id: Text::from(id),
        customer_id: customer_id.map(Text::from),
        trial_end: Some(trial_end),
        tier: tier.map(Text::from),
        amount: price.map(|price| price.amount),
        currency: price.map(|price| Text::from(price.currency.as_str())),
        interval: price.map(|price| Text::from(price.interval.0.as_str())),
        interval_count: price.map(|price| price.interval.1),
        ends_with_trial: ends,
    };
    let skipped = if trial_end <= basis.now_ms.div_euclid(1000) {
        Some("the trial was over")
    } else if known.subscription.status != "trialing" {
        Some("the subscription is no longer on trial")
    } else {
        None
    };
    let key = format!("{id}:{trial_end}");
    let notice = Notice::TrialWillEnd(facts);
    let mail = CustomerMail { notice, key: &key, recipient: &recipient, not_before_ms: 0 };
    Ok(post::post(tx, mail, skipped, basis)?)
}

/// What a subscription costs per interval, where that is known for sure: all items of one interval, fixed prices, no
/// discount, no tax on top. A wrong amount is worse than none.
fn price(tx: &Tx, shown: &Value, known: &ShownSubscription) -> Result<Option<Price>, ProjectionError> {
    let has_any = |holder: &Value, keys: &[&str]| {
        keys.iter().any(|key| match &holder[*key] {
            Value::Array(list) => !list.is_empty(),
            Value::Object(_) => true,
            _ => false,
        })
    };
    let row = &known.subscription;
    let (items, is_complete) = object::list(shown, "items");
    let is_odd = |item: &Value| {
        let price = object::price(item).unwrap_or(&Value::Null);
        has_any(item, &["discounts", "tax_rates"])
            || has_any(price, &["transform_quantity"])
            || price["billing_scheme"] == "tiered"
            || price["recurring"]["usage_type"] == "metered"
    };
    let key = ObjectKey { object: "customer", id: &row.stripe_customer_id, livemode: row.livemode, account: "" };
    let customer = mirror::find(tx, key)?.and_then(|found| serde_json::from_str::<Value>(&found.data).ok());
    let is_unclear = !is_complete
        || row.items_partial
        || has_any(shown, &["discount", "discounts", "default_tax_rates"])
        || shown["automatic_tax"]["enabled"] == true
        || items.iter().any(is_odd)
        || customer.is_some_and(|customer| has_any(&customer, &["discount"]));
    Ok(if is_unclear { None } else { sum(&known.items) })
}

/// An amount in minor units of a currency, per interval.
struct Price {
    amount: i64,
    currency: String,
    interval: (String, i64),
}

fn sum(items: &[ItemRow]) -> Option<Price> {
    let first = items.first()?;
    let (currency, unit) = (first.currency.clone()?, first.recurring_interval.clone()?);
    let interval = (unit, first.interval_count.unwrap_or(1));
    items.iter().try_fold(Price { amount: 0, currency, interval }, |price, item| {
        let every = (item.recurring_interval.as_deref()?, item.interval_count.unwrap_or(1));
        let is_alike =
            item.currency.as_ref() == Some(&price.currency) && every == (price.interval.0.as_str(), price.interval.1);
        let amount = item.unit_amount?.checked_mul(item.quantity.unwrap_or(1))?.checked_add(price.amount)?;
        is_alike.then_some(Price { amount, ..price })
    })
}

/// Somebody wants money back by way of the bank: evidence is due in days, so the operator hears of it however late.
pub(crate) fn dispute_created(tx: &Tx, seen: &SeenObject, basis: NotifyBasis) -> Result<(), ProjectionError> {
    let (id, shown) = (seen.id.as_str(), &seen.object);
    let due_by = shown.get("evidence_details").map_or(Ok(None), |evidence| object::integer(evidence, "due_by"))?;
    let facts = DisputeFacts {
        dispute_id: Text::from(id),
        charge_id: object::reference(shown, "charge").map(Text::from),
        payment_intent_id: object::reference(shown, "payment_intent").map(Text::from),
        amount: object::integer(shown, "amount")?,
        currency: object::text(shown, "currency")?.map(Text::from),
        reason: object::text(shown, "reason")?.map(Text::from),
        status: object::text(shown, "status")?.map(Text::from),
        evidence_due_by: due_by,
        created: Some(object::integer(shown, "created")?.unwrap_or(seen.at_s)),
    };
    let recipient = MailRecipient::operator(basis);
    let notice = Notice::DisputeCreated(facts.clone());
    let mail = CustomerMail { notice, key: id, recipient: &recipient, not_before_ms: 0 };
    post::post(tx, mail, None, basis)?;
    let user_id = owner_of_charge(tx, shown)?;
    let user_id = user_id.as_deref();
    let data = OfUser { facts: &facts, user_id };
    let (event_type, at_s) = (EventType::DisputeCreated, seen.at_s);
    let news = NewsItem { event_type, key: id, user_id, at_s, data: &data };
    Ok(announce::tell(tx, &news, basis)?)
}

/// A dispute names no customer, its charge does, if it is known.
fn owner_of_charge(tx: &Tx, dispute: &Value) -> Result<Option<String>, StoreError> {
    match object::reference(dispute, "charge") {
        Some(charge_id) => customer::find_owner_of_charge(tx, charge_id),
        None => Ok(None),
    }
}

/// An event was given up: an operator decides.
///
/// # Errors
/// When the database cannot take it.
pub fn dead_letter(tx: &Tx, letter: &DeadLetter, basis: NotifyBasis) -> Result<(), StoreError> {
    let facts = DeadLetterFacts {
        event_id: Text::from(letter.event_id.as_str()),
        event_type: Some(Text::from(letter.event_type.as_str())),
        attempts: Some(i64::from(letter.retry_count)),
        error: Some(Text::from(letter.error.as_str())),
        received_at: Some(letter.received_ms.div_euclid(1000)),
    };
    let recipient = MailRecipient::operator(basis);
    let (notice, key) = (Notice::WebhookDeadLetter(facts.clone()), letter.event_id.as_str());
    let mail = CustomerMail { notice, key, recipient: &recipient, not_before_ms: 0 };
    let flood = basis.notify.mail && is_flood(tx, basis.now_ms)?;
    post::post(tx, mail, flood.then_some(FLOOD), basis)?;
    let at_s = letter.created_at_ms.div_euclid(1000);
    let news = NewsItem { event_type: EventType::WebhookDeadLetter, key, user_id: None, at_s, data: &facts };
    announce::tell(tx, &news, basis)
}

fn webhooks_missing(tx: &Tx, key: &str, facts: MissingFacts, basis: NotifyBasis) -> Result<(), StoreError> {
    let (recipient, not_before_ms) = (MailRecipient::operator(basis), basis.now_ms);
    let mail = CustomerMail { notice: Notice::WebhooksMissing(facts), key, recipient: &recipient, not_before_ms };
    post::post(tx, mail, None, basis)
}

/// No webhook has come since then, unix milliseconds.
///
/// # Errors
/// When the database cannot take it.
pub fn silence(tx: &Tx, since_ms: i64, basis: NotifyBasis) -> Result<(), StoreError> {
    let facts = MissingFacts { silent_since: Some(since_ms.div_euclid(1000)), late_events: None };
    let key = format!("silence:{since_ms}");
    webhooks_missing(tx, &key, facts, basis)
}

/// So many events came by catching up that webhooks should have brought. One mail a day.
///
/// # Errors
/// When the database cannot take it.
pub fn late_events(tx: &Tx, count: u64, basis: NotifyBasis) -> Result<(), StoreError> {
    const DAY_MS: i64 = 86_400_000;
    let facts = MissingFacts { silent_since: None, late_events: Some(count) };
    let key = format!("late:{}", basis.now_ms.div_euclid(DAY_MS));
    webhooks_missing(tx, &key, facts, basis)
}

/// Counts a mail about a dead letter: the hour, and how many there were in it.
fn is_flood(tx: &Tx, now_ms: i64) -> Result<bool, StoreError> {
    let hour = now_ms.div_euclid(3_600_000).to_string();
    let before = settings::find(tx, settings::DEAD_LETTER_MAILS)?.unwrap_or_default();
    let in_this_hour = before.split_once(' ').filter(|(of, _)| *of == hour).and_then(|(_, count)| count.parse().ok());
    let count = in_this_hour.unwrap_or(0_u64).saturating_add(1);
    settings::put(tx, settings::DEAD_LETTER_MAILS, &format!("{hour} {count}"))?;
    Ok(count > DEAD_LETTER_MAILS_PER_HOUR)
}

fn is_old(seen: &SeenObject, basis: NotifyBasis) -> bool {
    basis.now_ms.div_euclid(1000).saturating_sub(seen.at_s) > OLD_NEWS_S
}
