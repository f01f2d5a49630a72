//! Present answers win: what the application heard last of a user is what holds, whatever was restored, removed, put back
//! or down for days.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tilld::base::clock::Clock;
use tilld::jobs::lane::{DeliveryLane, LaneKind, skip_overtaken_answers};
use tilld::notify::endpoints::sign;
use tilld::notify::resync;

use super::live::configure;
use super::receiver::{Receiver, Reply};
use super::{START_MS, Stepper, endpoint, put, sender, state};
use crate::dunning::{active, beginning, past_due, rows};
use crate::harness::{DAY_S, START_S, Setup, Till, notify};
use crate::live::{Live, tilld};
use crate::samples::event;

const APP: &str = "https://app.example.com/hook";

fn with_everything() -> Till {
    Till::with(Setup { notify: notify(&[(APP, &["*"])]), ..Setup::default() })
}

/// The ids under which events of these types are sent.
fn ids(till: &Till, pattern: &str) -> BTreeSet<String> {
    let keys = rows(till, &format!("SELECT dedupe_key FROM outbox WHERE dedupe_key LIKE '%:{pattern}:%'"));
    keys.iter().map(|key| sign::message_id(key)).collect()
}

fn sequences(till: &Till) -> Vec<i64> {
    let payloads = rows(till, "SELECT payload FROM outbox WHERE dedupe_key LIKE '%.changed:%' ORDER BY id");
    let payloads = payloads.iter().map(|payload| serde_json::from_str::<Value>(payload).unwrap());
    payloads.filter_map(|payload| payload["data"]["sequence"].as_i64()).collect()
}

#[test]
fn a_restored_or_new_file_never_gives_the_id_of_a_change_twice_and_its_sequence_rises_on() {
    let (mut lost, mut restored) = (with_everything(), with_everything());
    lost.feed(&beginning("alice"));
    lost.feed(&[past_due("alice", START_S), active("alice", START_S + 1)]);
    restored.clock.advance(60_000);
    restored.feed(&beginning("alice"));
    for event_type in ["entitlement.changed", "subscription.changed"] {
        let (before, after) = (ids(&lost, event_type), ids(&restored, event_type));
        assert!(!before.is_empty() && !after.is_empty() && before.is_disjoint(&after), "{event_type}");
    }
    // A fact keeps its id: the application may ignore what it has seen of it.
    let (fact, forwarded) = (event("customer.updated", "alice", START_S, &[]), "stripe.customer.updated");
    lost.feed(std::slice::from_ref(&fact));
    restored.feed(&[fact]);
    assert_eq!((ids(&lost, forwarded).len(), ids(&lost, forwarded)), (1, ids(&restored, forwarded)));
    let (before, after) = (sequences(&lost), sequences(&restored));
    assert!(before.windows(2).all(|pair| pair[0] < pair[1]), "{before:?}");
    assert!(before.len() >= 4 && before.last() < after.first(), "{before:?} {after:?}");
    assert!(after.iter().all(|number| *number < 1 << 53), "a number in JavaScript: {after:?}");
}

/// A lane as the daemon makes it.
fn judged(till: &Till, url: &str) -> Stepper {
    let sender = sender(url);
    let attempt = Box::new(move |effect: &_, now_ms| sender.send(effect, now_ms));
    let lane = DeliveryLane::new(till.store.clone(), url, LaneKind::Endpoint(endpoint(url)), attempt);
    Stepper::over(till, lane.with_judge(skip_overtaken_answers()))
}

/// What it heard of each user: the reason of the new answers, in the order in which they came.
fn heard(receiver: &Receiver) -> BTreeMap<String, Vec<String>> {
    let mut by_user: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for got in receiver.got() {
        let event: Value = serde_json::from_slice(&got.body).unwrap();
        if event["type"] == "entitlement.changed" {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            by_user.entry(text(&event["data"]["user_id"])).or_default().push(text(&event["data"]["new"]["reason"]));
        }
    }
    by_user
}

fn told_at(url: &str) -> Till {
    Till::with(Setup { notify: notify(&[(url, &["entitlement.changed"])]), ..Setup::default() })
}

