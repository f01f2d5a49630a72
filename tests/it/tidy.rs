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
fn sql_stands_beside_tables_and_connections_in_the_engine_alone() {
    only_in("rusqlite", &["store", "objects"]);
    only_in("SELECT ", &["store", "objects"]);
    only_in("rusqlite::Connection", &["store/engine"]);
    only_in("{Connection", &["store/engine"]);
}

#[test]
fn tiny_http_is_known_to_the_server_alone() {
    only_in("tiny_http", &["http/server.rs"]);
}

#[test]
fn ureq_is_known_to_the_client_to_delivery_and_to_the_commands_own_client_alone() {
    only_in("ureq::", &["stripe/client.rs", "notify/endpoints", "app/cli/post"]);
}

#[test]
fn the_clock_is_read_in_one_place() {
    only_in("SystemTime::now", &["base/clock.rs"]);
    only_in("Timestamp::now", &["base/clock.rs"]);
    only_in("UNIX_EPOCH", &["base/clock.rs"]);
}

#[test]
fn threads_start_in_one_place_and_channels_are_bounded() {
    only_in("thread::spawn", &["base/thread.rs"]);
    only_in("thread::Builder", &["base/thread.rs"]);
    only_in("unbounded", &[]);
}

#[test]
fn nothing_is_unwrapped_left_to_do_or_printed_outside_the_command_line() {
    for word in [".unwrap()", ".expect(", "todo!", "unimplemented!", "dbg!", "panic!("] {
        only_in(word, &[]);
    }
    only_in("println!", &["app/cli"]);
    only_in("anyhow", &[]);
}

/// The rooms in reading order, each with the rooms that it may use. A new file is covered by the room it stands in.
const ROOMS: [(&str, &[&str]); 9] = [
    ("base", &[]),
    ("stripe", &["base"]),
    // Of the protocol it knows three vocabularies, parsed where a row is read: events, operations and their verbs.
    ("store", &["stripe::event", "stripe::operation", "stripe::call", "base"]),
    ("objects", &["store", "stripe", "base"]),
    ("notify", &["objects", "store", "stripe", "base"]),
    ("outward", &["notify", "objects", "store", "stripe", "base"]),
    ("jobs", &["outward", "notify", "objects", "store", "stripe", "base"]),
    // Of the jobs it knows what an operator does by hand and what he should know, and nothing that runs.
    ("http", &["jobs::operator", "jobs::findings", "outward", "notify", "objects", "store", "stripe", "base"]),
    ("app", &["http", "jobs", "outward", "notify", "objects", "store", "stripe", "base"]),
];

/// Every path that begins with `crate::` in a file, and those that climb out of its room with `super::`.
fn uses(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let depth = source.path.trim_end_matches(".rs").split('/').count();
    for line in code(&source.text) {
        assert!(!line.contains("use crate::{"), "{}: name each room in a line of its own: {line}", source.path);
        for rest in line.split("crate::").skip(1) {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect());
        }
        let climbed = line.split("super::").count() - 1;
        assert!(line.contains("super::super::super") || climbed < depth + 1, "{}: {line}", source.path);
    }
    found
}

#[test]
fn every_room_knows_only_the_rooms_to_its_right() {
    for source in sources().iter().filter(|source| source.path.contains('/')) {
        let room = source.path.split('/').next().unwrap_or_default();
        let (_, allowed) = ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| {
            panic!("src/{} stands in no room: put it into one of {:?}", source.path, ROOMS.map(|(name, _)| name))
        });
        for used in uses(source) {
            let is_allowed = |name: &&str| used == *name || used.starts_with(&format!("{name}::"));
            let fine = is_allowed(&room) || allowed.iter().any(is_allowed);
            assert!(fine, "{}: {room} may not use crate::{used}; it may use {allowed:?}", source.path);
        }
    }
}

