//! What `tilld rebuild` does with files: the one that it reads, the one that it makes, and the one that it replaces.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tilld::base::thread::Threads;
use tilld::store::engine::replace::{HeldFile, PartFile};
use tilld::store::engine::{lock, schema};

use super::{are_same, command, files, lived, rows, texts};
use crate::harness::START_S;
use crate::live::{database, tilld};

/// `nobody` on Debian.
const NOBODY: u32 = 65534;

fn named(dir: &Path, has: &str) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.contains(has));
    names.sort();
    names
}

fn only(names: &[String]) -> &str {
    assert_eq!(names.len(), 1, "{names:?}");
    &names[0]
}

/// What a command said, which has to fail.
fn refusal(dir: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = command(dir, arguments);
    assert_eq!(code, Some(1), "{out}{err}");
    err
}

fn rebuilds(dir: &Path, arguments: &[&str]) {
    let (code, out, err) = command(dir, arguments);
    assert_eq!(code, Some(0), "{out}{err}");
}

/// Rebuilt beside it, so that it only has to take its place.
fn made_part(dir: &Path) -> PartFile {
    rebuilds(dir, &["--into", "made.db"]);
    let part = PartFile::of(&database(dir)).unwrap();
    std::fs::rename(dir.join("made.db"), part.path()).unwrap();
    part
}

#[test]
fn a_command_is_refused_while_the_file_is_rebuilt() {
    let dir = lived().close();
    let held = HeldFile::take(&database(dir.path())).unwrap();
    let output = tilld(dir.path()).args(["user", "link", "eve", "cus_said"]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("`tilld rebuild`"), "{err}");
    drop(held);
    let output = tilld(dir.path()).args(["user", "link", "eve", "cus_said"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let words = texts(&database(dir.path()), "SELECT object_id FROM user_links WHERE user_id = 'eve'");
    assert_eq!(words, ["cus_said"]);
}

#[test]
fn a_file_that_was_written_to_meanwhile_is_not_replaced() {
    let dir = lived().close();
    let path = database(dir.path());
    let part = made_part(dir.path());
    let held = HeldFile::take(&path).unwrap();
    let waiting = Connection::open(&path).unwrap();
    waiting.busy_timeout(Duration::from_secs(30)).unwrap();
    let write = move || {
        waiting.execute("INSERT INTO users (id, created_at_ms) VALUES ('late', 1)", []).unwrap();
    };
    let writing = Threads::default().spawn("late", write).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let refused = held.replace(&part, 1).unwrap_err().to_string();
    assert!(refused.contains("written to it meanwhile") || refused.contains("has it open"), "{refused}");
    writing.join();
    assert_eq!(texts(&path, "SELECT id FROM users WHERE id = 'late'"), ["late"]);
    assert_eq!(named(dir.path(), ".bak"), Vec::<String>::new());
}

#[test]
fn a_file_that_somebody_reads_is_not_replaced_and_stays_usable() {
    let dir = lived().close();
    let path = database(dir.path());
    let reader = Connection::open(&path).unwrap();
    let count = |reader: &Connection| reader.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, i64>(0));
    let before = count(&reader).unwrap();
    let refused = refusal(dir.path(), &[]);
    assert!(refused.contains("another process has it open") && refused.contains("nothing was changed"), "{refused}");
    assert_eq!((count(&reader).unwrap(), named(dir.path(), ".bak").len()), (before, 0));
    drop(reader);
    rebuilds(dir.path(), &[]);
    assert_eq!(named(dir.path(), "-wal"), Vec::<String>::new());
}

/// A file as the scripts of schema 8 made it.
fn schema_8() -> TempDir {
    let dir = TempDir::new().unwrap();
    let connection = Connection::open(database(dir.path())).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(include_str!("schema8.sql")).unwrap();
    dir
}

#[test]
fn what_was_asked_of_stripe_is_taken_over_from_schema_8_with_what_decides() {
    let dir = schema_8();
    rebuilds(dir.path(), &["--from", "tilld.db", "--into", "new.db"]);
    let of = |sql: &str| texts(&dir.path().join("new.db"), sql);
    assert_eq!(
        of("SELECT idempotency_key || ' ' || status || ' ' || wanted FROM stripe_operations ORDER BY id"),
        [
            "done done {\"price_id\":\"price_team\"}",
            "doubt in_doubt {\"price_id\":\"price_team\"}",
            "first sending {\"price_id\":\"price_pro\"}",
            // Which price was asked for is not known, so it must not be judged.
            "unclear in_doubt null",
            "settled not_done {}",
            "cancel in_doubt {}",
            "customer sending {}",
        ]
    );
    assert_eq!(of("SELECT email FROM stripe_customers"), ["a@example.com"]);
    assert_eq!(of("SELECT \"table\" FROM pragma_foreign_key_check"), Vec::<String>::new());
}

#[test]
fn the_copy_of_a_file_of_schema_8_says_8() {
    let dir = schema_8();
    rebuilds(dir.path(), &[]);
    let copies = named(dir.path(), ".bak");
    assert!(only(&copies).starts_with("tilld.db.schema-8-"), "{copies:?}");
    assert_eq!(texts(&dir.path().join(only(&copies)), "SELECT id FROM users"), ["alice"]);
}

#[test]
fn after_a_way_down_and_up_a_rebuild_makes_the_tables_without_a_daemon() {
    let dir = lived().close();
    let path = database(dir.path());
    let before = rows(&path);
    schema::down(&path, 2, START_S * 1000).unwrap();
    schema::up(&path, START_S * 1000).unwrap();
    rebuilds(dir.path(), &[]);
    // The events wait still, and only those that are done are counted.
    let made = |rows: &[String]| rows.iter().filter(|row| !row.starts_with("webhook_")).cloned().collect::<Vec<_>>();
    are_same(&made(&rows(&path)), &made(&before));
}

fn rights(path: &Path) -> (u32, u32, u32) {
    let found = std::fs::metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o777)
}

