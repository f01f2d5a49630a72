//! What a webhook costs, over real HTTP with the real binary: `cargo bench --bench ingest`.
//!
//! Rows, each at 1, 8, 32 and 64 keep-alive connections, each with a daemon of its own (`synchronous=FULL`):
//! - `bare`: `GET /healthz` through the guard; what HTTP alone costs
//! - `verify`: a signed body whose signature does not match; checked, refused, nothing stored
//! - `append`: the same program without its worker (this bench, run again as a daemon): verified and on disk
//! - `append + projection`: the real binary; the clock stops when the last event is processed
//! - `updates + projection`: the same with events about subscriptions that are known, as most are
//! - `entitlement`: `GET /api/v1/users/{id}/entitlement` on the database that the rows before left
//!
//! The last four come twice: on an empty database and on one with a million events in it. Then: the rate at which a
//! backlog is projected, memory when idle, time from start to listening, and what the dashboard's pages cost (`pages`, on
//! the large one; over 50 ms ends the bench).
//!
//! Where nothing else is said, each event is the first of a new customer, user and subscription, the dearest kind there
//! is. The load comes from
//! this process, so on a small machine it takes a share of what it measures; compare rows of one run only.
//! `TILLD_BENCH_SECONDS` (3) is the length of a row, `TILLD_BENCH_EVENTS` (1000000) what "a million" is,
//! `TILLD_BENCH_ONLY` a word that a row's name must contain.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod daemon;
mod event;
mod load;
mod pages;
mod seed;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::{Daemon, TOKEN, WEBHOOK_PATH};
use event::Source;
use load::{Client, Found, load};

const CONNECTIONS: [usize; 4] = [1, 8, 32, 64];
/// Pending events of the backlog row.
const BACKLOG: u64 = 100_000;

struct Bench {
    source: Source,
    length: Duration,
    only: Option<String>,
    folder: PathBuf,
}

fn main() {
    if let Ok(database) = std::env::var(daemon::WITHOUT_WORKER) {
        return daemon::serve_without_worker(Path::new(&database));
    }
    let seconds = variable("TILLD_BENCH_SECONDS", 3.0);
    let many = variable("TILLD_BENCH_EVENTS", 1_000_000);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bench = Bench {
        source: Source::new(),
        length: Duration::from_secs_f64(seconds),
        only: std::env::var("TILLD_BENCH_ONLY").ok(),
        folder: folder.path().to_owned(),
    };
    let cores = std::thread::available_parallelism().unwrap();
    println!(
        "{:?} bytes an event (first, update), {cores} cores that also run the load, {seconds} s a row, on {}",
        bench.source.bytes(),
        bench.folder.display()
    );
    println!(
        "\n{:<22} {:>9} {:>11} {:>11} {:>8} {:>8} {:>8} {:>9}",
        "", "events", "connections", "requests/s", "p50 ms", "p99 ms", "max ms", "peak MiB"
    );
    bench.http_alone();
    bench.rows(0, |name, connections| bench.folder.join(format!("{name}-{connections}.db")));
    if many > 0 && (bench.wants("append") || bench.wants("backlog") || bench.wants("start") || bench.wants("pages")) {
        let large = bench.folder.join("large.db");
        seed::fill(&large, &bench.source, many);
        if bench.wants("pages") {
            pages::measure(&Daemon::start(&large), many, bench.source.made().saturating_sub(1));
        }
        bench.rows(many, |_, _| large.clone());
        bench.backlog(&large, many);
        bench.start(&large, many);
    }
    let empty = bench.folder.join("start.db");
    bench.backlog(&empty, 0);
    bench.start(&bench.folder.join("idle.db"), 0);
}

fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text} is not a number")))
}

