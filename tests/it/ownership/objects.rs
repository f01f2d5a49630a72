//! Events about customers, subscriptions, sessions and payments, as small as the program takes them.

use serde_json::{Value, json};

use crate::harness::START_S;
use crate::samples;

/// An event's time, in seconds after the start.
pub type At = i64;

pub fn event(event_type: &str, at: At, object: Value) -> Value {
    let id = object["id"].as_str().unwrap_or_default().to_owned();
    event_with_id(&format!("evt_{id}_{at}_{}", event_type.replace('.', "_")), event_type, at, object)
}

pub fn event_with_id(id: &str, event_type: &str, at: At, object: Value) -> Value {
    samples::raw(id, event_type, START_S + at, object)
}

/// `user`: whom its metadata name, nobody if empty.
pub fn metadata(user: &str) -> Value {
    if user.is_empty() { json!({}) } else { json!({ "user_id": user }) }
}

pub fn customer(id: &str, user: &str, made: At) -> Value {
    json!({
        "id": id, "object": "customer", "created": START_S + made, "email": format!("{id}@customer.example"),
        "name": null, "livemode": false, "metadata": metadata(user),
    })
}

pub fn subscription(id: &str, customer: &str, user: &str, status: &str) -> Value {
    json!({
        "id": id, "object": "subscription", "customer": customer, "status": status, "created": START_S,
        "start_date": START_S, "currency": "usd", "livemode": false, "metadata": metadata(user),
        "cancel_at_period_end": false, "collection_method": "charge_automatically",
        "items": {"object": "list", "has_more": false, "data": [{
            "id": format!("si_{id}"), "object": "subscription_item", "quantity": 1, "subscription": id,
            "current_period_start": START_S, "current_period_end": START_S + 3_000_000_000_i64,
            "price": {"id": "price_pro", "object": "price", "currency": "usd", "unit_amount": 900,
                "recurring": {"interval": "month", "interval_count": 1}},
        }]},
    })
}

/// A session of a Payment Link or of somebody's own code.
pub struct Session<'a> {
    pub id: &'a str,
    pub made: At,
    pub status: &'a str,
    pub payment_status: &'a str,
    pub reference: &'a str,
    pub user: &'a str,
    pub customer: &'a str,
    pub subscription: &'a str,
    pub payment_intent: &'a str,
}

impl Default for Session<'_> {
    fn default() -> Self {
        Self {
            id: "cs_1",
            made: 0,
            status: "complete",
            payment_status: "paid",
            reference: "",
            user: "",
            customer: "",
            subscription: "",
            payment_intent: "",
        }
    }
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

impl Session<'_> {
    pub fn object(&self) -> Value {
        let mode = match (self.subscription, self.payment_intent) {
            ("", "") => "setup",
            ("", _) => "payment",
            _ => "subscription",
        };
        json!({
            "id": self.id, "object": "checkout.session", "created": START_S + self.made, "livemode": false,
            "mode": mode, "status": self.status, "payment_status": self.payment_status,
            "client_reference_id": or_null(self.reference), "metadata": metadata(self.user),
            "customer": or_null(self.customer), "subscription": or_null(self.subscription),
            "payment_intent": or_null(self.payment_intent), "invoice": null, "amount_total": 900, "currency": "usd",
        })
    }

    pub fn completed(&self, at: At) -> Value {
        event("checkout.session.completed", at, self.object())
    }
}

pub fn payment_intent(id: &str, customer: &str, user: &str) -> Value {
    json!({
        "id": id, "object": "payment_intent", "created": START_S, "livemode": false, "amount": 900,
        "amount_received": 900, "currency": "usd", "status": "succeeded", "customer": or_null(customer),
        "metadata": metadata(user), "payment_method_types": ["card"],
    })
}

pub fn failed_invoice(id: &str, customer: &str, subscription: &str) -> Value {
    json!({
        "id": id, "object": "invoice", "created": START_S, "livemode": false, "status": "open", "customer": customer,
        "currency": "usd", "amount_due": 900, "amount_paid": 0, "amount_remaining": 900, "attempt_count": 1,
        "attempted": true, "billing_reason": "subscription_cycle", "collection_method": "charge_automatically",
        "next_payment_attempt": START_S + 86_400, "metadata": {}, "number": "A-1", "total": 900,
        "hosted_invoice_url": "https://invoice.example/secret", "customer_email": format!("{customer}@customer.example"),
        "lines": {"object": "list", "has_more": false, "data": []},
        "parent": {"type": "subscription_details",
            "subscription_details": {"subscription": subscription, "metadata": {}}},
    })
}
