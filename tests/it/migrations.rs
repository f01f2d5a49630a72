//! The schema goes up and down without losing what both schemas can hold, and never by halves.

use std::path::Path;
use std::process::Stdio;

use rusqlite::Connection;
use tempfile::TempDir;
use tilld::base::thread::Threads;
use tilld::store::engine::schema;
use tilld::store::{OpenError, Store};

use crate::harness::{self, DAY_S, START_S, Setup, Till};
use crate::live::{database, tilld};
use crate::samples::{event, everything};

/// Every type about alice a second apart, and some of one second about bob.
fn fed() -> Till {
    let mut till = Till::new();
    till.feed(&everything("alice", START_S - DAY_S));
    for event_type in ["customer.subscription.created", "customer.subscription.updated", "invoice.payment_failed"] {
        till.feed(&[event(event_type, "bob", START_S, &[])]);
    }
    till
}

fn open(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

const BODIES: &str = "SELECT event_id || created_at_ms || data FROM stripe_webhooks_log ORDER BY id";
const STATES: &str = "SELECT event_id || status || processed FROM stripe_webhooks_log ORDER BY id";

fn log(path: &Path, sql: &str) -> Vec<String> {
    texts(&open(path), sql)
}

fn foreign_keys_hold(path: &Path) {
    assert!(log(path, "SELECT \"table\" FROM pragma_foreign_key_check").is_empty());
    assert_eq!(log(path, "SELECT integrity_check FROM pragma_integrity_check"), ["ok"]);
}

/// Down to `to` and up again; what the tables say before and after must be the same.
fn down_and_up(to: u32) {
    let till = fed();
    let before = till.dump();
    assert!(before.lines().count() > 60, "{before}");
    let dir = till.close();
    let path = database(dir.path());
    let (bodies, states) = (log(&path, BODIES), log(&path, STATES));

    let down = schema::down(&path, to, START_S * 1000).unwrap();
    assert_eq!((down.from, down.to, schema::version_of(&path).unwrap()), (schema::CURRENT, to, to));
    assert_eq!(log(&path, BODIES), bodies, "the log is kept");
    foreign_keys_hold(&path);
    let copy = down.copy.unwrap();
    schema::require_current(&copy).unwrap();
    assert_eq!((harness::dump(&copy), log(&copy, BODIES)), (before.clone(), bodies.clone()));
    assert!(matches!(Store::open(&path, &Threads::default()), Err(OpenError::OlderSchema { .. })));

    let up = schema::up(&path, START_S * 1000).unwrap();
    assert_eq!((up.from, up.to), (to, schema::CURRENT));
    assert_eq!(schema::version_of(&up.copy.unwrap()).unwrap(), to);
    let mut till = Till::in_dir(dir, Setup::default());
    till.settle();
    assert_eq!(till.dump(), before);
    foreign_keys_hold(&path);
    assert_eq!((log(&path, BODIES), log(&path, STATES)), (bodies, states));
}

#[test]
fn down_to_2_and_up_again_ends_in_the_same_tables() {
    down_and_up(2);
}

#[test]
fn down_to_1_and_up_again_ends_in_the_same_tables() {
    down_and_up(1);
}

#[test]
fn users_that_the_application_made_survive_a_way_down_to_2() {
    let till = Till::new();
    let body = serde_json::json!({"email": "zoe@example.com", "metadata": {"team": 7}});
    till.call(tilld::http::request::Method::Put, "/api/v1/users/zoe", &body);
    let user = till.get("/api/v1/users/zoe");
    let dir = till.close();
    schema::down(&database(dir.path()), 2, START_S * 1000).unwrap();
    assert_eq!(Till::in_dir(dir, Setup::default()).get("/api/v1/users/zoe"), user);
}

#[test]
fn migrating_a_current_file_does_nothing_and_copies_nothing() {
    let dir = fed().close();
    let path = database(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let nothing = schema::up(&path, 0).unwrap();
    assert_eq!((nothing.from, nothing.to, nothing.copy), (schema::CURRENT, schema::CURRENT, None));
    assert_eq!(schema::down(&path, schema::CURRENT, 0).unwrap().copy, None);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

/// `tilld serve` on the file: it must end by itself, and say why.
fn serve_refuses(dir: &Path) -> String {
    let child = tilld(dir)
        .arg("serve")
        .env("STRIPE_WEBHOOK_SECRET", harness::SECRET)
        .env("TILLD_PUBLIC_LISTEN", "127.0.0.1:0")
        .env("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && !said.contains("listening public="), "{said}");
    said
}

fn refused(dir: &Path) -> OpenError {
    let path = database(dir);
    let bytes = std::fs::read(&path).unwrap();
    let error = schema::up(&path, 0).unwrap_err();
    assert!(schema::down(&path, 1, 0).is_err());
    assert!(Store::open(&path, &Threads::default()).is_err());
    let said = serve_refuses(dir);
    assert!(said.contains(&error.to_string()), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file is not touched");
    error
}

#[test]
fn a_newer_schema_is_refused_and_the_file_is_untouched() {
    let dir = fed().close();
    let sql = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
        SELECT version + 1, 'the_future', applied_on, checksum FROM refinery_schema_history ORDER BY version DESC LIMIT 1";
    open(&database(dir.path())).execute_batch(sql).unwrap();
    let error = refused(dir.path());
    let newer = schema::CURRENT + 1;
    assert!(matches!(error, OpenError::NewerSchema { found, .. } if found == newer), "{error}");
    assert!(error.to_string().contains("use a newer tilld"));
}

#[test]
fn a_database_of_another_program_is_refused_and_untouched() {
    let dir = TempDir::new().unwrap();
    open(&database(dir.path())).execute_batch("CREATE TABLE recipes (id INTEGER PRIMARY KEY)").unwrap();
    assert!(matches!(refused(dir.path()), OpenError::Foreign { .. }));
    let of_refinery = "CREATE TABLE refinery_schema_history
        (version INTEGER PRIMARY KEY, name TEXT, applied_on TEXT, checksum TEXT);
        INSERT INTO refinery_schema_history VALUES (4, 'recipes', '2026-01-01T00:00:00Z', '1')";
    open(&database(dir.path())).execute_batch(of_refinery).unwrap();
    assert!(matches!(refused(dir.path()), OpenError::Foreign { .. }));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_untouched() {
    let dir = TempDir::new().unwrap();
    std::fs::write(database(dir.path()), "dear diary, ".repeat(100)).unwrap();
    assert!(matches!(refused(dir.path()), OpenError::Damaged { .. }));
}

#[test]
fn lesson_22_a_failing_migration_leaves_the_file_as_it_was_and_stops_the_start() {
    let dir = fed().close();
    let path = database(dir.path());
    schema::down(&path, 1, 0).unwrap();
    open(&path)
        .execute_batch("CREATE TABLE stripe_customers (mine TEXT); INSERT INTO stripe_customers VALUES ('x')")
        .unwrap();
    let everything = "SELECT coalesce(sql, name) FROM sqlite_master ORDER BY name";
    let (shape, bodies) = (log(&path, everything), log(&path, BODIES));
    let copied = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "bak"))
            .count()
    };
    let copies = copied();
    let error = schema::up(&path, 0).unwrap_err();
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("nothing was changed") && text.contains("table stripe_customers already exists"), "{text}");
    assert!(serve_refuses(dir.path()).contains("table stripe_customers already exists"));
    assert_eq!((schema::version_of(&path).unwrap(), copied()), (1, copies), "no copy is left of what did not happen");
    assert_eq!((log(&path, everything), log(&path, BODIES)), (shape, bodies));
    assert_eq!(log(&path, "SELECT mine FROM stripe_customers"), ["x"]);
}

/// Contract §5; `subscription_events` refers to its payload by `stripe_event_id`.
const PROMISED: &[(&str, &str)] = &[
    (
        "stripe_webhooks_log",
        "id event_type event_id data processed processing_error processing_attempts created_at_ms processed_at_ms status livemode account api_version event_created",
    ),
    (
        "webhook_retry_queue",
        "id stripe_event_id event_type retry_count max_retries next_retry_at_ms last_error created_at_ms",
    ),
    (
        "webhook_dead_letter_queue",
        "id stripe_event_id event_type retry_count error original_timestamp_ms created_at_ms",
    ),
    ("users", "id email name metadata created_at_ms"),
    ("stripe_customers", "id user_id stripe_customer_id email metadata deleted"),
    (
        "stripe_subscriptions",
        "id stripe_subscription_id stripe_customer_id stripe_price_id status current_period_start current_period_end cancel_at_period_end cancel_at canceled_at ended_at trial_start trial_end metadata livemode event_created",
    ),
    ("stripe_subscription_items", "id"),
    ("stripe_invoices", "id"),
    (
        "stripe_payment_intents",
        "id stripe_intent_id user_id stripe_customer_id amount_cents currency status payment_method_type idempotency_key error_code error_message metadata",
    ),
    (
        "subscriptions",
        "id user_id stripe_customer_id stripe_subscription_id stripe_price_id status tier current_period_start current_period_end cancel_at_period_end canceled_at trial_start trial_end grace_period_end",
    ),
    ("subscription_events", "id stripe_subscription_id event_type stripe_event_id created_at_ms"),
    (
        "payment_failures",
        "id stripe_subscription_id stripe_invoice_id stripe_payment_intent_id amount_due currency attempt_count failure_reason next_retry_at resolved resolved_at_ms",
    ),
    ("dunning_attempts", "id payment_failure_id user_id attempt_number notification_type email_sent email_sent_at_ms"),
    ("audit_log", "id at_ms actor action user_id subject detail"),
    ("outbox", "id"),
    ("stripe_objects", "object id livemode account event_created deleted data"),
    ("v_active_subscriptions", "stripe_subscription_id user_id status stripe_price_id quantity unit_amount currency"),
    ("v_mrr", "currency state subscriptions mrr"),
    ("v_payment_outcomes_daily", "day currency succeeded_attempts failed_attempts succeeded_intents failed_intents"),
    ("v_webhook_outcomes_daily", "day event_type processed ignored dead"),
];

const UNIQUE: &[(&str, &str)] = &[
    ("stripe_webhooks_log", "event_id"),
    ("webhook_retry_queue", "stripe_event_id"),
    ("webhook_dead_letter_queue", "stripe_event_id"),
    ("stripe_customers", "user_id"),
    ("stripe_customers", "stripe_customer_id"),
    ("stripe_subscriptions", "stripe_subscription_id"),
    ("stripe_payment_intents", "stripe_intent_id"),
    ("subscriptions", "user_id"),
    ("payment_failures", "stripe_invoice_id"),
];

#[test]
fn every_promised_table_and_column_exists_and_tables_are_strict() {
    let dir = Till::new().close();
    let connection = open(&database(dir.path()));
    for (table, columns) in PROMISED {
        let found = texts(&connection, &format!("SELECT name FROM pragma_table_info('{table}')"));
        for column in columns.split(' ') {
            assert!(found.iter().any(|name| name == column), "{table}.{column} is missing");
        }
    }
    for (table, column) in UNIQUE {
        let sql = format!(
            "SELECT i.name FROM pragma_index_list('{table}') i WHERE i.\"unique\" = 1
             AND (SELECT group_concat(name) FROM pragma_index_info(i.name)) = '{column}'"
        );
        assert_eq!(texts(&connection, &sql).len(), 1, "{table}.{column} is not unique");
    }
    let loose = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0
        AND name NOT LIKE 'sqlite%' AND name <> 'refinery_schema_history'";
    assert_eq!(texts(&connection, loose), Vec::<String>::new(), "tables that are not STRICT");
}

/// A value list with three members or more in a CHECK makes SQLite build a b-tree at each of these, which was a tenth of
/// what the writer did.
#[test]
fn no_table_makes_sqlite_build_a_b_tree_at_an_insert_or_an_update() {
    let dir = Till::new().close();
    let connection = open(&database(dir.path()));
    let tables = texts(
        &connection,
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%'",
    );
    assert!(tables.len() > 25, "{tables:?}");
    for table in tables {
        let columns = texts(&connection, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let key = texts(&connection, &format!("SELECT name FROM pragma_table_info('{table}') WHERE pk > 0"));
        let marks = vec!["NULL"; columns.len()].join(", ");
        let insert = format!("INSERT INTO {table} ({}) VALUES ({marks})", columns.join(", "));
        let changed: Vec<String> = columns.iter().map(|column| format!("{column} = NULL")).collect();
        let which: Vec<String> = key.iter().map(|column| format!("{column} = 1")).collect();
        let update = format!("UPDATE {table} SET {} WHERE {}", changed.join(", "), which.join(" AND "));
        for sql in [insert, update] {
            let mut statement = connection.prepare(&format!("EXPLAIN {sql}")).unwrap();
            let steps = statement.query_map([], |row| row.get::<_, String>(1)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            assert!(!steps.is_empty() && !steps.iter().any(|step| step == "OpenEphemeral"), "{sql}");
        }
    }
}

#[test]
fn every_body_is_stored_once_and_the_mirror_shows_it() {
    let dir = fed().close();
    let connection = open(&database(dir.path()));
    let unlike = "SELECT o.id FROM stripe_objects o JOIN stripe_webhooks_log l ON l.event_id = o.event_id
        WHERE o.data IS NULL OR o.data <> json_extract(l.data, '$.data.object')";
    assert_eq!(texts(&connection, unlike), Vec::<String>::new());
    assert!(texts(&connection, "SELECT json_extract(data, '$.id') FROM stripe_objects").len() > 10);
    let columns = "SELECT m.name || '.' || p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p
        WHERE m.type = 'table' AND p.name LIKE '%data' ORDER BY 1";
    assert_eq!(
        texts(&connection, columns),
        [
            "api_readings.data",
            "stripe_checkout_sessions.metadata",
            "stripe_customers.metadata",
            "stripe_invoices.metadata",
            "stripe_payment_intents.metadata",
            "stripe_subscriptions.metadata",
            "stripe_webhooks_log.data",
            "users.metadata"
        ]
    );
}

#[test]
fn every_column_has_a_comment() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut columns = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let mut words = line.split_whitespace();
            let (name, kind) = (words.next().unwrap_or(""), words.next().unwrap_or("").trim_end_matches(','));
            let is_column = line.starts_with("    ") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if is_column && ["TEXT", "INTEGER", "REAL", "BLOB"].contains(&kind) {
                columns += 1;
                assert!(line.contains("-- "), "{}: {line}", path.display());
            }
        }
    }
    assert!(columns > 150, "only {columns} columns were found");
}
