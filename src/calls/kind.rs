//! What can be asked of Stripe, and by what an object tells that it was done. Pure. Called by `calls`.

use serde_json::Value;

pub use crate::store::stripe_operations::Kind;
use crate::stripe::object;

/// The parameters that end a pause of collecting.
const UNPAUSE: &str = "pause_collection=";

/// How an outcome is found out when the idempotency key has expired at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// It made an object that carries the key in its metadata; in which list.
    Listed(&'static str),
    /// Its subject shows it.
    Subject,
    /// It leaves nothing that matters.
    None,
}

impl Kind {
    /// How its outcome is found out without its key.
    #[must_use]
    pub fn trace(self) -> Trace {
        match self {
            Self::CustomerCreate => Trace::Listed("/v1/customers"),
            Self::CheckoutSessionCreate => Trace::Listed("/v1/checkout/sessions"),
            Self::PaymentIntentCreate => Trace::Listed("/v1/payment_intents"),
            Self::RefundCreate => Trace::Listed("/v1/refunds"),
            Self::CheckoutSessionAgain | Self::PortalSessionCreate | Self::SubscriptionPreview => Trace::None,
            Self::CheckoutSessionExpire
            | Self::SubscriptionChangePlan
            | Self::SubscriptionCancel
            | Self::SubscriptionCancelAtPeriodEnd
            | Self::SubscriptionReactivate
            | Self::SubscriptionResume
            | Self::PaymentIntentConfirm
            | Self::PaymentIntentCancel => Trace::Subject,
        }
    }

    /// Whether its answer is an object for the mirror. A portal session is a key to the customer's account and nothing
    /// else; a preview is of an invoice that does not exist.
    #[must_use]
    pub fn is_mirrored(self) -> bool {
        self.trace() != Trace::None
    }

    /// Whether an answer shows what the operation makes or changes; anything else is no answer to it.
    #[must_use]
    pub fn is_shown_by(self, answer: &Value) -> bool {
        let object = match self {
            Self::CustomerCreate => "customer",
            Self::CheckoutSessionCreate | Self::CheckoutSessionAgain | Self::CheckoutSessionExpire => {
                "checkout.session"
            }
            Self::PortalSessionCreate => "billing_portal.session",
            Self::SubscriptionPreview => return answer["object"] == "invoice",
            Self::SubscriptionChangePlan
            | Self::SubscriptionCancel
            | Self::SubscriptionCancelAtPeriodEnd
            | Self::SubscriptionReactivate
            | Self::SubscriptionResume => "subscription",
            Self::PaymentIntentCreate | Self::PaymentIntentConfirm | Self::PaymentIntentCancel => "payment_intent",
            Self::RefundCreate => "refund",
        };
        answer["object"] == object && answer["id"].as_str().is_some_and(|id| !id.is_empty())
    }

    /// Whether its subject, as Stripe shows it now, is what the operation was to make of it. `form`: its parameters.
    #[must_use]
    pub fn is_reached(self, subject: &Value, form: &str) -> bool {
        let status = subject["status"].as_str().unwrap_or_default();
        let flag = subject["cancel_at_period_end"].as_bool() == Some(true);
        match self {
            Self::SubscriptionCancel => has_ended(status),
            Self::SubscriptionCancelAtPeriodEnd => flag || !subject["cancel_at"].is_null(),
            Self::SubscriptionReactivate => !flag && subject["cancel_at"].is_null(),
            Self::SubscriptionChangePlan => {
                let items = subject["items"]["data"].as_array().map_or(&[] as &[Value], Vec::as_slice);
                let wanted = form.split('&').find_map(|pair| pair.strip_prefix("items[0][price]="));
                let has = |wanted| items.iter().any(|item| item["price"]["id"].as_str() == Some(wanted));
                // What waits for its payment has been accepted all the same.
                wanted.is_some_and(|wanted| has(wanted) || object::pending_prices(subject).contains(&wanted))
            }
            Self::SubscriptionResume if has_ended(status) => false,
            Self::SubscriptionResume if form == UNPAUSE => subject["pause_collection"].is_null(),
            Self::SubscriptionResume => status != "paused",
            Self::CheckoutSessionExpire => status == "expired",
            Self::PaymentIntentCancel => status == "canceled",
            Self::PaymentIntentConfirm => matches!(status, "succeeded" | "processing" | "requires_capture"),
            Self::CustomerCreate
            | Self::CheckoutSessionCreate
            | Self::CheckoutSessionAgain
            | Self::PortalSessionCreate
            | Self::SubscriptionPreview
            | Self::PaymentIntentCreate
            | Self::RefundCreate => false,
        }
    }
}

