//! What mails promise is so, and is still so when they are sent.

use std::sync::{Arc, Mutex};
use tilld::notify::attempt::{DeliveryOutcome, MAIL};

use serde_json::{Value, json};
use tilld::jobs::lane::{DeliveryLane, LaneKind};
use tilld::notify::mail::{MailSettings, Mailer, SmtpSecurity, SmtpServer};
use tilld::store::outbox::OutboxEffect;

use super::{CREATED, DELETED, FAILED, UPDATED, active, at, beginning, failed, paid, past_due, record, rows, told};
use super::{told_till, wishes};
use crate::delivery::Stepper;
use crate::harness::{DAY_S, START_S, Setup, Till};
use crate::samples::event;

const DAY: i64 = DAY_S;

/// A lane that sends mails as the daemon does, and what it has sent, by notice.
fn mail_lane(till: &Till) -> (Stepper, Arc<Mutex<Vec<String>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sent);
    let attempt = Box::new(move |effect: &OutboxEffect, _| {
        let payload: Value = serde_json::from_str(&effect.payload).unwrap();
        kept.lock().unwrap().push(payload["notice"].as_str().unwrap().to_owned());
        DeliveryOutcome::Done(None)
    });
    let lane = DeliveryLane::new(till.store.clone(), MAIL, LaneKind::Mail, attempt);
    (Stepper::over(till, lane.with_judge(tilld::app::daemon::mail_judge((*till.context).clone()))), sent)
}

/// What is sent when the mail server comes back at `now_s`.
fn sent_at(till: &mut Till, now_s: i64) -> Vec<String> {
    at(till, now_s);
    let (mut lane, sent) = mail_lane(till);
    lane.settle();
    sent.lock().unwrap().clone()
}

/// The text of the newest mail of this kind, as it would be sent.
fn text(till: &Till, notice: &str) -> String {
    let sql = format!(
        "SELECT payload FROM outbox WHERE json_extract(payload, '$.notice') = '{notice}' ORDER BY id DESC LIMIT 1"
    );
    let payload: Value = serde_json::from_str(till.value(&sql).as_str().unwrap()).unwrap();
    let server = SmtpServer {
        host: "127.0.0.1".to_owned(),
        port: 25,
        security: SmtpSecurity::None,
        login: None,
        ca_file: None,
        timeout: std::time::Duration::from_secs(1),
    };
    let from = "Shop <billing@shop.example>".to_owned();
    let settings = MailSettings { from, reply_to: None, product: None, templates: None, server };
    let mail = Mailer::new(settings).unwrap().render(&payload).unwrap();
    format!("{}\n{}", mail.subject, mail.text)
}

#[test]
fn mails_that_waited_until_the_case_was_settled_are_not_sent_and_say_why() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    at(&mut till, START_S + 5 * DAY);
    till.feed(&[paid("alice", START_S + 5 * DAY + 60), active("alice", START_S + 5 * DAY + 60)]);
    assert_eq!(sent_at(&mut till, START_S + 5 * DAY + 3600), Vec::<String>::new());
    assert_eq!(
        record(&till),
        [
            "payment_failed 1 skipped: the invoice was settled before this could be sent",
            "grace_period_warning 1 skipped: the invoice was settled before this could be sent",
            "payment_recovered 1 skipped: its failure was not told",
        ]
    );
    assert_eq!(told(&till, "payment.recovered").len(), 1, "the application hears of the facts");
}

#[test]
fn a_mail_is_not_sent_when_it_is_overtaken_over_or_no_news_any_more() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    at(&mut till, START_S + DAY);
    till.feed(&[failed("alice", START_S + DAY, 2)]);
    assert_eq!(sent_at(&mut till, START_S + DAY + 3600), ["payment_retry"], "the newer one says it all");
    at(&mut till, START_S + 5 * DAY);
    assert_eq!(sent_at(&mut till, START_S + 7 * DAY), ["subscription_downgraded"], "the warning is too late");
    let mut till = told_till();
    till.feed(&beginning("bob"));
    till.feed(&[failed("bob", START_S, 1), past_due("bob", START_S)]);
    at(&mut till, START_S + 5 * DAY);
    at(&mut till, START_S + 7 * DAY);
    assert_eq!(sent_at(&mut till, START_S + 60 * DAY), Vec::<String>::new(), "sixty days late");
}

#[test]
fn mails_that_are_still_true_are_sent_however_often_they_are_judged() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    assert_eq!(sent_at(&mut till, START_S + 61), ["payment_failed"]);
    assert_eq!(sent_at(&mut till, START_S + 5 * DAY), ["grace_period_warning"]);
    assert_eq!(sent_at(&mut till, START_S + 7 * DAY), ["subscription_downgraded"]);
    till.feed(&[paid("alice", START_S + 8 * DAY), active("alice", START_S + 8 * DAY)]);
    assert_eq!(sent_at(&mut till, START_S + 8 * DAY), ["payment_recovered"]);
}

