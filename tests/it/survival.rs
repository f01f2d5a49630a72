//! Survival: the real binary under load is killed again and again, as by a power cut of the process. What it has
//! acknowledged is there, once, and nothing is stuck.

use std::collections::HashSet;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tilld::app::trigger::{self, ApiVersion, Spec};
use tilld::store::engine::schema;

use crate::harness::START_S;
use crate::live::{Live, database, post_to, witness};

const ROUNDS: u32 = 20;
const SENDERS: u64 = 16;
/// One user's life; each user has events of every family.
const LIFE: [&str; 8] = [
    "customer.created",
    "customer.subscription.created",
    "invoice.created",
    "invoice.paid",
    "payment_intent.succeeded",
    "customer.subscription.updated",
    "charge.succeeded",
    "invoice.payment_failed",
];

/// Counts what is written, not what is there: the rows have unique keys, which would hide a second writing. A
/// `BEFORE INSERT` trigger runs even where `ON CONFLICT DO NOTHING` then does nothing.
const COUNTERS: &str = "
    CREATE TABLE test_effects (kind TEXT, event_id TEXT);
    CREATE TRIGGER test_audit BEFORE INSERT ON audit_log BEGIN
        INSERT INTO test_effects VALUES ('audit', new.stripe_event_id); END;
    CREATE TRIGGER test_history BEFORE INSERT ON subscription_events BEGIN
        INSERT INTO test_effects VALUES ('history', new.stripe_event_id); END;
    CREATE TRIGGER test_done AFTER UPDATE ON stripe_webhooks_log WHEN new.status IN ('processed', 'ignored') BEGIN
        INSERT INTO test_effects VALUES ('done', new.event_id); END;";

/// A multiplicative generator (Lehmer, modulus 2^31 - 1): enough to vary a delay.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 % limit
    }
}

/// Where the daemon listens now; senders that do not reach it come again, as Stripe does.
struct Target {
    address: RwLock<String>,
    done: AtomicBool,
}

#[test]
fn no_acknowledged_event_is_lost_or_doubled_by_kill_9_under_load() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let seed = std::env::var("TILLD_TEST_SEED").map_or(u64::from(now.subsec_nanos()) + 1, |seed| seed.parse().unwrap());
    println!("TILLD_TEST_SEED={seed}");
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    schema::up(&database(dir.path()), START_S * 1000).unwrap();
    Connection::open(database(dir.path())).unwrap().execute_batch(COUNTERS).unwrap();

    let target = Target { address: RwLock::new(String::new()), done: AtomicBool::new(false) };
    let acknowledged: HashSet<String> = std::thread::scope(|scope| {
        let target = &target;
        let senders: Vec<_> = (0..SENDERS).map(|number| scope.spawn(move || send_all(number, target))).collect();
        for _ in 0..ROUNDS {
            let live = Live::start(dir.path());
            target.address.write().unwrap().clone_from(&live.public);
            std::thread::sleep(Duration::from_millis(30 + random.below(270)));
            live.kill();
        }
        target.done.store(true, Ordering::SeqCst);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });

    let live = Live::start(dir.path());
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    println!("{} events acknowledged", acknowledged.len());
    assert!(acknowledged.len() > 100, "too little load: {}", acknowledged.len());
    check(&database(dir.path()), &acknowledged);
    witness(dir.path(), &[]);
}

/// Posts one event after the other, each until it has a 200; returns the ids that have one.
fn send_all(sender: u64, target: &Target) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let event = event(sender, number);
        let body = event.to_string();
        loop {
            if target.done.load(Ordering::SeqCst) {
                return acknowledged;
            }
            let address = target.address.read().unwrap().clone();
            match post_to(&address, body.as_bytes()) {
                Ok(answer) if answer.status == 200 => break,
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.body),
                Err(_) => std::thread::sleep(Duration::from_millis(3)),
            }
        }
        acknowledged.push(event["id"].as_str().unwrap().to_owned());
    }
    acknowledged
}

fn event(sender: u64, number: usize) -> Value {
    let user = format!("user_{sender}_{}", number / LIFE.len());
    let spec = Spec {
        event_type: LIFE[number % LIFE.len()],
        version: ApiVersion::CURRENT,
        user: Some(&user),
        price_id: "price_pro",
        now_s: START_S + i64::try_from(number % LIFE.len()).unwrap(),
        nonce: "1",
        set: &[],
    };
    trigger::event(&spec).unwrap()
}

fn check(path: &Path, acknowledged: &HashSet<String>) {
    let connection = Connection::open(path).unwrap();
    let done = ids(&connection, "SELECT event_id FROM stripe_webhooks_log WHERE status IN ('processed', 'ignored')");
    let missing: Vec<_> = acknowledged.iter().filter(|id| !done.contains(*id)).collect();
    assert!(missing.is_empty(), "acknowledged, but not processed: {missing:?}");
    for (problem, sql) in [
        ("stuck", "SELECT event_id FROM stripe_webhooks_log WHERE status NOT IN ('processed', 'ignored')"),
        ("tried too often", "SELECT event_id FROM stripe_webhooks_log WHERE processing_attempts NOT BETWEEN 1 AND 4"),
        ("retried", "SELECT stripe_event_id FROM webhook_retry_queue"),
        ("dead", "SELECT stripe_event_id FROM webhook_dead_letter_queue"),
        ("failed", "SELECT stripe_event_id FROM webhook_attempts"),
        ("done twice", "SELECT event_id FROM test_effects GROUP BY kind, event_id HAVING count(*) <> 1"),
        (
            "without its row in the audit log",
            "SELECT event_id FROM stripe_webhooks_log
             WHERE 1 <> (SELECT count(*) FROM audit_log WHERE stripe_event_id = event_id)",
        ),
        (
            "without its row in the subscription's history",
            "SELECT event_id FROM stripe_webhooks_log WHERE event_type LIKE 'customer.subscription.%'
             AND 1 <> (SELECT count(*) FROM subscription_events WHERE stripe_event_id = event_id)",
        ),
        ("claimed for ever", "SELECT CAST(first_log_id AS TEXT) FROM worker_claim"),
    ] {
        assert_eq!(ids(&connection, sql), HashSet::new(), "{problem}");
    }
    assert_eq!(ids(&connection, "PRAGMA integrity_check"), HashSet::from(["ok".to_owned()]));
    assert_eq!(ids(&connection, "PRAGMA foreign_key_check"), HashSet::new());
}

fn ids(connection: &Connection, sql: &str) -> HashSet<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}
