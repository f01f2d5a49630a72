//! At most one checkout session per user can be paid, whoever asks how often, in parallel, and after a lost answer.

use serde_json::{Value, json};

use super::shop::{Shop, URLS, fault, is, path};
use crate::fake_stripe::Fault;
use crate::live::ask;

const CHECKOUT: &str = "/checkout-session";
const MAKE: &str = "POST /v1/checkout/sessions";
const EXPIRE: &str = "POST /v1/checkout/sessions/*/expire";

fn pro() -> Value {
    json!({"price_id": "price_pro"})
}

fn team() -> Value {
    json!({"price_id": "price_team"})
}

fn id_of(session: &Value) -> String {
    session["session_id"].as_str().unwrap().to_owned()
}

fn shop() -> Shop {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    shop
}

fn keyed(shop: &Shop, key: &str, body: &Value) -> (u16, Value) {
    shop.live.ask("POST", &path("alice", CHECKOUT), &[("Idempotency-Key", key)], body)
}

fn status(shop: &Shop, session: &str) -> Value {
    shop.fake.object(session).unwrap()["status"].clone()
}

#[test]
fn the_same_order_again_is_the_same_session_and_another_one_is_made_after_it_was_expired() {
    let shop = shop();
    let first = shop.done("alice", CHECKOUT, &pro());
    assert_eq!(shop.done("alice", CHECKOUT, &pro()), first);
    assert_eq!((shop.fake.effects("checkout.session"), shop.fake.requests_to(EXPIRE).len()), (1, 0));

    let second = shop.done("alice", CHECKOUT, &team());
    assert_ne!(second, first);
    assert_eq!((status(&shop, &id_of(&first)), shop.fake.payable()), (json!("expired"), vec![id_of(&second)]));
    // First the one, then the other.
    let posts = shop.fake.requests_to("POST /v1/checkout/**");
    let paths: Vec<&str> = posts.iter().map(|post| post.path.as_str()).collect();
    let expire = format!("/v1/checkout/sessions/{}/expire", id_of(&first));
    assert_eq!(paths, ["/v1/checkout/sessions", &expire, "/v1/checkout/sessions"]);
    assert!(posts[1].header("idempotency-key").is_some_and(|key| key.starts_with("tilld_")));

    // What makes an order another one: everything that Stripe is told.
    for (body, payable) in [
        (json!({"price_id": "price_team", "quantity": 2}), 3),
        (json!({"price_id": "price_team", "quantity": 2, "success_url": "https://app.example/else"}), 4),
        (json!({"price_id": "price_once", "mode": "payment"}), 5),
        (json!({"price_id": "price_once", "mode": "payment", "allow_second": true}), 5),
    ] {
        let session = shop.done("alice", CHECKOUT, &body);
        assert_eq!((shop.fake.payable(), shop.fake.effects("checkout.session")), (vec![id_of(&session)], payable));
    }
    // Other users are not concerned.
    shop.user("bob");
    shop.done("bob", CHECKOUT, &pro());
    assert_eq!(shop.fake.payable().len(), 2);
}

#[test]
fn two_browsers_that_buy_at_once_leave_one_session_to_pay() {
    for (orders, made) in [([pro(), pro()], 1), ([pro(), team()], 2)] {
        let shop = shop();
        let url = path("alice", CHECKOUT);
        let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
            let asking = (0..12).map(|place| {
                let (address, url, order) = (&shop.live.private, &url, &orders[place % 2]);
                #[allow(clippy::disallowed_methods)] // joined by the scope
                scope.spawn(move || ask(address, "POST", url, &[], order))
            });
            asking.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        assert_eq!(shop.fake.payable().len(), 1);
        assert!(shop.fake.effects("checkout.session") >= made);
        if made == 1 {
            assert_eq!(shop.fake.effects("checkout.session"), 1);
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        }
        // Whoever pays it has one subscription, and the other one is told so.
        let session = shop.fake.payable().remove(0);
        shop.fake.complete(&session, "pm_card_visa").unwrap();
        assert_eq!(shop.fault("alice", CHECKOUT, &orders[1]), is(409, "already_subscribed", ""));
        assert_eq!((shop.fake.payable().len(), shop.fake.effects("subscription")), (0, 1));
    }
}

#[test]
fn a_session_that_is_returned_again_is_the_answer_under_its_key_too() {
    let shop = shop();
    let first = keyed(&shop, "key-1", &pro());
    let again = keyed(&shop, "key-2", &pro());
    assert_eq!((again.0, &again.1), (200, &first.1));
    assert_eq!(keyed(&shop, "key-2", &pro()), first);
    for key in ["key-1", "key-2"] {
        assert_eq!(fault(&keyed(&shop, key, &team())), is(409, "idempotency_key_reused", ""));
    }
    assert_eq!((shop.fake.effects("checkout.session"), shop.fake.payable().len()), (1, 1));
    // Under their keys the answers stay, also when the session is no more.
    let other = shop.done("alice", CHECKOUT, &team());
    assert_eq!((keyed(&shop, "key-1", &pro()), keyed(&shop, "key-2", &pro())), (first.clone(), first));
    assert_eq!(shop.fake.payable(), [id_of(&other)]);
}

