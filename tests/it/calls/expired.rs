//! Stripe forgets an idempotency key after a day. What is still in doubt then is looked for, and never sent again unless
//! it is certain that it was not done.

use std::sync::Arc;

use serde_json::json;
use tilld::base::clock::{Clock, ManualClock};
use tilld::outward::calls::{CallCaller, Calls, CallsError, OperationOutcome, OperationRequest};
use tilld::stripe::client::Client;
use tilld::stripe::form::FormBody;
use tilld::stripe::operation::{OperationKind, OperationParameters};
use tilld::stripe::settings::{ApiKey, StripeSettings};

use crate::fake_stripe::{FakeStripe, Fault};
use crate::harness::{Setup, Till};

const HOUR_MS: i64 = 3_600_000;
/// Attempts of one call.
const ALL: usize = 1;

struct Scene {
    till: Till,
    fake: FakeStripe,
    calls: Calls,
    customer: String,
}

fn scene() -> Scene {
    let till = Till::with(Setup { livemode: Some(false), ..Setup::default() });
    let fake = FakeStripe::start();
    till.clock.set(fake.clock().now_ms());
    let settings = StripeSettings {
        max_attempts: 1,
        ..StripeSettings::new(ApiKey::new(fake.key()), &fake.url(), "2026-09-30.endive")
    };
    let clock = Arc::clone(&till.clock) as Arc<dyn Clock>;
    let client = Client::new(settings).unwrap();
    let calls = Calls::new(till.store.clone(), client, clock, Arc::clone(&till.api.context));
    let customer = fake.add_customer("alice@example.com", "pm_card_visa");
    Scene { till, fake, calls, customer }
}

impl Scene {
    /// Hours pass, here and there.
    fn later(&self, hours: i64) {
        let clocks: [&ManualClock; 2] = [&self.till.clock, &self.fake.clock()];
        clocks.iter().for_each(|clock| clock.advance(hours * HOUR_MS));
    }

    fn pay(&self) -> OperationOutcome {
        self.pay_for("key-1")
    }

    fn pay_for(&self, key: &str) -> OperationOutcome {
        self.try_to_pay(key).unwrap()
    }

    fn try_to_pay(&self, key: &str) -> Result<OperationOutcome, CallsError> {
        let wanted = OperationRequest {
            kind: OperationKind::PaymentIntentCreate,
            parameters: OperationParameters::default(),
            user_id: None,
            subject: None,
            caller: CallCaller::new(Some(key.to_owned()), "the same request"),
        };
        let form = |key: &str| {
            let metadata = FormBody::new().put("user_id", "alice").put("tilld_key", key);
            let sums =
                FormBody::new().put("amount", "1999").put("currency", "usd").put("customer", self.customer.as_str());
            sums.map("metadata", metadata)
        };
        self.calls.perform(&wanted, form)
    }

    fn recover(&self) -> usize {
        self.calls.recover(self.till.clock.now_ms(), &|| false).unwrap()
    }

    fn status(&self) -> serde_json::Value {
        self.till.value("SELECT status FROM stripe_operations")
    }

    fn posts(&self) -> usize {
        self.fake.requests_to("POST /v1/payment_intents").len()
    }
}

#[test]
fn while_the_key_lives_the_same_bytes_are_sent_again_and_answered_as_the_first_time() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    assert_eq!(scene.pay(), OperationOutcome::InDoubt { key: "key-1".to_owned() });
    assert_eq!(scene.recover(), 0, "it is not due yet");
    scene.later(22);
    assert_eq!((scene.recover(), scene.status()), (1, json!("done")));
    let sent = scene.fake.requests_to("POST /v1/payment_intents");
    assert_eq!((sent.len(), scene.fake.effects("payment_intent")), (ALL + 1, 1));
    assert!(sent.iter().all(|one| one.body == sent[0].body && one.header("idempotency-key") == Some("key-1")));
    assert_eq!(scene.till.value("SELECT idempotency_key FROM stripe_payment_intents"), json!("key-1"));
}

#[test]
fn what_was_done_under_an_expired_key_is_found_by_its_metadata_and_not_sent_again() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    scene.pay();
    scene.later(25);
    // Many were made since.
    for _ in 0..130 {
        scene.fake.add("payment_intent", &json!({"metadata": {}}));
    }
    assert_eq!((scene.recover(), scene.status()), (1, json!("done")));
    assert_eq!((scene.posts(), scene.fake.effects("payment_intent")), (ALL, 1));
    let OperationOutcome::Done(done) = scene.pay() else { panic!("the same key must tell the outcome") };
    assert_eq!(done.object["metadata"]["tilld_key"], "key-1");
    assert_eq!(scene.posts(), ALL);
}

