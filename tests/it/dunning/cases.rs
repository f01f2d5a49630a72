//! The outcomes that `dunning`'s doc defines, through the whole program.

use serde_json::{Value, json};

use super::{
    APP, CREATED, DELETED, FAILED, UPDATED, active, at, beginning, failed, mails, paid, past_due, reasons, record,
    rows, told, told_till, wishes,
};
use crate::harness::{DAY_S, START_S, Setup, Till, notify};
use crate::reads::read_now;
use crate::samples::event;

const DAY: i64 = DAY_S;

/// A failed payment of a second, third, … invoice of the user's subscription.
fn other_failed(user: &str, invoice: &str, at: i64) -> Value {
    event(FAILED, user, at, &[("id", json!(invoice)), ("attempt_count", json!(1)), ("created", json!(at))])
}

#[test]
fn several_unpaid_invoices_of_one_subscription_share_one_grace_period_one_warning_and_one_downgrade() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    till.clock.set((START_S + 2 * DAY) * 1000);
    till.feed(&[other_failed("alice", "in_second", START_S + 2 * DAY)]);
    at(&mut till, START_S + 5 * DAY);
    // The one they hang on is settled without a word; the other one stands for the same delinquency.
    let invoice = failed("alice", START_S, 1)["data"]["object"]["id"].clone();
    let void = [("id", invoice), ("status", json!("void"))];
    till.feed(&[event("invoice.voided", "alice", START_S + 5 * DAY, &void)]);
    at(&mut till, START_S + 6 * DAY);
    assert_eq!(till.entitlement("alice")["valid_until"], START_S + 7 * DAY, "not extended");
    at(&mut till, START_S + 7 * DAY);
    at(&mut till, START_S + 9 * DAY);
    assert_eq!(
        record(&till),
        ["payment_failed 1", "payment_failed 1", "grace_period_warning 1", "subscription_downgraded 1"]
    );
    assert_eq!(reasons(&till), ["no_subscription", "active", "grace_period", "past_due"]);
}

#[test]
fn a_second_delinquency_has_its_own_warning() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    at(&mut till, START_S + 5 * DAY);
    till.feed(&[paid("alice", START_S + 5 * DAY), active("alice", START_S + 5 * DAY)]);
    let second = START_S + 30 * DAY;
    till.clock.set(second * 1000);
    till.feed(&[other_failed("alice", "in_second", second), past_due("alice", second)]);
    at(&mut till, second + 5 * DAY);
    assert_eq!(
        record(&till),
        [
            "payment_failed 1",
            "grace_period_warning 1",
            "payment_recovered 1",
            "payment_failed 1",
            "grace_period_warning 1"
        ]
    );
    assert_eq!(till.entitlement("alice")["valid_until"], second + 7 * DAY);
}

#[test]
fn no_downgrade_is_told_while_another_subscription_gives_as_much() {
    for (price, outcome) in [("price_team", Some(" skipped: another subscription gives as much")), ("price_none", None)]
    {
        let mut till = told_till();
        till.feed(&beginning("alice"));
        let set = [
            ("id", json!("sub_second")),
            ("items.data.0.id", json!("si_second")),
            ("items.data.0.price.id", json!(price)),
        ];
        till.feed(&[event(CREATED, "alice", START_S - DAY, &set)]);
        till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
        at(&mut till, START_S + 5 * DAY);
        at(&mut till, START_S + 7 * DAY);
        let outcome = outcome.unwrap_or_default();
        let expected = [
            "payment_failed 1".to_owned(),
            format!("grace_period_warning 1{outcome}"),
            format!("subscription_downgraded 1{outcome}"),
        ];
        assert_eq!(record(&till), expected, "{price}");
    }
}