#[test]
fn a_subscription_that_was_paid_for_unheard_is_read_and_nothing_is_made_beside_it() {
    let shop = shop();
    let session = id_of(&shop.done("alice", CHECKOUT, &pro()));
    shop.fake.complete(&session, "pm_card_visa").unwrap();
    // No webhook has come: Stripe tells when it is asked.
    let (status, answer) = shop.post("alice", CHECKOUT, &team());
    let error = &answer["error"];
    assert_eq!((status, &error["code"], &error["way_out"]), (409, &json!("already_subscribed"), &json!("change_plan")));
    assert_eq!((shop.fake.effects("checkout.session"), shop.tier("alice")), (1, "pro".to_owned()));
    // From then on the tables know it.
    let asked = shop.fake.requests().len();
    assert_eq!(shop.fault("alice", CHECKOUT, &team()), is(409, "already_subscribed", ""));
    assert_eq!(shop.fake.requests().len(), asked);
    // One who wants a second one gets it, and one session to pay.
    let second = shop.done("alice", CHECKOUT, &json!({"price_id": "price_team", "allow_second": true}));
    assert_eq!(shop.fake.payable(), [id_of(&second)]);
}

#[test]
fn a_session_whose_webhook_came_before_that_of_its_subscription_is_enough_to_refuse_another_one() {
    let shop = shop();
    let session = id_of(&shop.done("alice", CHECKOUT, &pro()));
    shop.fake.complete(&session, "pm_card_visa").unwrap();
    let told = shop.fake.events().into_iter().find(|event| event["type"] == "checkout.session.completed").unwrap();
    assert_eq!(shop.live.post(told.to_string().as_bytes()).unwrap().status, 200);
    shop.live.settle();
    assert_eq!(shop.fault("alice", CHECKOUT, &pro()), is(409, "already_subscribed", ""));
    assert_eq!((shop.fake.effects("checkout.session"), shop.tier("alice")), (1, "pro".to_owned()));
}

#[test]
fn a_purchase_that_was_completed_meanwhile_is_told_once() {
    let shop = shop();
    let once = json!({"price_id": "price_once", "mode": "payment"});
    let session = id_of(&shop.done("alice", CHECKOUT, &once));
    shop.fake.complete(&session, "pm_card_visa").unwrap();
    let (status, answer) = shop.post("alice", CHECKOUT, &once);
    let error = &answer["error"];
    assert_eq!((status, &error["code"], &error["session_id"]), (409, &json!("checkout_completed"), &json!(session)));
    assert_eq!(shop.fake.effects("checkout.session"), 1);
    // It is in the tables: whoever asks now wants it twice.
    let next = shop.done("alice", CHECKOUT, &once);
    assert_eq!(shop.fake.payable(), [id_of(&next)]);
}

#[test]
fn a_session_that_is_paid_while_it_is_expired_is_found_to_be_so() {
    let shop = shop();
    let session = id_of(&shop.done("alice", CHECKOUT, &pro()));
    shop.fake.fail(Fault::Hold, EXPIRE, 1);
    let answer = std::thread::scope(|scope| {
        #[allow(clippy::disallowed_methods)] // joined by the scope
        let asking = scope.spawn(|| shop.post("alice", CHECKOUT, &team()));
        shop.fake.wait_for_held(1);
        shop.fake.complete(&session, "pm_card_visa").unwrap();
        shop.fake.release();
        asking.join().unwrap()
    });
    assert_eq!(fault(&answer), is(409, "already_subscribed", ""));
    assert_eq!((shop.fake.effects("checkout.session"), shop.fake.effects("subscription")), (1, 1));
}

#[test]
fn a_session_that_ran_out_or_is_gone_is_in_nobodys_way() {
    let shop = shop();
    let first = id_of(&shop.done("alice", CHECKOUT, &pro()));
    shop.fake.alter(&first, &json!({"status": "expired", "url": null}));
    let second = id_of(&shop.done("alice", CHECKOUT, &pro()));
    assert_ne!(first, second);
    shop.fake.forget("checkout.session", &second);
    let third = id_of(&shop.done("alice", CHECKOUT, &pro()));
    assert_eq!((shop.fake.payable(), shop.fake.requests_to(EXPIRE).len()), (vec![third], 0));
}

#[test]
fn several_open_sessions_from_before_are_all_dealt_with() {
    let shop = shop();
    let first = id_of(&shop.done("alice", CHECKOUT, &pro()));
    // As if it had never been expired.
    let second = id_of(&shop.done("alice", CHECKOUT, &team()));
    shop.fake.change(&first, "checkout.session.updated", &json!({"status": "open", "url": "https://pay.example"}));
    let connection = rusqlite::Connection::open(shop.live_database()).unwrap();
    connection.execute("UPDATE stripe_checkout_sessions SET status = 'open'", []).unwrap();
    assert_eq!(shop.fake.payable().len(), 2);
    assert_eq!(id_of(&shop.done("alice", CHECKOUT, &team())), second);
    assert_eq!(shop.fake.payable(), [second]);
}