#[test]
fn what_was_not_done_under_an_expired_key_is_known_not_to_be_and_may_be_asked_for_again() {
    let scene = scene();
    scene.fake.fail(Fault::ResetBefore, "POST /v1/payment_intents", ALL);
    assert_eq!(scene.pay(), OperationOutcome::InDoubt { key: "key-1".to_owned() });
    scene.later(25);
    assert_eq!((scene.recover(), scene.status()), (1, json!("not_done")));
    assert_eq!((scene.posts(), scene.fake.effects("payment_intent")), (ALL, 0));
    assert!(matches!(scene.pay(), OperationOutcome::Done(_)));
    assert_eq!(scene.fake.effects("payment_intent"), 1);
}

#[test]
fn an_expired_key_is_not_sent_again_by_its_caller_either_before_it_was_looked_for() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    scene.pay();
    scene.later(25);
    assert!(matches!(scene.pay(), OperationOutcome::Done(_)));
    assert_eq!((scene.posts(), scene.fake.effects("payment_intent")), (ALL, 1));
}

#[test]
fn a_stored_failure_is_no_answer_for_a_day_what_it_made_shows_after_minutes() {
    for (is_made, expected) in [(true, "done"), (false, "not_done")] {
        let scene = scene();
        scene.fake.fail(Fault::ActThen500, "POST /v1/payment_intents", ALL);
        assert_eq!(scene.pay(), OperationOutcome::InDoubt { key: "key-1".to_owned() });
        // It may still be at work: the same bytes again, which find the failure that was stored.
        assert_eq!(scene.pay(), OperationOutcome::InDoubt { key: "key-1".to_owned() });
        if !is_made {
            let made = scene.fake.all("payment_intent").remove(0);
            scene.fake.forget("payment_intent", made["id"].as_str().unwrap());
        }
        scene.later(1);
        assert_eq!((scene.recover(), scene.status()), (1, json!(expected)));
        assert_eq!((scene.posts(), scene.fake.effects("payment_intent")), (ALL + 2, 1));
    }
}

#[test]
fn looking_for_it_is_tried_again_while_stripe_cannot_be_asked() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    scene.pay();
    scene.later(25);
    scene.fake.fail(Fault::Only500, "GET /v1/payment_intents", ALL);
    assert_eq!((scene.recover(), scene.status()), (0, json!("in_doubt")));
    scene.later(1);
    assert_eq!((scene.recover(), scene.status()), (1, json!("done")));
    assert_eq!(scene.fake.effects("payment_intent"), 1);
}

#[test]
fn what_was_sent_by_a_clock_that_has_been_set_back_is_looked_for_at_once_and_not_sent_again() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    scene.till.clock.advance(48 * HOUR_MS);
    assert_eq!(scene.pay(), OperationOutcome::InDoubt { key: "key-1".to_owned() });
    scene.till.clock.set(scene.fake.clock().now_ms());
    // What its thread does first when it begins, and when the clock was set back.
    scene.calls.bring_forward(scene.till.clock.now_ms()).unwrap();
    assert_eq!((scene.recover(), scene.status()), (1, json!("done")));
    assert_eq!((scene.posts(), scene.fake.effects("payment_intent")), (ALL, 1));
}

#[test]
fn an_answer_that_shows_no_payment_is_no_outcome() {
    let scene = scene();
    scene.fake.fail(Fault::Status(200, None), "POST /v1/payment_intents", ALL);
    assert_eq!(scene.pay(), OperationOutcome::InDoubt { key: "key-1".to_owned() });
    assert!(matches!(scene.pay(), OperationOutcome::Done(_)));
    assert_eq!(scene.fake.effects("payment_intent"), 1);
}

#[test]
fn a_list_that_cannot_be_read_does_not_say_that_nothing_was_done() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    scene.pay();
    scene.later(25);
    scene.fake.fail(Fault::Status(200, None), "GET /v1/payment_intents", 1);
    assert_eq!((scene.recover(), scene.status()), (0, json!("in_doubt")));
    scene.later(2);
    assert_eq!((scene.recover(), scene.status()), (1, json!("done")));
    assert_eq!(scene.fake.effects("payment_intent"), 1);
}

