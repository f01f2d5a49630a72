//! How many events per second: appended to the log, acknowledged over HTTP, processed. `cargo bench --bench ingest`.
//!
//! Four measurements, each at 1, 8 and 32 connections, each on a new database on the disk that holds `target/`:
//! - `append, a transaction each`: what a handler with a connection of its own does; every event pays its own fsync
//! - `append, group commit`: `Store::write`, as the daemon does it; events that wait together share one fsync
//! - `acknowledged over HTTP`: the real binary, keep-alive, signed bodies; the worker projects at the same time
//! - `processed over HTTP`: the same run, its clock stopped when the daemon says that nothing is pending
//!
//! The load comes from this process, so on a small machine it takes a share of what it measures.
//! `TILLD_BENCH_SECONDS` sets how long each measurement takes (3).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tilld::store::{Store, inbox, schema};
use tilld::stripe::{event, signature};
use tilld::thread::Threads;
use tilld::trigger::{self, ApiVersion, Spec};

const CONNECTIONS: [usize; 3] = [1, 8, 32];
const SECRET: &str = "whsec_bench";
const PATH: &str = "/api/v1/webhooks/stripe";
const USER: &str = "bench-00000000";

/// A realistic event, of which any number can be made, each about another user.
struct Source {
    text: String,
    ids: Vec<String>,
    next: AtomicU64,
}

impl Source {
    fn new() -> Self {
        let spec = Spec {
            event_type: "customer.subscription.created",
            version: ApiVersion::CURRENT,
            user: Some(USER),
            price_id: "price_pro",
            now_s: now_ms() / 1000,
            nonce: "bench",
            set: &[],
        };
        let event = trigger::event(&spec).unwrap();
        let names = trigger::ids(USER);
        let event_id = event["id"].as_str().unwrap().to_owned();
        let ids = vec![event_id, names.customer, names.subscription, names.item, names.invoice, USER.to_owned()];
        // Stripe indents its bodies.
        Self { text: serde_json::to_string_pretty(&event).unwrap(), ids, next: AtomicU64::new(0) }
    }

    fn make(&self) -> String {
        let number = format!("{:08}", self.next.fetch_add(1, Ordering::Relaxed));
        self.ids.iter().fold(self.text.clone(), |text, id| {
            text.replace(id, &format!("{}{number}", &id[..id.len() - number.len()]))
        })
    }
}

fn now_ms() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// What a measurement found.
struct Found {
    latencies: Vec<Duration>,
    took: Duration,
}