#[test]
fn a_changed_grace_setting_counts_at_once_and_tells_nothing_twice() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    let with = |till: Till, days: i64, now_s: i64| {
        let mut till = Till::in_dir(till.close(), Setup { notify: wishes(), grace_s: days * DAY, ..Setup::default() });
        till.clock.set(now_s * 1000);
        tilld::jobs::at_start::recompute::if_policy_changed(&till.store, &till.context, now_s * 1000).unwrap();
        at(&mut till, now_s);
        till
    };
    let till = with(till, 2, START_S + 3 * DAY);
    assert_eq!(record(&till), ["payment_failed 1", "subscription_downgraded 1"], "no room for a warning");
    assert_eq!(till.entitlement("alice")["reason"], "past_due");
    let mut till = with(till, 14, START_S + 4 * DAY);
    assert_eq!(till.entitlement("alice")["valid_until"], START_S + 14 * DAY);
    for day in [12, 14, 15] {
        at(&mut till, START_S + day * DAY);
    }
    assert_eq!(record(&till), ["payment_failed 1", "subscription_downgraded 1"]);
    assert_eq!(reasons(&till), ["no_subscription", "active", "grace_period", "past_due", "grace_period", "past_due"]);
}

#[test]
fn a_clock_set_back_takes_nothing_back_and_repeats_nothing() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    at(&mut till, START_S + 5 * DAY);
    at(&mut till, START_S + 7 * DAY);
    let before = record(&till);
    at(&mut till, START_S - DAY);
    assert_eq!(till.entitlement("alice")["reason"], "grace_period", "an answer is as of its time");
    for day in [1, 5, 6, 7, 8] {
        at(&mut till, START_S + day * DAY);
        till.feed(&[failed("alice", START_S, 1)]);
    }
    assert_eq!(record(&till), before);
    assert_eq!(mails(&till).len(), 3);
    reasons(&till);
}

#[test]
fn a_daemon_that_was_down_over_the_deadline_skips_the_warning_and_tells_the_downgrade() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    at(&mut till, START_S + 8 * DAY);
    assert_eq!(
        record(&till),
        ["payment_failed 1", "grace_period_warning 1 skipped: the grace period was over", "subscription_downgraded 1"]
    );
    assert_eq!(mails(&till), ["payment_failed", "subscription_downgraded"]);
    let changes = told(&till, "entitlement.changed");
    assert_eq!((&changes[2]["old"]["reason"], &changes[2]["new"]["tier"]), (&json!("grace_period"), &json!("free")));
}

#[test]
fn old_news_is_on_record_and_told_nobody_and_neither_is_its_recovery() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.clock.set((START_S + 11 * DAY) * 1000);
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    till.feed(&[paid("alice", START_S + 11 * DAY), active("alice", START_S + 11 * DAY)]);
    assert_eq!(
        record(&till),
        [
            "payment_failed 1 skipped: heard of too late",
            "grace_period_warning 1 skipped: the grace period was over",
            "subscription_downgraded 1 skipped: heard of too late",
            "payment_recovered 1 skipped: its failure was not told",
        ]
    );
    assert_eq!(mails(&till), Vec::<String>::new());
    assert_eq!((told(&till, "payment.failed").len(), told(&till, "payment.recovered").len()), (0, 0));
    assert_eq!(reasons(&till), ["no_subscription", "active", "past_due", "active"]);
}

#[test]
fn an_older_attempt_and_a_failure_after_the_payment_are_on_record_and_not_told() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 2), failed("alice", START_S - 60, 1)]);
    till.feed(&beginning("bob"));
    till.feed(&[paid("bob", START_S), failed("bob", START_S - 60, 1)]);
    assert_eq!(
        record(&till),
        [
            "payment_retry 2",
            "payment_failed 1 skipped: a newer attempt is known",
            "payment_failed 1 skipped: the invoice was settled before this was heard of",
            "payment_recovered 1 skipped: its failure was not told",
        ]
    );
    assert_eq!(told(&till, "payment.failed").len(), 1);
}