#[test]
fn one_operation_that_cannot_be_found_out_does_not_keep_the_next_one_waiting() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", 2 * ALL);
    scene.pay();
    scene.pay_for("key-2");
    scene.later(1);
    scene.fake.fail(Fault::Status(200, None), "POST /v1/payment_intents", 1);
    assert_eq!(scene.recover(), 1);
    scene.later(2);
    assert_eq!(scene.recover(), 1);
    assert_eq!(scene.fake.effects("payment_intent"), 2);
}

#[test]
fn with_the_key_of_another_account_nothing_in_doubt_is_taken_for_not_done() {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    scene.pay();
    scene.till.store.write(|tx| tilld::store::settings::put(tx, "stripe_account", "acct_another")).unwrap();
    scene.later(1);
    let error = scene.calls.recover(scene.till.clock.now_ms(), &|| false).unwrap_err().to_string();
    assert!(error.contains("acct_another") && error.contains("correct the key"), "{error}");
    assert_eq!((scene.status(), scene.posts()), (json!("in_doubt"), ALL));
    // The right key again.
    let known = scene.till.store.write(|tx| tilld::store::settings::put(tx, "stripe_account", "acct_FakeStripe"));
    known.unwrap();
    scene.till.clock.advance(HOUR_MS);
    assert_eq!((scene.recover(), scene.status()), (1, json!("done")));
    assert_eq!(scene.fake.effects("payment_intent"), 1);
}

#[test]
fn nothing_new_is_asked_for_with_a_key_of_the_other_mode() {
    let scene = scene();
    scene.till.store.write(|tx| tilld::store::settings::put(tx, "stripe_mode", "live")).unwrap();
    let error = scene.try_to_pay("key-1").unwrap_err().to_string();
    assert!(error.contains("live mode") && error.contains("test mode"), "{error}");
    assert_eq!((scene.posts(), scene.till.value("SELECT count(*) FROM stripe_operations")), (0, json!(0)));
}

impl Scene {
    /// Asks for something that is done to one object.
    fn do_to(
        &self,
        kind: OperationKind,
        subject: &str,
        parameters: OperationParameters,
        form: FormBody,
    ) -> OperationOutcome {
        let wanted = OperationRequest {
            kind,
            parameters,
            user_id: Some("alice".to_owned()),
            subject: Some(subject.to_owned()),
            caller: CallCaller::new(Some("key-1".to_owned()), "the same request"),
        };
        self.calls.perform(&wanted, |_| form).unwrap()
    }

    /// What became of it a day after it was left in doubt.
    fn found_out(&self, begin: impl Fn(&Self) -> OperationOutcome, pattern: &str, fault: Fault) -> serde_json::Value {
        self.fake.fail(fault, pattern, ALL);
        assert_eq!(begin(self), OperationOutcome::InDoubt { key: "key-1".to_owned() });
        self.later(25);
        assert_eq!(self.recover(), 1);
        assert_eq!(self.fake.requests_to(pattern).len(), ALL, "it was sent again");
        self.status()
    }
}

#[test]
fn an_expired_session_tells_a_day_later_that_it_is_and_one_that_was_paid_that_it_is_not() {
    let pattern = "POST /v1/checkout/sessions/*/expire";
    for (fault, then, expected) in [
        (Fault::ActThenReset, "expired", "done"),
        (Fault::ResetBefore, "complete", "not_done"),
        // By itself, after a day: there is nothing left to do.
        (Fault::ResetBefore, "expired", "done"),
    ] {
        let scene = scene();
        let session = scene.fake.add("checkout.session", &json!({"status": "open", "customer": scene.customer}));
        let begin = |scene: &Scene| {
            let none = OperationParameters::default();
            let outcome = scene.do_to(OperationKind::CheckoutSessionExpire, &session, none, FormBody::new());
            scene.fake.alter(&session, &json!({"status": then}));
            outcome
        };
        assert_eq!(scene.found_out(begin, pattern, fault), json!(expected));
        let sql = "SELECT count(*) FROM stripe_checkout_sessions WHERE status = 'expired'";
        assert_eq!(scene.till.value(sql), json!(u8::from(expected == "done")));
    }
}

