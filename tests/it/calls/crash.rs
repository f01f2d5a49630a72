//! No double charge, whatever dies when: every step of an operation × kill -9, and every fault on the way to Stripe and
//! back. Afterwards the same request under the same key is answered, and the fake has done it exactly once.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;

use crate::fake_stripe::{FakeStripe, Fault};
use crate::harness::{PATH, SECRET};
use crate::live::{Live, try_ask, url_of, witness_beside};

/// What is done to Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Customer,
    Checkout,
    /// Another order while a session is open: that one is expired,
    Expire,
    /// and then the new one is made.
    Remake,
    Intent,
    Refund,
    Cancel,
    Resume,
}

/// The scene: a daemon, its folder, the fake, and one operation that has not been asked for yet.
struct Scene {
    dir: tempfile::TempDir,
    fake: FakeStripe,
    live: Option<Live>,
    op: Op,
    path: String,
    body: Value,
    key: String,
}

const QUICK: (&str, &str) = ("STRIPE_TIMEOUT_S", "2");
/// Scenes of one operation that play at once.
const AT_ONCE: usize = 6;
const USER: &str = "/api/v1/users/alice";

impl Scene {
    fn new(op: Op) -> Self {
        let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
        fake.add_price("price_pro", 1000, "month");
        let live = Live::start_beside_with(dir.path(), &fake, &[QUICK]);
        live.ask("PUT", USER, &[], &json!({"email": "alice@example.com"}));
        let (path, body) = prepare(op, &live, &fake);
        Self { dir, fake, live: Some(live), op, path, body, key: "key-of-the-request".to_owned() }
    }

    /// The request, again and again the same.
    fn ask(&self) -> (u16, Value) {
        self.try_ask().unwrap_or_else(|| unreachable!("{:?}: no answer", self.op))
    }

    fn try_ask(&self) -> Option<(u16, Value)> {
        let address = &self.live.as_ref().unwrap().private;
        let mut answer = try_ask(address, "POST", &self.path, &[("Idempotency-Key", &self.key)], &self.body).ok()?;
        // A subscription is shown as the tables have it, which may rest on a newer event meanwhile.
        answer.1.as_object_mut().and_then(|fields| fields.remove("as_of"));
        Some(answer)
    }

    /// The request on its way, while `meanwhile` happens to the daemon, which does not live to answer it.
    fn killed(&mut self, meanwhile: impl FnOnce(&FakeStripe, &Path)) {
        let address = self.live.as_ref().unwrap().private.clone();
        std::thread::scope(|scope| {
            let (path, key, body) = (&self.path, &self.key, &self.body);
            #[allow(clippy::disallowed_methods)] // joined by the scope
            let asking = scope.spawn(move || try_ask(&address, "POST", path, &[("Idempotency-Key", key)], body));
            meanwhile(&self.fake, self.dir.path());
            self.live.take().unwrap().kill();
            assert!(asking.join().unwrap().is_err(), "{:?}: it was answered before it was killed", self.op);
        });
    }

    fn restart(&mut self) {
        self.live = Some(Live::start_beside_with(self.dir.path(), &self.fake, &[QUICK]));
    }

    /// Waits until no operation is open any more: the recovery task has found out what became of each.
    fn settle(&self) {
        for _ in 0..1500 {
            if self.open() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        unreachable!("{:?}: still not known after 15 s", self.op);
    }

    fn open(&self) -> i64 {
        count(self.dir.path(), "SELECT count(*) FROM stripe_operations WHERE status IN ('sending', 'in_doubt')")
    }

    fn pattern(&self) -> &'static str {
        match self.op {
            Op::Customer => "POST /v1/customers",
            Op::Checkout | Op::Remake => "POST /v1/checkout/sessions",
            Op::Expire => "POST /v1/checkout/sessions/*/expire",
            Op::Intent => "POST /v1/payment_intents",
            Op::Refund => "POST /v1/refunds",
            Op::Cancel => "DELETE /v1/subscriptions/*",
            Op::Resume => "POST /v1/subscriptions/*/resume",
        }
    }

