//! The real program: a dead endpoint beside a healthy one, and a process that is killed.

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tilld::store::engine::schema;

use super::receiver::{Receiver, Reply};
use super::{START_MS, WHSEC, verifies};
use crate::live::{Live, database};
use crate::samples::event;

const USERS: usize = 50;

/// A configuration with these endpoints, which get everything.
pub fn configure(dir: &Path, urls: &[&str]) {
    let block =
        |url: &&str| format!("[[notify.webhook]]\nurl = \"{url}\"\nsecrets = [\"{WHSEC}\"]\nevents = [\"*\"]\n");
    let file = dir.join("config.toml");
    std::fs::write(&file, urls.iter().map(block).collect::<String>()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// So many rows for each of the endpoints, of some users and of none.
fn fill(path: &Path, urls: &[&str], count: usize) {
    schema::up(path, START_MS).unwrap();
    let mut connection = Connection::open(path).unwrap();
    let transaction = connection.transaction().unwrap();
    let sql = "INSERT INTO outbox (kind, dedupe_key, user_id, target, payload, next_attempt_at_ms, created_at_ms)
        VALUES ('webhook', ?1, ?2, ?3, ?4, ?5, ?5)";
    for number in 0..count {
        let user = Some(format!("user{}", number % USERS)).filter(|_| number % USERS != 0);
        let shown = user.as_deref().unwrap_or_default();
        let payload = format!("{{\"type\":\"test.made\",\"user\":\"{shown}\",\"n\":{number}}}");
        for url in urls {
            let key = format!("webhook:{url}:test.made:{number}");
            transaction.execute(sql, (&key, &user, url, &payload, START_MS)).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Every event came, the first time each in its user's order, each signed.
fn check(receiver: &Receiver, count: usize) {
    let (mut seen, mut last) = (HashSet::new(), BTreeMap::new());
    for got in receiver.got() {
        if !seen.insert(got.head("webhook-id").to_owned()) {
            continue;
        }
        assert!(verifies(WHSEC, &got));
        let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        let (user, number) = (body["user"].as_str().unwrap().to_owned(), body["n"].as_u64().unwrap());
        let before = last.insert(user.clone(), number);
        assert!(user.is_empty() || before.is_none_or(|before| before < number), "{user}: {before:?}, {number}");
    }
    assert_eq!(seen.len(), count);
}

fn distinct(receiver: &Receiver) -> usize {
    receiver.got().iter().map(|got| got.head("webhook-id").to_owned()).collect::<HashSet<_>>().len()
}

fn pending(dir: &Path, url: &str) -> usize {
    let connection = Connection::open(database(dir)).unwrap();
    let sql = "SELECT count(*) FROM outbox WHERE target = ?1 AND status IN ('pending', 'claimed')";
    let count: i64 = connection.query_row(sql, [url], |row| row.get(0)).unwrap();
    usize::try_from(count).unwrap()
}

/// `count` rows to each of two endpoints, one of them dead, over three kills; rows per second to the healthy one.
fn over_three_kills(count: usize) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let healthy = Receiver::answering(Reply::Status(204));
    // It takes connections and never answers.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_url = format!("http://{}/", dead.local_addr().unwrap());
    let url = healthy.url();
    configure(dir.path(), &[&dead_url, &url]);
    fill(&database(dir.path()), &[&dead_url, &url], count);
    for part in 1..=3 {
        let live = Live::start(dir.path());
        healthy.wait(count * part / 5, Duration::from_secs(30));
        live.kill();
    }
    let (before, began) = (healthy.count(), Instant::now());
    let live = Live::start(dir.path());
    while pending(dir.path(), &url) > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} are still pending", pending(dir.path(), &url));
        std::thread::sleep(Duration::from_millis(20));
    }
    let rate = (healthy.count() - before) as f64 / began.elapsed().as_secs_f64();
    check(&healthy, count);
    assert_eq!(distinct(&healthy), count);
    assert_eq!(pending(dir.path(), &dead_url), count, "what is for the dead one waits");
    live.kill();
    rate
}

#[test]
fn beside_a_dead_endpoint_and_over_three_kills_every_event_arrives_in_order() {
    over_three_kills(1000);
}

#[test]
#[ignore = "takes 10,000 rows for each endpoint; measures the rate"]
fn ten_thousand_events_beside_a_dead_endpoint_go_out_at_five_hundred_a_second_or_more() {
    let rate = over_three_kills(10_000);
    eprintln!("{rate:.0} rows/s to the healthy endpoint");
    assert!(rate >= 500.0, "{rate:.0} rows/s");
}

#[test]
fn what_stripe_says_reaches_the_application_and_a_stop_is_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::answering(Reply::Status(200));
    configure(dir.path(), &[&receiver.url()]);
    let live = Live::start(dir.path());
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    for kind in ["customer.created", "customer.subscription.created"] {
        assert_eq!(live.post(event(kind, "alice", now, &[]).to_string().as_bytes()).unwrap().status, 200);
    }
    // Both of Stripe's, the subscription, and the answer.
    receiver.wait(4, Duration::from_secs(10));
    let got = receiver.got();
    assert!(got.iter().all(|got| verifies(WHSEC, got)));
    let types = |wanted: &str| got.iter().filter(|got| got.text().contains(&format!("\"type\":\"{wanted}\""))).count();
    assert_eq!(types("entitlement.changed"), 1);
    assert_eq!(types("stripe.customer.subscription.created"), 1);
    let began = Instant::now();
    assert_eq!(live.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5));
}