#[test]
fn void_uncollectible_and_the_end_of_the_subscription_close_a_case_without_a_word() {
    let ended = |event_type: &str, status: &str| event(event_type, "alice", START_S + 60, &[("status", json!(status))]);
    for (resolution, ending) in [
        ("void", ended("invoice.voided", "void")),
        ("uncollectible", ended("invoice.marked_uncollectible", "uncollectible")),
        ("subscription_ended", ended(DELETED, "canceled")),
    ] {
        let mut till = told_till();
        till.feed(&beginning("alice"));
        till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S), ending]);
        for day in [5, 7, 9] {
            at(&mut till, START_S + day * DAY);
        }
        assert_eq!(till.value("SELECT resolution FROM payment_failures"), resolution);
        assert_eq!(record(&till), ["payment_failed 1"], "{resolution}");
    }
}

#[test]
fn a_payment_that_the_customer_must_confirm_opens_a_case_with_its_own_notice() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let set = [("attempt_count", json!(1)), ("created", json!(START_S))];
    let asked = event("invoice.payment_action_required", "alice", START_S, &set);
    till.feed(&[asked.clone(), asked, past_due("alice", START_S)]);
    assert_eq!(record(&till), ["payment_action_required 1"]);
    assert_eq!(till.entitlement("alice")["valid_until"], START_S + 7 * DAY);
    till.feed(&[paid("alice", START_S + 60)]);
    assert_eq!(record(&till), ["payment_action_required 1", "payment_recovered 1"]);
}

#[test]
fn the_first_payment_of_a_subscription_is_no_matter_for_mail() {
    let mut till = told_till();
    let incomplete = [("status", json!("incomplete"))];
    till.feed(&[event("customer.created", "alice", START_S, &[]), event(CREATED, "alice", START_S, &incomplete)]);
    let set = [("attempt_count", json!(1)), ("billing_reason", json!("subscription_create"))];
    till.feed(&[event("invoice.payment_action_required", "alice", START_S, &set)]);
    till.feed(&[paid("alice", START_S + 60), event(UPDATED, "alice", START_S + 60, &[])]);
    assert_eq!(
        record(&till),
        [
            "payment_action_required 1 skipped: the first payment of a subscription",
            "payment_recovered 1 skipped: its failure was not told",
        ]
    );
    assert_eq!(mails(&till), Vec::<String>::new());
}

#[test]
fn nobody_is_written_to_where_mail_is_off_or_no_address_is_known_and_the_application_hears_all_the_same() {
    for (mail, outcome) in [(false, "skipped: mail is off (notify.mail)"), (true, "skipped: no mail address is known")]
    {
        let notify = tilld::notify::settings::NoticeSettings { mail, ..notify(&[(APP, &["*"])]) };
        let mut till = Till::with(Setup { notify, ..Setup::default() });
        let nobody = [("email", Value::Null)];
        till.feed(&[event("customer.created", "alice", START_S, &nobody), event(CREATED, "alice", START_S, &[])]);
        let unknown = [("customer_email", Value::Null), ("attempt_count", json!(1))];
        till.feed(&[event(FAILED, "alice", START_S, &unknown), paid("alice", START_S + 60)]);
        assert_eq!(record(&till)[0], format!("payment_failed 1 {outcome}"));
        assert_eq!(mails(&till), Vec::<String>::new());
        assert_eq!((told(&till, "payment.failed").len(), told(&till, "payment.recovered").len()), (1, 1));
    }
}

#[test]
fn the_application_s_own_word_of_a_user_counts_before_stripes() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let body = json!({"email": "alice@home.example", "name": "Alice Müller"});
    assert_eq!(till.call(tilld::http::request::Method::Put, "/api/v1/users/alice", &body).0, 200);
    till.feed(&[failed("alice", START_S, 1)]);
    let payload = &rows(&till, "SELECT payload FROM outbox WHERE kind = 'mail'")[0];
    let payload: Value = serde_json::from_str(payload).unwrap();
    assert_eq!((&payload["to"], &payload["user"]["name"]), (&json!("alice@home.example"), &json!("Alice Müller")));
}