impl Bench {
    fn wants(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|only| row.contains(only.as_str()))
    }

    fn http_alone(&self) {
        let database = self.folder.join("http.db");
        for n in CONNECTIONS.into_iter().filter(|_| self.wants("bare")) {
            let daemon = Daemon::start(&database);
            let ask = |client: &mut Client| client.get("/healthz", 200);
            let found = load(self.length, n, &daemon.public, ask);
            print_row("bare", 0, n, found, &daemon);
        }
        for n in CONNECTIONS.into_iter().filter(|_| self.wants("verify")) {
            let daemon = Daemon::start(&database);
            let found = load(self.length, n, &daemon.public, |client: &mut Client| {
                let body = self.source.make();
                client.post(WEBHOOK_PATH, &event::sign("whsec_of_somebody_else", &body), &body, 400)
            });
            print_row("verify", 0, n, found, &daemon);
        }
    }

    /// The rows that a database takes part in.
    fn rows(&self, events: u64, database: impl Fn(&str, usize) -> PathBuf) {
        for n in CONNECTIONS.into_iter().filter(|_| self.wants("append")) {
            // A large database is not filled with what this row leaves unprocessed.
            let path = if events == 0 { database("append", n) } else { database("", 0) };
            let daemon = Daemon::start_without_worker(&path);
            let found = load(self.length, n, &daemon.public, |client| self.post(client));
            print_row("append", events, n, found, &daemon);
            drop(daemon);
            Daemon::start(&path).settle();
        }
        let mut users = Vec::new();
        for n in CONNECTIONS
            .into_iter()
            .filter(|_| ["append + projection", "updates", "entitlement"].map(|row| self.wants(row)).contains(&true))
        {
            let first = if events == 0 { self.source.made() } else { self.source.made() - events };
            self.projected("append + projection", (events, n), &database("projection", n), |client| self.post(client));
            users.push((n, first..self.source.made()));
        }
        let any = |client: &mut Client, users: &Range<u64>| users.start + client.random() % (users.end - users.start);
        for (n, users) in users.iter().filter(|_| self.wants("updates")) {
            self.projected("updates + projection", (events, *n), &database("projection", *n), |client| {
                let body = self.source.update(any(client, users));
                client.post(WEBHOOK_PATH, &event::sign(event::SECRET, &body), &body, 200)
            });
        }
        for (n, users) in users.iter().filter(|_| self.wants("entitlement")) {
            let daemon = Daemon::start(&database("projection", *n));
            let found = load(self.length, *n, &daemon.private, |client| {
                let user = event::user(any(client, users));
                client.get_with_token(&format!("/api/v1/users/{user}/entitlement"), TOKEN)
            });
            print_row("entitlement", events, *n, found, &daemon);
        }
    }

    /// A row whose clock stops when the last event is processed.
    fn projected(
        &self,
        what: &str,
        (events, n): (u64, usize),
        database: &Path,
        request: impl Fn(&mut Client) -> Duration + Sync,
    ) {
        let daemon = Daemon::start(database);
        let before = daemon.processed();
        let mut found = load(self.length, n, &daemon.public, request);
        daemon.settle();
        found.took = found.began.elapsed();
        assert_eq!(daemon.processed() - before, found.latencies.len() as u64, "acknowledged, but not processed");
        print_row(what, events, n, found, &daemon);
    }

    fn post(&self, client: &mut Client) -> Duration {
        let body = self.source.make();
        client.post(WEBHOOK_PATH, &event::sign(event::SECRET, &body), &body, 200)
    }

    /// The rate at which a daemon takes what waits for it when it starts.
    fn backlog(&self, database: &Path, events: u64) {
        if !self.wants("backlog") {
            return;
        }
        seed::append(database, &self.source, BACKLOG);
        let began = Instant::now();
        let daemon = Daemon::start(database);
        daemon.settle();
        let rate = load::rate(BACKLOG, began.elapsed());
        println!("{:<22} {events:>9} {:>11} {rate:>11.0} {:>36.1}", "backlog", "-", daemon.peak_mib());
    }

    fn start(&self, database: &Path, events: u64) {
        if !self.wants("start") {
            return;
        }
        drop(Daemon::start(database));
        let mut times: Vec<Duration> = (0..5).map(|_| Daemon::start(database).listened_after).collect();
        times.sort();
        let daemon = Daemon::start(database);
        std::thread::sleep(Duration::from_secs(1));
        println!(
            "{:<22} {events:>9} {:>11} {:>11} {:>8.1} {:>8} {:>8.1} {:>9.1}",
            "start, idle",
            "-",
            "-",
            times[2].as_secs_f64() * 1000.0,
            "",
            times[4].as_secs_f64() * 1000.0,
            daemon.resident_mib()
        );
    }
}

fn print_row(what: &str, events: u64, connections: usize, mut found: Found, daemon: &Daemon) {
    found.latencies.sort_unstable();
    let count = found.latencies.len();
    let at = |share: usize| found.latencies[(count * share / 100).min(count - 1)].as_secs_f64() * 1000.0;
    println!(
        "{what:<22} {events:>9} {connections:>11} {:>11.0} {:>8.2} {:>8.2} {:>8.2} {:>9.1}",
        load::rate(count as u64, found.took),
        at(50),
        at(99),
        at(100),
        daemon.peak_mib()
    );
}
