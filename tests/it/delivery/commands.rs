//! `tilld outbox`, `tilld notify test` and `tilld dev --forward-to`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tilld::stripe::signature;

use super::live::configure;
use super::receiver::{Receiver, Reply};
use super::{Stepper, WHSEC, put, verifies};
use crate::harness::Till;
use crate::live::tilld;

fn run(dir: &Path, arguments: &[&str]) -> Output {
    tilld(dir).args(arguments).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_outbox_is_listed_shown_tried_again_and_discarded() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(500));
    let url = receiver.url();
    let rows: Vec<String> = (1..4).map(|number| put(&till.store, &url, Some("alice"), number).to_string()).collect();
    Stepper::of(&till, &url).settle();
    let database = till.dir.path().join("tilld.db");
    let with = |arguments: &[&str]| {
        let flags = ["--database", database.to_str().unwrap()];
        said(&run(till.dir.path(), &[arguments, &flags].concat()))
    };
    let (code, listed, _) = with(&["outbox", "list", "--kind", "webhook", "--status", "pending", "--json"]);
    let lines: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len(), lines[2]["id"].as_str()), (Some(0), 3, Some(rows[0].as_str())));
    assert_eq!((lines[2]["what"].as_str(), lines[2]["note"].as_str()), (Some("test.made"), Some("answered 500")));
    let (code, page, more) = with(&["outbox", "list", "--limit", "2", "--starting-after", &rows[2]]);
    assert!(code == Some(0) && page.lines().count() == 3 && page.contains("answered 500"), "{page}{more}");
    let (code, shown, _) = with(&["outbox", "show", &rows[0]]);
    assert!(code == Some(0) && shown.contains("failing since") && shown.contains("\"n\":1"), "{shown}");

    let (code, done, _) = with(&["outbox", "discard", &rows[0], "--reason", "test"]);
    assert!(code == Some(0) && done.contains("discarded"), "{done}");
    assert_eq!(with(&["outbox", "discard", &rows[0]]).0, Some(1), "twice");
    let (code, again, _) = with(&["outbox", "retry", &rows[0], &rows[1]]);
    assert!(code == Some(0) && again.starts_with("to be delivered again: 2"), "{again}");
    assert_eq!(till.value("SELECT count(*) FROM audit_log WHERE action LIKE 'outbox.%'"), 3);
    assert_eq!(till.value("SELECT count(*) FROM outbox WHERE status = 'pending' AND attempts = 0"), 3);
    let (code, _, error) = with(&["outbox", "show", "999"]);
    assert!(code == Some(1) && error.contains("row 999 does not exist"), "{error}");
    assert_eq!(with(&["outbox", "list", "--status", "lost"]).0, Some(2));
}

#[test]
fn a_test_event_is_signed_sent_and_its_answer_printed() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|got| Reply::Status(if got.text().contains("tilld.test") { 202 } else { 500 }));
    let broken = Receiver::answering(Reply::Status(503));
    configure(dir.path(), &[&receiver.url(), &broken.url()]);
    let (code, out, _) = said(&run(dir.path(), &["notify", "test", &receiver.url()]));
    assert!(code == Some(0) && out.contains("accepted: answered 202"), "{out}");
    assert!(verifies(WHSEC, &receiver.got()[0]));
    let (code, _, error) = said(&run(dir.path(), &["notify", "test", &broken.url()]));
    assert!(code == Some(1) && error.contains("answered 503"), "{error}");
    let (code, _, error) = said(&run(dir.path(), &["notify", "test", "https://other.example.com/"]));
    assert!(code == Some(2) && error.contains(receiver.url().split('/').nth(2).unwrap()), "{error}");
}

struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_local_application_gets_every_event_signed_as_stripe_signs_and_each_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|got| Reply::Status(if got.text().contains("invoice.paid") { 500 } else { 204 }));
    let url = receiver.url();
    let mut command = tilld(dir.path());
    command.args(["dev", "--forward-to", &url, "--public-listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"]);
    let mut dev = Dev(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(dev.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut after = |word: &str| lines.by_ref().find(|line| line.contains(word)).unwrap();
    let public = after("public ").split_whitespace().nth(1).unwrap().to_owned();
    let secret = after("its secret").split_whitespace().nth(2).unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() > 40, "{secret}");

    let to = format!("http://{public}/api/v1/webhooks/stripe");
    for kind in ["customer.created", "invoice.paid"] {
        let arguments = ["trigger", kind, "--user", "alice", "--url", &to, "--config", "tilld-dev.toml"];
        assert_eq!(run(dir.path(), &arguments).status.code(), Some(0));
    }
    receiver.wait(2, Duration::from_secs(10));
    let got = receiver.got();
    for one in &got {
        let event: Value = serde_json::from_slice(&one.body).unwrap();
        assert!(event["id"].as_str().unwrap().starts_with("evt_"), "the original event");
        let now = one.head("stripe-signature")[2..12].parse().unwrap();
        signature::verify(Some(one.head("stripe-signature")), &one.body, &[&secret], 300, now).unwrap();
    }
    let first = after("customer.created");
    assert!(first.contains(" evt_") && first.ends_with("-> 204"), "{first}");
    assert!(after("invoice.paid").ends_with("-> 500"));
    let refused = said(&run(dir.path(), &["dev", "--forward-to", "https://example.com/"]));
    assert!(refused.0 == Some(2) && refused.2.contains("on this machine"), "{}", refused.2);
}
