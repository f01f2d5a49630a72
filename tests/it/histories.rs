//! What happens at Stripe in the life of a customer, and what tilld must know of it in the end.

use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;

use crate::harness::{DAY_S, START_S, Till};
use crate::story::{Story, T0, intent_failed, intent_succeeded, invoice_failed, invoice_paid};
use crate::versions::life;

pub const SUB_CREATED: &str = "customer.subscription.created";
pub const SUB_UPDATED: &str = "customer.subscription.updated";
pub const SUB_DELETED: &str = "customer.subscription.deleted";

/// A story, and the facts that must hold after it.
pub struct History {
    pub story: Story,
    /// The shape in which the events come.
    pub version: ApiVersion,
    pub holds: fn(&Till),
}

fn history(tell: fn(&mut Story), holds: fn(&Till)) -> History {
    let mut story = Story::of(Some("alice"));
    tell(&mut story);
    History { story, version: ApiVersion::CURRENT, holds }
}

/// What the entitlement answer says in its most telling fields.
fn answers(till: &Till, user: &str, reason: &str, tier: &str) {
    let answer = till.entitlement(user);
    assert_eq!((&answer["reason"], &answer["tier"]), (&json!(reason), &json!(tier)), "{answer}");
}

fn none() -> Value {
    json!({})
}

fn item(price: &str) -> Value {
    json!({"items": {"data": {"0": {"price": {"id": price}, "plan": {"id": price}}}}})
}

/// The payment of the first invoice, as Stripe tells it: all within two seconds, newest API version.
fn pays(story: &mut Story, offset_s: i64) {
    story
        .at(offset_s)
        .make("invoice.created", "invoice", json!({"billing_reason": "subscription_create"}))
        .make("invoice.finalized", "invoice", json!({"billing_reason": "subscription_create"}))
        .make("payment_intent.created", "intent", none());
    story
        .at(offset_s + 1)
        .make("charge.succeeded", "charge", json!({"id": "ch_1"}))
        .then("payment_intent.succeeded", "intent", intent_succeeded("ch_1"))
        .then("invoice.updated", "invoice", invoice_paid(1, "ch_1", T0 + offset_s + 1))
        .then("invoice.paid", "invoice", none())
        .then("invoice.payment_succeeded", "invoice", none())
        .make("invoice_payment.paid", "invoice_payment", none());
}

pub fn trial_to_active() -> History {
    history(
        |story| {
            let trial = json!({
                "status": "trialing", "trial_start": T0, "trial_end": T0 + 7 * DAY_S,
                "items": {"data": {"0": {"current_period_end": T0 + 7 * DAY_S}}},
            });
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", trial);
            story.at(4 * DAY_S).then("customer.subscription.trial_will_end", "sub", none());
            story.at(7 * DAY_S).then(
                SUB_UPDATED,
                "sub",
                json!({"status": "active", "items": {"data": {"0": {
                    "current_period_start": T0 + 7 * DAY_S, "current_period_end": T0 + 37 * DAY_S}}}}),
            );
            pays(story, 7 * DAY_S);
        },
        |till| {
            answers(till, "alice", "active", "pro");
            assert_eq!(till.value("SELECT status FROM stripe_invoices"), "paid");
            assert_eq!(till.value("SELECT current_period_end FROM subscriptions"), T0 + 37 * DAY_S);
        },
    )
}

pub fn incomplete_to_active_in_one_second() -> History {
    history(
        |story| {
            story
                .make("customer.created", "customer", none())
                .make(SUB_CREATED, "sub", json!({"status": "incomplete", "default_payment_method": null}))
                .make("invoice.finalized", "invoice", json!({"billing_reason": "subscription_create"}))
                .make("payment_intent.created", "intent", none())
                .make("charge.succeeded", "charge", json!({"id": "ch_1"}))
                .then("payment_intent.succeeded", "intent", intent_succeeded("ch_1"))
                .then("invoice.paid", "invoice", invoice_paid(1, "ch_1", T0))
                .then("invoice.payment_succeeded", "invoice", none())
                .then(SUB_UPDATED, "sub", json!({"status": "active"}))
                .then(SUB_UPDATED, "sub", json!({"default_payment_method": "pm_1"}))
                .make("checkout.session.completed", "session", none());
        },
        |till| answers(till, "alice", "active", "pro"),
    )
}

