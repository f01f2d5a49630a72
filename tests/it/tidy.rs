//! The style guide, executed: layers, sizes, and what may stand where (ARCHITECTURE.md).

use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_PARAMETERS: usize = 5;

struct Source {
    /// Path below `src`.
    path: String,
    /// Text without its tests.
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    found.retain(|source| !is_test(&source.path));
    assert!(found.len() > 40, "only {} files were found", found.len());
    found
}

/// Code lines, comments left out.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn only_in(word: &str, allowed: &[&str]) {
    for source in sources() {
        let permitted = allowed.iter().any(|place| source.path.starts_with(place));
        let found = code(&source.text).find(|line| line.contains(word));
        assert!(permitted || found.is_none(), "{}: {word} belongs into {allowed:?}: {found:?}", source.path);
    }
}

#[test]
fn rusqlite_lives_in_the_store_alone_and_sql_beside_the_rows_of_objects() {
    only_in("rusqlite", &["store"]);
    let objects = ["checkout", "customer", "dispute", "invoice", "payment_intent", "refund", "subscription"];
    let objects = objects.map(|kind| format!("projection/{kind}"));
    only_in("SELECT ", &["store"].into_iter().chain(objects.iter().map(String::as_str)).collect::<Vec<_>>());
}

#[test]
fn tiny_http_is_known_to_the_server_alone() {
    only_in("tiny_http", &["http/server.rs"]);
}

#[test]
fn ureq_is_known_to_the_client_and_to_delivery_alone() {
    only_in("ureq::", &["stripe/client.rs", "delivery"]);
}

#[test]
fn the_clock_is_read_in_one_place() {
    only_in("SystemTime::now", &["clock.rs"]);
    only_in("Timestamp::now", &["clock.rs"]);
    only_in("UNIX_EPOCH", &["clock.rs"]);
}

#[test]
fn threads_start_in_one_place_and_channels_are_bounded() {
    only_in("thread::spawn", &["thread.rs"]);
    only_in("thread::Builder", &["thread.rs"]);
    only_in("unbounded", &[]);
}

#[test]
fn nothing_is_unwrapped_left_to_do_or_printed_outside_the_command_line() {
    for word in [".unwrap()", ".expect(", "todo!", "unimplemented!", "dbg!", "panic!("] {
        only_in(word, &[]);
    }
    only_in("println!", &["cli"]);
    only_in("anyhow", &[]);
}

/// `left` may not know `right`.
fn knows_not(left: &str, right: &[&str]) {
    for source in sources().iter().filter(|source| source.path.starts_with(left)) {
        for module in right {
            let found = code(&source.text).find(|line| line.contains(&format!("crate::{module}")));
            assert!(found.is_none(), "{} must not know {module}: {found:?}", source.path);
        }
    }
}

#[test]
fn every_layer_knows_only_what_stands_below_it() {
    let flows = [
        "account",
        "calls",
        "delivery",
        "fetch",
        "sync",
        "scheduler",
        "worker",
        "retrier",
        "projection",
        "operations",
        "tick",
        "daemon",
        "cli",
        "http",
    ];
    for value in ["clock.rs", "ids.rs", "money.rs", "retry.rs"] {
        knows_not(value, &["store", "stripe", "config", "entitlement"]);
        knows_not(value, &flows);
    }
    knows_not("entitlement", &["store", "stripe", "config", "clock"]);
    knows_not("entitlement", &flows);
    knows_not("ownership", &["store", "stripe", "config", "clock", "entitlement"]);
    knows_not("ownership", &flows);
    knows_not("dunning", &["store", "stripe", "config", "clock", "entitlement"]);
    knows_not("dunning", &flows);
    knows_not("tick", &["worker", "retrier", "calls", "stripe", "http", "daemon", "cli", "config"]);
    knows_not("stripe", &["store", "config", "clock"]);
    knows_not("stripe", &flows);
    knows_not("store", &["config"]);
    knows_not("store", &flows);
    let above = ["calls", "fetch", "sync", "scheduler", "worker", "retrier", "projection", "operations"];
    knows_not("account", &[&above[..], &["http", "daemon", "cli", "config", "clock"]].concat());
    knows_not("calls", &["worker", "retrier", "http", "daemon", "cli", "config"]);
    knows_not(
        "projection",
        &["calls", "fetch", "tick", "worker", "retrier", "http", "daemon", "cli", "config", "clock"],
    );
    knows_not(
        "delivery",
        &["calls", "fetch", "tick", "projection", "operations", "worker", "retrier", "http", "daemon", "cli"],
    );
    knows_not("worker", &["http", "daemon", "cli", "config"]);
    knows_not("retrier", &["worker", "http", "daemon", "cli", "config"]);
    knows_not("fetch", &["worker", "retrier", "operations", "http", "daemon", "cli", "config"]);
    knows_not("sync", &["worker", "retrier", "scheduler", "operations", "http", "daemon", "cli", "config"]);
    knows_not("scheduler", &["worker", "retrier", "operations", "http", "daemon", "cli", "config"]);
    knows_not("http", &["worker", "retrier", "daemon", "cli", "systemd"]);
    knows_not("systemd", &["store", "stripe", "config", "projection", "worker", "retrier", "daemon", "cli"]);
    knows_not("trigger", &["store", "config", "clock", "http", "daemon", "cli"]);
}

#[test]
fn files_functions_and_parameter_lists_keep_their_size() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines; split it by meaning", source.path);
        for (name, length, parameters) in functions(&source.text) {
            assert!(length <= MAX_FUNCTION_LINES, "{}: fn {name} has {length} lines", source.path);
            assert!(parameters <= MAX_PARAMETERS, "{}: fn {name} has {parameters} parameters", source.path);
        }
    }
}

/// Name, lines and parameters of each function, read from rustfmt's layout.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(at) = trimmed.find("fn ").filter(|at| trimmed[..*at].split(' ').all(is_qualifier)) else {
            continue;
        };
        let indent = line.len() - trimmed.len();
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[start..].iter().position(|line| *line == closing).unwrap_or(0);
        let name: String = trimmed[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let head = lines[start..].iter().take_while(|line| !line.trim_end().ends_with('{')).copied();
        let head: String =
            head.chain(lines[start..].iter().find(|line| line.trim_end().ends_with('{')).copied()).collect();
        found.push((name, end + 1, parameters(&head)));
    }
    found
}

fn is_qualifier(word: &str) -> bool {
    word.is_empty() || word == "const" || word == "async" || word.starts_with("pub")
}

/// Parameters at the outermost level, `self` not counted.
fn parameters(head: &str) -> usize {
    let head = head.replace("->", "");
    let Some(open) = head.find('(') else { return 0 };
    let (mut depth, mut count, mut any) = (0, 0, false);
    for c in head[open + 1..].chars() {
        match c {
            '(' | '[' | '<' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            '>' => depth -= 1,
            ',' if depth == 0 => (count, any) = (count + 1, false),
            c if !c.is_whitespace() => any = true,
            _ => {}
        }
    }
    let total = count + usize::from(any);
    total.saturating_sub(usize::from(head[open..].contains("self,") || head[open..].contains("self)")))
}

#[test]
fn every_module_says_what_it_is_for() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} has no module text", source.path);
    }
}
