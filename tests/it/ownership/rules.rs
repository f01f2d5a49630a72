//! The rules of `[link]`: which keys name a user, what a reference is worth, and what follows when that is changed.

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::base::ownership::{LinkRules, Reference};
use tilld::http::request::Method;
use tilld::jobs::at_start::relink;

use super::objects::{Session, customer, event, event_with_id, failed_invoice, payment_intent, subscription};
use crate::harness::{DAY_S, START_S, Setup, Till, notify};

fn setup(keys: &[&str], reference: Reference) -> Setup {
    let metadata_keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Setup { link: LinkRules { metadata_keys, reference }, ..Setup::default() }
}

fn started(dir: tempfile::TempDir, setup: Setup) -> Till {
    let till = Till::in_dir(dir, setup);
    relink::if_rules_changed(&till.store, &till.context, till.clock.now_ms()).unwrap();
    till
}

fn with(mut object: Value, key: &str, user: &str) -> Value {
    object["metadata"] = json!({ key: user });
    object
}

/// A paid Payment Link that names `ref`, and a subscription named under another key.
fn events() -> Vec<Value> {
    let session = Session { made: 1, reference: "ref", customer: "cus_s", subscription: "sub_s", ..Session::default() };
    vec![
        event("customer.created", 1, customer("cus_s", "", 1)),
        session.completed(2),
        event("customer.subscription.created", 2, subscription("sub_s", "cus_s", "", "active")),
        event("customer.subscription.created", 2, with(subscription("sub_k", "cus_k", "", "active"), "account", "kay")),
        event("customer.subscription.updated", 3, subscription("sub_k", "cus_k", "", "active")),
    ]
}

fn owner_of(till: &Till, id: &str) -> String {
    let sql = format!(
        "SELECT coalesce(user_id, '-') || ' ' || coalesce(linked_by, '-') FROM stripe_subscriptions
         WHERE stripe_subscription_id = '{id}'"
    );
    till.value(&sql).as_str().unwrap().to_owned()
}

fn main_of(till: &Till, customer: &str) -> Value {
    till.value(&format!("SELECT user_id FROM stripe_customers WHERE stripe_customer_id = '{customer}'"))
}

#[test]
fn other_rules_of_link_give_everything_to_whom_they_name_and_back() {
    let mut till = started(tempfile::tempdir().unwrap(), setup(&["user_id"], Reference::Grant));
    till.feed(&events());
    let as_granted = till.dump();
    assert_eq!(owner_of(&till, "sub_s"), "ref reference");
    assert_eq!(owner_of(&till, "sub_k"), "- -");

    let till = started(till.close(), setup(&["user_id"], Reference::Trust));
    assert_eq!(owner_of(&till, "sub_s"), "ref metadata");
    assert_eq!(main_of(&till, "cus_s"), "ref", "a trusted reference takes the customer, too");

    let till = started(till.close(), setup(&["user_id"], Reference::Off));
    assert_eq!(owner_of(&till, "sub_s"), "- -");
    assert_eq!(till.entitlement("ref")["reason"], "no_subscription");

    let till = started(till.close(), setup(&["user_id", "account"], Reference::Grant));
    assert_eq!(owner_of(&till, "sub_s"), "ref reference");
    assert_eq!(owner_of(&till, "sub_k"), "kay metadata", "the update without a name has not taken it away");
    assert_eq!(till.entitlement("kay")["entitled"], true);

    let till = started(till.close(), setup(&["user_id"], Reference::Grant));
    let without_users = |dump: String| -> Vec<String> {
        dump.lines().filter(|line| !line.starts_with("users:")).map(str::to_owned).collect()
    };
    assert_eq!(without_users(till.dump()), without_users(as_granted), "as if nothing had been changed");
}

#[test]
fn of_several_keys_the_first_that_is_there_names_the_user() {
    let mut till = started(tempfile::tempdir().unwrap(), setup(&["tenant", "user_id"], Reference::Grant));
    let mut both = subscription("sub_1", "cus_1", "person", "active");
    both["metadata"]["tenant"] = json!("company");
    let mut blank = subscription("sub_2", "cus_2", "person", "active");
    blank["metadata"]["tenant"] = json!("");
    till.feed(&[event("customer.subscription.created", 1, both), event("customer.subscription.created", 1, blank)]);
    assert_eq!(owner_of(&till, "sub_1"), "company metadata");
    assert_eq!(owner_of(&till, "sub_2"), "person metadata", "a blank value is none");
}

#[test]
fn rules_that_are_the_same_write_nothing() {
    let mut till = started(tempfile::tempdir().unwrap(), setup(&["user_id"], Reference::Grant));
    till.feed(&events());
    let before = till.dump();
    let till = started(till.close(), setup(&["user_id"], Reference::Grant));
    assert_eq!(till.dump(), before);
}

