//! What tilld changes or makes at Stripe, one row each: how it is asked for, what shows that it was done, and which
//! permission it takes. Data and pure functions: knows no database, sends nothing. `store::stripe_operations` reads its
//! words from the table, `calls` sends and finds out, `http::api` chooses, `tilld check` asks for the permissions; each of
//! them goes by the row. A new one is one more row here: it does not compile without each of its columns.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{Verb, segment};
use super::object;

/// Where a path has the id of what the operation is done to.
const SUBJECT: &str = "{subject}";

/// A row.
#[derive(Debug)]
pub struct OperationRow {
    /// In the column `kind` and in the audit log. Never changed: rows with it are on people's disks.
    pub word: &'static str,
    /// POST or DELETE.
    pub verb: Verb,
    /// `{subject}` stands for the percent-encoded id of what it is done to.
    pub path: &'static str,
    /// Whether Stripe compares an idempotency key, or doing it twice is doing it once.
    pub repeat: Repeat,
    /// What Stripe's answer shows; anything else is no answer to it.
    pub answer: OperationAnswer,
    /// How its outcome is found out where the key tells nothing any more.
    pub without_key: WithoutKey,
    /// Whether its answer is an object for the mirror.
    pub mirrored: bool,
    /// What a restricted key must be given.
    pub permission: Permission,
}

/// How an operation may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Under its idempotency key: Stripe answers as it did the first time.
    UnderKey,
    /// As it is, without a key. After one that was done it finds nothing (404), and the subject tells.
    AsItIs,
}

