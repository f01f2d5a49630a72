//! What calls to Stripe answer: sessions, links, payments and refunds as Stripe said them, and a preview. It must never
//! read the database. Used by the handlers of calls.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{JsonObject, SubscriptionView, example_metadata};

/// The outcome is not known yet; tilld finds it out.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InDoubt")]
pub(crate) struct InDoubtView {
    /// `in_doubt`.
    #[schemars(extend("const" = "in_doubt"), example = &"in_doubt")]
    pub status: &'static str,
    /// The `Idempotency-Key` under which the same request gets the outcome.
    #[schemars(example = &"tilld_9f86d081884c7d65")]
    pub retry_with: String,
}

/// A user's customer at Stripe.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Customer")]
pub(crate) struct CustomerView {
    /// The application's id of the user.
    #[schemars(example = &"alice")]
    pub user_id: String,
    /// Stripe's id of the customer.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    pub stripe_customer_id: String,
}

/// A customer that was linked to a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LinkedCustomer")]
pub(crate) struct LinkedCustomerView {
    /// The application's id of the user.
    #[schemars(example = &"alice")]
    pub user_id: String,
    /// Stripe's id of the customer.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    pub stripe_customer_id: String,
    /// `said`: by the application's word.
    #[schemars(extend("const" = "said"), example = &"said")]
    pub linked_by: &'static str,
}

/// A customer whose link was withdrawn.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UnlinkedCustomer")]
pub(crate) struct UnlinkedCustomerView {
    /// The application's id of the user to whom it was linked.
    #[schemars(example = &"alice")]
    pub user_id: String,
    /// Stripe's id of the customer.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    pub stripe_customer_id: String,
    /// Always false.
    #[schemars(extend("const" = false), example = false)]
    pub linked: bool,
    /// The user to whom it belongs now, by what was said before or what Stripe's objects say; null: nobody.
    #[schemars(example = &"bob")]
    pub belongs_to: Option<String>,
}

/// A checkout session, to whose page the customer is sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CheckoutSession")]
pub(crate) struct CheckoutSessionView {
    /// Stripe's id of the session.
    #[schemars(example = &"cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4W")]
    session_id: String,
    /// Stripe's page, to which the customer is to be sent; null: the session can no longer be paid.
    #[schemars(example = &"https://checkout.stripe.com/c/pay/cs_test_a11")]
    session_url: Option<String>,
}

/// A session of Stripe's customer portal.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PortalSession")]
pub(crate) struct PortalSessionView {
    /// Stripe's page, to which the customer is to be sent; it works for some minutes.
    #[schemars(example = &"https://billing.stripe.com/p/session/test_1")]
    portal_url: String,
}

/// A checkout session, of what Stripe answered.
#[must_use]
pub(crate) fn checkout_session(session: &Value) -> CheckoutSessionView {
    CheckoutSessionView { session_id: said(session, "id"), session_url: text(session, "url") }
}

/// A portal session, of what Stripe answered.
#[must_use]
pub(crate) fn portal_session(session: &Value) -> PortalSessionView {
    PortalSessionView { portal_url: said(session, "url") }
}

/// A subscription after it was changed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChangedSubscription")]
pub(crate) struct ChangedSubscriptionView {
    /// The subscription.
    #[serde(flatten)]
    pub subscription: SubscriptionView,
    /// What else is known of the change.
    #[serde(flatten)]
    pub change: PendingChange,
}

/// What is missing until a change takes effect. Without it the change has taken effect.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PendingChange")]
pub(crate) struct PendingChange {
    /// The change waits for its payment; left out: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_update: Option<PendingUpdate>,
    /// Stripe's page on which what is missing can be paid; null: it is not known; left out: nothing is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://invoice.stripe.com/i/acct_1/live_1")]
    pub invoice_url: Option<Option<String>>,
}