#[test]
fn what_cannot_be_asked_or_expired_makes_nothing() {
    let shop = shop();
    shop.done("alice", CHECKOUT, &pro());
    let read = "GET /v1/checkout/sessions/*";
    shop.fake.fail(Fault::Status(403, None), read, 1);
    assert_eq!(shop.fault("alice", CHECKOUT, &pro()), is(502, "stripe_key_refused", ""));
    shop.fake.fail(Fault::Status(403, None), EXPIRE, 1);
    assert_eq!(shop.fault("alice", CHECKOUT, &team()), is(502, "stripe_key_refused", ""));
    assert_eq!(shop.fake.effects("checkout.session"), 1);

    // In doubt: 202 with a key that finds it out.
    shop.fake.fail(Fault::ActThenReset, EXPIRE, 1);
    shop.fake.fail(Fault::Status(503, Some(false)), EXPIRE, 1);
    let (status, doubt) = shop.post("alice", CHECKOUT, &team());
    assert_eq!((status, &doubt["status"], shop.fake.effects("checkout.session")), (202, &json!("in_doubt"), 1));
    let expired = || shop.fake.event_types().iter().filter(|kind| *kind == "checkout.session.expired").count();
    let (status, made) = keyed(&shop, doubt["retry_with"].as_str().unwrap(), &team());
    assert_eq!((status, shop.fake.payable(), expired()), (200, vec![id_of(&made)], 1));
}

#[test]
fn what_was_in_doubt_is_taken_up_by_the_next_request_before_anything_new_is_made() {
    let shop = shop();
    shop.done("alice", "/customer", &Value::Null);
    let doubtful = |body: &Value| {
        shop.fake.fail(Fault::ActThenReset, MAKE, 1);
        shop.fake.fail(Fault::Status(503, Some(false)), MAKE, 1);
        let (status, doubt) = shop.post("alice", CHECKOUT, body);
        assert_eq!((status, &doubt["status"]), (202, &json!("in_doubt")));
        doubt["retry_with"].as_str().unwrap().to_owned()
    };
    // The same order without a key: still in doubt, and then the session that was made.
    let key = doubtful(&pro());
    shop.fake.fail(Fault::Status(503, Some(false)), MAKE, 1);
    let still = shop.post("alice", CHECKOUT, &pro());
    assert_eq!(still, (202, json!({"status": "in_doubt", "retry_with": key})));
    let session = shop.done("alice", CHECKOUT, &pro());
    assert_eq!((shop.fake.effects("checkout.session"), shop.fake.payable()), (1, vec![id_of(&session)]));
    assert_eq!(keyed(&shop, &key, &pro()), (200, session));

    // Another order: what was made is expired.
    doubtful(&team());
    let once = json!({"price_id": "price_once", "mode": "payment"});
    shop.fake.fail(Fault::Status(503, Some(false)), MAKE, 1);
    let (status, doubt) = shop.post("alice", CHECKOUT, &once);
    assert_eq!((status, shop.fake.payable().len()), (202, 1));
    // Its key is for this order.
    let (status, session) = keyed(&shop, doubt["retry_with"].as_str().unwrap(), &once);
    assert_eq!((status, shop.fake.payable()), (200, vec![id_of(&session)]));
    assert_eq!(shop.fake.effects("checkout.session"), 3);
}

#[test]
fn what_was_certainly_not_done_is_judged_anew_when_it_is_asked_for_again() {
    let shop = shop();
    shop.done("alice", "/customer", &Value::Null);
    let refused = |key: &str, body: &Value| {
        shop.fake.fail(Fault::Status(403, None), MAKE, 1);
        assert_eq!(fault(&keyed(&shop, key, body)).0, 502);
    };
    refused("key-1", &pro());
    refused("key-2", &pro());
    shop.done("alice", CHECKOUT, &team());
    // The other session goes first here, too.
    let (status, made) = keyed(&shop, "key-1", &pro());
    assert_eq!((status, shop.fake.payable()), (200, vec![id_of(&made)]));
    // The same order is there already.
    assert_eq!(keyed(&shop, "key-2", &pro()), (200, made.clone()));
    assert_eq!((shop.fake.payable().len(), shop.fake.effects("checkout.session")), (1, 2));
    // And who has bought it meanwhile buys nothing more.
    shop.fake.complete(&id_of(&made), "pm_card_visa").unwrap();
    assert_eq!(fault(&keyed(&shop, "key-2", &pro())), is(409, "already_subscribed", ""));
    assert_eq!(keyed(&shop, "key-1", &pro()), (200, made));
}