/// What an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationAnswer {
    /// An object of this kind, with its id.
    Object(&'static str),
    /// One that exists nowhere, and has no id.
    Preview(&'static str),
}

/// How an outcome is found out when its idempotency key has expired at Stripe, or stands for a stored failure.
#[derive(Debug, Clone, Copy)]
pub enum WithoutKey {
    /// It made an object that carries the key in its metadata, and is searched for in this list. Not there: not done.
    Search(&'static str),
    /// Its subject is read at this path, and shows whether it is what it was to become.
    LookAtSubject(&'static str, fn(&Value, &OperationParameters) -> bool),
    /// It leaves nothing that matters: it counts as not done.
    NotDone,
}

/// A permission on the page of a restricted key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// To read this resource.
    Read(&'static str),
    /// To write it.
    Write(&'static Writable),
    /// Nothing is asked of Stripe.
    None,
}

/// A resource that is changed, and a change of nothing to an id that does not exist: Stripe looks at the permission
/// first, 403 without it, 404 with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Writable {
    /// On the page of the key.
    pub name: &'static str,
    /// Where it is asked.
    pub probe_path: &'static str,
    /// With which parameters.
    pub probe_form: &'static str,
}

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

/// Makes the enum, the list of all, and the table from one list, so that none can lack what another has.
macro_rules! operations {
    ($($(#[$doc:meta])* $kind:ident = $row:expr;)*) => {
        /// An operation at Stripe.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // the words of the rows say it
        pub enum OperationKind { $($(#[$doc])* $kind,)* }

        impl OperationKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

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
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Object("customer"),
        without_key: WithoutKey::Search("/v1/customers"),
        mirrored: true,
        permission: Permission::Write(&CUSTOMERS),
    };
    SubscriptionChangePlan = OperationRow {
        word: "subscription.change_plan",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}",
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", has_price),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    SubscriptionPreview = OperationRow {
        word: "subscription.preview",
        verb: Verb::Post,
        path: "/v1/invoices/create_preview",
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Preview("invoice"),
        without_key: WithoutKey::NotDone,
        mirrored: false,
        permission: Permission::Read("Invoices"),
    };
    SubscriptionCancel = OperationRow {
        word: "subscription.cancel",
        verb: Verb::Delete,
        path: "/v1/subscriptions/{subject}",
        repeat: Repeat::AsItIs,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", |now, _| has_ended(now)),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    SubscriptionCancelAtPeriodEnd = OperationRow {
        word: "subscription.cancel_at_period_end",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}",
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Object("subscription"),
        without_key: WithoutKey::LookAtSubject("/v1/subscriptions/{subject}", |now, _| is_to_end(now)),
        mirrored: true,
        permission: Permission::Write(&SUBSCRIPTIONS),
    };
    SubscriptionReactivate = OperationRow {
        word: "subscription.reactivate",
        verb: Verb::Post,
        path: "/v1/subscriptions/{subject}",
        repeat: Repeat::UnderKey,
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
        repeat: Repeat::UnderKey,
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
        repeat: Repeat::UnderKey,
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
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Object("payment_intent"),
        without_key: WithoutKey::Search("/v1/payment_intents"),
        mirrored: true,
        permission: Permission::Write(&PAYMENT_INTENTS),
    };
    PaymentIntentConfirm = OperationRow {
        word: "payment_intent.confirm",
        verb: Verb::Post,
        path: "/v1/payment_intents/{subject}/confirm",
        repeat: Repeat::UnderKey,
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
        repeat: Repeat::UnderKey,
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
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Object("refund"),
        without_key: WithoutKey::Search("/v1/refunds"),
        mirrored: true,
        permission: Permission::Write(&REFUNDS),
    };
    CheckoutSessionCreate = OperationRow {
        word: "checkout_session.create",
        verb: Verb::Post,
        path: "/v1/checkout/sessions",
        repeat: Repeat::UnderKey,
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
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Object("checkout.session"),
        without_key: WithoutKey::NotDone,
        mirrored: false,
        permission: Permission::None,
    };
    CheckoutSessionExpire = OperationRow {
        word: "checkout_session.expire",
        verb: Verb::Post,
        path: "/v1/checkout/sessions/{subject}/expire",
        repeat: Repeat::UnderKey,
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
        repeat: Repeat::UnderKey,
        answer: OperationAnswer::Object("billing_portal.session"),
        without_key: WithoutKey::NotDone,
        mirrored: false,
        permission: Permission::Write(&CUSTOMER_PORTAL),
    };
}

impl OperationKind {
    /// The kind of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    /// The word in the column and in the audit log.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// Where it is asked for.
    #[must_use]
    pub fn path(self, subject: Option<&str>) -> String {
        path(self.row().path, subject)
    }

    /// Where its subject is read; `None` where that tells nothing.
    #[must_use]
    pub fn subject_path(self, subject: Option<&str>) -> Option<String> {
        match self.row().without_key {
            WithoutKey::LookAtSubject(at, _) => subject.map(|id| path(at, Some(id))),
            WithoutKey::Search(_) | WithoutKey::NotDone => None,
        }
    }

    /// Whether its subject, as Stripe shows it now, is what the operation was to make of it.
    #[must_use]
    pub fn was_done(self, subject: &Value, wanted: &OperationParameters) -> bool {
        match self.row().without_key {
            WithoutKey::LookAtSubject(_, is_done) => is_done(subject, wanted),
            WithoutKey::Search(_) | WithoutKey::NotDone => false,
        }
    }

    /// Whether an answer shows what the operation makes or changes.
    #[must_use]
    pub fn is_shown_by(self, answer: &Value) -> bool {
        match self.row().answer {
            OperationAnswer::Object(object) => {
                answer["object"] == object && answer["id"].as_str().is_some_and(|id| !id.is_empty())
            }
            OperationAnswer::Preview(object) => answer["object"] == object,
        }
    }

    /// Whether it changes its subject's own values, and does nothing else with it.
    #[must_use]
    pub fn is_update(self) -> bool {
        let row = self.row();
        row.verb == Verb::Post && row.path.ends_with(SUBJECT)
    }
}

/// A path that needs a subject and has none keeps its braces, which no call may have in its path.
fn path(path: &str, subject: Option<&str>) -> String {
    subject.map_or_else(|| path.to_owned(), |id| path.replace(SUBJECT, &segment(id)))
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

#[cfg(test)]
mod tests;
