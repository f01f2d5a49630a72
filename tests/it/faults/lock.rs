//! One daemon per file.

use std::path::Path;
use std::process::Command;

use super::{body, refused, serve};
use crate::live::{Live, tilld};

fn output(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let output = tilld(dir).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), said)
}

#[test]
fn a_second_daemon_on_the_same_file_is_refused_with_the_first_one_s_number() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(dir.path(), elsewhere.path().join("round")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("tilld.db"), elsewhere.path().join("link.db")).unwrap();
    std::fs::create_dir(elsewhere.path().join("sub")).unwrap();
    let live = Live::start(dir.path());
    let holder = format!("in use by process {}", live.pid());

    let mut seconds: Vec<Command> = vec![serve(dir.path())];
    for name in ["round/tilld.db", "link.db", "sub/../link.db"] {
        let mut second = serve(elsewhere.path());
        second.env("TILLD_DATABASE", name);
        seconds.push(second);
    }
    let mut dev = tilld(elsewhere.path());
    dev.args(["dev", "--database", "link.db", "--public-listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"]);
    seconds.push(dev);
    let mut down = tilld(dir.path());
    down.args(["migrate", "down", "--to", "1"]);
    seconds.push(down);
    for second in seconds {
        let said = refused(second);
        assert!(said.contains(&holder) && said.contains("stop that tilld"), "{said}");
    }
    std::fs::hard_link(dir.path().join("tilld.db"), elsewhere.path().join("hard.db")).unwrap();
    let mut second = serve(elsewhere.path());
    second.env("TILLD_DATABASE", "hard.db");
    let said = refused(second);
    assert!(said.contains("hard link") && said.contains("stop that tilld"), "{said}");
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
    live.settle();
    assert_eq!(live.get("/readyz").0, 200);

    // What is killed holds nothing, and the file it leaves is in nobody's way.
    live.kill();
    assert!(dir.path().join("tilld.db.lock").exists());
    let again = Live::start(dir.path());
    assert_eq!(again.get("/api/v1/users/user_1/entitlement").1["entitled"], true);
    assert_eq!(again.terminate(), Some(0));
    assert!(output(dir.path(), &["migrate", "down", "--to", "2"]).0);
}

#[test]
fn strange_files_where_temporary_ones_lie_hold_no_start_up() {
    let (dir, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = temporary.path().join("tilld-http-1-0");
    std::fs::create_dir(&folder).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("lock")).status().unwrap().success());
    assert!(Command::new("mkfifo").arg(temporary.path().join("tilld-http-2-0")).status().unwrap().success());
    std::fs::write(temporary.path().join("tilld-new-1-0"), "").unwrap();
    std::fs::create_dir_all(temporary.path().join("tilld-http-3-0/lock")).unwrap();
    let place = temporary.path().display().to_string();
    let (told, heard) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        scope.spawn(|| told.send(Live::start_with(dir.path(), &[("TMPDIR", &place)]).terminate()).unwrap());
        let within = std::time::Duration::from_secs(20);
        assert_eq!(heard.recv_timeout(within).expect("the start hangs"), Some(0));
    });
    assert!(folder.join("lock").exists(), "what is not ours stays");
}

#[test]
fn commands_that_read_or_write_beside_a_daemon_go_on_doing_so() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    assert_eq!(live.post(&body(1)).unwrap().status, 200);
    live.settle();
    for arguments in [
        &["entitlement", "user_1"][..],
        &["events", "list"],
        &["events", "replay", "--all"],
        &["dead-letters", "list"],
        &["migrate", "status"],
        &["migrate", "up"],
    ] {
        let (done, said) = output(dir.path(), arguments);
        assert!(done, "{arguments:?}: {said}");
    }
    live.settle();
    assert_eq!(live.terminate(), Some(0));
}
