//! Events for the application and notices that hang on no failure case: each once, whatever comes again.

use serde_json::{Value, json};
use tilld::jobs::rebuild::{self, RebuildTask};
use tilld::notify::NotifyContext;
use tilld::objects::reading::ReadingOutcome;
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::Tx;
use tilld::store::inbox;
use tilld::store::inbox::EventCompletion;

use super::{APP, CREATED, UPDATED, at, beginning, failed, mails, past_due, reasons, rows, told, told_till};
use crate::harness::{DAY_S, START_S, Setup, Till, notify};
use crate::reads::read_now;
use crate::samples::{event, everything};

fn count(till: &Till, condition: &str) -> i64 {
    till.value(&format!("SELECT count(*) FROM outbox WHERE {condition}")).as_i64().unwrap()
}

#[test]
fn an_endpoint_gets_the_types_it_asked_for_and_the_original_event_byte_for_byte() {
    let endpoints: [(&str, &[&str]); 3] =
        [(APP, &["stripe.*"]), ("https://two.example/", &["entitlement.changed"]), ("https://three.example/", &["*"])];
    let mut till = Till::with(Setup { notify: notify(&endpoints), ..Setup::default() });
    till.feed(&beginning("alice"));
    let body = format!(
        "{{\"id\":\"evt_odd\", \"object\":\"event\",\"type\":\"thing.made\",\"created\":{START_S},\"livemode\":false,\
         \"data\":{{\"object\":{{\"id\":\"t_1\",\"object\":\"thing\",\"n\":1.50}}}}}}"
    );
    assert_eq!(till.post_bytes(body.as_bytes()).0, 200);
    till.settle();
    let types = |url: &str| {
        let sql = format!("SELECT json_extract(payload, '$.type') FROM outbox WHERE target = '{url}' ORDER BY id");
        rows(&till, &sql)
    };
    let forwarded = ["stripe.customer.created", "stripe.customer.subscription.created", "stripe.thing.made"];
    assert_eq!(types(APP), forwarded);
    assert_eq!(types("https://two.example/"), ["entitlement.changed"]);
    let all = types("https://three.example/");
    assert_eq!(all.len(), 5, "{all:?}");
    let payload = rows(&till, "SELECT payload FROM outbox WHERE dedupe_key LIKE '%evt_odd' ORDER BY id").remove(0);
    assert_eq!(
        payload,
        format!("{{\"type\":\"stripe.thing.made\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"data\":{body}}}")
    );
    assert_eq!(till.value("SELECT user_id FROM outbox WHERE dedupe_key LIKE '%stripe.customer.created%'"), "alice");
}

#[test]
fn a_full_replay_and_a_second_copy_from_the_api_tell_nothing_again() {
    let mut till = Till::with(Setup { notify: notify(&[(APP, &["*"])]), ..Setup::default() });
    till.feed(&beginning("alice"));
    till.feed(&everything("alice", START_S - DAY_S));
    till.feed(&[failed("bob", START_S, 1)]);
    let written = |till: &Till| rows(till, "SELECT dedupe_key || payload FROM outbox ORDER BY id");
    let before = written(&till);
    assert!(before.len() > 30, "{before:#?}");
    let replayed = till.store.write(|tx| inbox::replay_all(tx, None)).unwrap();
    assert!(replayed > 20, "{replayed}");
    till.settle();
    assert_eq!(written(&till), before);
    // A copy of what is known already.
    let known = rows(&till, "SELECT data FROM stripe_objects WHERE object IN ('subscription', 'customer', 'invoice')");
    for data in &known {
        let object: Value = serde_json::from_str(data).unwrap();
        read_now(&till, &object, START_S + 100);
    }
    assert_eq!(written(&till), before);
}

#[test]
fn a_first_copy_from_the_api_tells_one_change_per_user_and_forwards_nothing() {
    let till = Till::with(Setup { notify: notify(&[(APP, &["*"])]), ..Setup::default() });
    for user in ["alice", "bob"] {
        let object = event(CREATED, user, START_S, &[])["data"]["object"].clone();
        assert_eq!(read_now(&till, &object, START_S), ReadingOutcome::Taken);
        assert_eq!(read_now(&till, &object, START_S + 1), ReadingOutcome::Taken);
    }
    let types = rows(&till, "SELECT json_extract(payload, '$.type') FROM outbox ORDER BY id");
    let expected = ["entitlement.changed", "subscription.changed", "entitlement.changed", "subscription.changed"];
    assert_eq!(types, expected);
}

#[test]
fn events_older_than_stripe_keeps_them_are_not_forwarded() {
    let mut till = Till::with(Setup { notify: notify(&[(APP, &["stripe.*"])]), ..Setup::default() });
    let at = |days: i64| event("customer.updated", "alice", START_S - days * DAY_S, &[]);
    till.feed(&[at(31), at(29)]);
    assert_eq!(count(&till, "kind = 'webhook'"), 1);
}

