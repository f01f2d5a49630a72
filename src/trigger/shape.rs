//! The JSON templates and how they are filled. A placeholder is `<name>`: as a whole string it becomes a
//! value of any type (`"<now+3d>"`, `"<price>"`), inside a longer string it becomes text. Filled values are
//! not filled again, so a user may be called `<price>`. Must never know an API version. Called by `event`, and by
//! `render` where an older shape carries a whole object.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::ids::Ids;

/// Puts a value in place of a placeholder's name.
pub(super) type Find<'a> = &'a dyn Fn(&str) -> Option<Value>;

/// In a change: the key is taken away.
const ABSENT: &str = "<absent>";

static CHANGES: LazyLock<Value> = LazyLock::new(|| parse(include_str!("shapes/changes.json")));

/// One template each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Customer,
    Product,
    Price,
    Plan,
    Subscription,
    Invoice,
    InvoicePayment,
    PaymentIntent,
    Charge,
    Refund,
    Dispute,
    CheckoutSession,
}

impl Shape {
    /// The object that an event of this (known) type carries.
    pub(super) fn of(event_type: &str) -> Self {
        match event_type.rsplit_once('.').map(|(family, _)| family) {
            Some("product") => Self::Product,
            Some("price") => Self::Price,
            Some("customer.subscription") => Self::Subscription,
            Some("invoice") => Self::Invoice,
            Some("invoice_payment") => Self::InvoicePayment,
            Some("payment_intent") => Self::PaymentIntent,
            Some("charge") => Self::Charge,
            Some("charge.dispute") => Self::Dispute,
            Some("refund") => Self::Refund,
            Some("checkout.session") => Self::CheckoutSession,
            _ => Self::Customer,
        }
    }

    /// The filled template.
    pub(super) fn build(self, find: Find) -> Value {
        let mut object = parse(self.source());
        fill(&mut object, find);
        object
    }

    fn source(self) -> &'static str {
        match self {
            Self::Customer => include_str!("shapes/customer.json"),
            Self::Product => include_str!("shapes/product.json"),
            Self::Price => include_str!("shapes/price.json"),
            Self::Plan => include_str!("shapes/plan.json"),
            Self::Subscription => include_str!("shapes/subscription.json"),
            Self::Invoice => include_str!("shapes/invoice.json"),
            Self::InvoicePayment => include_str!("shapes/invoice_payment.json"),
            Self::PaymentIntent => include_str!("shapes/payment_intent.json"),
            Self::Charge => include_str!("shapes/charge.json"),
            Self::Refund => include_str!("shapes/refund.json"),
            Self::Dispute => include_str!("shapes/dispute.json"),
            Self::CheckoutSession => include_str!("shapes/checkout_session.json"),
        }
    }
}

/// Who and what a template speaks of.
pub(super) struct Cast<'a> {
    pub(super) ids: Ids,
    pub(super) user: Option<&'a str>,
    pub(super) price_id: &'a str,
    pub(super) now_s: i64,
}

impl Cast<'_> {
    /// The value of a placeholder; `None` leaves it standing.
    pub(super) fn find(&self, name: &str) -> Option<Value> {
        if let Some(offset) = name.strip_prefix("now") {
            return Some(json!(self.now_s.saturating_add(offset_s(offset)?)));
        }
        let ids = &self.ids;
        Some(match name {
            "customer" => json!(ids.customer),
            "subscription" => json!(ids.subscription),
            "item" => json!(ids.item),
            "invoice" => json!(ids.invoice),
            "line" => json!(ids.line),
            "invoice_payment" => json!(ids.invoice_payment),
            "payment_intent" => json!(ids.payment_intent),
            "charge" => json!(ids.charge),
            "transaction" => json!(ids.transaction),
            "refund" => json!(ids.refund),
            "dispute" => json!(ids.dispute),
            "session" => json!(ids.session),
            "payment_method" => json!(ids.payment_method),
            "product" => json!(ids.product),
            "token" => json!(ids.token),
            "prefix" => json!(ids.invoice_prefix),
            "price_id" => json!(self.price_id),
            "price" => Shape::Price.build(&|name| self.find(name)),
            "plan" => Shape::Plan.build(&|name| self.find(name)),
            "user" => json!(self.user),
            "user_metadata" => self.user.map_or_else(|| json!({}), |user| json!({ "user_id": user })),
            "name" => json!(self.user.unwrap_or("Jenny Rosen")),
            "email" => json!(self.email()),
            _ => return None,
        })
    }

    fn email(&self) -> String {
        match self.user {
            Some(address) if address.contains('@') => address.to_owned(),
            user => format!("{}@example.com", user.unwrap_or("jenny.rosen")),
        }
    }
}

/// What an event of this type changes in its template: `object` and `previous_attributes`.
pub(super) fn change(event_type: &str, find: Find) -> Value {
    let mut change = match &CHANGES[event_type] {
        Value::String(same_as) => CHANGES[same_as.as_str()].clone(),
        change => change.clone(),
    };
    fill(&mut change, find);
    change
}

/// Lays `patch` over `target`: objects are merged, the elements of a list are named by their index,
/// anything else replaces. An empty patch (`null`) at the top changes nothing.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else { return };
    for (key, new) in patch {
        match target {
            Value::Array(list) => {
                if let Some(old) = key.parse().ok().and_then(|index: usize| list.get_mut(index)) {
                    merge(old, new);
                }
            }
            Value::Object(object) => merge_key(object, key, new),
            _ => *target = Value::Object(Map::from_iter([(key, new)])),
        }
    }
}

fn merge_key(object: &mut Map<String, Value>, key: String, new: Value) {
    match object.get_mut(&key) {
        _ if new == ABSENT => {
            object.remove(&key);
        }
        Some(old) if new.is_object() && !old.is_null() => merge(old, new),
        _ => {
            object.insert(key, new);
        }
    }
}

fn fill(value: &mut Value, find: Find) {
    match value {
        Value::String(text) => {
            if let Some(filled) = filled(text, find) {
                *value = filled;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|element| fill(element, find)),
        Value::Object(object) => object.values_mut().for_each(|member| fill(member, find)),
        _ => {}
    }
}

fn filled(text: &str, find: Find) -> Option<Value> {
    let (before, rest) = text.split_once('<')?;
    let (name, after) = rest.split_once('>')?;
    let value = find(name)?;
    if before.is_empty() && after.is_empty() {
        return Some(value);
    }
    let after = filled(after, find).unwrap_or_else(|| json!(after));
    Some(json!(format!("{before}{}{}", value.as_str()?, after.as_str()?)))
}

/// `""`, `"+3d"`, `"-1h"` in seconds.
fn offset_s(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let unit_s = if text.ends_with('d') { 86_400 } else { 3_600 };
    let count: i64 = text.strip_suffix(['d', 'h'])?.parse().ok()?;
    Some(count * unit_s)
}

/// The templates are part of the program; that each of them parses is a test's business.
fn parse(source: &str) -> Value {
    serde_json::from_str(source).unwrap_or_default()
}
