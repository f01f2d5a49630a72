//! What differs from Stripe is found, named and repaired; what is only rendered in another version, or newer here, is
//! no difference.

use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::app::trigger::ApiVersion;
use tilld::base::clock::Clock;
use tilld::base::object_kind::ObjectKind;
use tilld::base::thread::{Pulse, Stopper, stopper};
use tilld::jobs::schedule::{DRIFT_AT_S, Nightly, Scheduler, compare_at_night};
use tilld::objects::kinds;
use tilld::outward::account::{Account, AccountError};
use tilld::outward::sync::SyncTools;
use tilld::outward::sync::drift::{self, DriftKind, DriftReport};
use tilld::stripe::call::Priority;
use tilld::stripe::client::Client;
use tilld::stripe::settings::{ApiKey, StripeSettings};

use crate::catch_up::{env, number, texts};
use crate::fake_stripe::{FakeStripe, Fault};
use crate::harness::{self, DAY_S, START_S, Till};
use crate::live::{database, tilld};
use crate::sync::done;

/// A stepped till whose copy is that of the fake, as events brought it.
fn till(fake: &FakeStripe) -> Till {
    let mut till = Till::new();
    till.clock.set(fake.clock().now_ms());
    for event in fake.events() {
        assert_eq!(till.post(&event).0, 200);
    }
    till.settle();
    till
}

fn means(till: &Till, fake: &FakeStripe) -> (SyncTools, Stopper) {
    means_with(till, fake, 8 << 20)
}

/// With answers of so many bytes at most.
pub fn means_with(till: &Till, fake: &FakeStripe, max_answer_bytes: u64) -> (SyncTools, Stopper) {
    let settings = StripeSettings {
        max_answer_bytes,
        calls_per_s: 1000,
        burst: 1000,
        ..StripeSettings::new(ApiKey::new(fake.key()), &fake.url(), "2026-09-30.endive")
    };
    let (stopper, stop) = stopper();
    let means = SyncTools {
        store: till.store.clone(),
        client: Client::new(settings).unwrap(),
        clock: till.clock.clone(),
        context: Arc::clone(&till.api.context),
        stop,
        pulse: Pulse::default(),
    };
    (means, stopper)
}

/// Id and what was found of it, of these types or of all.
fn compared(till: &Till, fake: &FakeStripe, names: &[&str], fix: bool) -> Vec<(String, DriftKind, bool)> {
    let kinds: Vec<&'static ObjectKind> = match names {
        [] => kinds::all().collect(),
        names => names.iter().map(|name| kinds::named(name).unwrap()).collect(),
    };
    let (means, _stopper) = means(till, fake);
    let mut found = Vec::new();
    let mut tell = |told: DriftReport| {
        if let DriftReport::Found(finding) = told {
            found.push((finding.id.clone(), finding.what.clone(), finding.fixed));
        }
    };
    let outcome = drift::run(&means, &kinds, fix, "test", &mut tell).unwrap();
    assert_eq!(outcome.refused, Vec::<String>::new());
    found
}

fn differs(fields: &[&str]) -> DriftKind {
    DriftKind::Differs(fields.iter().map(|field| (*field).to_owned()).collect())
}

