//! What a scrape shows: all of the closed sets from the start, nothing that comes from outside, in both formats.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tilld::objects::kinds;
use tilld::stripe::operation::OperationKind;

use super::{is_of_the_whole, scrape, text};
use crate::harness::{START_S, Till};
use crate::live::Live;
use crate::samples::{event, everything, raw};

#[test]
fn every_series_of_a_closed_set_is_there_at_0_before_anything_happened() {
    let shown = scrape(&Till::new());
    for (series, value) in shown.iter().filter(|(series, _)| !is_of_the_whole(series)) {
        assert_eq!(*value, 0.0, "{series}");
    }
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for kind in kinds::event_types().chain(["other"]) {
        for outcome in ["processed", "mirrored", "ignored", "retried", "dead"] {
            expected.insert(format!("tilld_events_processed_total{{outcome=\"{outcome}\",type=\"{kind}\"}}"));
        }
    }
    for operation in OperationKind::words().chain(["read", "other"]) {
        for outcome in ["done", "refused", "rate_limited", "unreached", "failed", "in_doubt"] {
            expected.insert(format!("tilld_stripe_calls_total{{operation=\"{operation}\",outcome=\"{outcome}\"}}"));
        }
    }
    for kind in ["mail", "webhook", "stripe_call"] {
        expected.insert(format!("tilld_outbox_pending{{kind=\"{kind}\"}}"));
        for outcome in ["delivered", "skipped", "failed", "given_up"] {
            expected.insert(format!("tilld_outbox_deliveries_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}"));
        }
    }
    for outcome in [
        "accepted",
        "duplicate",
        "conflicting",
        "signature_missing",
        "signature_malformed",
        "signature_stale",
        "signature_future",
        "signature_mismatch",
        "invalid_payload",
        "unknown_path",
        "database_unavailable",
        "other",
    ] {
        expected.insert(format!("tilld_webhooks_received_total{{outcome=\"{outcome}\"}}"));
    }
    for tier in ["pro", "team", "default", "free", "other"] {
        expected.insert(format!("tilld_entitled_users{{reason=\"grace_period\",tier=\"{tier}\"}}"));
    }
    for status in ["succeeded", "failed", "canceled"] {
        expected.insert(format!("tilld_payment_intents_total{{status=\"{status}\"}}"));
    }
    for level in ["dead_letters", "retries_pending", "events_pending", "operations_in_doubt", "drift_differences"] {
        expected.insert(format!("tilld_{level}"));
    }
    let missing: Vec<_> = expected.iter().filter(|series| !shown.contains_key(*series)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn nothing_that_comes_from_outside_makes_a_series() {
    let mut till = Till::new();
    let before: Vec<String> = scrape(&till).into_keys().collect();
    let hostile =
        ["evil\"} 1\ntilld_dead_letters 99", "customer.created\u{202e}", "", "other", "v2.core.account.created"];
    for (number, kind) in hostile.iter().enumerate() {
        let object = json!({"id": format!("x_{number}"), "object": format!("thing{number}")});
        till.post(&raw(&format!("evt_hostile_{number}"), kind, START_S, object));
    }
    for number in 0..50 {
        till.post(&raw(
            &format!("evt_many_{number}"),
            &format!("invented.{number}"),
            START_S,
            json!({"id": "y", "object": "y"}),
        ));
    }
    till.settle();
    till.feed(&everything("alice", START_S));
    let after = scrape(&till);
    assert_eq!(after.keys().cloned().collect::<Vec<_>>(), before);
    let other = after.iter().filter(|(name, _)| name.contains("type=\"other\"")).map(|(_, value)| value).sum::<f64>();
    assert!(other >= 50.0, "{other}");
    assert!(before.len() < 3000, "{} series", before.len());
}

#[test]
fn open_metrics_shows_the_same_and_ends_with_eof() {
    let mut till = Till::new();
    till.feed(&[event("customer.subscription.created", "alice", START_S, &[])]);
    let (kind, plain) = text(&till, &[]);
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let (kind, open) = text(&till, &[("Accept", "application/openmetrics-text; version=1.0.0")]);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("\n# EOF\n") && !plain.contains("# EOF"));
    assert!(open.contains("# TYPE tilld_events_processed counter\n"), "{open}");
    assert!(plain.contains("# TYPE tilld_events_processed_total counter\n"), "{plain}");
    let values = |text: &str| -> BTreeMap<String, f64> {
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            // A bound is the same number, written otherwise.
            .map(|(name, value)| (name.replace(".0\"}", "\"}"), value.parse().unwrap()))
            .collect()
    };
    assert_eq!(values(&open), values(&plain));
}

#[test]
fn no_token_is_asked_for_and_none_that_is_sent_is_looked_at() {
    let till = Till::new();
    for token in ["Bearer tilld_admin_of_the_tests", "Bearer wrong", "Basic dXNlcjpwYXNz", ""] {
        assert!(text(&till, &[("Authorization", token)]).1.contains("tilld_build_info{version="), "{token}");
    }
}

#[test]
fn the_daemon_shows_its_own_types_tiers_and_process() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start_with(dir.path(), &[("TILLD_PLANS", "gold:price_gold")]);
    let (status, answer) = live.get("/metrics");
    let text = answer.as_str().unwrap_or_default();
    assert_eq!(status, 200, "{answer}");
    for series in [
        "tilld_entitled_users{reason=\"active\",tier=\"gold\"} 0\n",
        "tilld_events_processed_total{outcome=\"dead\",type=\"invoice.paid\"} 0\n",
        "tilld_stripe_calls_total{operation=\"refund.create\",outcome=\"in_doubt\"} 0\n",
    ] {
        assert!(text.contains(series), "{series}");
    }
    let value = |name: &str| -> f64 {
        text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap().parse().unwrap()
    };
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(value(name) > 5.0, "{name} {}", value(name));
    }
    assert_eq!(live.terminate(), Some(0));
}

/// Name, type and labels of each family, as a scrape shows them.
fn families(text: &str) -> BTreeSet<(String, String, BTreeSet<String>)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| {
            let is_own = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ', '_']));
            let sample = text.lines().find(is_own).unwrap();
            let labels = sample.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let names = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            (name.to_owned(), kind.to_owned(), names.filter(|name| name != "le").collect())
        })
        .collect()
}

#[test]
fn the_document_lists_every_family_with_its_type_and_labels_and_no_other() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| `tilld_") || line.starts_with("| `process_"));
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let listed: BTreeSet<_> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            (words(cells[1]).remove(0), cells[2].trim().to_owned(), words(cells[3]).into_iter().collect())
        })
        .collect();
    assert_eq!(listed, families(&text(&Till::new(), &[]).1));
}

#[test]
fn alerts_and_board_name_only_families_that_exist() {
    let till = Till::new();
    let text = text(&till, &[]).1;
    let mut known: BTreeSet<String> = families(&text).into_iter().map(|(name, ..)| name).collect();
    let ended: Vec<String> =
        known.iter().flat_map(|name| ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"))).collect();
    known.extend(ended);
    for file in ["contrib/prometheus/alerts.yml", "contrib/grafana/tilld.json"] {
        let found = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let named: BTreeSet<&str> =
            found.split(|c| !is_of_a_name(c)).filter(|word| word.starts_with("tilld_")).collect();
        assert!(named.len() > 8, "{file}: {named:?}");
        let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}