/// A change that takes effect when its invoice is paid.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PendingUpdate")]
pub(crate) struct PendingUpdate {
    /// Until when it can be paid, unix seconds; null: not known.
    #[schemars(example = 1_767_308_400)]
    pub expires_at: Option<i64>,
    /// Prices of the items that the subscription will have.
    #[schemars(example = ["price_1MowQULkdIwHu7ixraBm864M"])]
    pub price_ids: Vec<String>,
}

/// A subscription that was changed, and has been linked to another user meanwhile.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubscriptionElsewhere")]
pub(crate) struct SubscriptionElsewhereView {
    /// Stripe's id.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    pub id: String,
    /// Stripe's status.
    #[schemars(example = &"active")]
    pub status: String,
    /// What else is known of the change.
    #[serde(flatten)]
    pub change: PendingChange,
}

/// The subscription after a change: whole, or without its fields if it has been linked to another user meanwhile.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SubscriptionChange")]
pub(crate) enum SubscriptionChangeView {
    /// It is this user's.
    Whole(Box<ChangedSubscriptionView>),
    /// It is no longer this user's.
    Elsewhere(SubscriptionElsewhereView),
}

/// A payment intent as Stripe answered. The tables may have a later state of it already.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PaymentIntentAnswer")]
pub(crate) struct PaymentIntentAnswerView {
    /// Stripe's id.
    #[schemars(example = &"pi_3MtwBwLkdIwHu7ix28a3tqPa")]
    pub id: String,
    /// The user that it belongs to; null: nobody that is known.
    #[schemars(example = &"alice")]
    pub user_id: Option<String>,
    /// Stripe's id of the customer who pays; null: it has none.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    pub customer_id: Option<String>,
    /// Stripe's id of the invoice that it pays; null: it pays none.
    #[schemars(example = &"in_1MowQWLkdIwHu7ixuzkSPfKd")]
    pub invoice_id: Option<String>,
    /// Stripe's id of its newest charge; null: nothing was charged yet.
    #[schemars(example = &"ch_3MmlLrLkdIwHu7ix0snN0B15")]
    pub charge_id: Option<String>,
    /// What is to be paid, in the smallest unit of the currency (yen have no smaller one).
    #[schemars(example = 2000)]
    pub amount_cents: i64,
    /// What was received, in the smallest unit of the currency; null: not known.
    #[schemars(example = 0)]
    pub amount_received_cents: Option<i64>,
    /// Currency, three small letters (ISO 4217).
    #[schemars(example = &"eur")]
    pub currency: String,
    /// Stripe's status, for example `requires_action`.
    #[schemars(example = &"requires_payment_method")]
    pub status: String,
    /// How it is paid: `card`, `sepa_debit` and so on; null: not known.
    #[schemars(example = &"card")]
    pub payment_method_type: Option<String>,
    /// Stripe's code for why the newest attempt failed; null: it did not.
    #[schemars(example = &"card_declined")]
    pub error_code: Option<String>,
    /// The same in words; null: it did not fail.
    #[schemars(example = &"Your card was declined.")]
    pub error_message: Option<String>,
    /// Why it was canceled; null: it was not, or Stripe gave no reason.
    #[schemars(example = &"requested_by_customer")]
    pub cancellation_reason: Option<String>,
    /// The key of the request that made it; null: not known.
    #[schemars(example = &"order-1042")]
    pub idempotency_key: Option<String>,
    /// Its metadata at Stripe.
    #[schemars(example = example_metadata())]
    pub metadata: JsonObject,
    /// Whether it is of Stripe's live mode, where real money moves; null: Stripe did not say.
    #[schemars(example = false)]
    pub livemode: Option<bool>,
    /// When Stripe made it, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    pub created: Option<i64>,
    /// What the browser of whoever pays needs, and nobody else may have; null: there is none.
    #[schemars(example = &"pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoGH")]
    pub client_secret: Option<String>,
    /// What whoever pays has to do, in Stripe's words; null: nothing.
    #[schemars(example = serde_json::json!({"type": "use_stripe_sdk"}))]
    pub next_action: Option<JsonObject>,
}

