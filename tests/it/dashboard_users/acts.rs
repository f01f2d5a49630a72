//! Linking, unlinking and reading again: asked first, done by the functions of the API, and in the audit log.

use std::sync::Arc;

use serde_json::{Value, json};
use tilld::app::trigger;
use tilld::base::clock::Clock;
use tilld::http::request::Method;
use tilld::outward::calls::Calls;
use tilld::stripe::client::Client;
use tilld::stripe::settings::{ApiKey, StripeSettings};

use super::Visitor;
use crate::fake_stripe::FakeStripe;
use crate::harness::{START_S, Setup, Till};
use crate::samples::{event, raw};

fn customer(id: &str) -> Value {
    let object = json!({"id": id, "object": "customer", "created": START_S, "livemode": false});
    raw(&format!("evt_{id}"), "customer.created", START_S, object)
}

fn user(till: &Till, id: &str) {
    assert_eq!(till.call(Method::Put, &format!("/api/v1/users/{id}"), &json!({})).0, 201);
}

fn owner(till: &Till, id: &str) -> Value {
    till.value(&format!("SELECT owner_user_id FROM stripe_customers WHERE stripe_customer_id = '{id}'"))
}

fn audited(till: &Till, action: &str) -> Value {
    till.value(&format!("SELECT count(*) FROM audit_log WHERE actor = 'dashboard' AND action = '{action}'"))
}

#[test]
fn a_customer_is_linked_after_a_yes_and_unlinked_after_another_and_both_are_audited() {
    let mut till = Till::new();
    till.feed(&[customer("cus_1")]);
    user(&till, "alice");
    let visitor = Visitor::of(&till);
    let asked = visitor.page(&till, "user-link?id=alice&object=cus_1");
    asked.shows(&["Link cus_1 to alice", "From now on the customer cus_1 is alice"]);
    assert_eq!(
        (owner(&till, "cus_1"), audited(&till, "customer.link")),
        (Value::Null, json!(0)),
        "asking does nothing"
    );
    visitor.act(&till, "user-link?id=alice&object=cus_1").shows(&["from now on", "customer.link", "Operator, here"]);
    assert_eq!((owner(&till, "cus_1"), audited(&till, "customer.link")), (json!("alice"), json!(1)));
    visitor.act(&till, "user-unlink?id=alice&object=cus_1").shows(&["belongs to nobody now", "customer.unlink"]);
    assert_eq!((owner(&till, "cus_1"), audited(&till, "customer.unlink")), (Value::Null, json!(1)));
}

#[test]
fn a_subscription_is_linked_as_well() {
    let mut till = Till::new();
    till.feed(&[event("customer.subscription.created", "bob", START_S, &[("status", json!("active"))])]);
    user(&till, "alice");
    let subscription = trigger::ids("bob").subscription;
    let asked = Visitor::of(&till);
    asked.page(&till, &format!("user-link?id=alice&object={subscription}")).shows(&["Today it belongs to bob."]);
    asked.act(&till, &format!("user-link?id=alice&object={subscription}"));
    assert_eq!(till.entitlement("alice")["entitled"], true);
    assert_eq!(till.entitlement("bob")["entitled"], false);
}

/// A page that asks, and its form as a browser would send it.
fn form_of(visitor: &Visitor, till: &Till, name: &str) -> String {
    let asked = visitor.page(till, name);
    let inputs = asked.text.split("<input type=\"hidden\" name=\"").skip(2);
    let fields = inputs.map(|input| {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        format!("{name}={}", rest.split('"').next().unwrap())
    });
    fields.collect::<Vec<_>>().join("&")
}

/// As the application says it meanwhile, over the API.
fn link_by_api(till: &Till, user_id: &str, id: &str) {
    let body = json!({"stripe_customer_id": id, "force": true});
    assert_eq!(till.call(Method::Put, &format!("/api/v1/users/{user_id}/customer"), &body).0, 200);
}