#[test]
fn other_mails_are_judged_too() {
    let mut till = told_till();
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let set = [("status", json!("trialing")), ("trial_end", json!(START_S + 3 * DAY))];
    till.feed(&[event("customer.subscription.trial_will_end", "alice", START_S, &set)]);
    let payload = "{\"notice\":\"webhook_dead_letter\",\"to\":\"a@b.example\",\"facts\":{\"event_id\":\"evt_gone\"}}";
    let sql = "INSERT INTO outbox (kind, dedupe_key, target, payload, next_attempt_at_ms, created_at_ms)
        VALUES ('mail', 'mail:webhook_dead_letter:evt_gone', 'mail', ?1, 0, 0)";
    till.connection().execute(sql, [payload]).unwrap();
    assert_eq!(sent_at(&mut till, START_S + 4 * DAY), Vec::<String>::new());
    let notes = rows(&till, "SELECT last_error FROM outbox WHERE kind = 'mail' ORDER BY id");
    assert_eq!(notes, ["the trial was over", "the event is no dead letter any more"]);
}

#[test]
fn nothing_is_promised_when_no_attempt_follows() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let last = [("attempt_count", json!(4)), ("next_payment_attempt", Value::Null), ("created", json!(START_S))];
    till.feed(&[event(FAILED, "alice", START_S, &last), past_due("alice", START_S)]);
    let mail = text(&till, "payment_retry");
    assert!(!mail.contains("keeps working") && !mail.contains("Access until"), "{mail}");
    assert!(mail.contains("can end at any time"), "{mail}");
    till.feed(&beginning("bob"));
    till.feed(&[failed("bob", START_S, 1), past_due("bob", START_S)]);
    let mail = text(&till, "payment_failed");
    assert!(mail.contains("Until 8 January 2026 everything keeps working"), "{mail}");
}

#[test]
fn a_retry_after_the_end_promises_no_day_that_is_past() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    at(&mut till, START_S + 8 * DAY);
    till.feed(&[failed("alice", START_S + 8 * DAY, 3)]);
    let mail = text(&till, "payment_retry");
    assert!(!mail.contains("keeps working") && !mail.contains("8 January"), "{mail}");
}

fn ended(user: &str, at: i64, reason: &str) -> Value {
    let set = [
        ("status", json!("canceled")),
        ("created", json!(START_S - 30 * DAY)),
        ("ended_at", json!(at)),
        ("canceled_at", json!(at)),
        ("cancellation_details.reason", json!(reason)),
    ];
    event(DELETED, user, at, &set)
}

#[test]
fn an_end_that_came_of_non_payment_is_told_and_one_that_was_wanted_is_not() {
    for (reason, expected) in [("payment_failed", true), ("cancellation_requested", false)] {
        let mut till = told_till();
        till.feed(&beginning("alice"));
        till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
        assert_eq!(sent_at(&mut till, START_S + 61), ["payment_failed"]);
        at(&mut till, START_S + 3 * DAY);
        let end = ended("alice", START_S + 3 * DAY, reason);
        till.feed(&[end.clone(), end]);
        let sent = sent_at(&mut till, START_S + 3 * DAY + 60);
        assert_eq!(sent == ["subscription_downgraded"], expected, "{reason}: {sent:?}");
        if expected {
            let mail = text(&till, "subscription_downgraded");
            assert!(mail.contains("Your Pro plan at Shop has ended"), "{mail}");
            assert!(!mail.contains("yours again") && mail.contains("subscribe again"), "{mail}");
        }
        assert_eq!(sent_at(&mut till, START_S + 9 * DAY), Vec::<String>::new(), "once");
    }
}

#[test]
fn an_invoice_that_is_written_off_with_the_subscription_says_no_less_and_one_paid_afterwards_promises_nothing() {
    let written_off = |at: i64| {
        let set = [("status", json!("uncollectible")), ("created", json!(START_S))];
        event("invoice.marked_uncollectible", "alice", at, &set)
    };
    let end = START_S + 3 * DAY;
    for events in [
        [written_off(end), ended("alice", end, "payment_failed")],
        [ended("alice", end, "payment_failed"), written_off(end)],
    ] {
        let mut till = told_till();
        till.feed(&beginning("alice"));
        till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
        assert_eq!(sent_at(&mut till, START_S + 61), ["payment_failed"]);
        till.clock.set(end * 1000);
        till.feed(&events);
        assert_eq!(sent_at(&mut till, end + 60), ["subscription_downgraded"]);
        till.feed(&[paid("alice", end + DAY)]);
        assert_eq!(sent_at(&mut till, end + DAY), ["payment_recovered"]);
        let mail = text(&till, "payment_recovered");
        assert!(!mail.contains("goes on") && !mail.contains("Plan"), "{mail}");
    }
}

