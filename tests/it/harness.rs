//! The stepped harness: the whole program on a real file, without sockets and without threads of its own. Time is
//! moved by the test, steps are called by the test.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::base::clock::{Clock, ManualClock};
use tilld::base::entitlement::{EntitlementPlan, EntitlementPolicy, PausedCollection, WhenStale};
use tilld::base::metrics::{MetricLabels, Metrics};
use tilld::base::ownership::LinkRules;
use tilld::base::retry::RetryPolicy;
use tilld::base::secret::Secret;
use tilld::base::thread::{Handle, Pulse, Threads, stopper};
use tilld::http::api::ApiHandler;
use tilld::http::api::offers::Offers;
use tilld::http::dashboard::{Dashboard, DashboardSettings};
use tilld::http::public::{self, PublicHandler, WebhookEndpoint};
use tilld::http::request::{Method, Request};
use tilld::http::response::Response;
use tilld::http::route::Tokens;
use tilld::jobs::rebuild::{self, RebuildTask};
use tilld::jobs::retrier::{Retrier, RetryTicket};
use tilld::jobs::step::{LoopContext, NextStep, StepJob, StepLoop};
use tilld::jobs::tick::Tick;
use tilld::jobs::worker::{Worker, WorkerProject, WorkerStep};
use tilld::notify::NotifyContext;
use tilld::notify::settings::{NoticeSettings, Subscriber};
use tilld::objects::{ProjectionContext, kinds};
use tilld::store::Store;
use tilld::store::engine::schema;
use tilld::stripe::operation::OperationKind;
use tilld::stripe::signature;

pub const SECRET: &str = "whsec_test";
pub const TOKEN: &str = "tilld_api_of_the_tests";
pub const ADMIN: &str = "tilld_admin_of_the_tests";
pub const PATH: &str = "/api/v1/webhooks/stripe";
/// 2026-01-01T00:00:00Z.
pub const START_S: i64 = 1_767_225_600;
pub const DAY_S: i64 = 86_400;

pub struct Till {
    pub dir: TempDir,
    pub clock: Arc<ManualClock>,
    pub store: Store,
    pub worker: Worker,
    pub retrier: Retrier,
    pub tick: Tick,
    pub context: Arc<NotifyContext>,
    pub hooks: PublicHandler,
    pub api: ApiHandler,
    pub tickets: Receiver<RetryTicket>,
    pub bell: Receiver<()>,
    pub writer: Option<Handle>,
}

/// How a stepped till differs from the usual.
pub struct Setup {
    pub plans: Vec<EntitlementPlan>,
    pub livemode: Option<bool>,
    pub account: Option<String>,
    pub project: Option<WorkerProject>,
    pub retry: RetryPolicy,
    pub endpoints: Vec<WebhookEndpoint>,
    pub grace_s: i64,
    pub paused_collection: PausedCollection,
    pub notify: NoticeSettings,
    pub fetches: bool,
    pub link: LinkRules,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            plans: vec![plan("pro", "price_pro"), plan("team", "price_team")],
            livemode: None,
            account: None,
            project: None,
            retry: RetryPolicy { max_attempts: 8, base_delay_s: 30, max_delay_s: 3600 },
            endpoints: vec![endpoint(PATH, &[SECRET])],
            grace_s: 7 * DAY_S,
            paused_collection: PausedCollection::Keep,
            notify: NoticeSettings { warning_s: 2 * DAY_S, ..NoticeSettings::default() },
            fetches: false,
            link: LinkRules::default(),
        }
    }
}