#[test]
fn a_yes_takes_something_only_from_whom_the_question_named() {
    let mut till = Till::new();
    till.feed(&[customer("cus_1")]);
    for id in ["alice", "bob", "carol"] {
        user(&till, id);
    }
    let visitor = Visitor::of(&till);
    let name = "user-link?id=alice&object=cus_1";
    let late = |till: &Till, form: &str, now: &str| {
        let seen = visitor.ask(till, Method::Post, "user-link", form);
        assert_eq!(seen.status, 409, "{}", seen.text);
        seen.shows(&[&format!("Meanwhile the customer cus_1 belongs to {now}.")]);
        assert_eq!(audited(till, "customer.link"), json!(0));
    };
    let from_nobody = form_of(&visitor, &till, name);
    link_by_api(&till, "bob", "cus_1");
    late(&till, &from_nobody, "bob");
    visitor.page(&till, name).shows(&["bob loses it"]);
    let from_bob = form_of(&visitor, &till, name);
    link_by_api(&till, "carol", "cus_1");
    late(&till, &from_bob, "carol");
    link_by_api(&till, "alice", "cus_1");
    let said_before = form_of(&visitor, &till, name);
    link_by_api(&till, "carol", "cus_1");
    late(&till, &said_before, "carol");
    assert_eq!(owner(&till, "cus_1"), "carol");
    visitor.page(&till, name).shows(&["carol loses it"]);
    visitor.act(&till, name).shows(&["The customer cus_1 is alice"]);
    assert_eq!((owner(&till, "cus_1"), audited(&till, "customer.link")), (json!("alice"), json!(1)));
}

#[test]
fn questions_buttons_and_results_name_ids_whole_so_that_no_two_look_alike() {
    let mut till = Till::with(Setup { fetches: true, ..Setup::default() });
    let [alice, bob] = ["a", "b"].map(|middle| format!("tenant-0-{middle}-of-the-same-length-9"));
    let object = "cus_NffrFeUfNV2Hib_and_more";
    till.feed(&[customer(object)]);
    for id in [&alice, &bob] {
        user(&till, id);
    }
    let visitor = Visitor::of(&till);
    let link = format!("user-link?id={bob}&object={object}");
    visitor.page(&till, &link).shows(&[&format!("<button class=\"strong\">Link {object} to {bob}</button>")]);
    let told = [format!("The customer {object} is {bob}"), format!("is not {bob}"), format!("1 object of {bob}")];
    visitor.act(&till, &link).shows(&[&told[0]]);
    visitor.page(&till, &format!("user-link?id={alice}&object={object}")).shows(&[&format!("and {bob} loses it")]);
    visitor.act(&till, &format!("user-refresh?id={bob}")).shows(&[&told[2]]);
    let unlink = format!("user-unlink?id={bob}&object={object}");
    visitor.page(&till, &unlink).shows(&[&format!("Unlink {object} from {bob}")]);
    visitor.act(&till, &unlink).shows(&[&told[1]]);
}

#[test]
fn an_id_cannot_turn_the_direction_of_the_sentence_that_asks_or_tells() {
    let mut till = Till::new();
    till.feed(&[customer("cus_1")]);
    assert_eq!(till.call(Method::Put, "/api/v1/users/bob%E2%80%AEeve", &json!({})).0, 201);
    let visitor = Visitor::of(&till);
    let link = "user-link?id=bob%E2%80%AEeve&object=cus_1";
    let asked = visitor.page(&till, link);
    asked.shows(&[
        "<button class=\"strong\">Link cus_1 to bob\\u{202e}eve</button>",
        "customer cus_1 is bob\\u{202e}eve",
    ]);
    assert_eq!(asked.text.matches('\u{202e}').count(), 1, "in the hidden field alone: {}", asked.text);
    let told = visitor.act(&till, link);
    told.shows(&["The customer cus_1 is bob\\u{202e}eve"]);
    assert_eq!(owner(&till, "cus_1"), "bob\u{202e}eve");
    let missing = visitor.get(&till, "user-link?id=%E2%80%AEeve&object=cus_1");
    missing.hides(&["\u{202e}"]);
    let object = json!({"id": "cus_2", "object": "customer"});
    till.feed(&[raw("evt_2", "customer.\u{202e}x", START_S, object)]);
    visitor.page(&till, "event?id=evt_2").shows(&["<h1>customer.\\u{202e}x</h1>"]);
    visitor.page(&till, "event-replay?id=evt_2").hides(&["\u{202e}"]);
    visitor.page(&till, "events?type=%E2%80%AEx").shows(&["Shown: type \\u{202e}x "]);
}

#[test]
fn an_id_longer_than_any_is_refused_and_not_shown() {
    let till = Till::new();
    user(&till, "alice");
    let (visitor, long) = (Visitor::of(&till), "x".repeat(64 * 1024));
    for (name, status) in
        [(format!("user-link?id=alice&object=sub_{long}"), 400), (format!("user-refresh?id={long}"), 409)]
    {
        let seen = visitor.get(&till, &name);
        assert_eq!(seen.status, status);
        assert!(seen.text.len() < 4096, "{}", seen.text.len());
    }
}