#[test]
fn owner_group_and_rights_are_kept_by_rebuilding_and_by_migrating() {
    let dir = lived().close();
    let path = database(dir.path());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let is_root = std::fs::metadata(dir.path()).unwrap().uid() == 0;
    if is_root {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let before = rights(&path);
    rebuilds(dir.path(), &[]);
    assert_eq!(rights(&path), before);
    let copies = named(dir.path(), ".bak");
    assert_eq!(rights(&dir.path().join(only(&copies))), before);
    let (uid, gid, _) = rights(&dir.path().join("tilld.db.lock"));
    assert_eq!((uid, gid), (before.0, before.1), "the service can take its lock");
    std::fs::remove_file(dir.path().join(only(&copies))).unwrap();
    assert!(tilld(dir.path()).args(["migrate", "down", "--to", "2"]).status().unwrap().success());
    assert_eq!(rights(&dir.path().join(only(&named(dir.path(), ".bak")))), before);
    assert_eq!(rights(&path), before);
}

#[test]
fn a_file_whose_owner_cannot_be_kept_is_not_replaced() {
    let dir = lived().close();
    let path = database(dir.path());
    let nobody = || {
        let mut command = std::process::Command::new("setpriv");
        let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
        command.args(user).arg(env!("CARGO_BIN_EXE_tilld")).env_clear().current_dir(dir.path());
        command
    };
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(dir.path(), 0o777);
    open(&path, 0o666);
    let is_root = rights(dir.path()).0 == 0;
    if !is_root || !nobody().arg("--help").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: this needs root, and another user that can run the program");
        return;
    }
    named(dir.path(), ".lock").iter().for_each(|lock| std::fs::remove_file(dir.path().join(lock)).unwrap());
    let before = (std::fs::metadata(&path).unwrap().ino(), rights(&path));
    let output = nobody().arg("rebuild").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("it belongs to 0:0"), "{err}");
    assert_eq!((std::fs::metadata(&path).unwrap().ino(), rights(&path)), before);
    assert_eq!((named(dir.path(), ".bak").len(), named(dir.path(), ".part").len()), (0, 0));
}

