//! A disk without room: a real file system, filled to the last page.

use super::{Disk, all_done, body, count, post_until_refused, refused};
use crate::live::{Live, database};
use tilld::store::engine::schema;

#[test]
fn a_disk_that_fills_up_is_answered_with_503_and_with_room_again_everything_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), 6144) else { return };
    let live = Live::launch(disk.serve());
    disk.fill(1024);
    let accepted = post_until_refused(&live);
    assert!(!accepted.is_empty());
    disk.empty();
    super::eventually("it takes writes again", || live.get("/readyz").0 == 200);
    assert_eq!(live.post(&body(1_000_000)).unwrap().status, 200);
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    all_done(&database(disk.copied().path()), accepted.len() + 1);
}

#[test]
fn a_first_start_without_room_is_refused_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), 2048) else { return };
    for left_kib in [0, 4, 8, 40, 100] {
        disk.fill(left_kib);
        let said = refused(disk.serve());
        let words = ["disk is full", "No space left", "has room"];
        assert!(words.iter().any(|word| said.contains(word)), "{left_kib} KiB: {said}");
        assert_eq!(
            disk.names().iter().filter(|name| *name != "ballast" && *name != "tilld.db.lock").count(),
            0,
            "{:?}",
            disk.names()
        );
    }
    disk.empty();
    let live = Live::launch(disk.serve());
    assert_eq!(live.get("/readyz").0, 200);
}

#[test]
fn a_migration_without_room_is_refused_changes_nothing_and_leaves_no_half_copy() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), 12_288) else { return };
    let live = Live::launch(disk.serve());
    for number in 0..50 {
        assert_eq!(live.post(&body(number)).unwrap().status, 200);
    }
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    let mut down = disk.enter(env!("CARGO_BIN_EXE_tilld"));
    down.args(["migrate", "down", "--to", "2", "--database"]).arg(dir.path().join("tilld.db"));
    assert!(down.output().unwrap().status.success());
    // A log and its index may lie there; SQLite empties them when it can.
    let ours = |name: &String| name != "ballast" && !name.ends_with("-wal") && !name.ends_with("-shm");
    let names = || disk.names().into_iter().filter(ours).collect::<Vec<_>>();
    let before = names();
    let version = || schema::version_of(&database(disk.copied().path())).unwrap();
    for left_kib in [0, 100] {
        disk.fill(left_kib);
        let said = refused(disk.serve());
        assert!(
            said.contains("full") || said.contains("No space left") || said.contains("has room"),
            "{left_kib} KiB: {said}"
        );
        assert_eq!(names(), before);
        assert_eq!(std::fs::metadata(disk.file("tilld.db-wal")).map_or(0, |log| log.len()), 0);
    }
    disk.empty();
    assert_eq!(version(), 2);
    let live = Live::launch(disk.serve());
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    assert_eq!(version(), schema::CURRENT);
    assert_eq!(count(&database(disk.copied().path()), "stripe_webhooks_log"), 50);
}