#[test]
fn a_subscription_that_ends_by_its_own_terms_ends_for_the_application_when_time_comes() {
    let mut till = told_till();
    let end = START_S + 3 * DAY_S;
    till.feed(&beginning("alice"));
    let ending = [("cancel_at", json!(end)), ("items.data.0.current_period_end", json!(end))];
    till.feed(&[event(UPDATED, "alice", START_S, &ending)]);
    assert_eq!(till.tick.step((end - 1) * 1000).unwrap().users, 0, "nothing is due");
    at(&mut till, end);
    at(&mut till, end + 1);
    assert_eq!(reasons(&till), ["no_subscription", "active", "ending", "canceled"]);
    let last = told(&till, "entitlement.changed").pop().unwrap();
    assert_eq!((&last["old"]["valid_until"], &last["new"]["tier"]), (&json!(end), &json!("free")));
    assert_eq!(till.value("SELECT tier || entitled || status FROM subscriptions"), "free0active");
}

#[test]
fn what_is_due_is_taken_by_index_and_page_by_page() {
    let mut till = told_till();
    for number in 0..250 {
        let user = format!("user_{number}");
        let mut events = beginning(&user);
        events.extend([failed(&user, START_S, 1), past_due(&user, START_S)]);
        for event in &events {
            assert_eq!(till.post(event).0, 200);
        }
    }
    till.settle();
    let ticked = till.tick.step((START_S + 7 * DAY_S) * 1000).unwrap();
    assert_eq!((ticked.users, ticked.cases), (250, 250));
    assert_eq!(count(&till, "json_extract(payload, '$.notice') = 'subscription_downgraded'"), 250);
    assert_eq!(till.tick.step((START_S + 9 * DAY_S) * 1000).unwrap(), tilld::jobs::tick::TickStep::default());
    for (table, column) in [("subscriptions", "changes_at"), ("payment_failures", "dunning_due_at")] {
        let sql = format!("EXPLAIN QUERY PLAN SELECT id FROM {table} WHERE {column} <= 1 ORDER BY {column} LIMIT 9");
        let plan: String = till.connection().query_row(&sql, [], |row| row.get(3)).unwrap();
        assert!(plan.contains("USING") && plan.contains("INDEX"), "{plan}");
    }
}

#[test]
fn a_subscription_is_told_as_changed_only_when_it_says_something_else() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[
        event(UPDATED, "alice", START_S, &[("metadata.seats", json!("2"))]),
        event(UPDATED, "alice", START_S - 1, &[("metadata.seats", json!("1"))]),
    ]);
    let mut same = event(UPDATED, "alice", START_S, &[("metadata.seats", json!("2"))]);
    (same["id"], same["created"]) = (json!("evt_same"), json!(START_S + 1));
    till.feed(&[same]);
    let changed = told(&till, "subscription.changed");
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!((&changed[1]["user_id"], &changed[1]["status"]), (&json!("alice"), &json!("active")));
}

#[test]
fn a_dispute_is_told_to_operator_and_application_once_however_late() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.clock.set((START_S + 20 * DAY_S) * 1000);
    let dispute = event("charge.dispute.created", "alice", START_S, &[]);
    till.feed(&[event("charge.succeeded", "alice", START_S, &[]), dispute.clone(), dispute]);
    till.feed(&[event("charge.dispute.closed", "alice", START_S + 9, &[])]);
    assert_eq!(mails(&till), ["dispute_created"]);
    assert_eq!(till.value("SELECT json_extract(payload, '$.to') FROM outbox WHERE kind = 'mail'"), "till@example.com");
    let told = told(&till, "dispute.created");
    assert_eq!((told.len(), &told[0]["user_id"]), (1, &json!("alice")));
}

#[test]
fn the_end_of_a_trial_is_told_while_it_is_ahead() {
    for (now_s, status, expected) in [
        (START_S, "trialing", ("pending", Value::Null)),
        (START_S + 3 * DAY_S, "trialing", ("skipped", json!("the trial was over"))),
        (START_S, "active", ("skipped", json!("the subscription is no longer on trial"))),
    ] {
        let mut till = told_till();
        till.clock.set(now_s * 1000);
        till.feed(&[event("customer.created", "alice", START_S, &[])]);
        let set = [("status", json!(status)), ("trial_end", json!(START_S + 3 * DAY_S))];
        let will_end = event("customer.subscription.trial_will_end", "alice", START_S, &set);
        till.feed(&[will_end.clone(), will_end]);
        assert_eq!(rows(&till, "SELECT status FROM outbox WHERE kind = 'mail'"), [expected.0]);
        assert_eq!(till.value("SELECT last_error FROM outbox WHERE kind = 'mail'"), expected.1);
    }
}