pub fn three_updates_in_one_second() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            story
                .at(5)
                .then(SUB_UPDATED, "sub", json!({"metadata": {"seats": "2"}}))
                .then(SUB_UPDATED, "sub", item("price_team"))
                .then(SUB_UPDATED, "sub", json!({"cancel_at_period_end": true}));
        },
        |till| {
            answers(till, "alice", "ending", "team");
            assert_eq!(till.value("SELECT ambiguous FROM stripe_objects WHERE object = 'subscription'"), 0);
            assert_eq!(
                till.value("SELECT json_extract(metadata, '$.seats') FROM stripe_subscriptions"),
                "2",
                "the first update is in what the last shows"
            );
        },
    )
}

pub fn upgrade() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            pays(story, 0);
            story.at(3 * DAY_S).then(SUB_UPDATED, "sub", item("price_team"));
            story
                .make(
                    "invoice.finalized",
                    "proration",
                    json!({"id": "in_2", "billing_reason": "subscription_update", "number": "B-2",
                        "payments": {"data": {"0": {"id": "inpay_2", "invoice": "in_2",
                            "payment": {"payment_intent": {"id": "pi_2"}}}}}}),
                )
                .then("invoice.paid", "proration", invoice_paid(1, "ch_2", T0 + 3 * DAY_S))
                .then(SUB_UPDATED, "sub", json!({"latest_invoice": "in_2"}));
        },
        |till| {
            answers(till, "alice", "active", "team");
            assert_eq!(till.value("SELECT count(*) FROM stripe_invoices WHERE status = 'paid'"), 2);
            assert_eq!(till.value("SELECT latest_invoice FROM stripe_subscriptions"), "in_2");
        },
    )
}

pub fn scheduled_cancel_taken_back() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            let asked = json!({"cancel_at_period_end": true, "cancel_at": T0 + 30 * DAY_S, "canceled_at": T0 + 60,
                "cancellation_details": {"reason": "cancellation_requested"}});
            let taken_back = json!({"cancel_at_period_end": false, "cancel_at": null, "canceled_at": null,
                "cancellation_details": {"reason": null}});
            story.at(60).then(SUB_UPDATED, "sub", asked.clone());
            story.at(90).then(SUB_UPDATED, "sub", taken_back.clone());
            // And once more, in a hurry.
            story.at(120).then(SUB_UPDATED, "sub", asked).then(SUB_UPDATED, "sub", taken_back);
        },
        |till| {
            answers(till, "alice", "active", "pro");
            assert_eq!(till.value("SELECT ambiguous FROM stripe_objects WHERE object = 'subscription'"), 0);
        },
    )
}

pub fn cancel_now() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            let ended = json!({"status": "canceled", "canceled_at": T0 + 100, "ended_at": T0 + 100});
            story.at(50).then(SUB_UPDATED, "sub", json!({"metadata": {"asked": "why"}}));
            story.at(100).then(SUB_UPDATED, "sub", json!({"cancellation_details": {"comment": "too dear"}})).then(
                SUB_DELETED,
                "sub",
                ended,
            );
        },
        |till| {
            answers(till, "alice", "canceled", "free");
            assert_eq!(till.value("SELECT deleted FROM stripe_subscriptions"), 1);
        },
    )
}

/// A renewal fails (two attempts), and the subscription is past due.
fn falls_behind(story: &mut Story) {
    let failed_at = 8 * DAY_S;
    story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
    story
        .at(failed_at)
        .make("invoice.finalized", "invoice", none())
        .make("payment_intent.created", "intent", none())
        .then("payment_intent.payment_failed", "intent", intent_failed(1, "insufficient_funds"))
        .then("invoice.updated", "invoice", invoice_failed(1, Some(T0 + 9 * DAY_S)))
        .then("invoice.payment_failed", "invoice", none())
        .then(SUB_UPDATED, "sub", json!({"status": "past_due"}))
        .then("customer.updated", "customer", json!({"delinquent": true}));
    story.at(9 * DAY_S).then("payment_intent.payment_failed", "intent", intent_failed(2, "expired_card")).then(
        "invoice.payment_failed",
        "invoice",
        invoice_failed(2, Some(T0 + 12 * DAY_S)),
    );
}