#[test]
fn an_invoice_without_a_subscription_has_no_grace_period_but_is_told_of() {
    let mut till = told_till();
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let single = [("parent", Value::Null), ("attempt_count", json!(1)), ("billing_reason", json!("manual"))];
    till.feed(&[event(FAILED, "alice", START_S, &single)]);
    at(&mut till, START_S + 30 * DAY);
    let settled =
        [("parent", Value::Null), ("status", json!("paid")), ("status_transitions.paid_at", json!(START_S + 30 * DAY))];
    till.feed(&[event("invoice.paid", "alice", START_S + 30 * DAY, &settled)]);
    assert_eq!(record(&till), ["payment_failed 1", "payment_recovered 1"]);
}

#[test]
fn a_payment_that_was_only_read_from_the_api_is_told_as_recovery() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    till.feed(&[failed("alice", START_S, 1), past_due("alice", START_S)]);
    let invoice = paid("alice", START_S + 50)["data"]["object"].clone();
    read_now(&till, &invoice, START_S + 60);
    read_now(&till, &invoice, START_S + 70);
    assert_eq!(record(&till), ["payment_failed 1", "payment_recovered 1"]);
    assert_eq!(mails(&till), ["payment_failed", "payment_recovered"]);
}

#[test]
fn a_subscription_that_stripe_paused_for_want_of_payment_is_chased_like_one_that_is_past_due() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let why = [
        ("status_details.paused.subscription.type", json!("final_payment_failure")),
        ("created", json!(START_S - 30 * DAY)),
    ];
    till.feed(&[failed("alice", START_S, 1), event("customer.subscription.paused", "alice", START_S + 60, &why)]);
    assert_eq!(till.entitlement("alice")["valid_until"], START_S + 7 * DAY, "from the first failure on");
    assert_eq!(till.value("SELECT resolved FROM payment_failures"), 0);
    at(&mut till, START_S + 5 * DAY);
    at(&mut till, START_S + 7 * DAY);
    assert_eq!(mails(&till), ["payment_failed", "grace_period_warning", "subscription_downgraded"]);
    assert_eq!(reasons(&till), ["no_subscription", "active", "grace_period", "paused"]);
    till.feed(&[paid("alice", START_S + 7 * DAY), active("alice", START_S + 7 * DAY)]);
    assert_eq!(mails(&till).last().map(String::as_str), Some("payment_recovered"));
    assert_eq!(till.entitlement("alice")["reason"], "active");
}

#[test]
fn what_is_asked_for_is_the_new_plan_and_what_ends_is_the_one_that_was_had() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let upgrade = [
        ("status", json!("past_due")),
        ("items.data.0.price.id", json!("price_team")),
        ("created", json!(START_S - 30 * DAY)),
    ];
    till.feed(&[event(UPDATED, "alice", START_S, &upgrade), failed("alice", START_S, 1)]);
    at(&mut till, START_S + 7 * DAY);
    let sql = "SELECT json_extract(payload, '$.notice') || ' ' || json_extract(payload, '$.facts.tier')
        FROM outbox WHERE kind = 'mail' ORDER BY id";
    assert_eq!(rows(&till, sql), ["payment_failed team", "subscription_downgraded pro"]);
}

#[test]
fn a_mail_promises_nothing_beyond_the_end_of_the_subscription() {
    let mut till = told_till();
    till.feed(&beginning("alice"));
    let ends = [
        ("status", json!("past_due")),
        ("cancel_at", json!(START_S + 3 * DAY)),
        ("created", json!(START_S - 30 * DAY)),
    ];
    till.feed(&[event(UPDATED, "alice", START_S, &ends), failed("alice", START_S, 1)]);
    let until = "SELECT json_extract(payload, '$.facts.grace_period_end') FROM outbox WHERE kind = 'mail'";
    assert_eq!(till.value(until), START_S + 3 * DAY);
}