#[test]
fn a_symlink_stays_and_the_file_that_it_names_is_replaced() {
    let dir = lived().close();
    let (link, real) = (database(dir.path()), dir.path().join("real/data.db"));
    std::fs::create_dir(dir.path().join("real")).unwrap();
    let before = rows(&link);
    std::fs::rename(&link, &real).unwrap();
    symlink("real/data.db", &link).unwrap();
    Connection::open(&real).unwrap().execute_batch("DELETE FROM stripe_disputes").unwrap();
    rebuilds(dir.path(), &[]);
    assert_eq!(std::fs::read_link(&link).unwrap(), PathBuf::from("real/data.db"));
    are_same(&rows(&real), &before);
    assert!(only(&named(&dir.path().join("real"), ".bak")).starts_with("data.db.schema-"));
    rebuilds(dir.path(), &["--check"]);
}

#[test]
fn what_a_killed_run_left_is_taken_away_by_the_next_and_nothing_else() {
    let dir = lived().close();
    let write = |name: &str| std::fs::write(dir.path().join(name), "left").unwrap();
    let left = ["tilld.db.check-4000001.part", "tilld.db.check-4000001.part-wal", "tilld.db.check-4000001.part.lock"];
    left.into_iter().for_each(write);
    ["tilld.db.check-list.part", "tilld.db.check-7", "other.db.check-7.part"].into_iter().for_each(write);
    let in_use = dir.path().join("tilld.db.check-4000002.part");
    write("tilld.db.check-4000002.part");
    let lock = lock::take(&in_use).unwrap();
    rebuilds(dir.path(), &["--check"]);
    assert_eq!(
        files(dir.path()),
        [
            "other.db.check-7.part",
            "tilld.db",
            "tilld.db.check-4000002.part",
            "tilld.db.check-7",
            "tilld.db.check-list.part"
        ]
    );
    drop(lock);
    rebuilds(dir.path(), &["--check"]);
    assert!(!in_use.exists());

    write("new.db.rebuild.part");
    rebuilds(dir.path(), &["--into", "new.db"]);
    write("tilld.db.rebuild.part");
    rebuilds(dir.path(), &[]);
    assert_eq!(named(dir.path(), "rebuild.part"), Vec::<String>::new());
}

#[test]
fn a_new_file_has_its_name_only_when_it_is_whole() {
    let dir = lived().close();
    let into = dir.path().join("new.db");
    let making = PartFile::of(&into).unwrap();
    let refused = refusal(dir.path(), &["--into", "new.db"]);
    assert!(refused.contains("in use by process"), "{refused}");
    std::fs::write(making.path(), "half").unwrap();
    drop(making);
    assert_eq!(named(dir.path(), "new.db"), Vec::<String>::new());
    let damaged = Connection::open(database(dir.path())).unwrap();
    damaged.execute_batch("PRAGMA foreign_keys = OFF; DROP TABLE outbox").unwrap();
    drop(damaged);
    refusal(dir.path(), &["--into", "new.db"]);
    refusal(dir.path(), &[]);
    assert_eq!(named(dir.path(), "new.db"), Vec::<String>::new());
    assert_eq!(named(dir.path(), "tilld.db"), ["tilld.db", "tilld.db.lock"], "not even a log is left of the hold");
}

#[test]
fn a_file_without_a_log_is_refused_by_name_and_nothing_is_made() {
    let dir = lived().close();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    Connection::open(dir.path().join("foreign")).unwrap().execute_batch("CREATE TABLE x (a)").unwrap();
    let before = files(dir.path());
    for from in ["empty", "foreign"] {
        for more in [&["--into", "new.db"][..], &["--check"], &[]] {
            let refused = refusal(dir.path(), &[&["--from", from], more].concat());
            let why = format!("{from} is not a tilld database: it has no table stripe_webhooks_log");
            assert!(refused.contains(&why), "{refused}");
            assert_eq!(files(dir.path()), before);
        }
    }
}