#[test]
fn each_kind_of_drift_is_found_named_and_repaired_and_then_there_is_none() {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    let zoe = fake.create("customer", &json!({ "email": "zoe@example.com", "metadata": { "user_id": "zoe" } }));
    let ann = fake.create("customer", &json!({ "email": "ann@example.com" }));
    let bob = fake.create("customer", &json!({ "email": "bob@example.com" }));
    let subscription = fake.create("subscription", &json!({ "customer": zoe, "status": "active" }));
    let same = fake.create("subscription", &json!({ "customer": ann, "status": "active" }));
    let coupon = fake.create("coupon", &json!({ "id": "HALF" }));
    let till = till(&fake);
    assert_eq!(till.entitlement("zoe")["entitled"], true);

    fake.clock().advance(10_000);
    till.clock.advance(10_000);
    fake.alter(
        &subscription,
        &json!({ "status": "canceled", "ended_at": fake.clock().now_s(), "metadata": { "a": "1" } }),
    );
    fake.alter(&bob, &json!({ "deleted": true }));
    fake.forget("coupon", &coupon);
    let unknown = fake.add("subscription", &json!({ "customer": ann }));
    let names = ["customers", "subscriptions", "coupons"];
    let expected = |fixed| {
        vec![
            (bob.clone(), DriftKind::MissingThere, fixed),
            (unknown.clone(), DriftKind::MissingHere, fixed),
            (subscription.clone(), differs(&["ended_at", "metadata", "status"]), fixed),
            (coupon.clone(), DriftKind::MissingThere, fixed),
        ]
    };
    assert_eq!(compared(&till, &fake, &names, false), expected(false));
    assert_eq!(till.entitlement("zoe")["entitled"], true, "nothing was changed");
    assert_eq!(compared(&till, &fake, &names, true), expected(true));
    assert_eq!(compared(&till, &fake, &names, false), []);
    assert_eq!(till.entitlement("zoe")["entitled"], false);
    let deleted = |id: &str| till.value(&format!("SELECT deleted FROM stripe_objects WHERE id = '{id}'"));
    assert_eq!((deleted(&bob), deleted(&coupon), deleted(&same)), (json!(1), json!(1), json!(0)));
    assert_eq!(till.value(&format!("SELECT deleted FROM stripe_customers WHERE stripe_customer_id = '{bob}'")), 1);
    let audit = till.value("SELECT detail FROM audit_log WHERE action = 'drift.checked' ORDER BY id LIMIT 1");
    let audit: Value = serde_json::from_str(audit.as_str().unwrap()).unwrap();
    assert_eq!(
        audit["fields"],
        json!({ "subscriptions.ended_at": 1, "subscriptions.metadata": 1, "subscriptions.status": 1 })
    );
    assert!(!audit.to_string().contains("example.com"));
}

#[test]
fn tables_that_do_not_say_what_the_mirror_does_are_found_named_and_repaired() {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    let zoe = fake.create("customer", &json!({ "email": "zoe@example.com", "metadata": { "user_id": "zoe" } }));
    let subscription = fake.create("subscription", &json!({ "customer": zoe, "status": "active" }));
    let invoice = fake.create("invoice", &json!({ "customer": zoe, "subscription": subscription }));
    let till = till(&fake);
    let all = || compared(&till, &fake, &["customers", "subscriptions", "invoices"], false);
    assert_eq!(all(), []);
    let columns = |what: &DriftKind| match what {
        DriftKind::TablesWrong(columns) => columns.clone(),
        other => vec![format!("{other:?}")],
    };
    let dump = till.dump();
    for (sql, id, first) in [
        ("UPDATE stripe_subscriptions SET status = 'past_due'", &subscription, "stripe_subscriptions.status"),
        ("UPDATE subscriptions SET entitled = 0", &subscription, "subscriptions.entitled"),
        ("DELETE FROM stripe_subscription_items", &subscription, "stripe_subscription_items.currency"),
        ("UPDATE stripe_customers SET email = NULL", &zoe, "stripe_customers.email"),
        ("DELETE FROM stripe_invoices", &invoice, "stripe_invoices.amount_due"),
    ] {
        till.connection().execute_batch(sql).unwrap();
        let broken = harness::dump(&database(till.dir.path()));
        let found = all();
        assert_eq!(found.len(), 1, "{sql} {found:?}");
        assert_eq!((&found[0].0, columns(&found[0].1)[0].as_str(), found[0].2), (id, first, false), "{sql}");
        let of_tables =
            |dump: &str| dump.lines().filter(|line| !line.starts_with("audit_log")).collect::<Vec<_>>().join("\n");
        assert_eq!(
            of_tables(&harness::dump(&database(till.dir.path()))),
            of_tables(&broken),
            "comparing changes nothing"
        );
        let fixed = compared(&till, &fake, &["customers", "subscriptions", "invoices"], true);
        assert!(fixed.len() == 1 && fixed[0].2, "{fixed:?}");
        assert_eq!(of_tables(&till.dump()), of_tables(&dump), "{sql}");
        assert_eq!(all(), []);
    }
}

