//! Subscriptions, prices and discounts in older shapes. Must never invent what the object does not have.
//! Called by `render` only.

use serde_json::Value;

use super::{ApiVersion, SampleObject, as_object, get, put};

pub(super) fn subscription(subscription: &mut SampleObject, version: ApiVersion) {
    if version < ApiVersion::Endive {
        classic_cancel(subscription);
    }
    if version < ApiVersion::Basil {
        period_on_top(subscription);
        only_item_on_top(subscription);
        first_discount(subscription);
    }
}

/// The portal ends a flexible subscription by `cancel_at` alone; the classic mode said both.
fn classic_cancel(subscription: &mut SampleObject) {
    let ends_with_period = get(subscription, "cancel_at").as_i64().is_some_and(|at| {
        let period_end = of_items(subscription, "current_period_end").max();
        Some(at) == period_end
    });
    if get(subscription, "billing_mode")["type"] == "flexible" && ends_with_period {
        put(subscription, "cancel_at_period_end", Value::Bool(true));
    }
}

fn period_on_top(subscription: &mut SampleObject) {
    let start = of_items(subscription, "current_period_start").min();
    let end = of_items(subscription, "current_period_end").max();
    put(subscription, "current_period_start", start);
    put(subscription, "current_period_end", end);
}

fn of_items(subscription: &SampleObject, key: &'static str) -> impl Iterator<Item = i64> {
    items(subscription).iter().filter_map(move |item| item[key].as_i64())
}

fn only_item_on_top(subscription: &mut SampleObject) {
    let (plan, quantity) = match items(subscription) {
        [item] => (item["plan"].clone(), item["quantity"].clone()),
        _ => (Value::Null, Value::Null),
    };
    put(subscription, "plan", plan);
    put(subscription, "quantity", quantity);
}

fn items(subscription: &SampleObject) -> &[Value] {
    get(subscription, "items")["data"].as_array().map_or(&[], Vec::as_slice)
}

/// `discounts` → `discount`, on subscriptions and invoices.
pub(super) fn first_discount(of: &mut SampleObject) {
    let discount = as_object(&get(of, "discounts")[0], "discount");
    put(of, "discount", discount);
}

/// `source.coupon` → `coupon` (clover).
pub(super) fn discount(discount: &mut SampleObject, version: ApiVersion) {
    if version < ApiVersion::Endive
        && let Some(source) = discount.remove("source")
    {
        put(discount, "coupon", as_object(&source["coupon"], "coupon"));
    }
}

/// Usage records ended with basil, and with them `aggregate_usage` of prices and plans.
pub(super) fn usage(price_or_plan: &mut SampleObject, version: ApiVersion) {
    if version >= ApiVersion::Basil {
        return;
    }
    match price_or_plan.get_mut("recurring") {
        Some(Value::Object(recurring)) => put(recurring, "aggregate_usage", Value::Null),
        Some(_) => {}
        None => put(price_or_plan, "aggregate_usage", Value::Null),
    }
}
