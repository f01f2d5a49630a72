//! Present answers win: what the application heard last of a user is what holds, whatever was restored, removed, put back
//! or down for days.

use std::collections::BTreeSet;

use serde_json::Value;
use tilld::delivery::sign;

use crate::dunning::{active, beginning, past_due, rows};
use crate::harness::{START_S, Setup, Till, notify};
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
