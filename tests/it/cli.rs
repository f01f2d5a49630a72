//! The command line, driven as a person does: the real binary, its exit status, its two outputs.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::live::tilld;

const PORTS: [&str; 4] = ["--public-listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"];

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn finished(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(dir: &Path, arguments: &[&str]) -> Ran {
    finished(tilld(dir).args(arguments).output().unwrap())
}

/// What a command that must succeed printed.
fn printed(dir: &Path, arguments: &[&str]) -> String {
    let ran = run(dir, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.out
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Dev {
    child: Child,
    /// The three commands to try, as printed.
    commands: Vec<String>,
}

impl Dev {
    fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    fn start_with(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = tilld(dir);
        command.arg("dev").args(PORTS).args(arguments).env("PATH", std::env::var_os("PATH").unwrap());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let commands = lines.by_ref().filter(|line| line.starts_with("  ")).take(3).collect::<Vec<_>>();
        assert_eq!(commands.len(), 3, "tilld dev ended at start");
        Self { child, commands }
    }

    /// Pastes a printed command into a shell in `dir`.
    fn paste(&self, number: usize, dir: &Path) -> Ran {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&self.commands[number]).env_clear().current_dir(dir);
        finished(shell.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap())
    }

    fn terminate(mut self) -> Option<i32> {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the answer says it; projecting takes a moment.
fn entitlement_says(dir: &Path, word: &str) -> Value {
    for _ in 0..100 {
        let ran = run(dir, &["entitlement", "alice"]);
        if ran.code == 0 && ran.out.contains(word) {
            return serde_json::from_str(&ran.out).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    unreachable!("the entitlement never said {word}");
}

/// A database with one event of alice, projected, and no daemon.
fn with_one_event() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path());
    let sent = dev.paste(0, dir.path());
    assert_eq!(sent.code, 0, "{}{}", sent.out, sent.err);
    entitlement_says(dir.path(), "\"entitled\":true");
    assert_eq!(dev.terminate(), Some(0));
    let id = sent.out.split(' ').next().unwrap().to_owned();
    (dir, id)
}

fn sql(dir: &Path, text: &str) {
    rusqlite::Connection::open(dir.join("tilld-dev.db")).unwrap().execute_batch(text).unwrap();
}

/// Makes the one event a dead letter with two failed attempts, one of them with a line break in its error.
fn kill_event(dir: &Path, id: &str) {
    sql(
        dir,
        &format!(
            "UPDATE stripe_webhooks_log SET status = 'dead', processed = 0, processing_error = 'boom';
             INSERT INTO webhook_attempts (stripe_event_id, attempt, at_ms, error)
               VALUES ('{id}', 1, 1795483205000, 'first'), ('{id}', 2, 1795483206000, 'boom' || char(10) || 'bang');
             INSERT INTO webhook_dead_letter_queue
               (stripe_event_id, event_type, retry_count, error, original_timestamp_ms, created_at_ms)
               VALUES ('{id}', 'customer.subscription.created', 2, 'boom', 1795483205000, 1795483206000);"
        ),
    );
}

#[test]
fn dev_prints_three_commands_that_work_when_pasted_and_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path());
    let sent = dev.paste(0, dir.path());
    assert_eq!(sent.code, 0, "{}", sent.err);
    assert!(sent.out.contains(" customer.subscription.created\n200 {\"received\":true}"), "{}", sent.out);
    let answer = entitlement_says(dir.path(), "\"entitled\":true");
    assert_eq!((&answer["tier"], &answer["reason"]), (&"pro".into(), &"active".into()));
    let asked = dev.paste(1, dir.path());
    assert_eq!(serde_json::from_str::<Value>(&asked.out).unwrap(), answer);
    assert_eq!(dev.paste(2, dir.path()).code, 0);
    entitlement_says(dir.path(), "\"reason\":\"canceled\"");
    assert_eq!(dev.terminate(), Some(0));
}

#[test]
fn dev_reuses_its_private_file_and_names_the_flags_that_other_places_need() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("it's here");
    std::fs::create_dir(&folder).unwrap();
    let database = folder.join("try.db");
    let flag = ["--database", database.to_str().unwrap()];
    let file = folder.join("tilld-dev.toml");
    let dev = Dev::start_with(dir.path(), &flag);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(dev.commands[0].contains("--config"), "{}", dev.commands[0]);
    let sent = dev.paste(0, dir.path());
    assert_eq!(sent.code, 0, "{}{}", dev.commands[0], sent.err);
    assert_eq!(dev.terminate(), Some(0));
    let again = Dev::start_with(dir.path(), &flag);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(again.terminate(), Some(0));
    assert!(!dir.path().join("tilld-dev.db").exists());
}

#[test]
fn dev_listens_on_this_machine_only_and_takes_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["dev", "--public-listen", "0.0.0.0:0", "--private-listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("listen.public: 0.0.0.0:0"), "{}", ran.err);
    let ran = run(dir.path(), &["dev", "--config", "x.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--config x.toml"), "{}", ran.err);
}

#[test]
fn an_empty_database_lists_nothing_and_that_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    printed(dir.path(), &["migrate", "up"]);
    for list in [["events", "list"], ["retries", "list"], ["dead-letters", "list"]] {
        let ran = run(dir.path(), &list);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{list:?}");
        assert!(ran.err.starts_with("no "), "{}", ran.err);
        let json = run(dir.path(), &[list[0], list[1], "--json"]);
        assert_eq!((json.code, json.out.as_str(), json.err.as_str()), (0, "", ""), "{list:?}");
    }
    for replay in [["events", "replay", "--all"], ["dead-letters", "replay", "--all"]] {
        assert_eq!(printed(dir.path(), &replay), "replayed: 0\n");
    }
}

