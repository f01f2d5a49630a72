//! `tilld rebuild`: log and kept readings, projected once more, make every derived row as it was; and what is not derived is
//! taken over.

mod files;
mod waiting;
mod walks;

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::jobs::rebuild::{self, RebuildTask};
use tilld::store::Store;
use tilld::store::engine::schema;

use crate::harness::{self, DAY_S, START_S, Setup, Till, notify};
use crate::live::{database, tilld};
use crate::reads::read_now;
use crate::samples::{event, everything};

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";

/// Events of every type, readings that repeat, contradict and delete, words, and what went wrong.
fn lived() -> Till {
    let mut till = Till::with(Setup { notify: notify(&[("http://127.0.0.1:1/a", &["*"])]), ..Setup::default() });
    till.feed(&everything("alice", START_S - DAY_S));
    let active = event(CREATED, "bob", START_S, &[]);
    till.feed(&[event("customer.created", "bob", START_S, &[]), active.clone()]);
    read_now(&till, &active["data"]["object"], START_S + 5);
    read_now(&till, &active["data"]["object"], START_S + 6);
    let past_due = event(UPDATED, "bob", START_S + 9, &[("status", json!("past_due"))]);
    read_now(&till, &past_due["data"]["object"], START_S + 9);
    read_now(&till, &past_due["data"]["object"], START_S + 12);
    till.feed(&[event("invoice.payment_failed", "bob", START_S + 7, &[]), event(UPDATED, "bob", START_S + 8, &[])]);
    till.call(tilld::http::request::Method::Put, "/api/v1/users/zoe", &json!({"email": "zoe@example.com"}));
    let word = json!({"stripe_customer_id": "cus_zoe"});
    assert!(till.call(tilld::http::request::Method::Put, "/api/v1/users/zoe/customer", &word).0 < 300);
    till
}

fn rebuilt(till: &Till) -> (TempDir, rebuild::Rebuilt) {
    let dir = TempDir::new().unwrap();
    let from = database(till.dir.path());
    let into = database(dir.path());
    let task = RebuildTask { from: &from, into: &into, context: &till.context, now_ms: START_S * 1000 + 60_000 };
    let done = rebuild::rebuild(task, &|_, _| ()).unwrap();
    (dir, done)
}

