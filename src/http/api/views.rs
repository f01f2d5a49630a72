//! What the API shows, as types: each field with its meaning, its unit and an example, from which the description of the
//! API is made; ground for every call. Times are unix seconds, amounts are in the smallest unit of their currency. It
//! must never read the database. Used by the API and the command line.

pub(crate) mod calls;
mod payment;
mod subscription;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::entitlement::EntitlementAnswer;
use crate::objects::user::User;
use crate::store::audit::AuditEntry;

pub(crate) use payment::{
    InvoiceView, PaymentFailureView, PaymentIntentView, invoice, payment_failure, payment_intent,
};
pub(crate) use subscription::{SubscriptionView, subscription};

/// A JSON object of somebody else's.
pub(crate) type JsonObject = Map<String, Value>;

/// The entitlement answer, in the order of the contract: may this user use it, what, until when, and why.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Entitlement")]
pub(crate) struct EntitlementView<'a> {
    /// The user that it is about: the application's own id.
    #[schemars(example = &"alice")]
    pub user_id: &'a str,
    /// The answer.
    #[serde(flatten)]
    pub answer: &'a EntitlementAnswer,
}

/// A JSON text from the database as an object.
pub(super) fn parsed(text: &str) -> JsonObject {
    serde_json::from_str(text).unwrap_or_default()
}

/// A user of the application.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub(crate) struct UserView {
    /// The application's own id, 1 to 255 characters.
    #[schemars(example = &"alice")]
    id: String,
    /// Mail address, as the application gave it; null: none is known.
    #[schemars(example = &"alice@example.com")]
    email: Option<String>,
    /// Name, as the application gave it; null: none is known.
    #[schemars(example = &"Alice Example")]
    name: Option<String>,
    /// The application's own data about the user.
    #[schemars(example = example_metadata())]
    metadata: JsonObject,
    /// The user's main customer at Stripe; null: there is none yet.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    stripe_customer_id: Option<String>,
    /// When tilld first saw the user, unix seconds.
    #[schemars(example = 1_767_225_600)]
    created: i64,
}

/// Metadata, as an example.
pub(crate) fn example_metadata() -> Value {
    serde_json::json!({"team": "blue"})
}

/// A user.
#[must_use]
pub(crate) fn user(user: &User) -> UserView {
    UserView {
        id: user.id.clone(),
        email: user.email.clone(),
        name: user.name.clone(),
        metadata: parsed(&user.metadata),
        stripe_customer_id: user.stripe_customer_id.clone(),
        created: user.created_at_ms.div_euclid(1000),
    }
}

/// A row of the audit log: who did what to what.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(crate) struct AuditView {
    /// Its number.
    #[schemars(example = 4711)]
    id: i64,
    /// When, unix seconds; of an event: when Stripe made it.
    #[schemars(example = 1_767_225_600)]
    at: i64,
    /// Who: `stripe`, `api`, `cli`, `dashboard`, or `tilld` by itself.
    #[schemars(example = &"stripe")]
    actor: String,
    /// What was done: the type of an event, the word of a call, or an operator's act such as `outbox.retry`.
    #[schemars(example = &"customer.subscription.updated")]
    action: String,
    /// Whom it concerns; null: nobody that is known.
    #[schemars(example = &"alice")]
    user_id: Option<String>,
    /// Id of what it was done to; null: nothing in particular.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    subject: Option<String>,
    /// The event that caused it; null: none did.
    #[schemars(example = &"evt_1NG8Du2eZvKYlo2CUI79vXWy")]
    event_id: Option<String>,
    /// What else is known about it, by action; never personal data.
    #[schemars(example = serde_json::json!({"reason": "test data"}))]
    detail: JsonObject,
}

/// A row of the audit log.
#[must_use]
pub(crate) fn audit(entry: &AuditEntry) -> AuditView {
    AuditView {
        id: entry.id,
        at: entry.at_ms.div_euclid(1000),
        actor: entry.actor.clone(),
        action: entry.action.clone(),
        user_id: entry.user_id.clone(),
        subject: entry.subject.clone(),
        event_id: entry.event_id.clone(),
        detail: parsed(&entry.detail),
    }
}