#[test]
fn an_answer_is_explained_rule_by_rule() {
    let (dir, _) = with_one_event();
    let text = printed(dir.path(), &["entitlement", "alice", "--explain"]);
    assert!(text.starts_with("alice may use it: tier pro, because it is active (active)\n"), "{text}");
    let fits: Vec<&str> = text.lines().filter(|line| line.starts_with("yes")).collect();
    assert!(matches!(fits[..], [line] if line.ends_with("status active, pause_period_end none")), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("no ")).count(), 9, "{text}");
}

#[test]
fn events_are_listed_shown_and_replayed() {
    let (dir, id) = with_one_event();
    let dir = dir.path();
    let table = printed(dir, &["events", "list"]);
    let [head, row] = table.lines().collect::<Vec<_>>()[..] else { unreachable!("{table}") };
    assert_eq!(head.find("STATUS"), row.find("processed"), "{table}");
    assert!(row.starts_with(&id));
    let json = json_lines(&printed(dir, &["events", "list", "--json", "--status", "processed"]));
    assert_eq!(json[0]["id"], id.as_str());
    assert!(json[0]["created"].is_i64());
    assert_eq!(printed(dir, &["events", "list", "--json", "--type", "invoice.paid"]), "");
    assert_eq!(printed(dir, &["events", "list", "--json", "--starting-after", &id]), "");

    assert!(!printed(dir, &["events", "show", &id]).contains("data"));
    let shown = printed(dir, &["events", "show", &id, "--payload"]);
    assert!(shown.contains("status       processed") && shown.contains("\"data\":{"), "{shown}");
    let shown = json_lines(&printed(dir, &["events", "show", &id, "--payload", "--json"]));
    assert_eq!(shown[0]["payload"]["id"], id.as_str());

    for which in [vec![id.as_str()], vec!["--all"], vec!["--type", "customer.subscription.created"]] {
        let replayed = printed(dir, &[vec!["events", "replay"], which.clone()].concat());
        assert!(replayed.starts_with("replayed: 1\n"), "{which:?}: {replayed}");
        let json = json_lines(&printed(dir, &["events", "list", "--json"]));
        assert_eq!(json[0]["status"], "pending");
        sql(dir, "UPDATE stripe_webhooks_log SET status = 'processed', processed = 1, processed_at_ms = 1");
    }
}