#[test]
fn an_end_after_the_grace_period_is_not_told_twice() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    assert_eq!(sent_at(&mut till, START_S + 61), ["payment_failed"]);
    assert_eq!(sent_at(&mut till, START_S + 7 * DAY), ["subscription_downgraded"]);
    till.clock.set((START_S + 20 * DAY) * 1000);
    till.feed(&[ended("alice", START_S + 20 * DAY, "payment_failed")]);
    assert_eq!(sent_at(&mut till, START_S + 20 * DAY + 60), Vec::<String>::new());
}

#[test]
fn what_is_asked_for_is_what_remains_to_be_paid() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let set = [("attempt_count", json!(1)), ("amount_due", json!(2000)), ("amount_remaining", json!(500))];
    till.feed(&[event(FAILED, "alice", START_S, &set)]);
    let mail = text(&till, "payment_failed");
    assert!(mail.contains("$5.00") && !mail.contains("$20.00"), "{mail}");
}

#[test]
fn one_renewal_that_wants_a_confirmation_is_one_mail_in_either_order() {
    let set = [("attempt_count", json!(1)), ("created", json!(START_S))];
    let asked = event("invoice.payment_action_required", "alice", START_S, &set);
    let failure = failed("alice", START_S, 1);
    for events in [[asked.clone(), failure.clone()], [failure.clone(), asked.clone()]] {
        let mut till = told_till();
        till.feed(&beginning("alice"));
        till.feed(&events);
        assert_eq!(sent_at(&mut till, START_S + 120), ["payment_action_required"]);
        assert_eq!(told(&till, "payment.failed").len(), 1, "the application hears of the failure");
        till.feed(&[paid("alice", START_S + 300)]);
        assert_eq!(sent_at(&mut till, START_S + 300), ["payment_recovered"]);
    }
    // The failure is in the customer's hands already.
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failure]);
    assert_eq!(sent_at(&mut till, START_S + 61), ["payment_failed"]);
    till.feed(&[asked]);
    assert_eq!(sent_at(&mut till, START_S + 120), Vec::<String>::new());
}

#[test]
fn whoever_has_cancelled_is_not_chased_and_the_application_hears_all_the_same() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let leaving =
        [("status", json!("past_due")), ("cancel_at_period_end", json!(true)), ("created", json!(START_S - 30 * DAY))];
    till.feed(&[event(UPDATED, "alice", START_S, &leaving), failed("alice", START_S, 1)]);
    for day in [1, 5, 7] {
        assert_eq!(sent_at(&mut till, START_S + day * DAY), Vec::<String>::new());
    }
    assert_eq!(record(&till)[0], "payment_failed 1 skipped: whoever pays has cancelled");
    assert_eq!(told(&till, "payment.failed").len(), 1);
    // Cancelled between the writing and the sending.
    let mut till = told_till();
    till.feed(&beginning("bob"));
    till.feed(&[failed("bob", START_S, 1), past_due("bob", START_S)]);
    till.feed(&[event(UPDATED, "bob", START_S + 1, &leaving)]);
    assert_eq!(sent_at(&mut till, START_S + 61), Vec::<String>::new());
}

/// A subscription whose invoices are sent, with one of them overdue since `START_S`.
fn overdue(user: &str) -> Vec<Value> {
    let begun = START_S - 30 * DAY;
    let sent = ("collection_method", json!("send_invoice"));
    let invoice = [
        sent.clone(),
        ("status", json!("open")),
        ("due_date", json!(START_S)),
        ("created", json!(begun)),
        ("billing_reason", json!("subscription_cycle")),
    ];
    vec![
        event("customer.created", user, begun, &[]),
        event(CREATED, user, begun, &[sent.clone(), ("created", json!(begun))]),
        event("invoice.finalized", user, begun, &invoice),
        event(UPDATED, user, START_S, &[sent, ("status", json!("past_due")), ("created", json!(begun))]),
    ]
}