pub fn past_due() -> History {
    history(falls_behind, |till| {
        answers(till, "alice", "grace_period", "pro");
        assert_eq!(till.value("SELECT grace_started_at FROM stripe_subscriptions"), T0 + 8 * DAY_S);
        assert_eq!(till.value("SELECT attempt_count FROM payment_failures WHERE resolved = 0"), 2);
    })
}

pub fn past_due_and_recovered() -> History {
    history(
        |story| {
            falls_behind(story);
            story
                .at(9 * DAY_S + 3600)
                .make("charge.succeeded", "charge", json!({"id": "ch_3"}))
                .then("payment_intent.succeeded", "intent", intent_succeeded("ch_3"))
                .then("invoice.updated", "invoice", invoice_paid(3, "ch_3", T0 + 9 * DAY_S + 3600))
                .then("invoice.paid", "invoice", none())
                .then("invoice.payment_succeeded", "invoice", none())
                .make("invoice_payment.paid", "invoice_payment", none())
                .then(SUB_UPDATED, "sub", json!({"status": "active"}))
                .then("customer.updated", "customer", json!({"delinquent": false}));
        },
        |till| {
            answers(till, "alice", "active", "pro");
            assert_eq!(till.value("SELECT resolution FROM payment_failures"), "paid");
            assert_eq!(till.value("SELECT failure_reason FROM payment_failures"), "expired_card");
            assert_eq!(till.value("SELECT grace_started_at FROM stripe_subscriptions"), Value::Null);
            assert_eq!(till.value("SELECT grace_period_end FROM subscriptions"), Value::Null);
        },
    )
}

/// The same in an old shape: invoice, payment and charge name each other.
pub fn past_due_and_recovered_in_2020() -> History {
    History { version: ApiVersion::V2020_08_27, ..past_due_and_recovered() }
}

/// Much in one life; the failing invoices say by what they are paid, as objects of the API do.
pub fn whole_life() -> History {
    History {
        story: life(),
        version: ApiVersion::Basil,
        holds: |till| {
            answers(till, "alice", "canceled", "free");
            assert_eq!(
                till.value("SELECT stripe_invoice_id FROM stripe_payment_intents WHERE stripe_intent_id = 'pi_2'"),
                "in_2"
            );
        },
    }
}

pub fn item_swapped() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            let other = json!({
                "id": "si_other", "object": "subscription_item", "quantity": 3, "metadata": {}, "created": T0 + 9,
                "current_period_start": T0, "current_period_end": T0 + 30 * DAY_S,
                "price": {"id": "price_team", "object": "price", "product": "prod_2", "unit_amount": 5000,
                    "currency": "usd", "recurring": {"interval": "month", "interval_count": 1}},
            });
            let sub = story.steps[1].object.clone();
            let first = sub["items"]["data"][0].clone();
            // Both for a moment, then only the other.
            story.at(9).then(SUB_UPDATED, "sub", json!({"items": {"data": [first, other]}}));
            story.then(SUB_UPDATED, "sub", json!({"items": {"data": [other], "total_count": 1}}));
            story.then(SUB_UPDATED, "sub", json!({"items": {"data": {"0": {"quantity": 4}}}}));
        },
        |till| {
            answers(till, "alice", "active", "team");
            assert_eq!(till.value("SELECT group_concat(stripe_item_id) FROM stripe_subscription_items"), "si_other");
            assert_eq!(till.value("SELECT quantity FROM stripe_subscription_items"), 4);
        },
    )
}

pub fn deleted_customer() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            pays(story, 0);
            story.at(200).then("customer.updated", "customer", json!({"metadata": {"note": "leaves"}}));
            story
                .then(SUB_DELETED, "sub", json!({"status": "canceled", "canceled_at": T0 + 200, "ended_at": T0 + 200}))
                .then("customer.deleted", "customer", none());
        },
        |till| {
            answers(till, "alice", "canceled", "free");
            assert_eq!(till.value("SELECT deleted FROM stripe_customers"), 1);
        },
    )
}

