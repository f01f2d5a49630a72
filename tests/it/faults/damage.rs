//! A file that is not what was written.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use tilld::http::request::Method;
use tilld::notify::NotifyContext;
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::engine::schema;
use tilld::store::inbox::EventCompletion;
use tilld::store::{StoreError, Tx};

use super::{body, event, eventually, refused, serve};
use crate::harness::{SECRET, Setup, Till};
use crate::live::{Live, database, tilld};

/// A file with 40 events and two copies beside it that migrating made; the newer one's name.
fn with_backups() -> (TempDir, PathBuf) {
    let mut till = Till::new();
    till.feed(&(0..40).map(event).collect::<Vec<_>>());
    let dir = till.close();
    let path = database(dir.path());
    schema::down(&path, schema::CURRENT - 1, 1000).unwrap();
    let newer = schema::up(&path, 2000).unwrap().copy.unwrap();
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    std::fs::File::options().append(true).open(&newer).unwrap().set_modified(later).unwrap();
    (dir, newer)
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Offset and bytes of the root page of a table or index.
fn root(path: &Path, name: &str) -> (u64, Vec<u8>) {
    let sql = "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = ?1";
    let read = |row: &rusqlite::Row| Ok((u64::from(row.get::<_, u32>(0)?), u64::from(row.get::<_, u32>(1)?)));
    let (page, size) = Connection::open(path).unwrap().query_row(sql, [name], read).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let at = (page - 1) * size;
    (at, bytes[usize::try_from(at).unwrap()..usize::try_from(at + size).unwrap()].to_vec())
}

/// Damages the file and expects the start to be refused with `words` and the newer copy before the older.
fn start_is_refused(words: &str, damage: impl FnOnce(&Path)) {
    let (dir, newer) = with_backups();
    let path = database(dir.path());
    damage(&path);
    let bytes = std::fs::read(&path).unwrap_or_default();
    let said = refused(serve(dir.path()));
    assert!(said.contains(words), "{words}: {said}");
    let newest = format!("newest first: {}, ", newer.canonicalize().unwrap().display());
    assert!(said.contains(&newest), "{newest}: {said}");
    assert!(said.contains("put a backup in its place"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap_or_default(), bytes, "a damaged file is left for whoever repairs it");

    // What the refusal says to do helps.
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.path().join(format!("tilld.db{ending}")));
    }
    std::fs::copy(&newer, &path).unwrap();
    let live = Live::start(dir.path());
    live.settle();
    assert_eq!(live.get("/api/v1/users/user_39/entitlement").1["entitled"], true);
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn a_file_that_begins_with_something_else_is_refused_at_start() {
    start_is_refused("file is not a database", |path| overwrite(path, 0, b"dear diary, today"));
}

#[test]
fn a_file_that_was_cut_is_refused_at_start() {
    start_is_refused("malformed", |path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 8192 * 4096).unwrap();
    });
}

#[test]
fn an_index_whose_root_was_overwritten_is_refused_at_start() {
    start_is_refused("webhook_retry_queue_due", |path| {
        let (at, page) = root(path, "webhook_retry_queue_due");
        overwrite(path, at, &vec![0xff; page.len()]);
    });
}

#[test]
fn a_row_that_was_overwritten_in_a_file_of_ordinary_size_is_refused_at_start() {
    start_is_refused("page", |path| {
        let bytes = std::fs::read(path).unwrap();
        // The head of a page far from any root: of the body of one of the events.
        let at =
            bytes.windows(9).rposition(|window| window == b"evt_1\",\"o" || window.starts_with(b"price_pro")).unwrap();
        let page = at / 4096 * 4096;
        overwrite(path, u64::try_from(page).unwrap(), &[0xff; 16]);
    });
}

#[test]
fn an_emptied_file_is_not_taken_for_a_new_one_where_backups_lie_beside_it() {
    start_is_refused("it is empty", |path| std::fs::write(path, "").unwrap());
}

#[test]
fn a_log_without_its_file_is_not_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
    live.kill();
    let (path, aside) = (database(dir.path()), dir.path().join("aside"));
    let log = dir.path().join("tilld.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    std::fs::rename(&path, &aside).unwrap();
    let said = refused(serve(dir.path()));
    assert!(said.contains("tilld.db-wal is not"), "{said}");
    assert!(said.contains("no backup of it lies in its folder"), "{said}");
    std::fs::rename(&aside, &path).unwrap();
    let live = Live::start(dir.path());
    live.settle();
    assert_eq!(live.get("/api/v1/users/user_1/entitlement").1["entitled"], true);
}