    fn effects(&self) -> usize {
        let told = |event: &str| self.fake.event_types().iter().filter(|kind| *kind == event).count();
        match self.op {
            Op::Customer => self.fake.effects("customer"),
            Op::Checkout => self.fake.effects("checkout.session"),
            Op::Expire => told("checkout.session.expired"),
            Op::Remake => self.fake.effects("checkout.session") - 1,
            Op::Intent => self.fake.effects("payment_intent"),
            Op::Refund => self.fake.effects("refund"),
            Op::Cancel => told("customer.subscription.deleted"),
            Op::Resume => told("customer.subscription.resumed"),
        }
    }

    /// What must hold in the end, however it went.
    fn done_once(&self, how: &str) {
        let (status, answer) = self.ask();
        assert_eq!(status, 200, "{:?} {how}: {answer}", self.op);
        assert_eq!(self.ask(), (status, answer.clone()), "{:?} {how}: the same key, another answer", self.op);
        assert_eq!(self.effects(), 1, "{:?} {how}", self.op);
        assert_eq!(self.open(), 0, "{:?} {how}", self.op);
        if matches!(self.op, Op::Checkout | Op::Expire | Op::Remake) {
            self.one_can_be_paid(&answer, how);
        }
        witness_beside(self.dir.path(), &self.fake);
    }

    /// One session can be paid, it is the one that was answered, and once it is, there is nothing more to pay.
    fn one_can_be_paid(&self, answer: &Value, how: &str) {
        let session = answer["session_id"].as_str().unwrap();
        assert_eq!(self.fake.payable(), [session], "{:?} {how}", self.op);
        self.fake.complete(session, "pm_card_visa").unwrap();
        for quantity in [1, 7] {
            let order = json!({"price_id": "price_pro", "success_url": "https://a.example/ok", "quantity": quantity});
            let (status, answer) = self.live.as_ref().unwrap().ask("POST", &self.path, &[], &order);
            assert_eq!((status, &answer["error"]["code"]), (409, &json!("already_subscribed")), "{:?} {how}", self.op);
        }
        assert_eq!((self.fake.payable().len(), self.fake.effects("subscription")), (0, 1), "{:?} {how}", self.op);
    }
}

