//! The daemon under systemd, whose part a test plays: it binds sockets and passes them, hears what it is told, and stops.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::harness::{ADMIN, SECRET, TOKEN};
use crate::live::{database, get_from, post_to};
use crate::main_job::sample;

/// Far longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
const TOKENS: [(&str, &str); 2] = [("TILLD_API_TOKEN", TOKEN), ("TILLD_ADMIN_TOKEN", ADMIN)];

/// A service manager for one service.
pub struct Manager {
    pub dir: TempDir,
    notify: UnixDatagram,
}

/// The service.
pub struct Service {
    child: Child,
}

/// How it is started.
pub struct Unit<'a> {
    pub names: &'a str,
    /// `None`: that of the process, as it should be.
    pub pid: Option<u32>,
    /// No file may grow beyond so many blocks of 512 bytes: a full disk.
    pub blocks: Option<u32>,
    pub env: &'a [(&'a str, &'a str)],
}

impl<'a> Unit<'a> {
    pub fn new(names: &'a str) -> Self {
        Self { names, pid: None, blocks: None, env: &TOKENS }
    }
}

impl Manager {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { dir, notify }
    }

    /// Starts the real binary with `sockets` as its descriptors 3 and 4. A shell puts them there and knows the process
    /// id beforehand: it becomes the daemon.
    pub fn start(&self, sockets: [Option<OwnedFd>; 2], unit: &Unit) -> Service {
        let count = sockets.iter().flatten().count();
        let [first, second] = sockets.map(|socket| socket.map_or_else(Stdio::null, Stdio::from));
        let pid = unit.pid.map_or("$$".to_owned(), |pid| pid.to_string());
        let disk = unit.blocks.map_or(String::new(), |blocks| format!("trap '' XFSZ; ulimit -S -f {blocks}; "));
        let script = format!("{disk}export LISTEN_PID={pid}; exec \"$0\" serve 3<&0 4<&1 </dev/null >/dev/null");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_tilld")]).env_clear().current_dir(self.dir.path());
        command.stdin(first).stdout(second).stderr(std::fs::File::create(self.log_path()).unwrap());
        command
            .env("PATH", "/usr/bin:/bin")
            .env("NOTIFY_SOCKET", self.dir.path().join("notify"))
            .env("LISTEN_FDS", count.to_string())
            .env("LISTEN_FDNAMES", unit.names)
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("TILLD_PUBLIC_LISTEN", "127.0.0.1:0")
            .env("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")
            .envs(unit.env.iter().copied());
        Service { child: command.spawn().unwrap() }
    }

    /// The next word of the service; `None` when it is silent for `patience`.
    pub fn hear_within(&self, patience: Duration) -> Option<String> {
        self.notify.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        self.notify.recv(&mut buffer).ok().map(|length| String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    pub fn hear(&self) -> String {
        self.hear_within(PATIENCE).unwrap_or_else(|| panic!("the service said nothing; its log: {}", self.log()))
    }

    pub fn log_path(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    fn start_refused(&self, sockets: [Option<OwnedFd>; 2], unit: &Unit) -> String {
        let mut service = self.start(sockets, unit);
        let status = service.child.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{}", self.log());
        self.log()
    }
}

impl Service {
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn has_thread(&self, name: &str) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut names =
            tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        names.any(|comm| comm.trim_end() == name)
    }

    /// Its exit status.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub fn stop(self) -> Option<i32> {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A listener on a port of the system's choice, and its address.
pub fn tcp() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A copy to pass on.
pub fn copy(listener: &TcpListener) -> Option<OwnedFd> {
    Some(OwnedFd::from(listener.try_clone().unwrap()))
}

fn body() -> Vec<u8> {
    sample("customer.created", "alice", "1").to_string().into_bytes()
}

fn is_healthy(address: &str) -> bool {
    get_from(address, "/healthz", "").0 == 200
}

#[test]
fn readiness_is_told_once_both_doors_are_open_and_the_end_when_it_begins() {
    let manager = Manager::new();
    let ((public, public_address), (private, private_address)) = (tcp(), tcp());
    let service = manager.start([copy(&public), copy(&private)], &Unit::new("public:private"));
    let said = manager.hear();
    assert!(said.starts_with("READY=1\nSTATUS=listening public="), "{said}");
    assert!(said.contains(&format!("public={public_address} private={private_address}")), "{said}");
    assert_eq!(post_to(&public_address, &body()).unwrap().status, 200);
    assert!(is_healthy(&private_address));
    service.signal("TERM");
    assert!(manager.hear().starts_with("STOPPING=1\nSTATUS=stopping"));
    assert_eq!(service.ended(), Some(0));
}

#[test]
fn a_hangup_ends_nothing() {
    let manager = Manager::new();
    let (public, address) = tcp();
    let service = manager.start([copy(&public), None], &Unit::new("public"));
    manager.hear();
    service.signal("HUP");
    let began = Instant::now();
    while !manager.log().contains("SIGHUP") {
        assert!(began.elapsed() < PATIENCE, "{}", manager.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(post_to(&address, &body()).unwrap().status, 200);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn signs_of_life_come_only_while_the_writer_answers() {
    let manager = Manager::new();
    let env = [TOKENS[0], TOKENS[1], ("WATCHDOG_USEC", "2000000")];
    let service = manager.start([None, None], &Unit { env: &env, ..Unit::new("") });
    assert!(manager.hear().starts_with("READY=1"));
    assert_eq!(manager.hear(), "WATCHDOG=1\n");
    assert_eq!(manager.hear(), "WATCHDOG=1\n", "again and again");
    let before = std::fs::metadata(database(manager.dir.path()).with_extension("db-wal")).unwrap().len();
    assert_eq!(manager.hear(), "WATCHDOG=1\n");
    let after = std::fs::metadata(database(manager.dir.path()).with_extension("db-wal")).unwrap().len();
    assert_eq!(before, after, "asking the writer writes nothing");

    // Another process holds the file: the writer waits for it, longer than half a second.
    let other = Connection::open(database(manager.dir.path())).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    while manager.hear_within(Duration::from_millis(2500)).is_some() {}
    assert!(manager.log().contains("the writer gave no answer"), "{}", manager.log());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(manager.hear(), "WATCHDOG=1\n", "it has come round");
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_full_disk_is_no_reason_to_be_restarted() {
    let manager = Manager::new();
    let env = [TOKENS[0], TOKENS[1], ("WATCHDOG_USEC", "2000000")];
    let (public, address) = tcp();
    let unit = Unit { blocks: Some(2048), env: &env, ..Unit::new("public") };
    let service = manager.start([copy(&public), None], &unit);
    assert!(manager.hear().starts_with("READY=1"));
    let refused = (0..).find(|number| {
        let event = sample("customer.created", "alice", &number.to_string());
        post_to(&address, event.to_string().as_bytes()).unwrap().status == 503
    });
    assert!(refused.is_some());
    while manager.hear_within(Duration::from_millis(1)).is_some() {}
    assert_eq!((manager.hear(), manager.hear()), ("WATCHDOG=1\n".to_owned(), "WATCHDOG=1\n".to_owned()));
    service.signal("KILL");
    service.ended();
}

#[test]
fn without_a_watchdog_nothing_is_fed_and_without_sockets_the_configuration_counts() {
    let manager = Manager::new();
    let service = manager.start([None, None], &Unit::new(""));
    let said = manager.hear();
    let address = said.split("public=").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(post_to(address, &body()).unwrap().status, 200);
    service.signal("TERM");
    assert!(manager.hear().starts_with("STOPPING=1"));
    assert_eq!(service.ended(), Some(0));
}

#[test]
fn a_passed_unix_socket_is_served_and_its_file_stays() {
    let manager = Manager::new();
    let path = manager.dir.path().join("public.sock");
    let public = UnixListener::bind(&path).unwrap();
    let ((private, private_address), address) = (tcp(), format!("unix:{}", path.display()));
    for round in 0..2 {
        let fds = [copy(&private), Some(OwnedFd::from(public.try_clone().unwrap()))];
        let service = manager.start(fds, &Unit::new("private:public"));
        assert!(manager.hear().contains(&format!("public={address} private={private_address}")));
        assert_eq!(post_to(&address, &body()).unwrap().status, 200, "round {round}");
        service.signal("TERM");
        assert!(manager.hear().starts_with("STOPPING=1"));
        assert_eq!(service.ended(), Some(0));
        assert!(path.exists(), "the file is systemd's");
    }
}

#[test]
fn sockets_that_were_passed_to_another_process_are_left_alone() {
    let manager = Manager::new();
    let (public, address) = tcp();
    let unit = Unit { pid: Some(1), ..Unit::new("public") };
    let service = manager.start([copy(&public), None], &unit);
    let said = manager.hear();
    assert!(said.starts_with("READY=1") && !said.contains(&address), "{said}");
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn what_was_passed_and_cannot_be_served_is_refused_with_the_reason() {
    let manager = Manager::new();
    let (public, _) = tcp();
    let said = manager.start_refused([copy(&public), None], &Unit::new("web"));
    assert!(said.contains("a socket named \"web\" was passed") && said.contains("FileDescriptorName="), "{said}");
    let said = manager.start_refused([copy(&public), copy(&public)], &Unit::new("public"));
    assert!(said.contains("1 names for 2 sockets"), "{said}");
    let connection = TcpStream::connect(public.local_addr().unwrap()).unwrap();
    let said = manager.start_refused([Some(connection.into()), None], &Unit::new("public"));
    assert!(said.contains("\"public\" is not a listening TCP or Unix socket"), "{said}");
    let file = std::fs::File::open(Path::new("/dev/null")).unwrap();
    let said = manager.start_refused([Some(file.into()), None], &Unit::new("private"));
    assert!(said.contains("\"private\" is not a listening TCP or Unix socket"), "{said}");
}

#[test]
fn a_passed_private_socket_that_others_reach_needs_both_tokens() {
    let manager = Manager::new();
    // Bound to all addresses, and spoken to by nobody.
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let said = manager.start_refused([copy(&open), None], &Unit { env: &TOKENS[..1], ..Unit::new("private") });
    assert!(said.contains("can be reached from other machines: set api.token and api.admin_token"), "{said}");
    let service = manager.start([copy(&open), None], &Unit::new("private"));
    assert!(manager.hear().starts_with("READY=1"), "with both it is served");
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn a_connection_that_came_before_the_stop_is_given_its_first_request() {
    let manager = Manager::new();
    let (public, address) = tcp();
    let service = manager.start([copy(&public), None], &Unit::new("public"));
    manager.hear();
    let mut stream = TcpStream::connect(&address).unwrap();
    // Connections are accepted in their order: with this answer the one above is inside, too.
    assert!(is_healthy(&address));
    service.signal("TERM");
    // Nobody accepts any more, so idle connections are being closed.
    let began = Instant::now();
    while service.has_thread("hook-guard") {
        assert!(began.elapsed() < PATIENCE, "{}", manager.log());
        std::thread::sleep(Duration::from_millis(2));
    }
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(service.ended(), Some(0));
}