#[test]
fn check_names_the_backups_of_a_damaged_file() {
    let (dir, newer) = with_backups();
    let (at, page) = root(&database(dir.path()), "audit_log");
    overwrite(&database(dir.path()), at, &vec![0xff; page.len()]);
    let output = tilld(dir.path()).arg("check").env("STRIPE_WEBHOOK_SECRET", SECRET).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("damaged") && said.contains(&newer.file_name().unwrap().to_string_lossy().into_owned()),
        "{said}"
    );
}

#[test]
fn damage_met_while_running_stops_writing_blames_no_event_and_loses_none() {
    let mut till = Till::new();
    till.feed(&[event(0)]);
    let dir = till.close();
    let path = database(dir.path());
    let (at, page) = root(&path, "audit_log");
    let live = Live::start(dir.path());
    overwrite(&path, at, &vec![0xff; page.len()]);

    // Its row is on disk before anyone has seen the damage; projecting it is what meets it.
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
    eventually("the daemon says that the file is damaged", || live.said().contains("from now on nothing is written"));
    let answer = live.post(&body(2)).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let (status, ready) = live.get("/readyz");
    assert_eq!(status, 503);
    assert!(ready["checks"]["database"].as_str().unwrap().contains("damaged"), "{ready}");
    assert!(live.said().contains("put a backup in its place"), "{}", live.said());
    // What can be read is answered.
    assert_eq!(live.get("/api/v1/users/user_0/entitlement").1["entitled"], true);
    let events = live.get("/api/v1/admin/events").1;
    assert_eq!(
        (&events["data"][0]["status"], &events["data"][0]["attempts"]),
        (&json!("pending"), &json!(0)),
        "{events}"
    );
    assert_eq!(live.get("/healthz").0, 200, "it is up");
    live.kill();

    // The page as it was stands for the backup.
    overwrite(&path, at, &page);
    let live = Live::start(dir.path());
    assert_eq!(live.post(&body(2)).unwrap().status, 200);
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    super::count(&path, "stripe_webhooks_log");
    assert_eq!(super::count(&path, "stripe_webhooks_log WHERE status = 'processed'"), 3);
    assert_eq!(super::count(&path, "webhook_dead_letter_queue"), 0);
}

#[test]
fn an_event_that_meets_damage_is_neither_failed_nor_given_up() {
    fn damaged(_: &Tx, _: &ProjectedEvent, _: &NotifyContext, _: i64) -> Result<EventCompletion, ProjectionError> {
        Err(StoreError::Damaged("database disk image is malformed".to_owned()).into())
    }
    let mut till = Till::with(Setup { project: Some(damaged), ..Setup::default() });
    assert_eq!(till.post(&event(1)).0, 200);
    let now_ms = tilld::base::clock::Clock::now_ms(till.clock.as_ref());
    for _ in 0..10 {
        assert!(matches!(till.worker.step(now_ms), Err(StoreError::Damaged(_))));
    }
    assert_eq!(till.post(&event(2)).0, 503, "from then on nothing is written");
    assert_eq!(till.call(Method::Put, "/api/v1/users/zoe", &json!({})).0, 503);
    let mut till = Till::in_dir(till.close(), Setup::default());
    till.settle();
    let done = "SELECT count(*) FROM stripe_webhooks_log WHERE status = 'processed' AND processing_attempts = 1";
    assert_eq!(till.value(done), 1);
}

#[test]
fn a_process_killed_while_the_file_had_no_log_yet_is_no_hindrance_to_the_next() {
    let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(Live::start(dir.path()).terminate(), Some(0));
    let writing = Connection::open(database(dir.path())).unwrap();
    writing.pragma_update(None, "journal_mode", "DELETE").unwrap();
    // More than the cache holds, so that pages are changed in the file before the commit.
    writing.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE; CREATE TABLE half (a);").unwrap();
    for _ in 0..50 {
        writing.execute("INSERT INTO half VALUES (randomblob(4000))", []).unwrap();
    }
    // What is on disk at this moment is what a kill leaves.
    for name in ["tilld.db", "tilld.db-journal"] {
        assert!(std::fs::copy(dir.path().join(name), killed.path().join(name)).unwrap() > 0);
    }
    let live = Live::start(killed.path());
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
    assert_eq!(live.terminate(), Some(0));
    assert_eq!(super::count(&database(killed.path()), "sqlite_master WHERE name = 'half'"), 0, "it is undone");
}

#[test]
fn an_empty_file_beside_another_program_s_backup_is_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["blog.bak", "old.db.bak"] {
        Connection::open(dir.path().join(name)).unwrap().execute_batch("CREATE TABLE posts (a)").unwrap();
    }
    std::fs::write(database(dir.path()), "").unwrap();
    assert_eq!(Live::start(dir.path()).terminate(), Some(0));
    // Nor is it what a damaged one is to be replaced by.
    std::fs::write(database(dir.path()), "dear diary, today").unwrap();
    let said = refused(serve(dir.path()));
    assert!(said.contains("no backup of it lies in its folder"), "{said}");
}