#[test]
fn a_subscription_that_ended_by_an_event_of_its_own_is_no_drift() {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    let zoe = fake.create("customer", &json!({ "metadata": { "user_id": "zoe" } }));
    let subscription = fake.create("subscription", &json!({ "customer": zoe, "status": "active" }));
    fake.change(&subscription, "customer.subscription.deleted", &json!({ "status": "canceled", "ended_at": START_S }));
    let till = till(&fake);
    assert_eq!(till.value("SELECT deleted FROM stripe_subscriptions"), 1);
    assert_eq!(compared(&till, &fake, &["subscriptions"], false), []);
}

#[test]
fn the_table_of_every_kind_holds_an_objects_id_once() {
    let till = Till::new();
    for (table, key) in kinds::all().filter_map(|kind| kind.table) {
        let sql = format!(
            "SELECT count(*) FROM pragma_index_list('{table}') AS list, pragma_index_info(list.name) AS column
                WHERE list.\"unique\" AND column.name = '{key}'"
        );
        assert_eq!(till.value(&sql), 1, "{table}");
    }
}

#[test]
fn what_is_rendered_in_another_version_is_no_drift() {
    for version in ApiVersion::ALL {
        let fake = FakeStripe::start();
        fake.set_version(version);
        fake.add_price("price_pro", 2000, "month");
        let customer = fake.create("customer", &json!({ "email": "zoe@example.com" }));
        let subscription = fake.create("subscription", &json!({ "customer": customer, "status": "active" }));
        let members = json!({ "customer": customer });
        for kind in ["invoice", "payment_intent", "refund", "dispute"] {
            fake.create(kind, &members);
        }
        let till = till(&fake);
        assert!(till.value("SELECT count(*) FROM stripe_objects").as_i64().unwrap() >= 6);
        let names = ["customers", "subscriptions", "invoices", "payment_intents", "refunds", "disputes"];
        assert_eq!(compared(&till, &fake, &names, false), [], "{}", version.as_str());
        // And a change is seen across versions all the same.
        fake.alter(&subscription, &json!({ "status": "past_due" }));
        let found = [(subscription, differs(&["status"]), false)];
        assert_eq!(compared(&till, &fake, &names, false), found, "{}", version.as_str());
    }
}

#[test]
fn what_is_newer_here_or_waits_for_the_worker_is_no_drift() {
    let fake = FakeStripe::start();
    let customer = fake.create("customer", &json!({ "name": "old" }));
    let till = till(&fake);
    // An event is in the log, and the worker has not come to it.
    fake.change(&customer, "customer.updated", &json!({ "name": "new" }));
    assert_eq!(till.post(fake.events().last().unwrap()).0, 200);
    assert_eq!(compared(&till, &fake, &["customers"], true), []);
    assert_eq!(till.value("SELECT json_extract(data, '$.name') FROM stripe_objects"), "old", "that is the worker's");
}

#[test]
fn with_the_key_of_another_account_nothing_is_taken_for_deleted() {
    let (ours, other) = (FakeStripe::start(), FakeStripe::start());
    ours.add_price("price_pro", 2000, "month");
    let zoe = ours.create("customer", &json!({ "metadata": { "user_id": "zoe" } }));
    let subscription = ours.create("subscription", &json!({ "customer": zoe, "status": "active" }));
    let till = till(&ours);
    other.seed("customer", 3);
    // With a key that may not even ask for its account.
    other.fail(Fault::Status(403, None), "GET /v1/account", 1);
    let names = ["customers", "subscriptions"];
    let found = compared(&till, &other, &names, true);
    let of = |id: &str| found.iter().find(|(found, ..)| found == id).map(|(_, what, fixed)| (what.clone(), *fixed));
    assert_eq!(of(&zoe), Some((DriftKind::MissingThere, false)));
    assert_eq!(of(&subscription), Some((DriftKind::MissingThere, false)));
    assert_eq!(till.entitlement("zoe")["entitled"], true);

    // Once the account is known, another one is not even read.
    let known = "INSERT INTO settings (name, value) VALUES ('stripe_account', 'acct_ours')";
    till.connection().execute_batch(known).unwrap();
    let (means, _stopper) = means(&till, &other);
    let asked = other.requests().len();
    let refused =
        drift::run(&means, &[kinds::all().next().unwrap()], true, "test", &mut |_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("acct_FakeStripe") && refused.contains("acct_ours") && refused.contains("correct the key"),
        "{refused}"
    );
    assert_eq!(other.requests().len(), asked + 1);
}

