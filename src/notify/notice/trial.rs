//! `trial_will_end`: Stripe says, three days before, that a trial ends. What the subscription costs afterwards is said only
//! where it is certain. Called by `notice`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::letter::{Letter, LetterTone, day_of, line, money_of, plan_of, tier_of};
use super::queue::{self, MailRecipient, NewMail};
use super::{Notice, words};
use crate::base::entitlement;
use crate::notify::settings::NotifyBasis;
use crate::notify::text::UntrustedText;
use crate::objects::ProjectionError;
use crate::objects::fact::SeenObject;
use crate::objects::subscription::{self, FoundSubscription, ItemRow};
use crate::store::mirror::{self, ObjectKey};
use crate::store::{StoreError, StoreReader, Tx};
use crate::stripe::object;

/// A trial that ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TrialFacts {
    pub(crate) subscription_id: UntrustedText,
    pub(crate) customer_id: Option<UntrustedText>,
    pub(crate) trial_end: Option<i64>,
    pub(crate) tier: Option<UntrustedText>,
    /// What it costs afterwards, per interval, where that is known for certain.
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<UntrustedText>,
    pub(crate) interval: Option<UntrustedText>,
    pub(crate) interval_count: Option<i64>,
    /// The subscription ends with it.
    pub(crate) ends_with_trial: bool,
}

/// Writes the mail.
pub(super) fn announce(tx: &Tx, seen: &SeenObject, basis: NotifyBasis) -> Result<(), ProjectionError> {
    if !basis.notify.mail {
        return Ok(());
    }
    let (id, object) = (seen.id.as_str(), &seen.object);
    let Some(trial_end) = object::integer(object, "trial_end")? else { return Ok(()) };
    let customer_id = object::reference(object, "customer");
    let recipient = MailRecipient::of_customer(tx, customer_id, None)?;
    let Some(known) = subscription::find(tx, id)? else { return Ok(()) };
    let bought = known.facts();
    let tier = entitlement::tier_bought(&bought, basis.policy);
    let price = price(tx, object, &known)?;
    let ends = known.subscription.cancel_at_period_end || known.subscription.cancel_at.is_some();
    let price = price.as_ref();
    let facts = TrialFacts {
        subscription_id: UntrustedText::from(id),
        customer_id: customer_id.map(UntrustedText::from),
        trial_end: Some(trial_end),
        tier: tier.map(UntrustedText::from),
        amount: price.map(|price| price.amount),
        currency: price.map(|price| UntrustedText::from(price.currency.as_str())),
        interval: price.map(|price| UntrustedText::from(price.interval.0.as_str())),
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
    let mail = NewMail { notice, key: &key, recipient: &recipient, not_before_ms: 0 };
    Ok(queue::put(tx, mail, skipped, basis)?)
}

/// What a subscription costs per interval, where that is certain: all items of one interval, fixed prices, no
/// discount, no tax on top. A wrong amount is worse than none.
fn price(tx: &Tx, subscription: &Value, known: &FoundSubscription) -> Result<Option<TrialPrice>, ProjectionError> {
    let has_any = |holder: &Value, keys: &[&str]| {
        keys.iter().any(|key| match &holder[*key] {
            Value::Array(list) => !list.is_empty(),
            Value::Object(_) => true,
            _ => false,
        })
    };
    let row = &known.subscription;
    let (items, is_complete) = object::list(subscription, "items");
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
        || has_any(subscription, &["discount", "discounts", "default_tax_rates"])
        || subscription["automatic_tax"]["enabled"] == true
        || items.iter().any(is_odd)
        || customer.is_some_and(|customer| has_any(&customer, &["discount"]));
    Ok(if is_unclear { None } else { sum(&known.items) })
}

/// An amount in minor units of a currency, per interval.
struct TrialPrice {
    amount: i64,
    currency: String,
    interval: (String, i64),
}

fn sum(items: &[ItemRow]) -> Option<TrialPrice> {
    let first = items.first()?;
    let (currency, unit) = (first.currency.clone()?, first.recurring_interval.clone()?);
    let interval = (unit, first.interval_count.unwrap_or(1));
    items.iter().try_fold(TrialPrice { amount: 0, currency, interval }, |price, item| {
        let every = (item.recurring_interval.as_deref()?, item.interval_count.unwrap_or(1));
        let is_alike =
            item.currency.as_ref() == Some(&price.currency) && every == (price.interval.0.as_str(), price.interval.1);
        let amount = item.unit_amount?.checked_mul(item.quantity.unwrap_or(1))?.checked_add(price.amount)?;
        is_alike.then_some(TrialPrice { amount, ..price })
    })
}

impl TrialFacts {
    pub(super) fn reason_to_skip(
        &self,
        reader: &StoreReader,
        basis: NotifyBasis,
    ) -> Result<Option<&'static str>, StoreError> {
        let known = subscription::find(reader, self.subscription_id.raw())?;
        let is_over = self.trial_end.is_some_and(|end| end <= basis.now_ms.div_euclid(1000));
        Ok(match known {
            _ if is_over => Some("the trial was over"),
            Some(known) if known.subscription.status != "trialing" || known.subscription.deleted => {
                Some("the subscription is no longer on trial")
            }
            Some(known) if known.subscription.trial_end != self.trial_end => Some("the trial ends another day"),
            _ => None,
        })
    }
}

pub(super) fn letter(facts: &TrialFacts, product: &str) -> Letter {
    let end = day_of(facts.trial_end);
    let when = end.as_ref().map_or_else(|| "soon".to_owned(), |day| format!("on {day}"));
    let subject = format!("Your trial of {product} ends {when}");
    let plan = plan_of(facts.tier.as_ref()).unwrap_or_else(|| "subscription".to_owned());
    let amount = money_of(facts.amount, facts.currency.as_ref());
    let interval = |unit: String| words::interval(&unit, facts.interval_count.unwrap_or(1));
    let unit = line(facts.interval.as_ref());
    let usual = unit.clone().filter(|unit| matches!(unit.as_str(), "day" | "week" | "month" | "year"));
    let price = amount.clone().map(|money| match usual.map(interval) {
        Some(often) => format!("{money} {often}"),
        None => money,
    });
    let letter = Letter::new(LetterTone::Calm, subject, &format!("Your trial ends {when}")).about(end.clone());
    let letter = if facts.ends_with_trial {
        letter.say("It ends by itself, and nothing is charged. We hope that you liked it.")
    } else {
        let costs =
            price.as_ref().map_or_else(|| ", and it is charged for".to_owned(), |price| format!(" for {price}"));
        letter
            .say(format!("After that, your {plan} goes on{costs}. If that is what you want, there is nothing to do."))
            .say("If not, please cancel before that day.")
    };
    letter.show("Plan", tier_of(facts.tier.as_ref())).show("Price", price).show("Trial ends", end.clone()).with([
        ("amount", amount),
        ("currency", line(facts.currency.as_ref()).map(|code| code.to_uppercase())),
        ("interval", unit.map(interval)),
        ("tier", line(facts.tier.as_ref())),
        ("trial_end", end),
    ])
}