fn has_ended(status: &str) -> bool {
    matches!(status, "canceled" | "incomplete_expired")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_that_shows_something_else_is_none() {
        assert!(Kind::RefundCreate.is_shown_by(&json!({"object": "refund", "id": "re_1"})));
        for other in [json!({}), json!({"object": "refund", "id": ""}), json!({"object": "charge", "id": "ch_1"})] {
            assert!(!Kind::RefundCreate.is_shown_by(&other), "{other}");
        }
        assert!(Kind::SubscriptionPreview.is_shown_by(&json!({"object": "invoice"})));
    }

    #[test]
    fn a_subject_shows_whether_it_was_done() {
        let live = json!({"status": "active", "cancel_at_period_end": false, "cancel_at": null,
            "items": {"data": [{"price": {"id": "price_team"}}]}});
        let ending = json!({"status": "active", "cancel_at_period_end": true, "cancel_at": 7, "items": {"data": []}});
        assert!(!Kind::SubscriptionCancel.is_reached(&live, ""));
        assert!(Kind::SubscriptionCancel.is_reached(&json!({"status": "canceled"}), ""));
        assert!(Kind::SubscriptionCancelAtPeriodEnd.is_reached(&ending, ""));
        assert!(!Kind::SubscriptionReactivate.is_reached(&ending, ""));
        assert!(Kind::SubscriptionReactivate.is_reached(&live, ""));
        assert!(Kind::SubscriptionChangePlan.is_reached(&live, "items[0][id]=si_1&items[0][price]=price_team"));
        assert!(!Kind::SubscriptionChangePlan.is_reached(&live, "items[0][id]=si_1&items[0][price]=price_pro"));
        let pending = json!({"status": "active", "items": {"data": [{"price": {"id": "price_pro"}}]},
            "pending_update": {"subscription_items": [{"price": {"id": "price_team"}}]}});
        assert!(Kind::SubscriptionChangePlan.is_reached(&pending, "items[0][id]=si_1&items[0][price]=price_team"));
        assert!(!Kind::SubscriptionChangePlan.is_reached(&pending, "items[0][id]=si_1&items[0][price]=price_year"));
        assert!(Kind::PaymentIntentConfirm.is_reached(&json!({"status": "succeeded"}), ""));
        assert!(!Kind::PaymentIntentConfirm.is_reached(&json!({"status": "requires_payment_method"}), ""));
    }

    #[test]
    fn a_resumed_subscription_runs_and_an_expired_session_is_expired() {
        let of = |status: &str, collecting: Value| json!({"status": status, "pause_collection": collecting});
        let is_resumed = |form: &str, status: &str, collecting: Value| {
            Kind::SubscriptionResume.is_reached(&of(status, collecting), form)
        };
        let void = || json!({"behavior": "void", "resumes_at": null});
        assert!(is_resumed("billing_cycle_anchor[type]=now", "active", Value::Null));
        assert!(is_resumed("billing_cycle_anchor[type]=now", "past_due", void()));
        assert!(!is_resumed("billing_cycle_anchor[type]=now", "paused", Value::Null));
        assert!(!is_resumed("billing_cycle_anchor[type]=now", "canceled", Value::Null));
        assert!(is_resumed(UNPAUSE, "active", Value::Null));
        assert!(!is_resumed(UNPAUSE, "active", void()));
        assert!(!is_resumed(UNPAUSE, "canceled", Value::Null));
        assert!(Kind::CheckoutSessionExpire.is_reached(&json!({"status": "expired"}), ""));
        for status in ["open", "complete"] {
            assert!(!Kind::CheckoutSessionExpire.is_reached(&json!({"status": status}), ""));
        }
    }
}