fn count(dir: &Path, sql: &str) -> i64 {
    let connection = Connection::open(dir.join("tilld.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Brings about what the operation needs, and says how it is asked for.
fn prepare(op: Op, live: &Live, fake: &FakeStripe) -> (String, Value) {
    let post = |path: &str, key: &str, body: Value| {
        let (status, answer) = live.ask("POST", path, &[("Idempotency-Key", key)], &body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    let urls =
        json!({"price_id": "price_pro", "success_url": "https://a.example/ok", "cancel_url": "https://a.example/no"});
    let intent = json!({"amount_cents": 1999, "currency": "usd", "payment_method": "pm_card_visa", "confirm": true});
    if op != Op::Customer {
        post(&format!("{USER}/customer"), "key-of-the-customer", Value::Null);
    }
    match op {
        Op::Customer => (format!("{USER}/customer"), Value::Null),
        Op::Checkout => (format!("{USER}/checkout-session"), urls),
        Op::Intent => (format!("{USER}/payment-intents"), intent),
        Op::Refund => {
            let paid = post(&format!("{USER}/payment-intents"), "key-of-the-payment", intent);
            (format!("/api/v1/payment-intents/{}/refund", paid["id"].as_str().unwrap()), json!({"amount_cents": 500}))
        }
        Op::Expire | Op::Remake => {
            post(&format!("{USER}/checkout-session"), "key-of-the-session", urls.clone());
            let mut other = urls;
            other["quantity"] = json!(2);
            (format!("{USER}/checkout-session"), other)
        }
        Op::Cancel | Op::Resume => {
            let session = post(&format!("{USER}/checkout-session"), "key-of-the-session", urls);
            fake.deliver_to(&url_of(&live.public, PATH), SECRET, ApiVersion::CURRENT);
            let session = fake.complete(session["session_id"].as_str().unwrap(), "pm_card_visa").unwrap();
            if op == Op::Resume {
                fake.clock().advance(1000);
                let id = session["subscription"].as_str().unwrap();
                fake.change(id, "customer.subscription.paused", &json!({"status": "paused"}));
                fake.clock().advance(1000);
            }
            fake.flush();
            live.settle();
            match op {
                Op::Resume => (format!("{USER}/subscription/resume"), json!({"billing_cycle_anchor": "unchanged"})),
                _ => (format!("{USER}/subscription/cancel"), json!({"immediate": true})),
            }
        }
    }
}

/// Takes the database's write lock, so that nothing more can be committed.
fn lock(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("tilld.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    unreachable!("{what} did not come in 10 s");
}

fn open_rows(dir: &Path) -> i64 {
    count(dir, "SELECT count(*) FROM stripe_operations WHERE status = 'sending'")
}

/// Killed before the row was committed: it was never asked for, and nothing is done until it is asked again.
fn killed_before_the_row(op: Op) {
    let mut scene = Scene::new(op);
    let mut held = None;
    scene.killed(|_, dir| {
        held = Some(lock(dir));
        std::thread::sleep(Duration::from_millis(150));
    });
    drop(held);
    scene.restart();
    assert_eq!((scene.open(), scene.effects()), (0, 0), "{op:?}");
    scene.done_once("killed before the row");
}

/// Killed with the row committed and not a byte at Stripe: the one who listens there never reads.
fn killed_before_the_first_byte(op: Op) {
    let mut scene = Scene::new(op);
    scene.live.take().unwrap().kill();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    let env = [("STRIPE_API_KEY", scene.fake.key()), ("STRIPE_API_BASE", url.as_str())];
    scene.live = Some(Live::start_with(scene.dir.path(), &env));
    scene.killed(|_, dir| wait_for("the row", || open_rows(dir) == 1));
    scene.restart();
    scene.settle();
    assert_eq!(scene.effects(), 1, "{op:?}: what was asked for is done after the restart");
    scene.done_once("killed before the first byte");
}

/// Killed while Stripe has the request and has not acted on it, or has, and has not answered.
fn killed_while_stripe_has_it(op: Op, fault: Fault, acts: bool) {
    let mut scene = Scene::new(op);
    let (pattern, how) = (scene.pattern(), format!("killed during {fault:?}"));
    scene.fake.fail(fault, pattern, 1);
    let before = scene.fake.requests_to(pattern).len();
    scene.killed(|fake, _| wait_for("the request", || fake.requests_to(pattern).len() > before));
    wait_for("the effect", || scene.effects() == usize::from(acts));
    scene.restart();
    scene.settle();
    scene.done_once(&how);
}

/// Killed with Stripe's answer in hand, before it was written down.
fn killed_before_the_outcome_is_committed(op: Op) {
    let mut scene = Scene::new(op);
    scene.fake.fail(Fault::Hold, scene.pattern(), 1);
    let mut held = None;
    scene.killed(|fake, dir| {
        fake.wait_for_held(1);
        held = Some(lock(dir));
        fake.release();
        std::thread::sleep(Duration::from_millis(200));
    });
    assert_eq!(scene.effects(), 1, "{op:?}");
    drop(held);
    assert_eq!(scene.open(), 1, "{op:?}: it must not be written down before");
    scene.restart();
    scene.settle();
    scene.done_once("killed before the outcome was committed");
}

/// Killed after everything was written down: the answer is told to who asks again.
fn killed_after_the_outcome_is_committed(op: Op) {
    let mut scene = Scene::new(op);
    let first = scene.ask();
    scene.live.take().unwrap().kill();
    scene.restart();
    assert_eq!(scene.ask(), first, "{op:?}");
    scene.done_once("killed after the outcome");
}

/// The daemon lives, the way to Stripe or back does not. `402`, `500` and silence are told as they are, and the same
/// key tells the outcome.
fn faulty(op: Op, fault: Fault, times: usize) {
    let scene = Scene::new(op);
    let how = format!("{fault:?} {times} times");
    scene.fake.fail(fault, scene.pattern(), times);
    let (status, answer) = scene.ask();
    match status {
        200 => {}
        202 => {
            assert_eq!(answer, json!({"status": "in_doubt", "retry_with": answer["retry_with"]}), "{op:?} {how}");
            scene.settle();
        }
        status => assert_eq!(status, 502, "{op:?} {how}: {answer}"),
    }
    scene.done_once(&how);
}

/// All of it for one operation. Most of the time is spent waiting, so several scenes play at once.
fn every_step_and_fault(op: Op) {
    let mut cases: Vec<Box<dyn FnOnce() + Send>> = vec![
        Box::new(move || killed_before_the_row(op)),
        Box::new(move || killed_while_stripe_has_it(op, Fault::Hang, false)),
        Box::new(move || killed_while_stripe_has_it(op, Fault::ActThenHang, true)),
        Box::new(move || killed_before_the_outcome_is_committed(op)),
        Box::new(move || killed_after_the_outcome_is_committed(op)),
        // Longer than all attempts of one request.
        Box::new(move || faulty(op, Fault::ResetBefore, 8)),
        Box::new(move || faulty(op, Fault::ActThenReset, 8)),
    ];
    // What has to be read first is not read where nobody listens.
    if !matches!(op, Op::Expire | Op::Remake) {
        cases.push(Box::new(move || killed_before_the_first_byte(op)));
    }
    for fault in [
        Fault::ResetBefore,
        Fault::ActThenReset,
        Fault::Hang,
        Fault::ActThenHang,
        Fault::Only500,
        Fault::Truncated,
        Fault::Html502,
        Fault::RateLimited,
        Fault::LockTimeout,
    ] {
        cases.push(Box::new(move || faulty(op, fault, 1)));
    }
    play(cases);
}

fn play(cases: Vec<Box<dyn FnOnce() + Send>>) {
    let cases = Mutex::new(cases);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            #[allow(clippy::disallowed_methods)] // joined by the scope
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().pop() else { break };
                    case();
                }
            });
        }
    });
}