pub fn dispute() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            pays(story, 0);
            story
                .at(2 * DAY_S)
                .make("charge.dispute.created", "dispute", json!({"charge": "ch_1"}))
                .then("charge.updated", "charge", json!({"disputed": true}))
                .then("charge.dispute.funds_withdrawn", "dispute", none());
            story.at(4 * DAY_S).then(
                "charge.dispute.updated",
                "dispute",
                json!({"status": "under_review", "evidence_details": {"has_evidence": true, "submission_count": 1}}),
            );
            story.at(9 * DAY_S).then("charge.dispute.closed", "dispute", json!({"status": "won"})).then(
                "charge.dispute.funds_reinstated",
                "dispute",
                none(),
            );
        },
        |till| {
            answers(till, "alice", "active", "pro");
            assert_eq!(till.value("SELECT status FROM stripe_disputes"), "won");
            assert_eq!(till.value("SELECT disputed FROM stripe_charges"), 1);
        },
    )
}

pub fn refund() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            pays(story, 0);
            story
                .at(DAY_S)
                .make(
                    "refund.created",
                    "part",
                    json!({"id": "re_1", "charge": "ch_1", "amount": 500, "status": "pending"}),
                )
                .then("charge.refunded", "charge", json!({"amount_refunded": 500}))
                .make("refund.created", "rest", json!({"id": "re_2", "charge": "ch_1", "amount": 1500}))
                .then("charge.refunded", "charge", json!({"amount_refunded": 2000, "refunded": true}))
                .then("refund.updated", "part", json!({"status": "succeeded"}));
        },
        |till| {
            assert_eq!(till.value("SELECT amount_refunded_cents FROM stripe_charges WHERE refunded = 1"), 2000);
            assert_eq!(
                till.value("SELECT json_extract(data, '$.status') FROM stripe_objects WHERE id = 're_1'"),
                "succeeded"
            );
        },
    )
}

pub fn two_subscriptions() -> History {
    history(
        |story| {
            let second = json!({
                "id": "sub_second", "latest_invoice": null,
                "items": {"data": {"0": {"id": "si_second", "subscription": "sub_second",
                    "price": {"id": "price_team"}, "plan": {"id": "price_team"}}}},
            });
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", none());
            story.at(30).make(SUB_CREATED, "second", second);
            story.then(SUB_UPDATED, "sub", json!({"metadata": {"kind": "old"}}));
            story
                .at(DAY_S)
                .then(SUB_UPDATED, "second", json!({"status": "past_due"}))
                .then(SUB_DELETED, "second", json!({"status": "canceled", "ended_at": T0 + DAY_S}))
                .then(SUB_UPDATED, "sub", json!({"metadata": {"kind": "only"}}));
        },
        |till| {
            answers(till, "alice", "active", "pro");
            assert_eq!(till.value("SELECT count(*) FROM stripe_subscriptions"), 2);
        },
    )
}

/// Only the session names the user, by a reference, and it comes first; the customer is told of last.
pub fn checkout_before_customer() -> History {
    let mut story = Story::of(None);
    story
        .make("checkout.session.completed", "session", json!({"client_reference_id": "bob"}))
        .make(SUB_CREATED, "sub", json!({"status": "incomplete"}))
        .make("payment_intent.created", "intent", none())
        .then("payment_intent.succeeded", "intent", intent_succeeded("ch_1"))
        .then(SUB_UPDATED, "sub", json!({"status": "active"}));
    story.at(1).make("invoice.paid", "invoice", none()).make("customer.created", "customer", none()).then(
        "customer.updated",
        "customer",
        json!({"metadata": {"source": "ad"}}),
    );
    History {
        story,
        version: ApiVersion::CURRENT,
        holds: |till| {
            answers(till, "bob", "active", "pro");
            assert_eq!(till.value("SELECT linked_by FROM stripe_subscriptions"), "reference");
            assert_eq!(till.value("SELECT owner_user_id FROM stripe_customers"), serde_json::Value::Null);
            let others =
                "SELECT count(*) FROM audit_log WHERE stripe_subscription_id IS NOT NULL AND user_id IS NOT 'bob'";
            assert_eq!(till.value(others), 0);
        },
    }
}

