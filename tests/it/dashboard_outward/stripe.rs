//! Stripe: what was asked for is done by the daemon and seen on the page; what a comparison found is kept, and not for ever.

use crossbeam_channel::bounded;
use serde_json::json;
use tilld::base::clock::Clock;
use tilld::jobs::requests::RequestedTasks;
use tilld::jobs::step::StepLoop;
use tilld::objects::kinds;
use tilld::outward::sync::drift;
use tilld::store::drift_runs;

use super::Visitor;
use super::calls::with_key;
use crate::drift::means_with;
use crate::fake_stripe::{FakeStripe, Fault};
use crate::harness::Till;

const ANSWER_BYTES: u64 = 8 << 20;

/// Zoe's customer, whose name Stripe has changed without an event.
fn drifted() -> (Till, FakeStripe, String) {
    let fake = FakeStripe::start();
    let zoe = fake.create("customer", &json!({ "name": "old", "metadata": { "user_id": "zoe" } }));
    let mut till = with_key();
    till.clock.set(fake.clock().now_ms());
    for event in fake.events() {
        assert_eq!(till.post(&event).0, 200);
    }
    till.settle();
    fake.clock().advance(1_000_000);
    till.clock.advance(1_000_000);
    fake.alter(&zoe, &json!({ "name": "new" }));
    (till, fake, zoe)
}

/// Does what was asked for, as the daemon's thread does.
fn serve(till: &Till, fake: &FakeStripe) {
    let (tools, _stopper) = means_with(till, fake, ANSWER_BYTES);
    let (ring, _bell) = bounded(1);
    let mut tasks = RequestedTasks::new(tools, ring);
    while tasks.step(till.clock.now_ms()).unwrap() {}
}

#[test]
fn a_comparison_that_is_asked_for_is_done_kept_and_repaired_only_when_that_is_asked_for() {
    let (till, fake, zoe) = drifted();
    let visitor = Visitor::of(&till);
    visitor.page(&till, "stripe").shows(&["Nothing was compared yet", "No sync yet"]);
    assert_eq!(visitor.forge(&till, "stripe-compare", "").status, 403);
    let asked = visitor.act(&till, "stripe-compare", "");
    asked.shows(&["It was asked for", "waiting"]);
    assert_eq!(asked.header("Refresh"), "5");
    visitor.act(&till, "stripe-compare", "").shows(&["asked for before, and waits"]);
    assert_eq!(till.value("SELECT count(*) FROM task_requests"), 1);

    serve(&till, &fake);
    let seen = visitor.page(&till, "stripe");
    seen.shows(&[
        "1 differences, 1 of them left",
        "1 different",
        &zoe,
        "differs from Stripe",
        "<code>name</code>",
        "left",
    ]);
    assert_eq!(seen.header("Refresh"), "");
    assert_eq!(till.value("SELECT name FROM stripe_customers"), "old");
    visitor.page(&till, "drift?run=1").shows(&[&zoe, "dashboard", "customers"]);
    assert_eq!(visitor.get(&till, "drift?run=7").status, 404);

    visitor.page(&till, "stripe-fix").shows(&["Compare, and fix the copy", "answers of users change"]);
    assert_eq!(till.value("SELECT count(*) FROM task_requests"), 1, "the question asks for nothing");
    visitor.act(&till, "stripe-fix", "");
    serve(&till, &fake);
    visitor.page(&till, "stripe").shows(&["1 differences, all repaired", "repaired"]);
    assert_eq!(till.value("SELECT name FROM stripe_customers"), "new");
    let newest = till.store.read(drift_runs::find_newest).unwrap().unwrap();
    assert_eq!((newest.found, newest.left(), newest.actor.as_str()), (1, 0, "dashboard"));
    let actors = "SELECT group_concat(actor || ' ' || action, ',') FROM
        (SELECT actor, action FROM audit_log WHERE stripe_event_id IS NULL ORDER BY id)";
    let acts = till.value(actors);
    assert_eq!(acts, "dashboard task.ask,dashboard drift.checked,dashboard task.ask,dashboard drift.checked");
}

