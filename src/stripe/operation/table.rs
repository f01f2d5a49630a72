//! The operations, one row each, with what a row's words stand for: the parameters that decide whether it was done, the
//! permissions, and how an object shows it. A new operation is one more row here; it does not compile without each of its
//! columns. Used by `operation`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KeyRepeat, OperationAnswer, OperationRow, Permission, WithoutKey, Writable};
use crate::stripe::call::Verb;
use crate::stripe::object;

const fn writable(name: &'static str, probe_path: &'static str) -> Writable {
    Writable { name, probe_path, probe_form: "" }
}

static CUSTOMERS: Writable = writable("Customers", "/v1/customers/cus_tilldcheck");
static SUBSCRIPTIONS: Writable = writable("Subscriptions", "/v1/subscriptions/sub_tilldcheck");
static PAYMENT_INTENTS: Writable = writable("Payment Intents", "/v1/payment_intents/pi_tilldcheck");
static REFUNDS: Writable = writable("Refunds", "/v1/refunds/re_tilldcheck");
static CHECKOUT_SESSIONS: Writable = writable("Checkout Sessions", "/v1/checkout/sessions/cs_tilldcheck");
static CUSTOMER_PORTAL: Writable =
    Writable { probe_form: "customer=cus_tilldcheck", ..writable("Customer Portal", "/v1/billing_portal/sessions") };

/// What decides whether an operation was done, as it was asked for: stored beside the bytes that are sent, which nobody
/// reads back. A field that this program does not know makes the operation one that it does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationParameters {
    /// The price that a subscription is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_id: Option<String>,
}

impl OperationParameters {
    /// Of a change to a price.
    #[must_use]
    pub fn of_price(price_id: &str) -> Self {
        Self { price_id: Some(price_id.to_owned()) }
    }
}

