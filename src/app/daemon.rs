//! The life of the process: opens the database, connects the rooms, starts the threads, waits, and stops in reverse order.
//! It must never decide anything about billing. Called by `cli::serve` and `cli::dev`.

mod deliveries;
pub mod descriptors;
mod doors;
mod flows;
mod opening;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::app::config::Config;
use crate::app::logging;
use crate::app::systemd;
use crate::app::systemd::sockets::{self, Passed, PassedError};
use crate::base::clock::{Clock, SystemClock};
use crate::base::metrics::MetricsError;
use crate::base::thread::{Handle, Pulse, Stopper, ThreadEnd, Threads};
use crate::http::api::ApiHandler;
use crate::http::dashboard::Dashboard;
use crate::http::listen::BindError;
use crate::http::public::{PublicHandler, WebhookEndpoint};
use crate::http::server::HttpServer;
use crate::jobs::at_start::mode::ModeError;
use crate::jobs::fetch_and_recover;
use crate::jobs::retrier::{self, Retrier};
use crate::jobs::tick::Tick;
use crate::jobs::worker::Worker;
use crate::notify::NotifyContext;
use crate::notify::mail::MailError;
use crate::objects::ProjectionContext;
use crate::outward::checks::{CheckedWebhook, StripeChecks};
use crate::store::engine::lock::{self, Lock};
use crate::store::engine::{damage, schema};
use crate::store::{OpenError, Store, StoreError};
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;
use crate::stripe::settings::Mode;
pub use deliveries::mail_judge;
pub(crate) use deliveries::{Forward, ForwardTargets, mailer as mailer_of, mailing, sender};
use doors::Doors;
pub use doors::{HOOK_THREADS, HOOKS_IN_HAND, limits};
use flows::{Flows, StartedThreads};
use watchdog::Watchdog;