#[test]
fn an_answer_that_a_newer_one_has_overtaken_is_not_told_whatever_became_of_the_newer_one() {
    let receiver = Receiver::answering(Reply::Status(200));
    let mut till = told_at(&receiver.url());
    till.feed(&beginning("alice"));
    till.feed(&[past_due("alice", START_S), active("alice", START_S + 1)]);
    till.feed(&beginning("bob"));
    let mut lane = judged(&till, &receiver.url());
    lane.settle();
    assert_eq!(heard(&receiver)["alice"], ["active"]);
    assert_eq!(heard(&receiver)["bob"], ["active"]);
    let standing = "SELECT group_concat(status, ' ') FROM (SELECT status FROM outbox ORDER BY id)";
    assert_eq!(till.value(standing), "skipped skipped done done");
    let note = till.value("SELECT last_error FROM outbox ORDER BY id LIMIT 1");
    assert_eq!(note, "row 3 has a newer answer of the same user");
    // An old one that an operator wants again.
    let operator = tilld::jobs::operator::Operator { actor: "cli", now_ms: START_MS };
    assert!(till.store.write(move |tx| tilld::jobs::operator::deliver_again(tx, 1, operator)).unwrap());
    lane.settle();
    assert_eq!(heard(&receiver)["alice"], ["active"]);
    assert_eq!(till.value("SELECT status FROM outbox WHERE id = 1"), "skipped");
}

#[test]
fn a_receiver_that_was_down_for_days_hears_the_present_answers_that_were_given_up_and_no_others() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let receiver = Receiver::start(move |got| match is_well.load(Ordering::SeqCst) {
        true if !got.text().contains("bad") => Reply::Status(200),
        _ => Reply::Status(503),
    });
    let mut till = told_at(&receiver.url());
    till.feed(&beginning("alice"));
    let mut lane = judged(&till, &receiver.url());
    let given_up = |till: &Till| till.value("SELECT count(*) FROM outbox WHERE status = 'failed'");
    while given_up(&till) == 0 {
        lane.settle();
        till.clock.advance(3600 * 1000);
    }
    assert_eq!(heard(&receiver).get("alice").map(Vec::len), Some(8));
    // The next thing that is sent is taken.
    well.store(true, Ordering::SeqCst);
    let before = receiver.count();
    till.feed(&beginning("bob"));
    lane.settle();
    assert_eq!(receiver.count(), before + 2, "bob's, and alice's again");
    assert_eq!(till.value("SELECT count(*) FROM outbox WHERE status = 'done'"), 2);
    // What is refused while others are taken stays given up: the fault is its own.
    let poison = put(&till.store, &receiver.url(), Some("bad"), 7);
    till.connection().execute("UPDATE outbox SET sequence = 1 WHERE id = ?1", [poison]).unwrap();
    for number in 0..40 {
        put(&till.store, &receiver.url(), Some("good"), 100 + number);
        lane.settle();
        till.clock.advance(3600 * 1000);
    }
    assert_eq!(state(&till, poison).0, "failed");
}

#[test]
fn an_endpoint_that_was_away_is_one_to_be_brought_up_to_date_once() {
    let receiver = Receiver::answering(Reply::Status(200));
    let url = receiver.url();
    let mut till = told_at(&url);
    till.feed(&beginning("alice"));
    judged(&till, &url).settle();
    let with = |till: Till, urls: &[&str]| {
        let endpoints: Vec<(&str, &[&str])> = urls.iter().map(|url| (*url, &["entitlement.changed"][..])).collect();
        let now_ms = till.clock.now_ms();
        let till = Till::in_dir(till.close(), Setup { notify: notify(&endpoints), ..Setup::default() });
        till.clock.set(now_ms);
        let notify = till.context.notices.clone();
        till.store.write(move |tx| resync::note_absent(tx, &notify)).unwrap();
        till
    };
    let mut till = with(till, &[]);
    till.clock.set((START_S + 60) * 1000);
    till.feed(&[past_due("alice", START_S + 60)]);
    till.feed(&beginning("bob"));
    let till = with(till, &[&url]);
    assert_eq!(resync::list_returning(&till.store, &till.context.notices).unwrap(), vec![url.clone()]);
    let told = resync::resync(&till.store, &till.context, (&url, till.clock.now_ms()), None).unwrap();
    assert_eq!(told, 2);
    assert!(resync::list_returning(&till.store, &till.context.notices).unwrap().is_empty());
    judged(&till, &url).settle();
    assert_eq!(heard(&receiver)["alice"], ["active", "grace_period"]);
    assert_eq!(heard(&receiver)["bob"], ["active"]);
    let last: Value = serde_json::from_slice(&receiver.got().last().unwrap().body).unwrap();
    assert_eq!((&last["data"]["resync"], &last["data"]["old"]), (&Value::Bool(true), &Value::Null));
}