#[test]
fn dead_letters_are_listed_shown_replayed_and_discarded() {
    let (dir, id) = with_one_event();
    let dir = dir.path();
    kill_event(dir, &id);
    let table = printed(dir, &["dead-letters", "list", "--utc"]);
    assert!(table.lines().nth(1).unwrap().contains("2026-11-24 01:20:06"), "{table}");
    assert_eq!(json_lines(&printed(dir, &["dead-letters", "list", "--json"]))[0]["created"], 1_795_483_206);
    assert!(printed(dir, &["dead-letters", "show", &id]).contains("error     boom"));
    let attempts = printed(dir, &["events", "show", &id]);
    assert!(attempts.contains("first") && attempts.contains("boom bang"), "{attempts}");

    assert!(printed(dir, &["dead-letters", "replay", &id]).starts_with("replayed: 1\n"));
    assert_eq!(run(dir, &["dead-letters", "replay", &id]).code, 1);
    kill_event(dir, &id);
    assert!(printed(dir, &["dead-letters", "replay", "--all"]).starts_with("replayed: 1\n"));
    kill_event(dir, &id);
    assert_eq!(printed(dir, &["dead-letters", "discard", &id, "--reason", "test"]), format!("discarded: {id}\n"));
    assert_eq!(run(dir, &["dead-letters", "discard", &id]).code, 1);
    assert_eq!(json_lines(&printed(dir, &["events", "list", "--json"]))[0]["status"], "ignored");
}

#[test]
fn retries_are_listed() {
    let (dir, id) = with_one_event();
    sql(
        dir.path(),
        &format!(
            "INSERT INTO webhook_retry_queue
               (stripe_event_id, event_type, retry_count, max_retries, next_retry_at_ms, last_error, created_at_ms)
               VALUES ('{id}', 'customer.subscription.created', 1, 8, 1795483205000, 'late', 1795483200000)"
        ),
    );
    let table = printed(dir.path(), &["retries", "list", "--utc"]);
    assert!(table.contains("1 of 8") && table.contains("2026-11-24 01:20:05  late"), "{table}");
    assert_eq!(json_lines(&printed(dir.path(), &["retries", "list", "--json"]))[0]["next_retry_at"], 1_795_483_205);
}

#[test]
fn a_running_daemon_takes_up_what_the_command_line_replays() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path());
    let sent = dev.paste(0, dir.path());
    let id = sent.out.split(' ').next().unwrap();
    entitlement_says(dir.path(), "\"entitled\":true");
    printed(dir.path(), &["events", "replay", id]);
    let status = || json_lines(&printed(dir.path(), &["events", "show", id, "--json"]))[0]["status"].clone();
    let mut waited = 0;
    while status() != "processed" {
        assert!(waited < 100, "the event was never projected again");
        waited += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(dev.terminate(), Some(0));
}

#[test]
fn a_user_is_shown_with_subscriptions_for_people_and_for_programs() {
    let (dir, _) = with_one_event();
    let text = printed(dir.path(), &["user", "show", "alice"]);
    assert!(text.contains("entitled         yes") && text.contains("SUBSCRIPTION"), "{text}");
    let json = json_lines(&printed(dir.path(), &["user", "show", "alice", "--json"]));
    assert_eq!(json[0]["user"]["id"], "alice");
    assert_eq!(json[0]["subscriptions"][0]["status"], "active");
}