/// Mail is on, and the endpoints get these events.
pub fn notify(endpoints: &[(&str, &[&str])]) -> NoticeSettings {
    let subscriber = |(url, events): &(&str, &[&str])| Subscriber {
        url: (*url).to_owned(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
    };
    NoticeSettings {
        mail: true,
        operator: Some("till@example.com".to_owned()),
        invoice_finalized: false,
        warning_s: 2 * DAY_S,
        webhooks: endpoints.iter().map(subscriber).collect(),
    }
}

pub fn endpoint(path: &str, secrets: &[&str]) -> WebhookEndpoint {
    let secrets = secrets.iter().map(|secret| Secret::new(secret)).collect();
    WebhookEndpoint { path: path.to_owned(), secrets, tolerance_s: 300 }
}

pub fn plan(tier: &str, price: &str) -> EntitlementPlan {
    EntitlementPlan { tier: tier.to_owned(), price_ids: vec![price.to_owned()] }
}

/// The labels that the daemon gives its metrics.
fn labels(plans: &[EntitlementPlan]) -> MetricLabels {
    MetricLabels {
        event_types: kinds::event_types().collect(),
        tiers: plans.iter().map(|plan| plan.tier.clone()).collect(),
        operations: OperationKind::words().collect(),
    }
}

impl Till {
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), setup)
    }

    /// Opens the file that is in `dir`, or a new one.
    pub fn in_dir(dir: TempDir, setup: Setup) -> Self {
        let clock = Arc::new(ManualClock::new(START_S * 1000));
        let path = dir.path().join("tilld.db");
        schema::up(&path, clock.now_ms()).unwrap();
        let metrics = Arc::new(Metrics::new(&labels(&setup.plans)).unwrap());
        let (store, writer) = Store::open_counting(&path, &Threads::default(), metrics).unwrap();
        let policy = EntitlementPolicy {
            plans: setup.plans,
            grace_period_s: setup.grace_s,
            stale_after_s: 3600,
            when_stale: WhenStale::Keep,
            paused_collection: setup.paused_collection,
        };
        let projection = ProjectionContext {
            link: setup.link,
            policy,
            livemode: setup.livemode,
            account: setup.account,
            fetches: setup.fetches,
        };
        let context = Arc::new(NotifyContext { projection, notices: setup.notify });
        let (ring, bell) = bounded(1);
        let (send, tickets) = bounded(1024);
        let mut worker = Worker::new(store.clone(), Arc::clone(&context), setup.retry, send);
        if let Some(project) = setup.project {
            worker = worker.with_project(project);
        }
        let clock_for = || Arc::clone(&clock) as Arc<dyn Clock>;
        let hooks = PublicHandler {
            store: store.clone(),
            clock: clock_for(),
            endpoints: setup.endpoints,
            bell: ring.clone(),
            refused: Arc::default(),
        };
        let tokens = Tokens { api: Some(Secret::new(TOKEN)), admin: Some(Secret::new(ADMIN)) };
        let api = ApiHandler {
            store: store.clone(),
            clock: clock_for(),
            context: Arc::clone(&context),
            tokens,
            bell: ring.clone(),
            calls: None,
            offers: Offers::default(),
            refused: Arc::default(),
            dashboard: Dashboard::new(DashboardSettings { session_ms: 12 * 3_600_000, ..DashboardSettings::default() }),
            started_ms: clock.now_ms(),
        };
        let retrier = Retrier::new(store.clone(), ring, setup.retry);
        let tick = Tick::new(store.clone(), Arc::clone(&context));
        Self { dir, clock, store, worker, retrier, tick, context, hooks, api, tickets, bell, writer: Some(writer) }
    }

    /// Delivers a signed event and returns status and answer.
    pub fn post(&self, event: &Value) -> (u16, Value) {
        self.post_bytes(event.to_string().as_bytes())
    }

    pub fn post_bytes(&self, body: &[u8]) -> (u16, Value) {
        let header = signature::sign(SECRET, self.clock.now_s(), body);
        self.post_with(Some(&header), body)
    }

    pub fn post_with(&self, header: Option<&str>, body: &[u8]) -> (u16, Value) {
        let headers = header.map(|value| ("Stripe-Signature".to_owned(), value.to_owned())).into_iter().collect();
        self.hook(&request(Method::Post, PATH, headers, body))
    }

    /// What the public listener answers to any request.
    pub fn hook(&self, request: &Request) -> (u16, Value) {
        let (told, answer) = crossbeam_channel::bounded(1);
        public::answer(&self.hooks, request.clone(), move |response| told.send(response).unwrap());
        read(answer.recv().unwrap())
    }

    /// Has a thread's loop turn once, at the time of the till's clock.
    pub fn turn<J: StepJob>(&self, turning: &mut StepLoop<J>) -> Result<NextStep, J::Error> {
        let (pulse, (_stopper, stop)) = (Pulse::default(), stopper());
        let around = LoopContext { stop: &stop, clock: &*self.clock, pulse: &pulse };
        turning.ring();
        turning.turn(self.clock.now_ms(), Instant::now(), &around)
    }

    /// Lets the worker finish what is pending.
    pub fn settle(&mut self) {
        let now_ms = self.clock.now_ms();
        while self.worker.step(now_ms).unwrap() == WorkerStep::Worked {}
    }

    /// Delivers events one after the other, each projected before the next comes.
    pub fn feed(&mut self, events: &[Value]) {
        for event in events {
            assert_eq!(self.post(event).0, 200, "{event}");
            self.settle();
        }
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::Get, path, &Value::Null)
    }

    pub fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let token = if path.starts_with("/api/v1/admin") { ADMIN } else { TOKEN };
        let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        read(tilld::http::private::answer(&self.api, &request(method, path, headers, body.as_bytes())))
    }

    pub fn entitlement(&self, user_id: &str) -> Value {
        let (status, answer) = self.get(&format!("/api/v1/users/{user_id}/entitlement"));
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// The file, opened as any other program would.
    pub fn connection(&self) -> Connection {
        Connection::open(self.dir.path().join("tilld.db")).unwrap()
    }

    /// The one value of a query.
    pub fn value(&self, sql: &str) -> Value {
        self.connection().query_row(sql, [], |row| Ok(json_of(row.get_ref(0)?))).unwrap_or(Value::Null)
    }

    /// Every row of every table that events make, without row numbers and without our own times; each as a rebuild would
    /// make it.
    pub fn dump(&self) -> String {
        self.witness();
        dump(&self.dir.path().join("tilld.db"))
    }

    /// The witness: log and kept readings, projected once more, make every derived row as it is.
    pub fn witness(&self) {
        let differ = self.rebuilt_otherwise();
        assert!(differ.is_empty(), "a rebuild makes something else:\n{}", differ.join("\n"));
    }

    /// What a rebuild would make otherwise, one line for each value.
    pub fn rebuilt_otherwise(&self) -> Vec<String> {
        rebuilt_otherwise(&self.dir.path().join("tilld.db"), &self.context, self.clock.now_ms())
    }

    /// Ends the threads and hands the folder on.
    pub fn close(self) -> TempDir {
        let Self { dir, store, worker, retrier, tick, hooks, api, writer, .. } = self;
        drop((store, worker, retrier, tick, hooks, api));
        writer.unwrap().join();
        dir
    }
}