#[test]
fn a_customer_is_made_once_whatever_dies_when() {
    every_step_and_fault(Op::Customer);
}

#[test]
fn a_checkout_session_is_made_once_whatever_dies_when() {
    every_step_and_fault(Op::Checkout);
}

#[test]
fn an_open_session_is_expired_once_whatever_dies_when_and_one_can_be_paid() {
    every_step_and_fault(Op::Expire);
}

#[test]
fn a_session_is_made_once_in_the_place_of_another_one_whatever_dies_when() {
    every_step_and_fault(Op::Remake);
}

/// Killed, and asked again at once by somebody who has no key: for the same, or for something else.
fn killed_and_asked_without_a_key(op: Op, fault: Fault, quantity: Option<u32>) {
    let mut scene = Scene::new(op);
    let (pattern, how) = (scene.pattern(), format!("{fault:?}, then without a key for {quantity:?}"));
    scene.fake.fail(fault, pattern, 1);
    let before = scene.fake.requests_to(pattern).len();
    scene.killed(|fake, _| wait_for("the request", || fake.requests_to(pattern).len() > before));
    scene.restart();
    let mut order = scene.body.clone();
    quantity.iter().for_each(|quantity| order["quantity"] = json!(quantity));
    let ask = || scene.live.as_ref().unwrap().ask("POST", &scene.path, &[], &order);
    let mut answer = ask();
    for _ in 0..200 {
        if answer.0 == 200 {
            break;
        }
        // The recovery has its turn, or does not know yet.
        assert!(matches!(answer.0, 202 | 409), "{op:?} {how}: {answer:?}");
        std::thread::sleep(Duration::from_millis(50));
        answer = ask();
    }
    assert_eq!((answer.0, scene.open()), (200, 0), "{op:?} {how}: {}", answer.1);
    scene.one_can_be_paid(&answer.1, &how);
}

#[test]
fn who_has_no_key_after_a_kill_gets_one_session_to_pay_all_the_same() {
    let mut cases: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for op in [Op::Checkout, Op::Expire, Op::Remake] {
        for fault in [Fault::Hang, Fault::ActThenHang] {
            for quantity in [None, Some(5)] {
                let fault = fault.clone();
                cases.push(Box::new(move || killed_and_asked_without_a_key(op, fault, quantity)));
            }
        }
    }
    play(cases);
}

#[test]
fn a_subscription_is_resumed_once_whatever_dies_when() {
    every_step_and_fault(Op::Resume);
}

#[test]
fn a_payment_is_made_once_whatever_dies_when() {
    every_step_and_fault(Op::Intent);
}

#[test]
fn a_refund_is_made_once_whatever_dies_when() {
    every_step_and_fault(Op::Refund);
}

#[test]
fn a_subscription_is_canceled_once_whatever_dies_when() {
    every_step_and_fault(Op::Cancel);
}