#[test]
fn unknown_ids_end_with_1_and_are_named_and_nothing_is_done_by_halves() {
    let (dir, id) = with_one_event();
    for command in [
        &["events", "show", "evt_no"][..],
        &["events", "replay", &id, "evt_no"],
        &["events", "list", "--starting-after", "evt_no"],
        &["dead-letters", "show", "evt_no"],
        &["dead-letters", "replay", "evt_no"],
        &["dead-letters", "discard", "evt_no"],
        &["user", "show", "evt_no"],
        &["entitlement", "evt_no"],
    ] {
        let ran = run(dir.path(), command);
        assert_eq!(ran.code, 1, "{command:?}");
        assert!(ran.err.contains("evt_no") && ran.err.lines().count() == 1 && ran.out.is_empty(), "{}", ran.err);
    }
    assert_eq!(json_lines(&printed(dir.path(), &["events", "list", "--json"]))[0]["status"], "processed");
    let ran = run(dir.path(), &["events", "list", "--database", "no.db"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no.db") && !dir.path().join("no.db").exists(), "{}", ran.err);
}

#[test]
fn wrong_use_and_wrong_configuration_end_with_2() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), "databse = 1\n[api]\ntokn = 1\n").unwrap();
    for command in [
        &["nonsense"][..],
        &["events", "list", "--status", "odd"],
        &["events", "list", "--limit", "0"],
        &["events", "replay"],
        &["events", "replay", "evt_1", "--all"],
        &["migrate", "down"],
        &["trigger"],
        &["trigger", "no.such.type", "--secret", "whsec_x"],
        &["trigger", "invoice.paid", "--set", "nothing"],
        &["trigger", "invoice.paid", "--secret", "whsec_x", "--set", "a..b=1"],
        &["trigger", "invoice.paid", "--api-version", "1999-01-01"],
        &["trigger", "invoice.paid"],
        &["trigger", "invoice.paid", "--secret", "whsec_x", "--url", "https://example.com/"],
        &["serve", "--config", "missing.toml"],
        &["events", "list", "--config", "bad.toml"],
        &["serve"],
    ] {
        let ran = run(dir.path(), command);
        assert_eq!(ran.code, 2, "{command:?}: {}{}", ran.out, ran.err);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{command:?}");
    }
    let ran = run(dir.path(), &["events", "list", "--config", "bad.toml"]);
    assert!(ran.err.contains("databse") && ran.err.contains("api.tokn") && ran.err.lines().count() == 2, "{}", ran.err);
}

#[test]
fn trigger_lists_its_types_and_says_when_nobody_or_a_no_answers() {
    let dir = tempfile::tempdir().unwrap();
    assert!(printed(dir.path(), &["trigger", "--list"]).contains("invoice.paid"));
    let nobody = ["trigger", "invoice.paid", "--secret", "whsec_x", "--url", "http://127.0.0.1:1/x"];
    let ran = run(dir.path(), &nobody);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("127.0.0.1:1"), "{}", ran.err);
    let dev = Dev::start(dir.path());
    let url = dev.commands[0].split("--url ").nth(1).unwrap().to_owned();
    let ran = run(dir.path(), &["trigger", "invoice.paid", "--secret", "whsec_wrong", "--url", &url]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("400 ") && ran.out.contains("signature_mismatch"), "{}", ran.out);
    assert_eq!(dev.terminate(), Some(0));
}