#[test]
fn a_subscription_tells_a_day_later_whether_it_was_resumed() {
    let paused = json!({"status": "paused"});
    let uncollected = json!({"status": "active", "pause_collection": {"behavior": "void", "resumes_at": null}});
    let unchanged = || FormBody::new().map("billing_cycle_anchor", FormBody::new().put("type", "unchanged"));
    for (state, under, fault, expected) in [
        (&paused, "/resume", Fault::ActThenReset, "done"),
        (&paused, "/resume", Fault::ResetBefore, "not_done"),
        (&uncollected, "", Fault::ActThenReset, "done"),
        (&uncollected, "", Fault::ResetBefore, "not_done"),
    ] {
        let scene = scene();
        let id = scene.fake.add("subscription", &json!({"customer": scene.customer}));
        scene.fake.alter(&id, state);
        let pattern = format!("POST /v1/subscriptions/*{under}");
        let begin = |scene: &Scene| {
            let (kind, form) = if under.is_empty() {
                (OperationKind::SubscriptionResumeCollection, FormBody::new().unset("pause_collection"))
            } else {
                (OperationKind::SubscriptionResume, unchanged())
            };
            scene.do_to(kind, &id, OperationParameters::default(), form)
        };
        assert_eq!(scene.found_out(begin, &pattern, fault), json!(expected), "{state} {under}");
    }
}

#[test]
fn a_change_that_waits_for_its_payment_is_known_a_day_later_to_have_been_made() {
    let scene = scene();
    scene.fake.add_price("price_pro", 2000, "month");
    scene.fake.add_price("price_team", 5000, "month");
    let url = format!("{}/v1/subscriptions", scene.fake.url());
    let authorization = format!("Bearer {}", scene.fake.key());
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let form = format!("customer={}&items[0][price]=price_pro", scene.customer);
    let answer = tilld::app::cli::post::send("POST", &url, &headers, form.as_bytes()).unwrap();
    let made: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let made = [&made["id"], &made["items"]["data"][0]["id"]].map(|id| id.as_str().unwrap().to_owned());
    scene.fake.use_card(&made[0], "pm_card_visa_chargeDeclined");
    let begin = |scene: &Scene| {
        let item = FormBody::new().put("id", made[1].as_str()).put("price", "price_team").put("quantity", 1);
        let form = FormBody::new().list("items", [item]).put("proration_behavior", "always_invoice");
        let form = form.put("payment_behavior", "pending_if_incomplete");
        let wanted = OperationParameters::of_price("price_team");
        scene.do_to(OperationKind::SubscriptionChangePlan, &made[0], wanted, form)
    };
    assert_eq!(scene.found_out(begin, "POST /v1/subscriptions/*", Fault::ActThenReset), json!("done"));
    assert_eq!(scene.fake.object(&made[0]).unwrap()["items"]["data"][0]["price"]["id"], "price_pro");
}

/// A change that this program does not understand, and what it says of it.
fn stays_in_doubt(change: &str, words: &str) {
    let scene = scene();
    scene.fake.fail(Fault::ActThenReset, "POST /v1/payment_intents", ALL);
    assert!(matches!(scene.pay(), OperationOutcome::InDoubt { .. }));
    let sql = format!("UPDATE stripe_operations SET {change}, user_id = 'alice'");
    scene.till.connection().execute_batch(&sql).unwrap();
    let asked = scene.fake.requests().len();
    for hours in [1, 30] {
        scene.later(hours);
        assert_eq!(scene.recover(), 0);
        assert_eq!(scene.status(), "in_doubt");
        let said = scene.till.value("SELECT last_error FROM stripe_operations");
        assert!(said.as_str().unwrap().contains(words), "{said}");
    }
    let sent = |method: &str| scene.fake.requests().iter().skip(asked).filter(|one| one.method == method).count();
    assert_eq!(sent("POST"), 0);
}

#[test]
fn what_a_newer_program_has_written_down_stays_in_doubt_and_is_neither_sent_nor_called_not_done() {
    stays_in_doubt("kind = 'payment_intent.split'", "does not know what \"payment_intent.split\" is");
}

#[test]
fn what_a_newer_program_has_asked_for_with_more_than_this_one_knows_stays_in_doubt_too() {
    let words = "does not know all that \"payment_intent.create\" was asked for with";
    stays_in_doubt("wanted = '{\"quorum\": 3}'", words);
}
