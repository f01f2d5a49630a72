//! The prices of the plans as Stripe has them: does each exist, is it active, and what does it cost? Must never change one.
//! Called by `outward::checks`.

use serde_json::Value;

use super::{StripeCheck, StripeChecks};
use crate::base::finding::{Finding, fail, ok, warn};
use crate::base::money;
use crate::stripe::error::StripeError;

const CHECK: &str = "plan";
/// More are not looked up: a person waits.
const MAX_PRICES: usize = 50;

pub(super) fn findings(asking: &mut StripeCheck, wanted: &StripeChecks) -> Vec<Finding> {
    let all =
        wanted.plans.iter().flat_map(|plan| plan.price_ids.iter().map(|price| (plan.tier.as_str(), price.as_str())));
    let mut lines = Vec::new();
    for (tier, price) in all.take(MAX_PRICES) {
        match asking.get(&format!("/v1/prices/{price}"), "") {
            Ok(answer) => lines.push(found(tier, price, &serde_json::from_str(&answer.text).unwrap_or_default())),
            Err(error) => {
                let line = missing(tier, price, &error);
                let is_for_all = line.is_none();
                lines.push(line.unwrap_or_else(|| warn(CHECK, format!("prices were not looked up: {error}"))));
                if is_for_all {
                    break;
                }
            }
        }
    }
    lines
}

/// `None`: the answer says nothing about this price.
fn missing(tier: &str, price: &str, error: &StripeError) -> Option<Finding> {
    let said = error.api()?;
    (said.status == 404 && said.is_stripes()).then(|| {
        let message = format!(
            "{tier}: Stripe does not know the price {price} in the mode of the key: correct price_ids of the [[plan]]"
        );
        fail(CHECK, message)
    })
}

fn found(tier: &str, price: &str, shown: &Value) -> Finding {
    let said = format!("{tier}: {} ({price})", words(shown));
    if shown["active"] == false {
        return warn(CHECK, format!("{said} is archived and cannot be bought any more"));
    }
    ok(CHECK, said)
}

/// As in "20.00 USD a month".
fn words(price: &Value) -> String {
    let currency = price["currency"].as_str().unwrap_or_default();
    let amount = price["unit_amount"].as_i64().map(|amount| money::plain(amount, currency));
    let amount = amount.unwrap_or_else(|| format!("by tiers or usage, {}", currency.to_ascii_uppercase()));
    let Some(interval) = price["recurring"]["interval"].as_str() else { return format!("{amount} once") };
    match price["recurring"]["interval_count"].as_i64() {
        Some(count) if count > 1 => format!("{amount} every {count} {interval}s"),
        _ => format!("{amount} a {interval}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_price_is_told_as_people_say_it() {
        let price = |amount: Value, currency: &str, recurring: Value| {
            words(&json!({"unit_amount": amount, "currency": currency, "recurring": recurring}))
        };
        let every = |interval: &str, count: i64| json!({"interval": interval, "interval_count": count});
        assert_eq!(price(json!(2000), "usd", every("month", 1)), "20.00 USD a month");
        assert_eq!(price(json!(1500), "jpy", every("month", 3)), "1500 JPY every 3 months");
        assert_eq!(price(json!(900), "eur", Value::Null), "9.00 EUR once");
        assert_eq!(price(Value::Null, "usd", every("year", 1)), "by tiers or usage, USD a year");
    }
}