#[test]
fn init_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    assert!(printed(dir.path(), &["init"]).contains("tilld check"));
    let before = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
    let ran = run(dir.path(), &["init"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("config.toml exists"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(dir.path().join("config.toml")).unwrap(), before);
    printed(dir.path(), &["init", "--config", "other.toml"]);
}

#[test]
fn the_schema_goes_down_with_a_copy_beside_it_and_up_again() {
    let (dir, id) = with_one_event();
    let dir = dir.path();
    assert_eq!(printed(dir, &["migrate", "status"]).matches("not applied").count(), 0);
    let ran = run(dir, &["migrate", "down", "--to", "99"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--to 99") && ran.err.contains("migrate up"), "{}", ran.err);
    let down = printed(dir, &["migrate", "down", "--to", "1"]);
    let copy = down.lines().nth(1).unwrap().split("it was: ").nth(1).unwrap();
    assert!(copy.ends_with(".bak") && Path::new(copy).exists(), "{down}");
    assert!(printed(dir, &["migrate", "status"]).contains("not applied"));
    let ran = run(dir, &["events", "list"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("tilld migrate up"), "{}", ran.err);
    assert!(printed(dir, &["check"]).contains("warn  schema"));
    assert!(printed(dir, &["migrate", "up"]).starts_with("schema 1 -> "));
    assert!(printed(dir, &["migrate", "up"]).contains("nothing to do"));
    let kept = json_lines(&printed(dir, &["events", "list", "--json"]));
    assert_eq!(kept[0]["id"], id.as_str());
}

#[test]
fn check_tells_ok_warnings_and_failures_apart() {
    let (dir, _) = with_one_event();
    let dir = dir.path();
    let ports = [("TILLD_PUBLIC_LISTEN", "127.0.0.1:0"), ("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")];
    let check = |more: &[(&str, &str)]| {
        finished(tilld(dir).arg("check").envs(ports).envs(more.iter().copied()).output().unwrap())
    };
    let fine = check(&[]);
    assert_eq!(fine.code, 0, "{}{}", fine.out, fine.err);
    for line in
        ["ok    integrity", "ok    paused", "ok    schema", "ok    plans", "ok    webhook secrets", "ok    clock"]
    {
        assert!(fine.out.contains(line), "{line}: {}", fine.out);
    }
    assert!(!fine.out.contains("fail"), "{}", fine.out);
    let open = check(&[("TILLD_PRIVATE_LISTEN", "unix:/nowhere/x"), ("TILLD_DATABASE", "/nowhere/x.db")]);
    assert_eq!(open.code, 1);
    assert!(open.out.contains("fail  database") && open.out.contains("warn  daemon"), "{}", open.out);
    std::fs::write(dir.join("other.db"), b"not a database at all, but long enough to be read as one").unwrap();
    let foreign = check(&[("TILLD_DATABASE", "other.db")]);
    assert_eq!(foreign.code, 1);
    assert!(foreign.out.contains("fail  schema"), "{}", foreign.out);
    let bare = tempfile::tempdir().unwrap();
    let ran = run(bare.path(), &["check"]);
    assert_eq!(ran.code, 2, "`tilld serve` would refuse it");
    assert!(ran.out.contains("fail  webhook secrets") && ran.out.contains("STRIPE_WEBHOOK_SECRET"), "{}", ran.out);
}

#[test]
fn check_of_a_wrong_configuration_tells_every_fault_and_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), "colour = 1\n[limits]\nconnections = 0\n").unwrap();
    let ran = run(dir.path(), &["check"]);
    assert_eq!(ran.code, 2);
    for part in
        ["fail  configuration  colour: is not a known key", "fail  configuration  limits.connections: must be from"]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert_eq!(ran.err.trim(), "error: checks failed: 2");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        tilld(dir.path()).args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn the_help_of_every_command_has_an_example_and_the_manual_has_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let manual = printed(dir.path(), &["man"]);
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut leaves = 0;
    while let Some(path) = open.pop() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = printed(dir.path(), &arguments);
        assert!(help.contains("Example: tilld "), "{path:?}: {help}");
        let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
        let names = commands.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").collect();
        if names.is_empty() {
            leaves += 1;
            let title = format!(".SS \"tilld {}\"", path.join(" ").replace('-', "\\-"));
            assert!(manual.contains(&title), "the manual lacks {title}");
        }
        open.extend(names.iter().map(|name| path.iter().cloned().chain([(*name).to_owned()]).collect::<Vec<_>>()));
    }
    assert!(leaves >= 19, "only {leaves} commands were found");
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(dir.path(), &["completions", shell]).contains("dead-letters"));
    }
}