/// Runs one closure per connection until the time is up; each call is one request, and says how long it took.
fn load<F: FnMut() -> Duration + Send>(length: Duration, connections: Vec<F>) -> Found {
    let began = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let running: Vec<_> = connections
            .into_iter()
            .map(|mut request| {
                scope.spawn(move || {
                    let mut latencies = Vec::new();
                    while began.elapsed() < length {
                        latencies.push(request());
                    }
                    latencies
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    Found { latencies, took: began.elapsed() }
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

const INSERT: &str = "INSERT INTO stripe_webhooks_log
    (event_id, event_type, livemode, account, api_version, event_created, object_type, object_id, created_at_ms, data)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (event_id) DO NOTHING";

fn append_one(connection: &Connection, body: &str) {
    let event = event::envelope(body.as_bytes()).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let object = (event.object_type, event.object_id);
    let params = rusqlite::params![
        event.id,
        event.event_type,
        event.livemode,
        event.account,
        event.api_version,
        event.created,
        object.0,
        object.1,
        now_ms(),
        body
    ];
    connection.prepare_cached(INSERT).unwrap().execute(params).unwrap();
    connection.execute_batch("COMMIT").unwrap();
}

fn transaction_each(database: &Path, source: &Source, length: Duration, connections: usize) -> Found {
    schema::up(database, now_ms()).unwrap();
    let open = || {
        let connection = Connection::open(database).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        move || {
            let body = source.make();
            timed(|| append_one(&connection, &body))
        }
    };
    load(length, (0..connections).map(|_| open()).collect())
}

fn group_commit(database: &Path, source: &Source, length: Duration, connections: usize) -> Found {
    schema::up(database, now_ms()).unwrap();
    let (store, writer) = Store::open(database, &Threads::default()).unwrap();
    let request = || {
        let body = source.make();
        timed(|| {
            let event = event::envelope(body.as_bytes()).unwrap();
            store.write(move |tx| inbox::accept(tx, &event, &body, now_ms())).unwrap();
        })
    };
    let found = load(length, (0..connections).map(|_| request).collect());
    drop(store);
    writer.join();
    found
}

/// The real binary; it is killed when dropped.
struct Daemon {
    child: Child,
    public: String,
    private: String,
}

impl Daemon {
    fn start(database: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tilld"))
            .arg("serve")
            .env_clear()
            .env("TILLD_DATABASE", database)
            .env("TILLD_PUBLIC_LISTEN", "127.0.0.1:0")
            .env("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("TILLD_PLANS", "pro:price_pro")
            .current_dir(database.parent().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening =
            lines.map(Result::unwrap).find_map(|line| Some(line.split_once("listening public=")?.1.to_owned()));
        let (public, private) = listening.as_deref().and_then(|line| line.split_once(" private=")).unwrap();
        Self { child, public: public.to_owned(), private: private.to_owned() }
    }

    fn is_idle(&self) -> bool {
        let mut connection = TcpStream::connect(&self.private).unwrap();
        connection.write_all(b"GET /health/webhooks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.contains("\"pending\":0") && answer.contains("\"pending_retries\":0")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn post(connection: &mut TcpStream, signature: &str, body: &str) {
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: bench\r\nStripe-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    ask(connection, (head + body).as_bytes(), b"{\"received\":true}");
}

/// Sends a request and reads its answer, whose body is known, so that its end is.
fn ask(connection: &mut TcpStream, request: &[u8], expected: &[u8]) {
    connection.write_all(request).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(expected) {
        let length = connection.read(&mut piece).unwrap();
        assert!(length > 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..length]);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// What was acknowledged, and how long it took until all of it was processed.
fn over_http(database: &Path, source: &Source, length: Duration, connections: usize) -> (Found, Duration) {
    let daemon = Daemon::start(database);
    let connect = || {
        let mut connection = TcpStream::connect(&daemon.public).unwrap();
        connection.set_nodelay(true).unwrap();
        // Answered before the next is opened: connections opened at once may wait for each other (tiny_http's pool).
        ask(&mut connection, b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n", b"ok\n");
        move || {
            let body = source.make();
            let signature = signature::sign(SECRET, now_ms() / 1000, body.as_bytes());
            timed(|| post(&mut connection, &signature, &body))
        }
    };
    let connected = (0..connections).map(|_| connect()).collect();
    let began = Instant::now();
    let found = load(length, connected);
    while !daemon.is_idle() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = began.elapsed();
    drop(daemon);
    let log = Connection::open(database).unwrap();
    let sql = "SELECT count(*) FROM stripe_webhooks_log WHERE status = 'processed'";
    let processed: i64 = log.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(
        usize::try_from(processed).unwrap(),
        found.latencies.len(),
        "what was acknowledged was not all processed"
    );
    (found, took)
}

fn print_row(what: &str, connections: usize, mut found: Found) {
    found.latencies.sort_unstable();
    let count = found.latencies.len();
    let at = |share: usize| found.latencies[(count * share / 100).min(count - 1)].as_secs_f64() * 1000.0;
    println!(
        "{what:<28} {connections:>11} {:>10.0} {:>9.2} {:>9.2} {:>9.2}",
        rate(count, found.took),
        at(50),
        at(99),
        at(100)
    );
}

#[allow(clippy::cast_precision_loss)] // a count of requests
fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn main() {
    let seconds = std::env::var("TILLD_BENCH_SECONDS").map_or(3.0, |text| text.parse().expect("TILLD_BENCH_SECONDS"));
    let length = Duration::from_secs_f64(seconds);
    let source = Source::new();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    println!("{} bytes an event, {cores} cores, {seconds} s a row, on {}", source.text.len(), dir.path().display());
    println!("{:<28} {:>11} {:>10} {:>9} {:>9} {:>9}", "", "connections", "events/s", "p50 ms", "p99 ms", "max ms");
    let database = |name: &str, connections: usize| dir.path().join(format!("{name}-{connections}.db"));
    for n in CONNECTIONS {
        print_row("append, a transaction each", n, transaction_each(&database("each", n), &source, length, n));
    }
    for n in CONNECTIONS {
        print_row("append, group commit", n, group_commit(&database("group", n), &source, length, n));
    }
    for n in CONNECTIONS {
        let (found, took) = over_http(&database("http", n), &source, length, n);
        let processed = rate(found.latencies.len(), took);
        print_row("acknowledged over HTTP", n, found);
        println!("{:<28} {n:>11} {processed:>10.0} {:>9} {:>9} {:>9}", "processed over HTTP", "-", "-", "-");
    }
}