/// How long a stop may take before the process ends all the same.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Why the daemon did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is counted.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket that was passed.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// The way to Stripe.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// A socket that was passed, can be reached by others, and has no token.
    #[error(
        "{0}, the socket that was passed as \"private\", can be reached from other machines: set api.token and api.admin_token, or give its ListenStream= a loopback address or a path"
    )]
    OpenDoor(String),
    /// The configuration is for another database.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// Threads or signals.
    #[error("the system refused a thread, a signal or a file: {0}")]
    System(#[from] std::io::Error),
    /// The database at start.
    #[error("at start: {0}")]
    Store(#[from] StoreError),
    /// A thread ended by itself.
    #[error("thread {0} ended unexpectedly: the log says why")]
    ThreadEnded(String),
    /// Some thread was still busy at the deadline.
    #[error("stopping took longer than {} s; unfinished work is on disk and resumes at the next start", STOP_DEADLINE.as_secs())]
    StopTimeout,
    /// The templates or settings of mail.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// More endpoints than there may be threads for them.
    #[error("{0} [[notify.webhook]] blocks: at most {max} are served; put endpoints together", max = crate::jobs::lane::MAX_ENDPOINTS)]
    TooManyEndpoints(usize),
    /// A second signal.
    #[error("ended at once by a second signal; unfinished work is on disk and resumes at the next start")]
    SecondSignal,
}

/// A daemon that runs.
pub(crate) struct Running {
    /// Address of the public listener as it can be called.
    pub(crate) public: String,
    /// Address of the private listener as it can be called.
    pub(crate) private: String,
    store: Store,
    client: Option<Client>,
    servers: Vec<HttpServer>,
    stopper: Stopper,
    handles: Vec<Handle>,
    pulses: Vec<(&'static str, Pulse)>,
    watchdog: Option<Watchdog>,
    writer: Handle,
    threads: Threads,
    /// Released last.
    lock: Lock,
}

/// What projection needs of the configuration.
#[must_use]
pub(crate) fn context(config: &Config) -> NotifyContext {
    let projection = ProjectionContext {
        link: config.link.clone(),
        policy: config.policy.clone(),
        livemode: config.stripe.mode().map(|mode| mode == Mode::Live),
        account: config.stripe.account.clone(),
        fetches: config.stripe.client.is_some(),
    };
    NotifyContext { projection, notices: config.notices.clone() }
}

/// What Stripe is asked about the configuration. `None`: there is no key.
#[must_use]
pub(crate) fn stripe_checks(config: &Config) -> Option<StripeChecks> {
    let webhook =
        |endpoint: &WebhookEndpoint| CheckedWebhook { path: endpoint.path.clone(), tolerance_s: endpoint.tolerance_s };
    Some(StripeChecks {
        settings: config.stripe.client.clone()?,
        webhooks: config.stripe.webhooks.iter().map(webhook).collect(),
        pull_interval_s: config.stripe.pull_interval_s,
        plans: config.policy.plans.clone(),
    })
}

fn hooks(config: &Config, store: &Store, clock: &Arc<dyn Clock>, bell: &Sender<()>) -> PublicHandler {
    let (store, clock, bell) = (store.clone(), Arc::clone(clock), bell.clone());
    PublicHandler { store, clock, endpoints: config.stripe.webhooks.clone(), bell, refused: Arc::default() }
}

fn dashboard(config: &Config, once: Option<&str>, now_ms: i64) -> Dashboard {
    let dashboard = Dashboard::new(config.dashboard.clone());
    match once {
        Some(token) => dashboard.with_link(token, now_ms),
        None => dashboard,
    }
}

fn forwarding(mut context: NotifyContext, forward: Option<&Forward>) -> NotifyContext {
    context.notices.webhooks.extend(forward.map(Forward::subscriber));
    context
}

/// Takes the file for this process alone, and brings it to the schema of this program.
fn take_database(config: &Config, now_ms: i64) -> Result<Lock, DaemonError> {
    let mut lock = lock::take(&config.database)?;
    damage::look(&config.database)?;
    let migrated = schema::up(&config.database, now_ms)?;
    lock.claim(&config.database)?;
    if migrated.from != migrated.to {
        let copy = migrated.copy.map_or_else(|| "none, it was new".to_owned(), |copy| copy.display().to_string());
        log::info!(from = migrated.from, to = migrated.to, copy; "database migrated");
    }
    Ok(lock)
}

/// The configuration, where Stripe's events are forwarded to, if anywhere, and the token of a link that logs in once.
struct DaemonParts<'a> {
    config: &'a Config,
    forward: Option<Forward>,
    once: Option<String>,
}

/// Opens the database, takes or binds both listeners and starts every thread. When something is in the way, nothing is left
/// running.
fn start_forwarding(wanted: DaemonParts, clock: &Arc<dyn Clock>, passed: Passed) -> Result<Running, DaemonError> {
    let DaemonParts { config, forward, once } = wanted;
    let (metrics, client) = opening::counted_client(config)?;
    let room = doors::room(config)?;
    let lock = take_database(config, clock.now_ms())?;
    let (public, private) = doors::bind(config, passed)?;
    let threads = Threads::default();
    let (store, writer) = Store::open_counting(&config.database, &threads, metrics)?;
    let context = Arc::new(forwarding(context(config), forward.as_ref()));
    opening::settle(config, &store, &context, clock.now_ms())?;

    let (bell, rung) = bounded(1);
    let (tickets, tickets_taken) = bounded(retrier::TICKETS);
    let mut flows = Flows::new(&threads, clock);
    let mut worker = Worker::new(store.clone(), Arc::clone(&context), config.retry, tickets);
    if let Some(client) = client.clone() {
        let fetch = flows.ask_stripe((config, client), &store, &context, &bell)?;
        worker = worker.with_fetches(fetch);
    }
    flows.look_hourly(&store, &context, stripe_checks(config))?;
    flows.spawn("worker", rung, worker)?;
    flows.spawn("retrier", tickets_taken, Retrier::new(store.clone(), bell.clone(), config.retry))?;
    let hooks = hooks(config, &store, clock, &bell);
    let refused = Arc::clone(&hooks.refused);
    let tick = Tick::new(store.clone(), Arc::clone(&context)).with(flows::beside(config, &store, &context, refused));
    flows.spawn("tick", never::<()>(), tick)?;
    deliveries::start((config, forward), &store, clock.now_ms(), &mut flows)?;
    let calls = opening::calls(client.as_ref(), &store, clock, &context);
    if let Some(calls) = calls.clone() {
        flows.spawn_waiting("recovery", move |around| fetch_and_recover::recover(calls, around))?;
    }
    let api = ApiHandler {
        store: store.clone(),
        clock: Arc::clone(clock),
        context,
        tokens: config.tokens.clone(),
        bell,
        calls,
        offers: config.offers.clone(),
        refused: Arc::clone(&hooks.refused),
        dashboard: dashboard(config, once.as_deref(), clock.now_ms()),
        started_ms: clock.now_ms(),
    };
    let (public_address, private_address) = (public.address().to_owned(), private.address().to_owned());
    let (servers, waiting) =
        Doors { config, threads: &threads, room, stop: flows.stop() }.open((public, hooks), (private, api))?;
    let StartedThreads { stopper, mut handles, pulses } = flows.started();
    handles.extend(waiting);
    logging::listening(config, &store, (&public_address, &private_address))?;
    Ok(Running {
        public: public_address,
        private: private_address,
        store,
        client,
        servers,
        stopper,
        handles,
        pulses,
        watchdog: None,
        writer,
        threads,
        lock,
    })
}

impl Running {
    /// Where the unexpected end of a thread is reported.
    #[must_use]
    pub(crate) fn ended(&self) -> &Receiver<ThreadEnd> {
        self.threads.reports()
    }

    /// Stops: no new work for the flows, no new requests, those in hand answered, the flows after the step in hand, then
    /// the writer. The backlog stays on disk.
    pub(crate) fn stop(self) {
        // The loops stop first: the errors of a closed client are no failures for them.
        drop(self.stopper);
        // Calls that wait for a slot at Stripe are answered as not done; those that were sent are waited for.
        self.client.iter().for_each(Client::close);
        self.servers.into_iter().for_each(HttpServer::stop);
        self.handles.into_iter().for_each(Handle::join);
        if let Some(watchdog) = self.watchdog {
            watchdog.stop();
        }
        drop(self.store);
        self.writer.join();
        drop(self.lock);
    }
}

/// Runs the daemon until a signal ends it, on the sockets that systemd has passed, if it has.
///
/// # Errors
/// When it did not start, a thread ended unexpectedly, or it did not stop in time.
pub(crate) fn run(config: &Config) -> Result<(), DaemonError> {
    run_on(DaemonParts { config, forward: None, once: None }, sockets::take()?, |_| ())
}

/// Runs the daemon on its own sockets, with something to do once it runs, such as printing its addresses; and, if wanted,
/// with Stripe's events forwarded to a local application, and with a link that logs in once.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with(
    config: &Config,
    (forward, once): (Option<Forward>, Option<String>),
    started: impl FnOnce(&Running),
) -> Result<(), DaemonError> {
    run_on(DaemonParts { config, forward, once }, Passed::default(), started)
}