/// The endpoint's last word of a user, once it has this reason.
fn last_word(receiver: &Receiver, user: &str, reason: &str) {
    let began = Instant::now();
    while heard(receiver).get(user).and_then(|reasons| reasons.last()).map(String::as_str) != Some(reason) {
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", heard(receiver));
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(heard(receiver)[user].last().map(String::as_str), Some(reason), "it is the last word");
}

fn post(live: &Live, events: &[Value]) {
    for event in events {
        assert_eq!(live.post(event.to_string().as_bytes()).unwrap().status, 200);
    }
    live.settle();
}

fn check(dir: &Path) -> String {
    String::from_utf8(tilld(dir).arg("check").output().unwrap().stdout).unwrap()
}

#[test]
fn of_a_receiver_that_is_down_removed_and_put_back_the_last_word_is_the_present_answer() {
    let dir = tempfile::tempdir().unwrap();
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    let receiver = Receiver::start(move |_| Reply::Status(if is_well.load(Ordering::SeqCst) { 200 } else { 503 }));
    let url = receiver.url();
    let now_s = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let made = ("created", serde_json::json!(now_s - 30 * DAY_S));
    let begin = |user: &str| {
        let at = now_s - 30 * DAY_S;
        let created = event("customer.subscription.created", user, at, std::slice::from_ref(&made));
        [event("customer.created", user, at, &[]), created]
    };
    let turn = |user: &str, status: &str, at: i64| {
        event("customer.subscription.updated", user, at, &[("status", serde_json::json!(status)), made.clone()])
    };
    configure(dir.path(), &[&url]);
    let live = Live::start(dir.path());
    post(&live, &begin("alice"));
    post(&live, &begin("bob"));
    last_word(&receiver, "alice", "active");
    last_word(&receiver, "bob", "active");
    // Down: what is written now waits.
    well.store(false, Ordering::SeqCst);
    post(&live, &[turn("alice", "past_due", now_s - 60)]);
    live.terminate();
    // Removed: what happens now is not written for it, and what waits is told.
    configure(dir.path(), &[]);
    let live = Live::start(dir.path());
    assert!(live.said().contains("wait for a target that is not configured"), "{}", live.said());
    let checked = check(dir.path());
    assert!(checked.contains("rows wait for http://127.0.0.1") && !checked.contains("/hook"), "{checked}");
    post(&live, &[turn("alice", "active", now_s - 50), turn("bob", "past_due", now_s - 50)]);
    live.terminate();
    // Put back.
    well.store(true, Ordering::SeqCst);
    configure(dir.path(), &[&url]);
    let live = Live::start(dir.path());
    last_word(&receiver, "alice", "active");
    last_word(&receiver, "bob", "grace_period");
    assert!(!check(dir.path()).contains("rows wait for"));
    // By hand, for one that is new.
    let other = Receiver::answering(Reply::Status(200));
    live.terminate();
    configure(dir.path(), &[&url, &other.url()]);
    let live = Live::start(dir.path());
    let run = |url: &str| tilld(dir.path()).args(["outbox", "resync", url]).output().unwrap();
    let output = run(&other.url());
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("users whose current entitlement is sent: 2"),
        "{output:?}"
    );
    last_word(&other, "alice", "active");
    last_word(&other, "bob", "grace_period");
    assert_eq!(run("https://unknown.example/").status.code(), Some(2));
    live.terminate();
}