#[test]
fn an_invoice_is_told_to_the_customer_only_where_that_is_wanted() {
    for wanted in [false, true] {
        let wishes = tilld::notify::settings::NoticeSettings {
            invoice_finalized: wanted,
            ..notify(&[(APP, &["invoice.finalized"])])
        };
        let mut till = Till::with(Setup { notify: wishes, ..Setup::default() });
        till.feed(&beginning("alice"));
        let finalized = event("invoice.finalized", "alice", START_S, &[]);
        till.feed(&[finalized.clone(), finalized]);
        assert_eq!(mails(&till).len(), usize::from(wanted));
        let told = told(&till, "invoice.finalized");
        assert_eq!((told.len(), told[0].get("invoice_pdf")), (1, None));
        let pdf = till.value("SELECT json_extract(payload, '$.facts.invoice_pdf') FROM outbox WHERE kind = 'mail'");
        assert_eq!(pdf.is_string(), wanted);
    }
}

fn impossible(_: &Tx, _: &ProjectedEvent, _: &NotifyContext, _: i64) -> Result<EventCompletion, ProjectionError> {
    Err(ProjectionError::Panicked("on purpose".to_owned()))
}

#[test]
fn a_dead_letter_is_told_to_operator_and_application_once() {
    let retry = tilld::base::retry::RetryPolicy { max_attempts: 1, base_delay_s: 1, max_delay_s: 1 };
    let wishes = notify(&[(APP, &["webhook.dead_letter"])]);
    let mut till = Till::with(Setup { notify: wishes, retry, project: Some(impossible), ..Setup::default() });
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    till.store.write(|tx| inbox::replay_all(tx, None)).unwrap();
    till.settle();
    assert_eq!(mails(&till), ["webhook_dead_letter"]);
    let told = told(&till, "webhook.dead_letter");
    assert_eq!((told.len(), &told[0]["event_type"]), (1, &json!("customer.created")));
    assert!(told[0]["error"].as_str().unwrap().contains("on purpose"), "{told:?}");
}

#[test]
fn another_plan_in_the_configuration_is_told_to_whom_it_concerns() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&beginning("bob"));
    let team = [("items.data.0.price.id", json!("price_team"))];
    till.feed(&[event(UPDATED, "bob", START_S, &team)]);
    let before = told(&till, "entitlement.changed").len();
    let plans = vec![crate::harness::plan("gold", "price_pro"), crate::harness::plan("team", "price_team")];
    let till = Till::in_dir(till.close(), Setup { plans, notify: super::wishes(), ..Setup::default() });
    for _ in 0..2 {
        tilld::jobs::at_start::recompute::if_policy_changed(&till.store, &till.context, START_S * 1000).unwrap();
    }
    let changes = told(&till, "entitlement.changed");
    assert_eq!(changes.len(), before + 1);
    let last = changes.last().unwrap();
    assert_eq!(
        (&last["user_id"], &last["old"]["tier"], &last["new"]["tier"]),
        (&json!("alice"), &json!("pro"), &json!("gold"))
    );
}

#[test]
fn a_flood_of_dead_letters_is_told_to_the_operator_by_some_mails_an_hour() {
    let retry = tilld::base::retry::RetryPolicy { max_attempts: 1, base_delay_s: 1, max_delay_s: 1 };
    let mut till = Till::with(Setup { notify: notify(&[]), retry, project: Some(impossible), ..Setup::default() });
    let die = |till: &mut Till, hour: i64| {
        till.clock.set((START_S + hour * 3600) * 1000);
        for number in 0..25 {
            let user = format!("user_{hour}_{number}");
            assert_eq!(till.post(&event("customer.created", &user, START_S, &[])).0, 200);
        }
        till.settle();
    };
    die(&mut till, 0);
    assert_eq!((count(&till, "status = 'pending'"), count(&till, "status = 'skipped'")), (20, 5));
    die(&mut till, 1);
    assert_eq!((count(&till, "status = 'pending'"), count(&till, "status = 'skipped'")), (40, 10));
}

#[test]
fn an_upgrade_by_rebuilding_tells_no_change_that_is_none_and_mails_nobody() {
    let mut till = told_till();
    for user in ["alice", "bob", "carol"] {
        till.feed(&beginning(user));
    }
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    let ending = [("cancel_at_period_end", json!(true)), ("items.data.0.current_period_end", json!(START_S + DAY_S))];
    till.feed(&[event(UPDATED, "bob", START_S, &ending)]);
    let written = |till: &Till| rows(till, "SELECT dedupe_key || payload FROM outbox ORDER BY id");
    let (before, answers) = (written(&till), till.dump());
    let (context, old, new) = (till.context.clone(), till.close(), tempfile::tempdir().unwrap());
    let (from, into) = (old.path().join("tilld.db"), new.path().join("tilld.db"));
    let task = RebuildTask { from: &from, into: &into, context: &context, now_ms: START_S * 1000 };
    assert_eq!(rebuild::rebuild(task, &|_, _| ()).unwrap().changed, 0);
    let mut till = Till::in_dir(new, Setup { notify: super::wishes(), ..Setup::default() });
    at(&mut till, START_S);
    assert_eq!(written(&till), before);
    assert_eq!(till.dump(), answers);
    assert_eq!(till.tick.step(START_S * 1000).unwrap(), tilld::jobs::tick::TickStep::default());
}