fn run_on(wanted: DaemonParts, passed: Passed, started: impl FnOnce(&Running)) -> Result<(), DaemonError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let mut running = start_forwarding(wanted, &(Arc::new(SystemClock) as Arc<dyn Clock>), passed)?;
    started(&running);
    if let Some(within) = systemd::watchdog() {
        let (store, pulses) = (running.store.clone(), running.pulses.clone());
        running.watchdog = Some(watchdog::start(within, store, pulses, &running.threads)?);
    }
    systemd::ready(&format!("listening public={} private={}", running.public, running.private));
    let threads = running.threads.clone();
    let (sender, received) = bounded(8);
    threads.spawn("signals", move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    let outcome = wait(&received, running.ended());
    systemd::stopping();
    stop_in_time(running, &threads, &received)?;
    outcome
}

fn wait(signals: &Receiver<i32>, ended: &Receiver<ThreadEnd>) -> Result<(), DaemonError> {
    loop {
        select! {
            recv(signals) -> signal => match signal {
                Ok(SIGHUP) => log::info!("SIGHUP: nothing to reopen; restart to read the configuration again"),
                _ => {
                    log::info!("stopping");
                    return Ok(());
                }
            },
            recv(ended) -> ended => {
                let name = ended.map_or_else(|_| "unknown".to_owned(), |ended| ended.name);
                log::error!("thread {name} ended unexpectedly; the process ends");
                return Err(DaemonError::ThreadEnded(name));
            }
        }
    }
}

fn stop_in_time(running: Running, threads: &Threads, signals: &Receiver<i32>) -> Result<(), DaemonError> {
    let (done, stopped) = bounded(1);
    threads.spawn("stop", move || {
        running.stop();
        let _ = done.send(());
    })?;
    let deadline = crossbeam_channel::after(STOP_DEADLINE);
    loop {
        select! {
            recv(stopped) -> _ => {
                log::info!("stopped");
                return Ok(());
            }
            recv(signals) -> signal => {
                if signal != Ok(SIGHUP) {
                    return Err(DaemonError::SecondSignal);
                }
            }
            recv(deadline) -> _ => return Err(DaemonError::StopTimeout),
        }
    }
}