#[test]
fn the_account_is_asked_for_once_and_another_one_or_another_mode_is_refused() {
    let fake = FakeStripe::start();
    let till = till(&fake);
    let client = |key: &str, base: &str| {
        let settings = StripeSettings::new(ApiKey::new(key), base, "2026-09-30.endive");
        Client::new(StripeSettings { max_attempts: 1, ..settings }).unwrap()
    };
    let of = |key: &str, base: &str, livemode| Account::new(till.store.clone(), client(key, base), livemode);
    let asked = || fake.requests_to("GET /v1/account").len();
    let nowhere = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let error = of(fake.key(), &nowhere, Some(false)).confirm(Priority::Interactive).unwrap_err();
    assert!(matches!(error, AccountError::Unasked(_)), "{error}");
    // A key that may not ask is believed, and its mode kept.
    of(fake.key_without(&["GET /v1/account"]), &fake.url(), Some(false)).confirm(Priority::Interactive).unwrap();
    assert_eq!(till.value("SELECT count(*) FROM settings WHERE name = 'stripe_account'"), 0);
    let account = of(fake.key(), &fake.url(), Some(false));
    for _ in 0..3 {
        account.clone().confirm(Priority::Interactive).unwrap();
    }
    assert_eq!(asked(), 2);
    let error = of("sk_live_x", &fake.url(), Some(true)).confirm(Priority::Interactive).unwrap_err().to_string();
    assert!(error.contains("in live mode") && error.contains("acct_FakeStripe in test mode"), "{error}");
    assert_eq!(asked(), 2, "the prefix tells it");
    till.connection().execute_batch("UPDATE settings SET value = 'acct_ours' WHERE name = 'stripe_account'").unwrap();
    let error = of(fake.key(), &fake.url(), Some(false)).confirm(Priority::Interactive).unwrap_err().to_string();
    assert!(error.contains("acct_FakeStripe in test mode") && error.contains("acct_ours in test mode"), "{error}");
}

#[test]
fn a_payment_method_that_no_customer_has_any_more_is_asked_for_by_itself() {
    let fake = FakeStripe::start();
    let customer = fake.create("customer", &json!({}));
    let till = till(&fake);
    let method = fake.add("payment_method", &json!({ "customer": customer }));
    assert_eq!(compared(&till, &fake, &["payment_methods"], true), [(method.clone(), DriftKind::MissingHere, true)]);
    till.clock.advance(5000);
    fake.clock().advance(5000);
    fake.alter(&method, &json!({ "customer": null }));
    assert_eq!(compared(&till, &fake, &["payment_methods"], true), [(method.clone(), differs(&["customer"]), true)]);
    assert_eq!(compared(&till, &fake, &["payment_methods"], true), []);
    assert_eq!(fake.requests_to(&format!("GET /v1/payment_methods/{method}")).len(), 3);
}

#[test]
fn a_404_that_is_not_stripes_deletes_nothing() {
    let fake = FakeStripe::start();
    fake.create("coupon", &json!({ "id": "HALF" }));
    let mut till = till(&fake);
    fake.create("coupon", &json!({ "id": "KNOWN" }));
    assert_eq!(till.post(fake.events().last().unwrap()).0, 200);
    till.settle();
    fake.forget("coupon", "HALF");
    fake.fail(Fault::Says(404, "<html>Not found</html>".to_owned()), "GET /v1/coupons/HALF", 1);
    let (means, _stopper) = means(&till, &fake);
    let kinds = [kinds::named("coupons").unwrap()];
    let outcome = drift::run(&means, &kinds, true, "test", &mut |_| ()).unwrap();
    assert!(outcome.refused[0].contains("status 404"), "{:?}", outcome.refused);
    let deleted = || till.value("SELECT deleted FROM stripe_objects WHERE id = 'HALF'");
    assert_eq!((outcome.tallies[0].missing_there, deleted()), (0, json!(0)));
    // And one that is does.
    let outcome = drift::run(&means, &kinds, true, "test", &mut |_| ()).unwrap();
    assert_eq!((outcome.tallies[0].missing_there, deleted()), (1, json!(1)));
}

