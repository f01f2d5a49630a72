//! The live harness: the real binary on real sockets. It is killed when dropped.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tilld::app::cli::post::{self, DaemonAnswer, PostError};
use tilld::stripe::signature;

use crate::fake_stripe::FakeStripe;
use crate::harness::{ADMIN, PATH, SECRET, TOKEN};

pub struct Live {
    child: Child,
    pub public: String,
    pub private: String,
    /// Its log; the oldest lines go first.
    log: Arc<Mutex<VecDeque<String>>>,
}

/// Lines of the log that are kept.
const LOG_LINES: usize = 20_000;

/// The real binary with nothing of our environment.
pub fn tilld(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tilld"));
    command.env_clear().current_dir(dir).env("HOME", dir);
    command
}

impl Live {
    /// `tilld serve` on the file in `dir`, on ports of the system's choice.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    pub fn start_with(dir: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = tilld(dir);
        configure(command.arg("serve")).envs(env.iter().copied());
        Self::launch(command)
    }

    /// `tilld serve` with a way to `fake`.
    pub fn start_beside(dir: &Path, fake: &FakeStripe) -> Self {
        Self::start_beside_with(dir, fake, &[])
    }

    pub fn start_beside_with(dir: &Path, fake: &FakeStripe, env: &[(&str, &str)]) -> Self {
        let url = fake.url();
        let ours = [("STRIPE_API_KEY", fake.key()), ("STRIPE_API_BASE", url.as_str())];
        Self::start_with(dir, &ours.into_iter().chain(env.iter().copied()).collect::<Vec<_>>())
    }

    /// As `start`, but no file may grow beyond `blocks` of 512 bytes: a full disk, until `grow` is called.
    pub fn start_on_full_disk(dir: &Path, blocks: u32) -> Self {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" serve");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_tilld")]).env_clear().current_dir(dir).env("HOME", dir);
        configure(&mut command).env("PATH", "/usr/bin:/bin");
        Self::launch(command)
    }

    /// As `start`, with at most `files` open files.
    pub fn start_with_few_files(dir: &Path, files: u32) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {files}; exec \"$0\" serve");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_tilld")]).env_clear().current_dir(dir).env("HOME", dir);
        configure(&mut command).env("PATH", "/usr/bin:/bin");
        Self::launch(command)
    }

    /// The disk has room again.
    pub fn grow(&self) {
        let pid = self.pid().to_string();
        assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap().success());
    }

    /// Runs a command that has been [`configure`]d and ends up as the daemon.
    pub fn launch(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut public, mut private) = (String::new(), String::new());
        let mut said = String::new();
        while private.is_empty() {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "tilld ended at start: {said}");
            if let Some((_, rest)) = line.split_once("listening public=") {
                let (first, rest) = rest.split_once(" private=").unwrap();
                (public, private) = (first.to_owned(), rest.split_whitespace().next().unwrap().to_owned());
            }
            said.push_str(&line);
        }
        let kept = Arc::new(Mutex::new(said.lines().map(str::to_owned).collect::<VecDeque<_>>()));
        let keeping = Arc::clone(&kept);
        // The log is read on, lest the pipe fills up.
        #[allow(clippy::disallowed_methods)] // a test's own helper
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let mut kept = keeping.lock().unwrap();
                kept.push_back(line);
                if kept.len() > LOG_LINES {
                    kept.pop_front();
                }
            }
        });
        Self { child, public, private, log: kept }
    }

    /// What it has logged so far.
    pub fn said(&self) -> String {
        self.log_lines().join("\n")
    }

    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().cloned().collect()
    }

    /// Waits for a line of the log with all of `words`.
    pub fn logged(&self, words: &[&str]) -> String {
        for _ in 0..1000 {
            let log = self.log.lock().unwrap();
            if let Some(line) = log.iter().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.clone();
            }
            drop(log);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        unreachable!("{words:?} was not logged in 10 s: {:?}", self.log.lock().unwrap());
    }

    /// Posts a signed body, as Stripe would.
    pub fn post(&self, body: &[u8]) -> Result<DaemonAnswer, PostError> {
        post_to(&self.public, body)
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        let token = if path.starts_with("/api/v1/admin") { ADMIN } else { TOKEN };
        get_from(&self.private, path, token)
    }

    /// A request of the application's with a JSON body; `headers` beside the token.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        ask(&self.private, method, path, headers, body)
    }

    /// Waits until nothing is pending; the daemon says so itself.
    pub fn settle(&self) {
        for _ in 0..600 {
            let (_, health) = self.get("/health/webhooks");
            if health["webhooks"]["pending"] == 0 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        unreachable!("events were still pending after 30 s");
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit status.
    pub fn terminate(mut self) -> Option<i32> {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As [`Live::ask`], for threads that have the address only.
pub fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let answer = try_ask(address, method, path, headers, body);
    answer.unwrap_or_else(|error| unreachable!("{method} {path}: {error}"))
}

/// As [`ask`], where the daemon may be killed meanwhile.
pub fn try_ask(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Result<(u16, Value), PostError> {
    let token = format!("Bearer {TOKEN}");
    let headers: Vec<(&str, &str)> =
        [("Authorization", token.as_str())].into_iter().chain(headers.iter().copied()).collect();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = post::send(method, &url_of(address, path), &headers, body.as_bytes())?;
    Ok((answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null)))
}

/// What every live test configures.
pub fn configure(command: &mut Command) -> &mut Command {
    command
        .env("TILLD_PUBLIC_LISTEN", "127.0.0.1:0")
        .env("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")
        .env("STRIPE_WEBHOOK_SECRET", SECRET)
        .env("TILLD_API_TOKEN", TOKEN)
        .env("TILLD_ADMIN_TOKEN", ADMIN)
        .env("TILLD_PLANS", "pro:price_pro;team:price_team")
}

/// `tilld rebuild --check` on the file in `dir`, beside a daemon or without one: log and kept readings, projected once
/// more, make every derived row as it is.
pub fn witness(dir: &Path, env: &[(&str, &str)]) {
    let mut command = tilld(dir);
    let output = configure(command.args(["rebuild", "--check"])).envs(env.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// As [`witness`], with a way to `fake`.
pub fn witness_beside(dir: &Path, fake: &FakeStripe) {
    witness(dir, &[("STRIPE_API_KEY", fake.key()), ("STRIPE_API_BASE", fake.url().as_str())]);
}

/// `address` is `host:port` or `unix:/path`.
pub fn post_to(address: &str, body: &[u8]) -> Result<DaemonAnswer, PostError> {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let header = signature::sign(SECRET, i64::try_from(now).unwrap(), body);
    post::post(&url_of(address, PATH), &[("Stripe-Signature", &header)], body)
}

pub fn url_of(address: &str, path: &str) -> String {
    if address.starts_with("unix:") { format!("{address}:{path}") } else { format!("http://{address}{path}") }
}

pub fn get_from(address: &str, path: &str, token: &str) -> (u16, Value) {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut raw = String::new();
    stream.read_to_string(&mut raw).unwrap();
    let status = raw.split(' ').nth(1).unwrap().parse().unwrap();
    let body = raw.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())))
}

pub fn database(dir: &Path) -> PathBuf {
    dir.join("tilld.db")
}
