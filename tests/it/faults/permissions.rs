//! Files and folders that may be read but not written.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{Disk, all_done, body, is_root, names, refused};
use crate::live::{Live, configure, database};

/// `nobody` on Debian; root itself is refused nothing.
const NOBODY: &str = "65534";

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The daemon as a user whom permissions bind.
fn serve_unprivileged(dir: &Path) -> Command {
    let program = env!("CARGO_BIN_EXE_tilld");
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", program]);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(dir).env("HOME", dir);
    configure(command.arg("serve"));
    command
}

fn belongs_to_nobody(path: &Path) {
    if is_root() {
        let id = Some(NOBODY.parse().unwrap());
        std::os::unix::fs::chown(path, id, id).unwrap();
    }
}

/// Whether that user can run the program at all; what lies in a home folder of root's cannot.
fn runs(dir: &Path) -> bool {
    let mut command = serve_unprivileged(dir);
    let ran = command.arg("--help").output().is_ok_and(|output| output.status.success());
    if !ran {
        eprintln!("SKIPPED: another user cannot run {}", env!("CARGO_BIN_EXE_tilld"));
    }
    ran
}

#[test]
fn a_folder_without_permission_is_refused_by_name_and_with_permission_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    belongs_to_nobody(dir.path());
    if !runs(dir.path()) {
        return;
    }
    for mode in [0o555, 0o000] {
        allow(dir.path(), mode);
        // Entered from elsewhere: a folder that may not be entered cannot be worked in.
        let mut command = serve_unprivileged(Path::new("/"));
        command.env("TILLD_DATABASE", dir.path().join("tilld.db"));
        let said = refused(command);
        assert!(said.contains("Permission denied") && said.contains(dir.path().to_str().unwrap()), "{mode:o}: {said}");
        assert!(said.contains("check that the folder exists, is writable"), "{mode:o}: {said}");
    }
    allow(dir.path(), 0o755);
    assert!(names(dir.path()).is_empty(), "nothing was left");
    let live = Live::launch(serve_unprivileged(dir.path()));
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
}

#[test]
fn a_file_that_may_only_be_read_is_refused_at_start_and_not_at_the_first_webhook() {
    let dir = tempfile::tempdir().unwrap();
    belongs_to_nobody(dir.path());
    allow(dir.path(), 0o755);
    if !runs(dir.path()) {
        return;
    }
    assert_eq!(Live::launch(serve_unprivileged(dir.path())).terminate(), Some(0));
    let path = dir.path().join("tilld.db");
    allow(&path, 0o444);
    let said = refused(serve_unprivileged(dir.path()));
    assert!(said.contains("cannot be written"), "{said}");
    allow(&path, 0o000);
    let said = refused(serve_unprivileged(dir.path()));
    assert!(said.contains("cannot be written") && said.contains("Permission denied"), "{said}");
    allow(&path, 0o600);
    // Left by a process of another user.
    std::fs::write(dir.path().join("tilld.db-shm"), "").unwrap();
    allow(&dir.path().join("tilld.db-shm"), 0o444);
    let said = refused(serve_unprivileged(dir.path()));
    assert!(said.contains("tilld.db-shm: Permission denied"), "{said}");
    std::fs::remove_file(dir.path().join("tilld.db-shm")).unwrap();
    let live = Live::launch(serve_unprivileged(dir.path()));
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
}

#[test]
fn a_read_only_file_system_is_refused_at_start_and_mounted_for_writing_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), 8192) else { return };
    let remount = |how: &str| {
        let status = disk.enter("mount").args(["-o", &format!("remount,bind,{how}")]).arg(dir.path()).status().unwrap();
        assert!(status.success());
    };
    remount("ro");
    let said = refused(disk.serve());
    assert!(said.contains("cannot be written") && said.contains("Read-only file system"), "{said}");
    remount("rw");
    let live = Live::launch(disk.serve());
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
    live.settle();
    live.kill();
    // With a log that still holds the last events.
    remount("ro");
    let said = refused(disk.serve());
    assert!(said.contains("cannot be written"), "{said}");
    remount("rw");
    let live = Live::launch(disk.serve());
    assert_eq!(live.get("/api/v1/users/user_1/entitlement").1["entitled"], true);
}

#[test]
fn a_file_system_that_turns_read_only_while_running_is_answered_with_503_and_costs_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, image) = (dir.path().join("disk"), dir.path().join("image"));
    std::fs::create_dir(&folder).unwrap();
    let Some(disk) = Disk::mount_image(&folder, &image) else { return };
    let live = Live::launch(disk.serve());
    for number in 0..20 {
        assert_eq!(live.post(&body(number)).unwrap().status, 200);
    }
    // As ext4 does when its disk fails; a plain remount is refused while files are open.
    assert!(disk.enter("mount").args(["-o", "remount,abort"]).arg(&folder).status().unwrap().success());
    for number in 20..30 {
        let answer = live.post(&body(number)).unwrap();
        assert_eq!(answer.status, 503, "{}", answer.body);
        // Its row is on disk already; there is nothing to write.
        assert_eq!(live.post(&body(0)).unwrap().body, "{\"duplicate\":true,\"received\":true}");
    }
    assert_eq!(live.get("/readyz").0, 503);
    assert_eq!(
        (live.get("/healthz").0, live.get("/api/v1/users/user_99/entitlement").0),
        (200, 404),
        "it is up and reads"
    );
    live.kill();
    drop(disk);

    let disk = Disk::mount_image(&folder, &image).unwrap();
    let live = Live::launch(disk.serve());
    for number in 20..30 {
        assert_eq!(live.post(&body(number)).unwrap().status, 200);
    }
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    all_done(&database(disk.copied().path()), 30);
}
