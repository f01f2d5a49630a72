//! The items of a subscription: read from parameters, added, changed, moved to the next period.

use serde_json::{Value, json};

use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;
use super::invoices;

pub fn total(items: &[(Value, i64)]) -> i64 {
    items.iter().map(|(price, quantity)| price["unit_amount"].as_i64().unwrap_or_default() * quantity).sum()
}

pub fn items(state: &mut State, params: &Params) -> Result<Vec<(Value, i64)>, Refusal> {
    let mut found = Vec::new();
    for (index, item) in params.list("items").iter().enumerate() {
        found.push((recurring(state, item, index)?, item.int("quantity")?.unwrap_or(1)));
    }
    Ok(found)
}

fn recurring(state: &mut State, item: &Params, index: usize) -> Answer {
    let name = format!("items[{index}][price]");
    let Some(id) = item.text("price") else {
        return Err(Refusal::invalid("parameter_missing", &name, "Missing required param."));
    };
    let price = state.named("price", id, &name)?;
    match price["recurring"].is_object() && price["active"] == true {
        true => Ok(price),
        false => Err(Refusal::invalid("parameter_invalid", &name, "The price is not recurring, or is inactive.")),
    }
}

pub fn item(state: &mut State, subscription: &str, price: &Value, quantity: i64) -> Value {
    let mut item = state.draft("subscription_item");
    let now_s = state.now_s();
    item["subscription"] = json!(subscription);
    item["price"] = price.clone();
    item["plan"] = plan(price);
    item["quantity"] = json!(quantity);
    item["current_period_start"] = json!(now_s);
    item["current_period_end"] = json!(period_end(now_s, price));
    item
}

fn plan(price: &Value) -> Value {
    let recurring = &price["recurring"];
    json!({
        "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "currency": price["currency"], "interval": recurring["interval"], "product": price["product"],
        "interval_count": recurring["interval_count"], "livemode": false, "metadata": {}, "nickname": null,
        "usage_type": "licensed",
    })
}

/// A month is 30 days here, a year 365.
pub fn period_end(start_s: i64, price: &Value) -> i64 {
    let days = match price["recurring"]["interval"].as_str() {
        Some("day") => 1,
        Some("week") => 7,
        Some("year") => 365,
        _ => 30,
    };
    start_s + 86_400 * days * price["recurring"]["interval_count"].as_i64().unwrap_or(1)
}

/// Applies `items`; the lines that make up for the change.
pub fn change_items(state: &mut State, params: &Params, new: &mut Value, at_s: i64) -> Result<Vec<Value>, Refusal> {
    let id = new["id"].as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for (index, change) in params.list("items").iter().enumerate() {
        let data = new["items"]["data"].as_array_mut().unwrap();
        let Some(item_id) = change.text("id") else {
            let price = recurring(state, change, index)?;
            let added = item(state, &id, &price, change.int("quantity")?.unwrap_or(1));
            lines.push(invoices::proration(state, &id, &added, at_s, 1));
            data.push(added);
            continue;
        };
        let name = format!("items[{index}][id]");
        let place = data.iter().position(|item| item["id"] == item_id);
        let place = place.ok_or_else(|| Refusal::missing("subscription_item", item_id, &name))?;
        let before = data[place].clone();
        if change.bool("deleted")? == Some(true) {
            data.remove(place);
            lines.push(invoices::proration(state, &id, &before, at_s, -1));
            continue;
        }
        let mut after = before.clone();
        if change.text("price").is_some_and(|price| before["price"]["id"] != price) {
            let price = recurring(state, change, index)?;
            // Not told otherwise, one.
            (after["quantity"], after["plan"]) = (json!(1), plan(&price));
            if price["recurring"] != before["price"]["recurring"] {
                after["current_period_start"] = json!(state.now_s());
                after["current_period_end"] = json!(period_end(state.now_s(), &price));
            }
            after["price"] = price;
        }
        if let Some(quantity) = change.int("quantity")? {
            after["quantity"] = json!(quantity);
        }
        if after != before {
            lines.push(invoices::proration(state, &id, &before, at_s, -1));
            lines.push(invoices::proration(state, &id, &after, at_s, 1));
        }
        data[place] = after;
    }
    if new["items"]["data"].as_array().is_some_and(Vec::is_empty) {
        return Err(Refusal::state("", "A subscription must have at least one active plan."));
    }
    Ok(lines)
}

/// Moves every item to its next period.
pub fn turn(subscription: &mut Value) {
    for item in subscription["items"]["data"].as_array_mut().into_iter().flatten() {
        let start = item["current_period_end"].clone();
        let end = period_end(start.as_i64().unwrap_or_default(), &item["price"]);
        (item["current_period_start"], item["current_period_end"]) = (start, json!(end));
    }
}