#[test]
fn that_it_is_not_somebodys_is_over_when_metadata_have_named_another_since() {
    let mut till = started(tempfile::tempdir().unwrap(), setup(&["user_id"], Reference::Grant));
    let at = |at: i64, user: &str| event("customer.updated", at, customer("cus_1", user, 0));
    till.feed(&[at(-10, "xena")]);
    let said = "/api/v1/users/xena/customer?stripe_customer_id=cus_1";
    assert_eq!(till.call(Method::Delete, said, &Value::Null).0, 200);
    assert_eq!(main_of(&till, "cus_1"), Value::Null);
    till.feed(&[at(5, "xena")]);
    assert_eq!(main_of(&till, "cus_1"), Value::Null, "whoever names her");
    till.feed(&[at(20, "xena"), at(10, "yves")]);
    assert_eq!(main_of(&till, "cus_1"), "xena", "another was named since, however late that was heard");
}

#[test]
fn a_reference_never_stands_for_the_users_own_subscription_where_neither_entitles() {
    let mut till = started(tempfile::tempdir().unwrap(), setup(&["user_id"], Reference::Grant));
    let session = Session { made: 1, reference: "vic", customer: "cus_s", subscription: "sub_s", ..Session::default() };
    let mut newer = subscription("sub_s", "cus_s", "", "canceled");
    newer["created"] = json!(START_S + 500);
    till.feed(&[
        event("customer.subscription.created", 1, subscription("sub_v", "cus_v", "vic", "unpaid")),
        session.completed(2),
        event("customer.subscription.deleted", 600, newer),
    ]);
    till.clock.set((START_S + 30 * DAY_S) * 1000);
    let answer = till.entitlement("vic");
    assert_eq!((&answer["reason"], &answer["subscription_id"]), (&json!("unpaid"), &json!("sub_v")));
}

#[test]
fn of_two_users_named_in_one_second_the_last_one_stays_when_an_update_names_nobody() {
    let created =
        event_with_id("evt_zzz", "customer.subscription.created", 1, subscription("sub_1", "cus_1", "ann", "active"));
    let mut updated =
        event_with_id("evt_aaa", "customer.subscription.updated", 1, subscription("sub_1", "cus_1", "bob", "active"));
    updated["data"]["previous_attributes"] = json!({"metadata": {"user_id": "ann"}});
    let unnamed =
        event_with_id("evt_mmm", "customer.subscription.updated", 9, subscription("sub_1", "cus_1", "", "active"));
    let events = [created, updated, unnamed];
    for order in [[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 2, 0]] {
        let mut till = started(tempfile::tempdir().unwrap(), setup(&["user_id"], Reference::Grant));
        till.feed(&order.map(|place: usize| events[place].clone()));
        assert_eq!(owner_of(&till, "sub_1"), "bob metadata", "{order:?}");
    }
}

#[test]
fn a_strangers_subscription_silences_no_warning_and_his_dispute_is_not_the_users() {
    let hooks = notify(&[("https://app.example/hook", &["dispute.created"])]);
    let mut till =
        started(tempfile::tempdir().unwrap(), Setup { notify: hooks, ..setup(&["user_id"], Reference::Grant) });
    let session = Session {
        id: "cs_s",
        made: 1,
        reference: "vic",
        customer: "cus_s",
        subscription: "sub_s",
        ..Session::default()
    };
    let guest = Session { id: "cs_g", made: 1, reference: "vic", payment_intent: "pi_g", ..Session::default() };
    let charge = json!({"id": "ch_g", "object": "charge", "amount": 900, "amount_refunded": 0, "currency": "usd",
        "status": "succeeded", "payment_intent": "pi_g", "customer": null, "livemode": false, "metadata": {}});
    let dispute = json!({"id": "dp_g", "object": "dispute", "amount": 900, "currency": "usd", "charge": "ch_g",
        "payment_intent": "pi_g", "status": "needs_response", "reason": "fraudulent", "livemode": false});
    till.feed(&[
        event("customer.subscription.created", 0, subscription("sub_v", "cus_v", "vic", "active")),
        event("invoice.payment_failed", 2, failed_invoice("in_v", "cus_v", "sub_v")),
        event("customer.subscription.updated", 2, subscription("sub_v", "cus_v", "vic", "past_due")),
        session.completed(3),
        event("customer.subscription.created", 3, subscription("sub_s", "cus_s", "", "active")),
        guest.completed(3),
        event("payment_intent.succeeded", 3, payment_intent("pi_g", "", "")),
        event("charge.succeeded", 3, charge),
        event("charge.dispute.created", 4, dispute),
    ]);
    till.clock.set((START_S + 6 * DAY_S) * 1000);
    till.tick.step((START_S + 6 * DAY_S) * 1000).unwrap();
    let warned = "SELECT told FROM dunning_attempts WHERE notification_type = 'grace_period_warning'";
    assert_eq!(till.value(warned), json!(1), "what a stranger pays covers nothing of the user's");
    let told = "SELECT json_extract(payload, '$.data.user_id') IS NULL FROM outbox WHERE kind = 'webhook'";
    assert_eq!(till.value(told), json!(1), "a reference makes nobody the one who disputes");
}
