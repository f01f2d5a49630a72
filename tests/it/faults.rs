//! Faults around the process: whatever of disk, file, clock and system fails it, it refuses clearly, loses nothing that
//! it has acknowledged, and goes on by itself where the cause goes away. Through the real binary wherever the machine
//! can make the fault; where it cannot, the test says so on standard error.

mod busy;
mod clock;
mod damage;
mod descriptors;
mod disk;
mod lock;
mod permissions;
mod place;
mod slow_clients;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::live::{Live, configure, tilld};
use crate::main_job::sample;

/// One event that is in nobody's way.
fn event(number: usize) -> Value {
    sample("customer.subscription.created", &format!("user_{number}"), "1")
}

fn body(number: usize) -> Vec<u8> {
    event(number).to_string().into_bytes()
}

/// `tilld serve` on the file in `dir`, to be launched or refused.
fn serve(dir: &Path) -> Command {
    let mut command = tilld(dir);
    configure(command.arg("serve"));
    command
}

/// The same, after a line of shell.
fn serve_after(dir: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script}; exec \"$0\" serve"), env!("CARGO_BIN_EXE_tilld")]);
    command.env_clear().current_dir(dir).env("HOME", dir).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    configure(&mut command);
    command
}

/// Runs a command that must end by itself with status 1, and gives what it said.
fn refused(mut command: Command) -> String {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("listening public=") && !said.contains("panicked"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "one line: {said}");
    said
}

/// Waits for what must come.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(15), "not within 15 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// A small file system of its own, mounted at `path` for those who [`Disk::enter`] it. `None`, with a word on standard
/// error, where this machine does not let us mount.
struct Disk {
    holder: Child,
    path: PathBuf,
    flags: &'static [&'static str],
}

impl Disk {
    /// In memory, of that size.
    fn mount(path: &Path, size_kib: u32) -> Option<Self> {
        Self::mounted(path, &format!("mount -t tmpfs -o size={size_kib}k,mode=0755 tmpfs \"$0\""))
    }

    /// In the file `image`; it turns read-only at an error, as disks do that fail.
    fn mount_image(path: &Path, image: &Path) -> Option<Self> {
        let image = image.display();
        let make = format!("[ -e {image} ] || {{ truncate -s 32M {image} && mkfs.ext4 -q -F {image}; }}");
        Self::mounted(path, &format!("{make}; mount -o loop,errors=remount-ro {image} \"$0\""))
    }

    fn mounted(path: &Path, mount: &str) -> Option<Self> {
        let flags: &[&str] = if is_root() { &["-m"] } else { &["-r", "-m"] };
        let script = format!("PATH=$PATH:/usr/sbin:/sbin; {mount} && echo mounted && exec sleep 120");
        let spawned = Command::new("unshare")
            .args(flags)
            .args(["sh", "-c", &script])
            .arg(path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut holder = match spawned {
            Ok(holder) => holder,
            Err(error) => {
                eprintln!("SKIPPED: no file system of our own, there is no `unshare`: {error}");
                return None;
            }
        };
        let mut line = [0; 8];
        if std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).is_err() {
            let output = holder.wait_with_output().unwrap();
            eprintln!("SKIPPED: no file system of our own: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Some(Self { holder, path: path.to_owned(), flags })
    }

    /// A copy of the database of a daemon that has ended, outside. (SQLite follows `/proc/…/root` back to our own root.)
    fn copied(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tilld.db", "tilld.db-wal"] {
            // There is no log after an orderly stop.
            let _ = std::fs::copy(self.file(name), dir.path().join(name));
        }
        dir
    }

    /// The path of a file on it, as those outside reach it.
    fn file(&self, name: &str) -> PathBuf {
        let inside = self.path.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(inside).join(name)
    }

    /// A command that runs with the file system mounted.
    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-m"]);
        if self.flags.contains(&"-r") {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.arg(program);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command
    }

    /// The daemon on the file on it.
    fn serve(&self) -> Command {
        let mut command = self.enter(env!("CARGO_BIN_EXE_tilld"));
        configure(command.arg("serve")).env("TILLD_DATABASE", self.path.join("tilld.db"));
        command
    }

    /// Leaves room for `left_kib`.
    fn fill(&self, left_kib: u64) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.file("ballast")).unwrap();
        let block = [b'x'; 4096];
        let mut written = 0_u64;
        while ballast.write_all(&block).is_ok() {
            written += 4096;
        }
        ballast.set_len(written.saturating_sub(left_kib * 1024)).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.file("ballast")).unwrap();
    }

    /// Names of what lies on it.
    fn names(&self) -> Vec<String> {
        names(&self.file(""))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Posts until the daemon has refused three times; the numbers of those it has accepted.
fn post_until_refused(live: &Live) -> Vec<usize> {
    let (mut accepted, mut refusals) = (Vec::new(), 0);
    for number in 0..100_000 {
        let answer = live.post(&body(number)).unwrap();
        match answer.status {
            200 => accepted.push(number),
            503 => refusals += 1,
            status => unreachable!("{status} {}", answer.body),
        }
        // What is smaller than an event may still fit.
        if refusals >= 3 && live.get("/readyz").0 == 503 {
            return accepted;
        }
    }
    unreachable!("the disk did not fill up")
}

fn count(path: &Path, table_and_condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table_and_condition}");
    rusqlite::Connection::open(path).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// Exactly `total` events are there, each done at its first attempt, and the file is whole.
fn all_done(path: &Path, total: usize) {
    let total = i64::try_from(total).unwrap();
    assert_eq!(count(path, "stripe_webhooks_log"), total);
    assert_eq!(count(path, "stripe_webhooks_log WHERE status = 'processed' AND processing_attempts = 1"), total);
    assert_eq!(count(path, "webhook_attempts"), 0);
    assert_eq!(count(path, "webhook_dead_letter_queue"), 0);
    assert_eq!(count(path, "pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
}