#[test]
fn what_its_event_brings_between_two_looks_is_no_drift() {
    let fake = FakeStripe::start();
    let customer = fake.create("customer", &json!({ "name": "old" }));
    let till = till(&fake);
    fake.change(&customer, "customer.updated", &json!({ "name": "new" }));
    let young = fake.create("customer", &json!({}));
    let (means, _stopper) = means(&till, &fake);
    // The webhooks arrive once the page was read.
    let mut found = 0;
    let mut tell = |told: DriftReport| match told {
        DriftReport::Page(..) => {
            for event in fake.events().iter().rev().take(2).rev() {
                assert_eq!(till.post(event).0, 200);
            }
        }
        DriftReport::Found(_) => found += 1,
    };
    let outcome = drift::run(&means, &[kinds::named("customers").unwrap()], true, "test", &mut tell).unwrap();
    assert_eq!((found, outcome.left(), outcome.tallies[0].ahead), (0, 0, 2));
    for id in [&customer, &young] {
        assert_eq!(fake.requests_to(&format!("GET /v1/customers/{id}")).len(), 1);
    }
}

#[test]
fn at_night_the_copy_is_compared_once_a_day_and_the_result_kept() {
    let fake = FakeStripe::start();
    let customer = fake.create("customer", &json!({ "name": "old" }));
    let till = till(&fake);
    fake.alter(&customer, &json!({ "name": "new" }));
    till.clock.advance(DAY_S * 1000);
    fake.clock().advance(DAY_S * 1000);
    let (means, _stopper) = means(&till, &fake);
    let mut scheduler = Scheduler::new(vec![compare_at_night(means, Nightly::Fix)], START_S * 1000);
    let checked = || till.value("SELECT count(*) FROM audit_log WHERE action = 'drift.checked' AND actor = 'tilld'");
    let three_ms = (START_S + DRIFT_AT_S) * 1000;
    for (at_ms, times) in [(three_ms - 1, 0), (three_ms, 1), (three_ms + 1000, 1), (three_ms + DAY_S * 1000, 2)] {
        scheduler.step(at_ms);
        assert_eq!(checked(), times);
    }
    assert_eq!(till.value("SELECT name FROM stripe_customers"), "new");
}

#[test]
fn the_command_ends_with_1_where_something_differs_and_tells_how_to_repair_it() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    tilld::store::engine::schema::up(&crate::live::database(dir.path()), 0).unwrap();
    let run = |arguments: &[&str]| {
        let mut command: Command = tilld(dir.path());
        command.args(arguments).envs(env(&fake));
        done(command)
    };
    let customer = fake.add("customer", &json!({ "name": "old" }));
    assert_eq!(run(&["sync", "customers"]).0, Some(0));
    let (code, out, err) = run(&["drift", "customers"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("TYPE") && out.contains("customers  1     0"), "{out}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    fake.clock().advance(2000);
    fake.alter(&customer, &json!({ "name": "new" }));
    let (code, out, err) = run(&["drift", "customers"]);
    assert_eq!(code, Some(1));
    assert!(out.starts_with(&format!("customers {customer} differs: name\n")), "{out}");
    assert!(err.contains("error: 1 objects differ from Stripe") && err.contains("`tilld drift --fix`"), "{err}");
    let (code, out, _) = run(&["drift", "customers", "--fix", "--json"]);
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(
        line,
        json!({ "type": "customers", "id": customer, "drift": "differs", "fields": ["name"], "fixed": true })
    );
    assert_eq!(run(&["drift", "customers"]).0, Some(0));
    assert_eq!(
        number(dir.path(), "SELECT count(*) FROM audit_log WHERE action = 'drift.checked' AND actor = 'cli'"),
        4
    );
    assert_eq!(texts(dir.path(), "SELECT name FROM stripe_customers"), ["new"]);
}
