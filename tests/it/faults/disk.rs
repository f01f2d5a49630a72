//! A disk without room: a real file system, filled to the last page.

use super::{Disk, all_done, body, count, post_until_refused, refused};
use crate::harness::START_S;
use crate::live::Live;
use tilld::store::schema;

#[test]
fn a_disk_that_fills_up_is_answered_with_503_and_with_room_again_everything_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), 6144) else { return };
    let live = Live::launch(disk.serve());
    disk.fill(1024);
    let accepted = post_until_refused(&live);
    assert!(!accepted.is_empty());
    assert_eq!(live.get("/readyz").0, 503);
    disk.empty();
    super::eventually("it takes writes again", || live.get("/readyz").0 == 200);
    assert_eq!(live.post(&body(1_000_000)).unwrap().status, 200);
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    all_done(&disk.file("tilld.db"), accepted.len() + 1);
}

#[test]
fn a_first_start_without_room_is_refused_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), 1024) else { return };
    for left_kib in [0, 4, 8, 40, 100] {
        disk.fill(left_kib);
        let said = refused(disk.serve());
        let words = ["disk is full", "disk I/O error", "No space left", "unable to open"];
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
    let Some(disk) = Disk::mount(dir.path(), 4096) else { return };
    let live = Live::launch(disk.serve());
    for number in 0..50 {
        assert_eq!(live.post(&body(number)).unwrap().status, 200);
    }
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    let path = disk.file("tilld.db");
    let copy = schema::down(&path, 3, START_S * 1000).unwrap().copy.unwrap();
    std::fs::remove_file(copy).unwrap();
    let names = || disk.names().into_iter().filter(|name| name != "ballast").collect::<Vec<_>>();
    let before = names();
    for left_kib in [0, 100] {
        disk.fill(left_kib);
        let said = refused(disk.serve());
        assert!(said.contains("full") || said.contains("No space left"), "{left_kib} KiB: {said}");
        assert_eq!(names(), before);
    }
    disk.empty();
    assert_eq!(schema::version_of(&path).unwrap(), 3);
    let live = Live::launch(disk.serve());
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    assert_eq!(schema::version_of(&path).unwrap(), schema::CURRENT);
    assert_eq!(count(&path, "stripe_webhooks_log"), 50);
}
