//! Many at once: the bucket holds, nobody is refused, and what needs no Stripe does not wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use std::sync::Arc;

use tilld::base::clock::{Clock, SystemClock};
use tilld::base::thread::{Pulse, stopper};
use tilld::objects::kinds;
use tilld::objects::user;
use tilld::outward::calls::{Calls, UserCustomer};
use tilld::outward::sync::{SyncTools, backfill};
use tilld::stripe::client::Client;
use tilld::stripe::settings::{ApiKey, StripeSettings};

use crate::fake_stripe::FakeStripe;
use crate::harness::Till;
use crate::live::{Live, ask};

const USERS: usize = 200;
const PER_S: usize = 100;

fn path(user: usize, rest: &str) -> String {
    format!("/api/v1/users/user-{user}{rest}")
}

#[test]
fn two_hundred_users_at_once_keep_to_the_bucket_and_hinder_no_entitlement() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let live = Live::start_beside_with(dir.path(), &fake, &[("STRIPE_CALLS_PER_S", "100")]);
    for user in 0..USERS {
        assert_eq!(live.ask("PUT", &path(user, ""), &[], &json!({})).0, 201);
    }
    let before = fake.requests().len();
    let (address, began, done) = (&live.private, Instant::now(), AtomicBool::new(false));
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        #[allow(clippy::disallowed_methods)] // joined by the scope
        let asking: Vec<_> = (0..USERS)
            .map(|user| scope.spawn(move || ask(address, "POST", &path(user, "/customer"), &[], &Value::Null)))
            .collect();
        #[allow(clippy::disallowed_methods)] // joined by the scope
        let watching = scope.spawn(|| {
            let mut answers = 0;
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::SeqCst) {
                let asked = Instant::now();
                assert_eq!(ask(address, "GET", &path(0, "/entitlement"), &[], &Value::Null).0, 200);
                slowest = slowest.max(asked.elapsed());
                answers += 1;
                // Counted after the time was taken, so that what came meanwhile is allowed for.
                let sent = fake.requests().len() - before;
                let allowed = PER_S as f64 * (1.0 + began.elapsed().as_secs_f64()) + 1.0;
                assert!(sent as f64 <= allowed, "{sent} calls, {allowed} allowed");
            }
            (answers, slowest)
        });
        for one in asking {
            let (status, answer) = one.join().unwrap();
            assert_eq!(status, 200, "{answer}");
        }
        done.store(true, Ordering::SeqCst);
        let (answers, longest) = watching.join().unwrap();
        assert!(answers > 10, "only {answers} answers beside");
        slowest = longest;
    });
    assert_eq!(fake.effects("customer"), USERS);
    assert!(slowest < Duration::from_secs(1), "an entitlement took {slowest:?} meanwhile");
}

/// How long a request of the application's may wait while everything is read from Stripe.
const LONGEST: Duration = Duration::from_secs(2);

#[test]
fn no_call_of_the_application_waits_long_while_five_thousand_objects_are_read() {
    let (till, fake) = (Till::new(), FakeStripe::start());
    for (kind, count) in [("subscription", 2000), ("invoice", 2000), ("charge", 1000)] {
        fake.seed(kind, count);
    }
    let client = Client::new(StripeSettings::new(ApiKey::new(fake.key()), &fake.url(), "2026-09-30.endive")).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, context) = (till.store.clone(), Arc::clone(&till.api.context));
    let calls = Calls::new(store.clone(), client.clone(), Arc::clone(&clock), Arc::clone(&context));
    let (_stopper, stop) = stopper();
    let means = SyncTools { store, client, clock, context, stop, pulse: Pulse::default() };
    // Not the payment methods: each customer that is made meanwhile would have its own read.
    let types = ["subscriptions", "invoices", "charges"].map(|name| kinds::named(name).unwrap());
    let order = backfill::BackfillOrder::of(&types, false);
    let slowest = std::thread::scope(|scope| {
        #[allow(clippy::disallowed_methods)] // joined by the scope
        let reading = scope.spawn(|| backfill::run(&means, &order, &|_| ()).unwrap());
        let mut waits = Vec::new();
        while !reading.is_finished() {
            let id = format!("user-{}", waits.len());
            till.call(tilld::http::request::Method::Put, &format!("/api/v1/users/{id}"), &json!({}));
            let user = till.store.read(|reader| user::find(reader, &id)).unwrap().unwrap();
            let asked = Instant::now();
            assert!(matches!(calls.customer_of(&user).unwrap(), UserCustomer::Known(_)));
            waits.push(asked.elapsed());
            std::thread::sleep(Duration::from_millis(100));
        }
        reading.join().unwrap();
        assert!(waits.len() > 3, "only {} calls beside", waits.len());
        waits.into_iter().max().unwrap()
    });
    assert!(slowest < LONGEST, "a call waited {slowest:?}");
    assert_eq!(
        till.value("SELECT count(*) FROM stripe_objects WHERE object IN ('subscription', 'invoice', 'charge')"),
        5000
    );
}

#[test]
fn a_user_whose_calls_hang_does_not_keep_another_waiting() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    fake.add_price("price_pro", 1000, "month");
    let env = [("STRIPE_TIMEOUT_S", "2"), ("TILLD_CHECKOUT_SUCCESS_URL", "https://app.example/ok")];
    let live = Live::start_beside_with(dir.path(), &fake, &env);
    for user in 0..2 {
        assert_eq!(live.ask("PUT", &path(user, ""), &[], &json!({})).0, 201);
        assert_eq!(live.ask("POST", &path(user, "/customer"), &[], &Value::Null).0, 200);
    }
    fake.fail(crate::fake_stripe::Fault::Hang, "POST /v1/checkout/sessions", 3);
    let address = &live.private;
    let order = json!({"price_id": "price_pro", "allow_second": true});
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let (order, checkout) = (&order, path(0, "/checkout-session"));
            #[allow(clippy::disallowed_methods)] // joined by the scope
            scope.spawn(move || ask(address, "POST", &checkout, &[], order));
        }
        while fake.requests_to("POST /v1/checkout/sessions").is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let asked = Instant::now();
        assert_eq!(ask(address, "POST", &path(1, "/portal-session"), &[], &json!({})).0, 200);
        assert!(asked.elapsed() < LONGEST, "it waited {:?}", asked.elapsed());
    });
}