#[test]
fn at_the_top_of_src_stand_the_rooms_and_nothing_else() {
    let names = ROOMS.map(|(name, _)| format!("{name}.rs"));
    for source in sources().iter().filter(|source| !source.path.contains('/')) {
        let known = names.contains(&source.path) || ["lib.rs", "main.rs"].contains(&source.path.as_str());
        assert!(known, "src/{} belongs into a room", source.path);
    }
}

/// The files of `objects` that hold rows and the queries about them. They may import each other, because Stripe's objects
/// refer to each other in circles: an invoice to its payment, a payment to its invoice, a customer to its owner, the owner
/// to the subscriptions. How a row is chosen, read and written (guard, reading, thin, row …) must not be part of a circle.
const ROWS: [&str; 16] = [
    "objects/charge",
    "objects/checkout_session",
    "objects/customer",
    "objects/dispute",
    "objects/dunning_attempts",
    "objects/effective",
    "objects/fact",
    "objects/failure_case",
    "objects/history",
    "objects/invoice",
    "objects/invoice_payment",
    "objects/owner",
    "objects/past",
    "objects/payment_intent",
    "objects/refund",
    "objects/subscription",
];

#[test]
fn no_two_modules_of_one_folder_import_each_other() {
    let sources = sources();
    let is_module = |path: &str| sources.iter().any(|source| source.path == format!("{path}.rs"));
    // The module, or the one around it, that stands in the folder where the two ways part; and the other one there.
    let mut imports = std::collections::BTreeSet::new();
    for source in &sources {
        let own: Vec<&str> = source.path.trim_end_matches(".rs").split('/').collect();
        for named in paths(&source.text) {
            let ups = named.iter().take_while(|word| *word == "super").count();
            let from_root = named.first().is_some_and(|word| word == "crate");
            let base = if from_root { 0 } else { own.len().saturating_sub(ups) };
            let full: Vec<&str> =
                own[..base].iter().copied().chain(named.iter().skip(ups.max(1)).map(String::as_str)).collect();
            let same = own.iter().zip(&full).take_while(|(left, right)| left == right).count();
            // Of the rooms themselves the table above says more.
            if (1..own.len().min(full.len())).contains(&same) && is_module(&full[..=same].join("/")) {
                imports.insert((own[..=same].join("/"), full[..=same].join("/")));
            }
        }
    }
    assert!(imports.len() > 200, "only {} imports were found", imports.len());
    let is_allowed = |left: &str, right: &str| ROWS.contains(&left) && ROWS.contains(&right);
    let circles: Vec<_> = imports
        .iter()
        .filter(|(left, right)| left < right && imports.contains(&(right.clone(), left.clone())))
        .filter(|(left, right)| !is_allowed(left, right))
        .collect();
    assert!(circles.is_empty(), "modules that import each other: {circles:?}");
}

/// The paths in a file that begin with `crate` or `super`, word by word; `{a, b::c}` counts as `a` and `b`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code: String = code(text).flat_map(|line| [line, " "]).collect();
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let is_within =
            code[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':');
        if is_within {
            continue;
        }
        let rest = &code[start..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let words: Vec<String> = rest[..end].split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if !rest[end..].starts_with('{') {
            found.push(words);
            continue;
        }
        for member in members(&rest[end + 1..]) {
            found.push(words.iter().cloned().chain([member]).collect());
        }
    }
    found
}

/// The first words of the members of a group, which ends with its brace.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut found, mut word_is_next) = (1, Vec::new(), true);
    for part in group.split_inclusive([',', '{', '}']) {
        let word: String = part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if depth == 1 && word_is_next && !word.is_empty() {
            found.push(word);
        }
        match part.chars().last() {
            Some('{') => depth += 1,
            Some('}') => depth -= 1,
            _ => {}
        }
        // After a nested group its comma comes first, and with it no word.
        word_is_next = depth == 1;
        if depth == 0 {
            break;
        }
    }
    found
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