/// A refund as Stripe answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Refund")]
pub(crate) struct RefundView {
    /// Stripe's id.
    #[schemars(example = &"re_1Nispe2eZvKYlo2Cd31jOCgZ")]
    pub id: String,
    /// Stripe's id of the payment that is paid back; null: Stripe did not say.
    #[schemars(example = &"pi_3MtwBwLkdIwHu7ix28a3tqPa")]
    pub payment_intent_id: Option<String>,
    /// What is paid back, in the smallest unit of the currency.
    #[schemars(example = 1000)]
    pub amount_cents: i64,
    /// Currency, three small letters (ISO 4217).
    #[schemars(example = &"eur")]
    pub currency: String,
    /// Stripe's status: `pending`, `requires_action`, `succeeded`, `failed` or `canceled`; null: Stripe did not say.
    #[schemars(example = &"succeeded")]
    pub status: Option<String>,
    /// Why it is paid back: `duplicate`, `fraudulent` or `requested_by_customer`; null: nobody said.
    #[schemars(example = &"requested_by_customer")]
    pub reason: Option<String>,
}

/// What another price would cost.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PricePreview")]
pub(crate) struct PreviewView {
    /// The price that was asked about.
    #[schemars(example = &"price_1MowQULkdIwHu7ixraBm864M")]
    pub price_id: String,
    /// Currency of the amounts, three small letters (ISO 4217); null: Stripe did not say.
    #[schemars(example = &"eur")]
    pub currency: Option<String>,
    /// What would be paid at once, in the smallest unit of the currency; null: Stripe did not say.
    #[schemars(example = 1000)]
    pub amount_due_now: Option<i64>,
    /// What the next invoice would charge, in the smallest unit of the currency; null: Stripe did not say.
    #[schemars(example = 4000)]
    pub next_amount: Option<i64>,
    /// When that would be, unix seconds; null: not known.
    #[schemars(example = 1_769_904_000)]
    pub next_payment_at: Option<i64>,
    /// The time up to which the present price counts, unix seconds: sent with the change, it leads to the same amounts;
    /// null: nothing is prorated.
    #[schemars(example = 1_767_225_600)]
    pub proration_date: Option<i64>,
    /// Total of the invoice that was previewed, in the smallest unit of the currency; null: Stripe did not say.
    #[schemars(example = 1000)]
    pub total: Option<i64>,
    /// The lines of that invoice.
    pub lines: Vec<PreviewLineView>,
}

/// A line of an invoice that was previewed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PreviewLine")]
pub(crate) struct PreviewLineView {
    /// Stripe's words for it; null: there are none.
    #[schemars(example = &"Remaining time on Team after 01 Jan 2026")]
    pub description: Option<String>,
    /// Its amount, in the smallest unit of the currency, negative where money is given back; null: Stripe did not say.
    #[schemars(example = 1000)]
    pub amount: Option<i64>,
    /// How often the price is paid; null: Stripe did not say.
    #[schemars(example = 1)]
    pub quantity: Option<i64>,
    /// Its price; null: it has none.
    #[schemars(example = &"price_1MowQULkdIwHu7ixraBm864M")]
    pub price_id: Option<String>,
    /// Whether it is a part of a period.
    #[schemars(example = true)]
    pub proration: bool,
    /// Begin of its period, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    pub period_start: Option<i64>,
    /// End of its period, unix seconds; null: not known.
    #[schemars(example = 1_769_904_000)]
    pub period_end: Option<i64>,
}

/// A text that Stripe says.
#[must_use]
pub(crate) fn text(object: &Value, name: &str) -> Option<String> {
    object[name].as_str().map(str::to_owned)
}

/// A text that Stripe always says.
#[must_use]
pub(crate) fn said(object: &Value, name: &str) -> String {
    text(object, name).unwrap_or_default()
}
