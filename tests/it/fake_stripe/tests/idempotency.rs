//! Idempotency keys (stripe-facts.md §5).

use serde_json::json;

use super::{FakeStripe, Fault, delete, get, post_keyed};

const DAY_MS: i64 = 86_400_000;

#[test]
fn the_same_key_and_parameters_give_the_stored_answer_and_one_effect() {
    let fake = FakeStripe::start();
    let first = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    let again = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    assert_eq!((again.status, &again.text), (200, &first.text));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    assert_eq!(again.header("original-request"), first.header("request-id"));
    assert_eq!(fake.effects("customer"), 1);
    let other = post_keyed(&fake, "/v1/customers", "name=a", "k2").unwrap();
    assert_ne!(other.id(), first.id());
}

#[test]
fn the_same_key_with_other_parameters_is_an_error() {
    let fake = FakeStripe::start();
    post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    for (path, form) in [("/v1/customers", "name=b"), ("/v1/products", "name=a")] {
        let got = post_keyed(&fake, path, form, "k").unwrap();
        assert_eq!((got.status, &got.body["error"]["type"]), (400, &json!("idempotency_error")));
    }
    assert_eq!((fake.effects("customer"), fake.effects("product")), (1, 0));
}

#[test]
fn a_key_in_flight_conflicts() {
    let fake = FakeStripe::start();
    fake.fail(Fault::Hold, "POST /v1/customers", 1);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap());
        fake.wait_for_held(1);
        let second = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
        assert_eq!(second.error().0, 409);
        assert_eq!(second.error().1, "idempotency_key_in_use");
        fake.release();
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap().header("idempotent-replayed"), Some("true"));
    assert_eq!(fake.effects("customer"), 1);
}

#[test]
fn what_was_executed_is_stored_even_when_it_failed() {
    let fake = FakeStripe::start();
    let form = "amount=500&currency=usd&payment_method=pm_card_visa_chargeDeclined&confirm=true";
    let first = post_keyed(&fake, "/v1/payment_intents", form, "declined").unwrap();
    let again = post_keyed(&fake, "/v1/payment_intents", form, "declined").unwrap();
    assert_eq!((first.status, again.status, &first.text), (402, 402, &again.text));
    assert_eq!(fake.effects("payment_intent"), 1);

    fake.fail(Fault::ActThen500, "/v1/customers", 1);
    for replayed in [None, Some("true")] {
        let got = post_keyed(&fake, "/v1/customers", "name=a", "server").unwrap();
        assert_eq!((got.status, got.header("idempotent-replayed")), (500, replayed));
    }
    assert_eq!(fake.effects("customer"), 1);

    fake.fail(Fault::ActThenReset, "/v1/customers", 1);
    assert!(post_keyed(&fake, "/v1/customers", "name=b", "reset").is_none());
    assert_eq!(post_keyed(&fake, "/v1/customers", "name=b", "reset").unwrap().body["name"], "b");
    assert_eq!(fake.effects("customer"), 2);
}

#[test]
fn what_was_not_executed_is_not_stored() {
    let fake = FakeStripe::start();
    assert_eq!(post_keyed(&fake, "/v1/customers", "nme=a", "k").unwrap().status, 400);
    for (fault, status) in [(Fault::RateLimited, 429), (Fault::Only500, 500), (Fault::Status(409, None), 409)] {
        fake.fail(fault, "/v1/customers", 1);
        assert_eq!(post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap().status, status);
    }
    let deep = post_keyed(&fake, "/v1/customers", "expand[0]=a.b.c.d.e", "k").unwrap();
    assert_eq!((deep.error().0, fake.effects("customer")), (400, 0));
    let done = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    assert_eq!((done.status, done.header("idempotent-replayed")), (200, None));
}

#[test]
fn a_key_is_forgotten_after_a_day_and_never_counts_for_other_methods() {
    let fake = FakeStripe::start();
    let first = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    fake.clock().advance(DAY_MS - 1000);
    assert_eq!(post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap().id(), first.id());
    fake.clock().advance(1000);
    let second = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    assert_ne!(second.id(), first.id());
    assert_eq!(post_keyed(&fake, "/v1/customers", "", &"k".repeat(256)).unwrap().status, 400);
    assert_eq!(get(&fake, &format!("/v1/customers/{}", first.id())).header("idempotency-key"), None);
    assert_eq!(delete(&fake, &format!("/v1/customers/{}", first.id())).body["deleted"], true);
}