/// How many cases a property test takes: its usual number, or `PROPTEST_CASES` where that is more.
pub fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(usual, |wanted: u32| wanted.max(usual))
}

/// What a rebuild of this file would make otherwise, one line for each value.
pub fn rebuilt_otherwise(path: &std::path::Path, context: &NotifyContext, now_ms: i64) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let task = RebuildTask { from: path, into: &dir.path().join("again.db"), context, now_ms };
    rebuild::check(task, &|_, _| ()).unwrap().found.iter().map(|one| format!("{one:?}")).collect()
}

pub fn request(method: Method, target: &str, headers: Vec<(String, String)>, body: &[u8]) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request { method, path: path.to_owned(), query: query.to_owned(), headers, body: body.to_vec(), peer: None }
}

pub fn read(response: Response) -> (u16, Value) {
    let text = String::from_utf8(response.body).unwrap();
    (response.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn json_of(value: rusqlite::types::ValueRef) -> Value {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => json!(bytes),
    }
}

/// Tables that are no function of the set of events: the log itself, the queues, bookkeeping, and what was told, which
/// depends on what was known when it was.
const NOT_COMPARED: [&str; 24] = [
    "stripe_webhooks_log",
    "api_readings",
    // As the view `stripe_objects`, which has the bodies with it.
    "mirror",
    "webhook_attempts",
    "webhook_retry_queue",
    "webhook_dead_letter_queue",
    "worker_claim",
    "settings",
    "outbox",
    "webhook_endpoints",
    "dunning_attempts",
    "catch_up",
    "sync_runs",
    "sync_progress",
    "drift_runs",
    "drift_findings",
    "task_requests",
    "dashboard_sessions",
    // Figures of the past, which count ignored events, too, and outlive a rebuild.
    "webhook_days",
    "webhook_hours",
    "webhook_lag_hours",
    "level_hours",
    "refinery_schema_history",
    "sqlite_sequence",
];

pub fn dump(path: &std::path::Path) -> String {
    dump_through(&Connection::open(path).unwrap())
}

/// As [`dump`], for those who call it often: the connection keeps the statements.
pub fn dump_through(connection: &Connection) -> String {
    let tables = column(
        connection,
        "SELECT name FROM sqlite_master WHERE type = 'table' OR name = 'stripe_objects' ORDER BY name",
    );
    let mut lines = Vec::new();
    for table in tables.iter().filter(|table| !NOT_COMPARED.contains(&table.as_str())) {
        lines.extend(rows_of(connection, table));
    }
    lines.join("\n")
}

fn rows_of(connection: &Connection, table: &str) -> Vec<String> {
    let columns = column(connection, &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"));
    let own_time = |name: &str| name.ends_with("_ms") && name != "resolved_at_ms" && name != "at_ms";
    let numbered = !matches!(table, "users" | "stripe_objects");
    let kept: Vec<String> = columns.into_iter().filter(|name| !own_time(name) && (!numbered || name != "id")).collect();
    let mut statement = connection.prepare_cached(&format!("SELECT {} FROM {table}", kept.join(", "))).unwrap();
    let mut rows: Vec<String> = statement
        .query_map([], |row| {
            let cells =
                kept.iter().enumerate().map(|(place, name)| Ok(format!("{name}={}", json_of(row.get_ref(place)?))));
            Ok(format!("{table}: {}", cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" ")))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    rows.sort();
    rows
}

fn column(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare_cached(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}