/// Makes the enum, the list of all, and the table from one list, so that none can lack what another has.
macro_rules! operations {
    ($($(#[$doc:meta])* $kind:ident = $row:expr;)*) => {
        /// An operation at Stripe.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // the words of the rows say it
        pub enum OperationKind { $($(#[$doc])* $kind,)* }

        impl OperationKind {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its row.
            #[must_use]
            pub fn row(self) -> &'static OperationRow {
                match self {
                    $(Self::$kind => {
                        static ROW: OperationRow = $row;
                        &ROW
                    })*
                }
            }
        }
    };
}

operations! {
    CustomerCreate = OperationRow {
        word: "customer.create",
        verb: Verb::Post,
        path: "/v1/customers",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("customer"),
        without_key: WithoutKey::Search("/v1/customers"),
        mirrored: true,
        permission: Permission::Write(&CUSTOMERS),
    };
    SubscriptionChangePlan = OperationRow {
        word: "subscription.change_plan",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", has_price),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    SubscriptionPreview = OperationRow {
        word: "subscription.preview",
        verb: Verb::Post,
        path: "/v1/invoices/create_preview",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Preview("invoice"),
        without_key: WithoutKey::NotDone,
        mirrored: false,
        permission: Permission::Read("Invoices"),
    };
    SubscriptionCancel = OperationRow {
        word: "subscription.cancel",
        verb: Verb::Delete,
        path: "/v1/subscriptions/{subject}",
        repeat: KeyRepeat::AsItIs,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", |now, _| has_ended(now)),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    SubscriptionCancelAtPeriodEnd = OperationRow {
        word: "subscription.cancel_at_period_end",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", |now, _| is_to_end(now)),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    SubscriptionReactivate = OperationRow {
        word: "subscription.reactivate",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", |now, _| !is_to_end(now)),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    /// A paused subscription runs again.
    SubscriptionResume = OperationRow {
        word: "subscription.resume",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}/resume",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", |now, _| {
            !has_ended(now) && status(now) != "paused"
        }),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    /// The payments of a running subscription are collected again.
    SubscriptionResumeCollection = OperationRow {
        word: "subscription.resume_collection",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", |now, _| {
            !has_ended(now) && now["pause_collection"].is_null()
        }),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    PaymentIntentCreate = OperationRow {
        word: "payment_intent.create",
        verb: Verb::Post,
        path: "/v1/payment_intents",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("payment_intent"),
        without_key: WithoutKey::Search("/v1/payment_intents"),
        mirrored: true,
        permission: Permission::Write(&PAYMENT_INTENTS),
    };
    PaymentIntentConfirm = OperationRow {
        word: "payment_intent.confirm",
        verb: Verb::Post,
        path: "/v1/payment_intents/{subject}/confirm",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("payment_intent"),
        without_key: WithoutKey::LookAtSubject("/v1/payment_intents/{subject}", |now, _| {
            matches!(status(now), "succeeded" | "processing" | "requires_capture")
        }),
        mirrored: true,
        permission: Permission::Write(&PAYMENT_INTENTS),
    };
    PaymentIntentCancel = OperationRow {
        word: "payment_intent.cancel",
        verb: Verb::Post,
        path: "/v1/payment_intents/{subject}/cancel",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("payment_intent"),
        without_key: WithoutKey::LookAtSubject("/v1/payment_intents/{subject}", |now, _| status(now) == "canceled"),
        mirrored: true,
        permission: Permission::Write(&PAYMENT_INTENTS),
    };
    /// Its subject is the payment intent.
    RefundCreate = OperationRow {
        word: "refund.create",
        verb: Verb::Post,
        path: "/v1/refunds",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("refund"),
        without_key: WithoutKey::Search("/v1/refunds"),
        mirrored: true,
        permission: Permission::Write(&REFUNDS),
    };
    CheckoutSessionCreate = OperationRow {
        word: "checkout_session.create",
        verb: Verb::Post,
        path: "/v1/checkout/sessions",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("checkout.session"),
        without_key: WithoutKey::Search("/v1/checkout/sessions"),
        mirrored: true,
        permission: Permission::Write(&CHECKOUT_SESSIONS),
    };
    /// Nothing is asked of Stripe: the open session of an earlier request answers this one.
    CheckoutSessionAgain = OperationRow {
        word: "checkout_session.again",
        verb: Verb::Post,
        path: "",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("checkout.session"),
        without_key: WithoutKey::NotDone,
        mirrored: false,
        permission: Permission::None,
    };
    CheckoutSessionExpire = OperationRow {
        word: "checkout_session.expire",
        verb: Verb::Post,
        path: "/v1/checkout/sessions/{subject}/expire",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("checkout.session"),
        without_key: WithoutKey::LookAtSubject("/v1/checkout/sessions/{subject}", |now, _| status(now) == "expired"),
        mirrored: true,
        permission: Permission::Write(&CHECKOUT_SESSIONS),
    };
    /// What it makes is a key to the customer's account, and is kept nowhere else.
    PortalSessionCreate = OperationRow {
        word: "portal_session.create",
        verb: Verb::Post,
        path: "/v1/billing_portal/sessions",
        repeat: KeyRepeat::UnderKey,
        answer: OperationAnswer::Object("billing_portal.session"),
        without_key: WithoutKey::NotDone,
        mirrored: false,
        permission: Permission::Write(&CUSTOMER_PORTAL),
    };
}

fn status(subject: &Value) -> &str {
    subject["status"].as_str().unwrap_or_default()
}

fn has_ended(subscription: &Value) -> bool {
    matches!(status(subscription), "canceled" | "incomplete_expired")
}

/// Stripe says an end in two ways.
fn is_to_end(subscription: &Value) -> bool {
    subscription["cancel_at_period_end"] == true || !subscription["cancel_at"].is_null()
}

/// What waits for its payment has been accepted all the same.
fn has_price(subscription: &Value, wanted: &OperationParameters) -> bool {
    let Some(wanted) = wanted.price_id.as_deref() else { return false };
    let (items, _) = object::list(subscription, "items");
    let is_there = items.iter().any(|item| item["price"]["id"] == wanted);
    is_there || object::pending_prices(subscription).contains(&wanted)
}
