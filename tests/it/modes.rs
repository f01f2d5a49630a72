//! One mode and one account per database (contract §2, `stripe.mode`, `stripe.account`).

use serde_json::{Value, json};

use crate::harness::{START_S, Setup, Till};
use crate::main_job::sample;

/// A subscription of `user` with a customer of its own, as two events of that mode.
fn story(user: &str, live: bool) -> [Value; 2] {
    ["customer.created", "customer.subscription.created"].map(|kind| {
        let mut event = sample(kind, user, if live { "live" } else { "test" });
        event["livemode"] = json!(live);
        event["data"]["object"]["livemode"] = json!(live);
        event
    })
}

fn entitled(till: &Till, user: &str) -> bool {
    let (status, answer) = till.get(&format!("/api/v1/users/{user}/entitlement"));
    status == 200 && answer["entitled"] == true
}

fn statuses(till: &Till, livemode: u8) -> Value {
    till.value(&format!(
        "SELECT group_concat(status || processed) FROM (SELECT status, processed FROM stripe_webhooks_log WHERE livemode = {livemode} ORDER BY id)"
    ))
}

#[test]
fn without_a_key_the_first_live_event_ends_what_test_mode_gave() {
    let mut till = Till::new();
    till.feed(&story("tester", false));
    assert!(entitled(&till, "tester"), "until then it is a database of test mode");
    till.feed(&story("payer", true));
    assert!(entitled(&till, "payer") && !entitled(&till, "tester"));
    assert_eq!((statuses(&till, 0), statuses(&till, 1)), (json!("ignored0,ignored0"), json!("processed1,processed1")));
    for table in ["stripe_subscriptions", "stripe_customers", "stripe_objects", "subscription_events", "subscriptions"]
    {
        let column = if table == "subscriptions" { "user_id = 'tester'" } else { "1" };
        let left = till.value(&format!("SELECT count(*) FROM {table} WHERE {column}"));
        let live = if table == "subscriptions" {
            0
        } else {
            till.value("SELECT count(*) FROM stripe_objects").as_i64().unwrap()
        };
        assert!(left.as_i64().unwrap() <= live, "{table}: {left}");
    }
    assert_eq!(till.value("SELECT count(*) FROM stripe_objects WHERE livemode = 0"), json!(0));
    // And later ones are kept as ignored.
    till.feed(&story("late", false));
    assert!(!entitled(&till, "late"));
    assert_eq!(statuses(&till, 0), json!("ignored0,ignored0,ignored0,ignored0"));
}

#[test]
fn whichever_mode_comes_first_the_tables_end_the_same() {
    let [mut first, mut second] = [Till::new(), Till::new()];
    let (test, live) = (story("tester", false), story("payer", true));
    for event in test.iter().chain(&live) {
        first.post(event);
    }
    for event in live.iter().chain(&test) {
        second.post(event);
    }
    first.settle();
    second.settle();
    let rows = |till: &Till| -> Vec<String> {
        // Who was heard of, and what was done, stays on record.
        let kept = |line: &&str| !line.starts_with("users:") && !line.starts_with("audit_log:");
        till.dump().lines().filter(kept).map(str::to_owned).collect()
    };
    assert_eq!(rows(&first), rows(&second));
}

#[test]
fn a_configured_mode_is_kept_whatever_comes() {
    for (livemode, wanted, other) in [(true, "payer", "tester"), (false, "tester", "payer")] {
        let mut till = Till::with(Setup { livemode: Some(livemode), ..Setup::default() });
        till.feed(&story("tester", false));
        till.feed(&story("payer", true));
        assert!(entitled(&till, wanted) && !entitled(&till, other));
    }
}

#[test]
fn an_event_of_another_account_by_its_context_is_mirrored_and_of_our_own_it_counts() {
    let with_context = |user: &str| {
        story(user, false).map(|mut event| {
            event["context"] = json!("org_1/acct_other");
            event
        })
    };
    let mut till = Till::new();
    till.feed(&with_context("victim"));
    assert!(!entitled(&till, "victim"));
    assert_eq!(till.value("SELECT count(*) FROM stripe_objects WHERE account = 'acct_other'"), json!(2));
    assert_eq!(till.value("SELECT count(*) FROM stripe_subscriptions"), json!(0));

    let account = Some("acct_other".to_owned());
    let mut till = Till::with(Setup { account: account.clone(), ..Setup::default() });
    till.feed(&with_context("victim"));
    assert!(entitled(&till, "victim"));
    assert_eq!(till.value("SELECT count(*) FROM stripe_objects WHERE account <> ''"), json!(0));
}

#[test]
fn when_the_account_is_named_later_what_was_kept_as_another_s_counts() {
    let mut till = Till::new();
    till.feed(&story("owner", false).map(|mut event| {
        event["account"] = json!("acct_ours");
        event
    }));
    assert!(!entitled(&till, "owner"));
    let mut till = Till::in_dir(till.close(), Setup { account: Some("acct_ours".to_owned()), ..Setup::default() });
    tilld::jobs::at_start::mode::settle(&till.store, &till.context, false, START_S * 1000).unwrap();
    till.settle();
    assert!(entitled(&till, "owner"));
    let mut other = (*till.context).clone();
    other.projection.account = Some("acct_new".to_owned());
    let refused =
        tilld::jobs::at_start::mode::settle(&till.store, &other, false, START_S * 1000).unwrap_err().to_string();
    assert!(refused.contains("acct_new") && refused.contains("acct_ours"), "{refused}");
}

#[test]
fn a_live_key_or_a_configured_mode_turns_the_database_at_start() {
    for is_said in [false, true] {
        let mut till = Till::new();
        till.feed(&story("tester", false));
        if is_said {
            till.store
                .write(|tx| tilld::store::settings::put(tx, tilld::store::settings::STRIPE_MODE, "test"))
                .unwrap();
        }
        let till = Till::in_dir(till.close(), Setup { livemode: Some(true), ..Setup::default() });
        tilld::jobs::at_start::mode::settle(&till.store, &till.context, is_said, START_S * 1000).unwrap();
        assert!(!entitled(&till, "tester"));
        assert_eq!(statuses(&till, 0), json!("ignored0,ignored0"));
    }
}
