//! The log in JSON, through the real binary: every line is an object with fields of its own, whatever reaches the daemon.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tilld::app::cli::post;
use tilld::stripe::signature;

use crate::harness::{PATH, SECRET};
use crate::live::{configure, tilld, url_of};
use crate::samples::event;

/// A quote, a turn of direction, a separator of lines; ids and types with control characters are refused as such.
const HOSTILE: &str = "a\",\"level\":\"ERROR\"}\u{202e}\u{2028}";

/// A daemon that logs in JSON.
struct JsonLog {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    lines: Vec<Value>,
}

impl JsonLog {
    /// Waits until it listens; its line about that.
    fn start(dir: &std::path::Path) -> (Self, Value) {
        let mut command = tilld(dir);
        configure(command.arg("serve")).env("TILLD_LOG_FORMAT", "json").env("TILLD_LOG", "debug");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut all = Self { child, log, lines: Vec::new() };
        loop {
            let mut line = String::new();
            assert_ne!(all.log.read_line(&mut line).unwrap(), 0, "tilld ended at start: {:?}", all.lines);
            all.lines.push(read(line.trim_end()));
            let newest = all.lines.last().unwrap();
            if newest["message"] == "listening" {
                let newest = newest.clone();
                return (all, newest);
            }
        }
    }

    /// Everything that it has said until it stopped.
    fn stopped(mut self) -> Vec<Value> {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.lines.extend(rest.lines().map(read));
        std::mem::take(&mut self.lines)
    }
}

impl Drop for JsonLog {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(line: &str) -> Value {
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{line:?}");
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| unreachable!("{error}: {line}"));
    for key in ["time", "level", "target", "message"] {
        assert!(line[key].is_string(), "{line}");
    }
    let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(line["time"], format!("{time:.3}"), "RFC 3339, UTC, milliseconds");
    line
}

#[test]
fn every_line_is_a_json_object_with_fields_whatever_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let (log, listening) = JsonLog::start(dir.path());
    assert_eq!(listening["version"], env!("CARGO_PKG_VERSION"));
    assert!(listening["database"].as_str().unwrap().ends_with(".db"), "{listening}");
    assert_eq!((&listening["mode"], &listening["config"]), (&json!("undecided"), &json!("none")));
    let address = listening["public"].as_str().unwrap();
    assert!(listening["private"].is_string());

    let sign = |body: &str| signature::sign(SECRET, jiff::Timestamp::now().as_second(), body.as_bytes());
    let send = |path: &str, header: &str, body: &str| {
        post::post(&url_of(address, path), &[("Stripe-Signature", header)], body.as_bytes()).unwrap().status
    };
    let mut hostile = event("customer.created", "alice", 1_795_000_000, &[]);
    (hostile["id"], hostile["type"]) = (json!(HOSTILE), json!(HOSTILE));
    for created in [1_795_000_000, 1_795_000_001] {
        hostile["created"] = json!(created);
        assert_eq!(send(PATH, &sign(&hostile.to_string()), &hostile.to_string()), 200);
    }
    hostile["object"] = json!("no event\r\n\u{1b}[31m");
    assert_eq!(send(PATH, &sign(&hostile.to_string()), &hostile.to_string()), 400);
    assert_eq!(send("/%22%0A%22/hook", "t=1,v1=\"", "{}"), 404);
    for _ in 0..30 {
        assert_eq!(send(PATH, "t=1,v1=00", "{}"), 400);
    }

    let lines = log.stopped();
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    let (received, again) =
        (of("event received"), of("another event arrived under a known id; only the first one is kept"));
    for line in [received[0], again[0]] {
        assert_eq!((&line["event_id"], &line["type"]), (&json!(HOSTILE), &json!(HOSTILE)));
    }
    assert!(of("a signed body was refused")[0]["why"].as_str().unwrap().contains("no event"));
    let refused = of("webhook refused");
    assert!((1..=10).contains(&refused.len()), "{} lines for 30 refusals of one kind", refused.len());
    let first = refused[0];
    assert!(first["client"] == "127.0.0.1" && first["path"] == PATH && first["code"].is_string(), "{first}");
    assert_eq!(of("stopped").len(), 1);
}