fn texts(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The rows without what is looked at again after a rebuild, and without answers, which are of the time that it is.
fn rows(path: &Path) -> Vec<String> {
    let due =
        |line: &str| line.split(' ').filter(|cell| !cell.starts_with("dunning_due_at=")).collect::<Vec<_>>().join(" ");
    let is_answer = |line: &str| line.starts_with("subscriptions:") || line.starts_with("answer_counts:");
    harness::dump(path).lines().filter(|line| !is_answer(line)).map(due).collect()
}

fn are_same(one: &[String], other: &[String]) {
    for (left, right) in one.iter().zip(other) {
        assert_eq!(left, right);
    }
    assert_eq!(one.len(), other.len());
}

#[test]
fn what_was_kept_makes_every_derived_row_again() {
    let till = lived();
    till.witness();
    let (dir, done) = rebuilt(&till);
    assert_eq!((done.failed, done.late, done.changed), (0, 0, 0));
    assert!(done.events > 20 && done.readings == 4, "{done:?}");
    are_same(&rows(&database(dir.path())), &rows(&database(till.dir.path())));
}

#[test]
fn what_is_not_derived_is_taken_over_and_nothing_is_sent() {
    let till = lived();
    let (dir, _) = rebuilt(&till);
    let (old, new) = (database(till.dir.path()), database(dir.path()));
    let same = |sql: &str, at_least: usize| {
        let before = texts(&old, sql);
        assert!(before.len() >= at_least, "{sql}: {before:?}");
        assert_eq!(before, texts(&new, sql), "{sql}");
    };
    same("SELECT id || coalesce(email, '') || created_at_ms FROM users ORDER BY id", 3);
    same("SELECT id || object_id || user_id || said_at_ms FROM user_links ORDER BY id", 1);
    same("SELECT id || dedupe_key || status || payload FROM outbox ORDER BY id", 1);
    same("SELECT id || at_ms || actor || action || coalesce(user_id, '') FROM audit_log ORDER BY id", 20);
    same("SELECT id || event_id || status || processed_at_ms || data FROM stripe_webhooks_log ORDER BY id", 20);
    same("SELECT reading_id || taken_at_ms FROM api_readings ORDER BY id", 4);
    same(
        "SELECT f.stripe_invoice_id || a.notification_type || a.attempt_number || coalesce(a.outcome, '') ||
         coalesce(a.outbox_id, '') FROM dunning_attempts a JOIN payment_failures f ON f.id = a.payment_failure_id
         ORDER BY 1",
        1,
    );
    same("SELECT name || value FROM settings ORDER BY name", 1);
    assert_eq!(texts(&new, "SELECT \"table\" FROM pragma_foreign_key_check"), Vec::<String>::new());
}

#[test]
fn a_reading_that_repeats_what_is_there_stores_no_body() {
    let mut till = Till::new();
    let active = event(CREATED, "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&active));
    read_now(&till, &active["data"]["object"], START_S + 5);
    read_now(&till, &active["data"]["object"], START_S + 6);
    assert_eq!(till.value("SELECT count(*) FROM api_readings WHERE data IS NULL AND same_log_id = 1"), 2);
    let paused = event(UPDATED, "alice", START_S + 9, &[("status", json!("paused"))]);
    read_now(&till, &paused["data"]["object"], START_S + 9);
    read_now(&till, &paused["data"]["object"], START_S + 10);
    assert_eq!(till.value("SELECT count(*) FROM api_readings WHERE data IS NOT NULL"), 1);
    assert_eq!(till.value("SELECT json_extract(data, '$.status') FROM stripe_objects"), "paused");
    // Objects without a history keep the first and the last of a row of repeats.
    let product = json!({"id": "prod_1", "object": "product", "livemode": false, "name": "Pro"});
    for at_s in 0..9 {
        read_now(&till, &product, START_S + at_s);
    }
    assert_eq!(till.value("SELECT count(*) FROM api_readings WHERE object = 'product'"), 2);
    till.witness();
}

#[test]
fn readings_are_never_listed_as_events() {
    let till = lived();
    let (_, listed) = till.get("/api/v1/admin/events?limit=100");
    let ids = listed["data"].as_array().unwrap();
    assert!(ids.len() > 20 && !ids.iter().any(|one| one["id"].as_str().unwrap().starts_with("read:")), "{listed}");
}

#[test]
fn the_check_names_table_key_column_and_both_values() {
    let till = lived();
    let direct = till.connection();
    direct.execute_batch("UPDATE stripe_customers SET email = 'wrong@example.com' WHERE email IS NOT NULL").unwrap();
    direct.execute_batch("DELETE FROM stripe_disputes").unwrap();
    let found = till.rebuilt_otherwise();
    let names =
        |table: &str, column: &str| found.iter().find(|one| one.contains(table) && one.contains(column)).cloned();
    let email = names("stripe_customers", "\"email\"").unwrap();
    assert!(email.contains("'wrong@example.com'") && email.contains("cus_"), "{email}");
    assert!(names("stripe_disputes", "present: None").is_some(), "{found:?}");
}

#[test]
fn the_application_is_told_of_answers_that_are_others_and_nobody_is_mailed() {
    let till = lived();
    till.connection().execute_batch("UPDATE subscriptions SET tier = 'team' WHERE user_id = 'bob'").unwrap();
    let (dir, done) = rebuilt(&till);
    assert_eq!(done.changed, 1);
    let added = |path: &Path| texts(path, "SELECT payload FROM outbox ORDER BY id");
    let (before, after) = (added(&database(till.dir.path())), added(&database(dir.path())));
    assert_eq!((after.len(), &after[..before.len()]), (before.len() + 1, &before[..]));
    let told: Value = serde_json::from_str(after.last().unwrap()).unwrap();
    assert_eq!((&told["type"], &told["data"]["user_id"]), (&json!("entitlement.changed"), &json!("bob")));
    assert_eq!((&told["data"]["old"]["tier"], &told["data"]["new"]["tier"]), (&json!("team"), &json!("pro")));
}

#[test]
fn tables_of_other_rules_are_known_and_rebuilding_notes_the_present_ones() {
    let till = lived();
    till.store.read(schema::has_other_rules).map(|other| assert!(!other)).unwrap();
    till.connection().execute_batch("UPDATE settings SET value = '0' WHERE name = 'rules'").unwrap();
    assert!(till.store.read(schema::has_other_rules).unwrap());
    let (dir, _) = rebuilt(&till);
    let (store, writer) = Store::open(&database(dir.path()), &tilld::base::thread::Threads::default()).unwrap();
    assert!(!store.read(schema::has_other_rules).unwrap());
    drop(store);
    writer.join();
}

/// A file as the steps before the first release left it: the mirror was a table with the bodies in it.
fn unreleased() -> TempDir {
    let dir = lived().close();
    let connection = Connection::open(database(dir.path())).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE was AS SELECT * FROM stripe_objects;
             DROP VIEW stripe_objects; DROP TABLE mirror; DROP TABLE api_readings;
             ALTER TABLE was RENAME TO stripe_objects;
             UPDATE refinery_schema_history SET name = 'customers_and_subscriptions' WHERE version = 2;
             UPDATE refinery_schema_history SET version = 8 WHERE version = 3",
        )
        .unwrap();
    dir
}

#[test]
fn a_file_from_before_the_first_release_is_made_one_of_today() {
    let dir = unreleased();
    let refused = schema::require_current(&database(dir.path())).unwrap_err().to_string();
    assert!(refused.contains("tilld rebuild --from"), "{refused}");
    let (code, out, err) = command(dir.path(), &["--from", "tilld.db", "--into", "new.db"]);
    assert_eq!(code, Some(0), "{out}{err}");
    schema::require_current(&dir.path().join("new.db")).unwrap();
    are_same(&rows(&dir.path().join("new.db")), &rows(&database(lived().close().path())));
}

fn command(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = tilld(dir).arg("rebuild").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".lock") && !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[test]
fn the_command_checks_writes_beside_and_replaces_with_a_copy() {
    let dir = lived().close();
    let path = database(dir.path());
    let before = rows(&path);
    let (code, out, err) = command(dir.path(), &["--check"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(files(dir.path()), ["tilld.db"], "nothing is left of a check");

    let (code, out, err) = command(dir.path(), &["--into", "other.db", "--json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&line["failed"], &line["readings"]), (&json!(0), &json!(4)), "{line}");
    are_same(&rows(&dir.path().join("other.db")), &before);
    let (code, _, err) = command(dir.path(), &["--into", "other.db"]);
    assert!(code == Some(1) && err.contains("is not overwritten"), "{err}");

    Connection::open(&path).unwrap().execute_batch("DELETE FROM stripe_disputes").unwrap();
    let (code, out, err) = command(dir.path(), &["--check", "--json"]);
    assert_eq!(code, Some(1), "{out}{err}");
    let line: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&line["table"], &line["present"]), (&json!("stripe_disputes"), &Value::Null), "{line}");
    let (code, out, err) = command(dir.path(), &[]);
    assert!(code == Some(0) && out.contains("the file as it was: "), "{out}{err}");
    are_same(&rows(&path), &before);
    let copies: Vec<String> = files(dir.path()).into_iter().filter(|name| name.ends_with(".bak")).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let (code, out, err) = command(dir.path(), &["--check"]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_file_that_a_daemon_holds_is_not_replaced() {
    let dir = lived().close();
    let _held = tilld::store::engine::lock::take(&database(dir.path())).unwrap();
    let (code, _, err) = command(dir.path(), &[]);
    assert!(code == Some(1) && err.contains("process"), "{err}");
    assert_eq!(command(dir.path(), &["--check"]).0, Some(0), "a check reads only");
}

/// A question about dead letters outlives a rebuild, since sessions do.
#[test]
fn numbers_of_dead_letters_that_are_gone_are_not_given_again_in_the_new_file() {
    let till = lived();
    let letters = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    let given = "SELECT CAST(seq AS TEXT) FROM sqlite_sequence WHERE name = 'webhook_dead_letter_queue'";
    let old = database(till.dir.path());
    letters(
        &old,
        "INSERT INTO webhook_dead_letter_queue (id, stripe_event_id, event_type, retry_count, error, original_timestamp_ms, created_at_ms)
         SELECT 4711, event_id, event_type, 1, 'x', 1, 1 FROM stripe_webhooks_log LIMIT 1;
         DELETE FROM webhook_dead_letter_queue WHERE id = 4711",
    );
    let (dir, _) = rebuilt(&till);
    assert_eq!(texts(&database(dir.path()), given), ["4711"]);
}