#[test]
fn a_form_without_its_token_does_nothing() {
    let mut till = Till::with(Setup { fetches: true, ..Setup::default() });
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let visitor = Visitor::of(&till);
    let before = till.dump();
    for name in ["user-link", "user-unlink", "user-refresh"] {
        let body = format!("id=alice&object={}", trigger::ids("alice").customer);
        assert_eq!(visitor.ask(&till, Method::Post, name, &body).status, 403, "{name}");
    }
    assert_eq!((till.dump(), till.value("SELECT count(*) FROM outbox")), (before, json!(0)));
}

#[test]
fn what_is_no_id_and_what_is_not_linked_is_refused() {
    let till = Till::new();
    user(&till, "alice");
    let visitor = Visitor::of(&till);
    for object in ["", "in_1", "pi_1", "cus%20x", "price_1"] {
        assert_eq!(visitor.get(&till, &format!("user-link?id=alice&object={object}")).status, 400, "{object}");
    }
    assert_eq!(visitor.get(&till, "user-link?id=nobody&object=cus_1").status, 404);
    assert_eq!(visitor.act(&till, "user-unlink?id=alice&object=cus_9").status, 409);
}

#[test]
fn reading_again_puts_a_fetch_for_each_object_into_the_outbox_once_and_is_audited() {
    let mut till = Till::with(Setup { fetches: true, ..Setup::default() });
    till.feed(&[
        event("customer.created", "alice", START_S, &[]),
        event("customer.subscription.created", "alice", START_S, &[("status", json!("active"))]),
        event("customer.subscription.deleted", "bob", START_S, &[]),
    ]);
    let visitor = Visitor::of(&till);
    visitor.page(&till, "user?id=alice").shows(&["user-refresh?id=alice"]);
    visitor.page(&till, "user-refresh?id=alice").shows(&["Read 2 objects from Stripe"]);
    assert_eq!(till.value("SELECT count(*) FROM outbox"), json!(0), "asking does nothing");
    for _ in 0..2 {
        visitor
            .act(&till, "user-refresh?id=alice")
            .shows(&["2 objects of alice are read from Stripe now", "user.refresh"]);
    }
    let paths = "SELECT group_concat(json_extract(payload, '$.object_path'), ' ') FROM outbox
        WHERE kind = 'stripe_call' AND status = 'pending' AND user_id = 'alice'";
    let ids = trigger::ids("alice");
    let expected = format!("/v1/customers/{} /v1/subscriptions/{}", ids.customer, ids.subscription);
    assert_eq!(till.value(paths), json!(expected));
    assert_eq!(audited(&till, "user.refresh"), json!(2));
}

#[test]
fn without_a_key_nothing_can_be_read_again() {
    let mut till = Till::new();
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let visitor = Visitor::of(&till);
    visitor.page(&till, "user?id=alice").hides(&["user-refresh"]);
    assert_eq!(visitor.get(&till, "user-refresh?id=alice").status, 409);
}

#[test]
fn with_a_key_what_is_linked_is_read_from_stripe_first_and_a_mistyped_id_is_refused() {
    let mut till = Till::with(Setup { livemode: Some(false), ..Setup::default() });
    let fake = FakeStripe::start();
    till.clock.set(fake.clock().now_ms());
    let settings = StripeSettings::new(ApiKey::new(fake.key()), &fake.url(), "2026-09-30.endive");
    let client = Client::new(StripeSettings { max_attempts: 1, ..settings }).unwrap();
    let clock = Arc::clone(&till.clock) as Arc<dyn Clock>;
    let calls = Calls::new(till.store.clone(), client, clock, Arc::clone(&till.api.context));
    till.api.calls = Some(Arc::new(calls));
    let id = fake.add_customer("alice@example.com", "pm_card_visa");
    user(&till, "alice");
    let visitor = Visitor::of(&till);
    visitor.page(&till, &format!("user-link?id=alice&object={id}")).shows(&["It is read from Stripe first."]);
    assert_eq!(fake.requests().len(), 0, "no page that only asks waits for Stripe");
    let refused = visitor.act(&till, "user-link?id=alice&object=cus_mistyped");
    assert_eq!(refused.status, 404, "{}", refused.text);
    visitor.act(&till, &format!("user-link?id=alice&object={id}")).shows(&["alice@example.com"]);
    assert_eq!(owner(&till, &id), "alice");
}