#[test]
fn whoever_pays_by_invoice_hears_of_it_before_access_ends_and_when_it_has() {
    for order in [[0, 1, 2, 3], [0, 1, 3, 2]] {
        let mut till = told_till();
        let events = overdue("alice");
        till.feed(&order.map(|place| events[place].clone()));
        assert_eq!(till.entitlement("alice")["valid_until"], START_S + 7 * DAY);
        assert_eq!(sent_at(&mut till, START_S + 4 * DAY), Vec::<String>::new(), "in its time");
        assert_eq!(sent_at(&mut till, START_S + 5 * DAY), ["grace_period_warning"]);
        let mail = text(&till, "grace_period_warning");
        assert!(mail.contains("ends on 8 January 2026") && mail.contains("Pay before that day"), "{mail}");
        assert_eq!(sent_at(&mut till, START_S + 7 * DAY), ["subscription_downgraded"]);
    }
    let mut till = told_till();
    till.feed(&overdue("bob"));
    assert_eq!(sent_at(&mut till, START_S + 5 * DAY), ["grace_period_warning"]);
    let settled = [("collection_method", json!("send_invoice")), ("status", json!("paid"))];
    till.feed(&[event("invoice.paid", "bob", START_S + 6 * DAY, &settled), active("bob", START_S + 6 * DAY)]);
    assert_eq!(sent_at(&mut till, START_S + 7 * DAY), Vec::<String>::new());
    assert_eq!(till.entitlement("bob")["reason"], "active");
}

#[test]
fn what_waits_for_its_time_holds_nothing_else_back() {
    let mut till = told_till();
    till.feed(&overdue("alice"));
    let set = [("status", json!("trialing")), ("trial_end", json!(START_S + 3 * DAY)), ("id", json!("sub_other"))];
    till.feed(&[event("customer.subscription.trial_will_end", "alice", START_S, &set)]);
    assert_eq!(sent_at(&mut till, START_S + 1), ["trial_will_end"]);
}

/// What the mail about the end of a trial says the subscription costs.
fn trial(change: &[(&str, Value)]) -> String {
    let mut till = Till::with(Setup { notify: wishes(), ..Setup::default() });
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let mut set = vec![("status", json!("trialing")), ("trial_end", json!(START_S + 3 * DAY))];
    set.extend(change.iter().cloned());
    till.feed(&[event("customer.subscription.trial_will_end", "alice", START_S, &set)]);
    text(&till, "trial_will_end")
}

#[test]
fn a_trial_is_told_the_sum_of_all_items_or_no_amount_at_all() {
    let item = event(CREATED, "alice", START_S, &[])["data"]["object"]["items"]["data"][0].clone();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut second = item.clone();
        (second["id"], second["quantity"]) = (json!("si_second"), json!(3));
        second["price"]["unit_amount"] = json!(500);
        change(&mut second);
        trial(&[("items.data", json!([item, second]))])
    };
    let both = with(&|_| {});
    assert!(both.contains("$35.00 every month") && !both.contains("$20.00"), "{both}");
    let unknown = [
        with(&|second| second["price"]["recurring"]["interval"] = json!("year")),
        with(&|second| second["price"]["unit_amount"] = Value::Null),
        with(&|second| second["price"]["billing_scheme"] = json!("tiered")),
        with(&|second| second["discounts"] = json!(["di_1"])),
        trial(&[("discounts", json!(["di_1"]))]),
        trial(&[("automatic_tax.enabled", json!(true))]),
    ];
    for mail in unknown {
        assert!(!mail.contains('$') && mail.contains("it is charged for"), "{mail}");
    }
}

#[test]
fn an_address_that_is_none_does_not_stand_before_one_that_is() {
    for (own, expected) in [("@", "stripe@example.com"), ("jane@home.example", "jane@home.example")] {
        let mut till = told_till();
        till.feed(&beginning("alice"));
        till.feed(&[event("customer.updated", "alice", START_S, &[("email", json!("stripe@example.com"))])]);
        till.connection().execute("UPDATE users SET email = ?1", [own]).unwrap();
        till.feed(&[failed("alice", START_S, 1)]);
        let to = till.value("SELECT json_extract(payload, '$.to') FROM outbox WHERE kind = 'mail'");
        assert_eq!(to, expected);
    }
}

#[test]
fn no_sentence_ends_twice() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    let payload: Value =
        serde_json::from_str(till.value("SELECT payload FROM outbox WHERE kind = 'mail'").as_str().unwrap()).unwrap();
    let server = SmtpServer {
        host: "127.0.0.1".to_owned(),
        port: 25,
        security: SmtpSecurity::None,
        login: None,
        ca_file: None,
        timeout: std::time::Duration::from_secs(1),
    };
    let product = Some("Example Inc.".to_owned());
    let from = "Shop <billing@shop.example>".to_owned();
    let settings = MailSettings { from, reply_to: None, product, templates: None, server };
    let mail = Mailer::new(settings).unwrap().render(&payload).unwrap();
    assert!(mail.text.contains("Example Inc. It was sent") && !mail.text.contains(".."), "{}", mail.text);
}