#[test]
fn catching_up_and_a_sync_that_are_asked_for_are_done_and_said() {
    let (till, fake, _) = drifted();
    let visitor = Visitor::of(&till);
    fake.create("customer", &json!({ "name": "second" }));
    visitor.act(&till, "stripe-catch-up", "");
    visitor.page(&till, "stripe-sync").shows(&["Read everything from Stripe"]);
    visitor.act(&till, "stripe-sync", "");
    visitor.page(&till, "stripe").shows(&["Catching up has not come to its end yet"]);
    serve(&till, &fake);
    let seen = visitor.page(&till, "stripe");
    seen.shows(&["1 new events", "objects read", "all types", "complete", "Every event up to", "acct_FakeStripe"]);
}

#[test]
fn what_fails_is_said_and_what_a_dead_process_had_in_hand_is_not_left_running() {
    let (till, fake, _) = drifted();
    let visitor = Visitor::of(&till);
    visitor.act(&till, "stripe-compare", "");
    till.connection().execute_batch("UPDATE task_requests SET status = 'running', began_at_ms = 1").unwrap();
    let (tools, _stopper) = means_with(&till, &fake, ANSWER_BYTES);
    let (ring, _bell) = bounded(1);
    till.turn(&mut StepLoop::new(RequestedTasks::new(tools, ring))).unwrap();
    visitor.page(&till, "stripe").shows(&["tilld was stopped meanwhile", "failed"]);

    fake.fail(Fault::Status(403, None), "/v1/customers", 20);
    visitor.act(&till, "stripe-compare", "");
    serve(&till, &fake);
    visitor.page(&till, "stripe").shows(&["not compared: customers"]);
}

#[test]
fn without_an_api_key_the_page_says_what_is_missing_and_asks_for_nothing() {
    let till = Till::new();
    let visitor = Visitor::of(&till);
    let seen = visitor.page(&till, "stripe");
    seen.shows(&["There is no API key", "stripe.api_key", "STRIPE_API_KEY"]);
    seen.hides(&["Compare now", "Catch up now"]);
    assert_eq!(visitor.act(&till, "stripe-catch-up", "").status, 409);
    assert_eq!(visitor.get(&till, "stripe-fix").status, 409);
    assert_eq!(till.value("SELECT count(*) FROM task_requests"), 0);
}

#[test]
fn only_the_newest_comparisons_and_the_first_findings_of_each_are_kept() {
    let (till, fake, _) = drifted();
    let (tools, _stopper) = means_with(&till, &fake, ANSWER_BYTES);
    let prices: Vec<_> = kinds::named("coupons").into_iter().collect();
    for number in 0..600 {
        fake.add("coupon", &json!({ "id": format!("C{number}") }));
    }
    let outcome = drift::run(&tools, &prices, false, "test", &mut |_| ()).unwrap();
    assert_eq!(outcome.left(), 600);
    let run = till.store.read(drift_runs::find_newest).unwrap().unwrap();
    assert_eq!((run.found, till.value("SELECT count(*) FROM drift_findings")), (600, json!(drift_runs::KEPT_FINDINGS)));
    Visitor::of(&till).page(&till, "drift?run=1").shows(&["600 different", "the first 500 are kept", "older"]);

    for _ in 0..drift_runs::KEPT_RUNS {
        drift::run(&tools, &[], false, "test", &mut |_| ()).unwrap();
    }
    assert_eq!(till.value("SELECT count(*) || ' ' || min(id) FROM drift_runs"), "40 2");
    assert_eq!(till.value("SELECT count(*) FROM drift_findings"), 0, "they go with their comparison");
}

#[test]
fn what_stripe_said_of_endpoints_and_permissions_is_remembered_and_shown_with_its_time() {
    let till = with_key();
    let visitor = Visitor::of(&till);
    visitor.page(&till, "stripe").shows(&["asks Stripe for the first time three minutes after its start"]);
    let (at_ms, message) = (till.clock.now_ms() - 120_000, "events are missing; `tilld check` names <them>");
    let said =
        json!({"at_ms": at_ms, "findings": [{"check": "webhook endpoint", "verdict": "warn", "message": message}]});
    let put = "INSERT INTO settings (name, value) VALUES ('findings_at_stripe', ?1)";
    till.connection().execute(put, [said.to_string()]).unwrap();
    let seen = visitor.page(&till, "stripe");
    seen.shows(&["webhook endpoint", "2 min ago", "<code>tilld check</code> names &#60;them&#62;"]);
}