/// Words of different weight: the subscription is whom it names, the customer whom that one names.
pub fn owner_changed() -> History {
    history(
        |story| {
            story.make("checkout.session.completed", "session", none()).make(SUB_CREATED, "sub", none());
            pays(story, 0);
            story.at(10).then(SUB_UPDATED, "sub", json!({"metadata": {"user_id": "bob"}}));
            story.at(20).make("customer.created", "customer", json!({"metadata": {"user_id": null}}));
            story.then("customer.updated", "customer", json!({"metadata": {"user_id": "carol"}})).then(
                "customer.updated",
                "customer",
                json!({"metadata": {"user_id": "dora"}}),
            );
        },
        |till| {
            answers(till, "bob", "active", "pro");
            answers(till, "dora", "no_subscription", "free");
            assert_eq!(till.value("SELECT group_concat(user_id) FROM subscriptions"), "bob");
            assert_eq!(till.value("SELECT group_concat(user_id) FROM stripe_customers"), "dora");
        },
    )
}

/// An upgrade whose payment fails; before it two paid states in one second.
pub fn upgrade_not_paid() -> History {
    history(
        |story| {
            story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", item("price_starter"));
            story.at(5).then(SUB_UPDATED, "sub", json!({"metadata": {"seats": "2"}})).then(
                SUB_UPDATED,
                "sub",
                item("price_pro"),
            );
            story
                .at(3 * DAY_S)
                .make("invoice.finalized", "invoice", json!({"billing_reason": "subscription_update"}))
                .then("invoice.payment_failed", "invoice", invoice_failed(1, Some(T0 + 6 * DAY_S)))
                .then(
                    SUB_UPDATED,
                    "sub",
                    json!({"status": "past_due",
                        "items": {"data": {"0": {"price": {"id": "price_team"}, "plan": {"id": "price_team"}}}}}),
                );
            story.at(4 * DAY_S).then(SUB_UPDATED, "sub", json!({"metadata": {"asked": "why"}}));
        },
        |till| {
            answers(till, "alice", "past_due", "free");
            assert_eq!(till.value("SELECT stripe_price_id FROM subscriptions"), "price_pro");
            assert_eq!(till.value("SELECT good_price_ids FROM stripe_subscriptions"), "[\"price_pro\"]");
        },
    )
}

/// Stripe pauses after its last attempt, instead of calling it unpaid.
pub fn paused_after_the_last_attempt() -> History {
    history(
        |story| {
            falls_behind(story);
            let paused = json!({"status": "paused",
                "status_details": {"paused": {"subscription": {"type": "final_payment_failure"}}}});
            story.at(9 * DAY_S + 60).then("customer.subscription.paused", "sub", paused).then(
                SUB_UPDATED,
                "sub",
                json!({"metadata": {"note": "paused"}}),
            );
        },
        |till| {
            answers(till, "alice", "grace_period", "pro");
            assert_eq!(till.value("SELECT grace_started_at FROM stripe_subscriptions"), T0 + 8 * DAY_S);
            assert_eq!(till.value("SELECT count(*) FROM subscription_events WHERE delinquent = 1"), 3);
        },
    )
}

/// A pause of collection in the second in which a period ends, and another period of which nothing is paid.
pub fn collection_paused() -> History {
    let period = |start: i64| {
        json!({"items": {"data": {"0": {"current_period_start": T0 + start * DAY_S,
            "current_period_end": T0 + (start + 4) * DAY_S}}}})
    };
    let mut story = Story::of(Some("alice"));
    story.make("customer.created", "customer", none()).make(SUB_CREATED, "sub", period(0));
    story
        .at(4 * DAY_S)
        .then(SUB_UPDATED, "sub", json!({"metadata": {"asked": "to pause"}}))
        .then(SUB_UPDATED, "sub", period(4))
        .then(SUB_UPDATED, "sub", json!({"pause_collection": {"behavior": "void", "resumes_at": null}}));
    story.at(8 * DAY_S).then(SUB_UPDATED, "sub", period(8)).then(
        SUB_UPDATED,
        "sub",
        json!({"metadata": {"asked": "for more"}}),
    );
    History {
        story,
        version: ApiVersion::CURRENT,
        holds: |till| {
            answers(till, "alice", "active", "pro");
            assert_eq!(till.value("SELECT pause_period_end FROM stripe_subscriptions"), T0 + 8 * DAY_S);
        },
    }
}

/// The time at which the harness' clock stands lies after every story.
#[test]
fn no_story_reaches_into_the_future() {
    const { assert!(T0 + 10 * DAY_S <= START_S) };
}
