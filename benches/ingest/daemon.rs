//! The daemon under load: the real binary, or this bench run again as a daemon without worker. Killed when dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tilld::app::config::{ConfigSources, Flags, Purpose};
use tilld::app::daemon::{HOOK_THREADS, HOOKS_IN_HAND};
use tilld::base::clock::{Clock, SystemClock};
use tilld::base::thread::Threads;
use tilld::http::listen;
use tilld::http::public::{self, PublicHandler};
use tilld::http::server::{self, Handler, Reply, ServerOptions};
use tilld::store::Store;
use tilld::store::engine::schema;

use crate::event::SECRET;

pub const WEBHOOK_PATH: &str = "/api/v1/webhooks/stripe";
pub const TOKEN: &str = "bench-token-0123456789";
pub const ADMIN: &str = "bench-admin-0123456789";
/// Says that this process is to be a daemon, and with which database.
pub const WITHOUT_WORKER: &str = "TILLD_BENCH_WITHOUT_WORKER";

pub struct Daemon {
    child: Child,
    pub public: String,
    pub private: String,
    pub listened_after: Duration,
    database: std::path::PathBuf,
}

impl Daemon {
    pub fn start(database: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tilld"));
        command.arg("serve");
        Self::launch(command, database)
    }

    pub fn start_without_worker(database: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env_clear().env(WITHOUT_WORKER, database);
        Self::launch(command, database)
    }

    fn launch(mut command: Command, database: &Path) -> Self {
        let own = command.get_envs().next().is_some();
        if !own {
            command.env_clear();
        }
        command
            .env("TILLD_DATABASE", database)
            .env("TILLD_PUBLIC_LISTEN", "127.0.0.1:0")
            .env("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("TILLD_API_TOKEN", TOKEN)
            .env("TILLD_ADMIN_TOKEN", ADMIN)
            .env("TILLD_PLANS", "pro:price_pro")
            .current_dir(database.parent().unwrap())
            .stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the daemon ended at start: {said}");
            if let Some((_, address)) = line.split_once("listening public=") {
                break address.trim().to_owned();
            }
            said.push_str(&line);
        };
        let listened_after = began.elapsed();
        // The log is read on, lest the pipe fills up.
        #[allow(clippy::disallowed_methods)] // not part of the program
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let (public, rest) = address.split_once(" private=").unwrap();
        let private = rest.split(' ').next().unwrap_or_default();
        let (public, private) = (public.to_owned(), private.to_owned());
        Self { child, public, private, listened_after, database: database.to_owned() }
    }

    /// Waits until nothing is pending.
    pub fn settle(&self) {
        while !self.is_idle() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_idle(&self) -> bool {
        let mut connection = TcpStream::connect(&self.private).unwrap();
        connection.write_all(b"GET /health/webhooks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.contains("\"pending\":0") && answer.contains("\"pending_retries\":0")
    }

    /// Events that have been processed.
    pub fn processed(&self) -> u64 {
        let log = Connection::open(&self.database).unwrap();
        let sql = "SELECT (SELECT coalesce(max(id), 0) FROM stripe_webhooks_log)
            - (SELECT count(*) FROM stripe_webhooks_log WHERE status <> 'processed')";
        let count: i64 = log.query_row(sql, [], |row| row.get(0)).unwrap();
        u64::try_from(count).unwrap()
    }

    /// The most memory it ever had.
    pub fn peak_mib(&self) -> f64 {
        self.memory("VmHWM:")
    }

    pub fn resident_mib(&self) -> f64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        kib.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The public half of the daemon, until it is killed: nobody takes the events out of the inbox.
pub fn serve_without_worker(database: &Path) {
    let around = ConfigSources::of_process();
    let config = tilld::app::config::load(&Flags::default(), &around, Purpose::Serve).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    schema::up(database, clock.now_ms()).unwrap();
    let threads = Threads::default();
    let (store, writer) = Store::open(database, &threads).unwrap();
    let (bell, _rung) = crossbeam_channel::bounded(1);
    let hooks =
        PublicHandler { store, clock, endpoints: config.stripe.webhooks.clone(), bell, refused: Arc::default() };
    let handler: Arc<Handler> =
        Arc::new(move |request, reply: Reply| public::answer(&hooks, request, |response| reply.send(response)));
    let bound = listen::bind("listen.public", &config.listen.public, 0).unwrap();
    let address = bound.address().to_owned();
    let limits = tilld::app::daemon::limits(&config, true);
    let options = ServerOptions { name: "hook", threads: HOOK_THREADS, in_hand: HOOKS_IN_HAND, limits };
    let _server = server::serve(bound, options, &threads, &handler).unwrap();
    eprintln!("listening public={address} private=-");
    writer.join();
}
