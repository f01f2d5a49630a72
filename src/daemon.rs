//! The life of the process: open, wire, spawn, wait, stop in reverse order. The only file that knows everyone.

pub mod outward;
mod watchdog;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LogFormat, Mode, NightlyDrift};
use crate::descriptors::Descriptors;
use crate::entitlement::Policy;
use crate::http::api::{self, Api};
use crate::http::auth::Tokens;
use crate::http::guard::{Limits, Rules};
use crate::http::listen::{self, BindError, Bound};
use crate::http::server::{self, Handler, Options, Reply, Server};
use crate::http::webhook::{self, Hooks};
use crate::projection::{Context, derived};
use crate::retrier::{self, Retrier};
use crate::scheduler::{Nightly, Tasks};
use crate::store::lock::{self, Lock};
use crate::store::{OpenError, Store, StoreError, damage, schema};
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;
use crate::systemd;
use crate::systemd::sockets::{self, Passed, PassedError};
use crate::thread::{Ended, Handle, Pulse, Stop, Stopper, Threads, stopper};
use crate::worker::Worker;
use watchdog::Watchdog;

/// Threads that check webhooks. They wait for nothing, so there are about as many as cores.
pub const HOOK_THREADS: usize = 4;
/// Webhooks in hand at once, most of them waiting for their commit: as many as one commit may take.
pub const HOOKS_IN_HAND: usize = 64;
/// Threads that answer the application.
const API_THREADS: usize = 8;
/// How long a connection may wait between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a stop may take before the process ends all the same.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// The public and the private one.
const LISTENERS: u64 = 2;
const SECONDS_PER_DAY: i64 = 86_400;
/// Only the owner's programs reach the private socket.
const PRIVATE_SOCKET_MODE: u32 = 0o600;
/// The reverse proxy runs as somebody else.
const PUBLIC_SOCKET_MODE: u32 = 0o666;

/// Why the daemon did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket that was passed.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// A socket that was passed and leaves a door open.
    #[error(
        "{0}, the socket that was passed as \"private\", can be reached from other machines: set api.token and api.admin_token, or a loopback address or a path as its ListenStream="
    )]
    OpenDoor(String),
    /// Threads or signals.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
    /// The way out to Stripe.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// The database at start.
    #[error("at start: {0}")]
    Store(#[from] StoreError),
    /// A thread ended by itself.
    #[error("thread {0} ended unasked; its log says why")]
    ThreadEnded(String),
    /// Something was still busy at the deadline.
    #[error("stopping took longer than {} s; what was in hand is on disk and goes on at the next start", STOP_DEADLINE.as_secs())]
    StopTimeout,
    /// A second signal.
    #[error("ended at once by a second signal; what was in hand is on disk and goes on at the next start")]
    SecondSignal,
}

/// A daemon that runs.
pub struct Running {
    /// Address of the public listener as it can be called.
    pub public: String,
    /// Address of the private listener as it can be called.
    pub private: String,
    store: Store,
    /// `None` without `stripe.api_key`.
    client: Option<Client>,
    servers: Vec<Server>,
    stopper: Stopper,
    workers: Vec<Handle>,
    pulses: Vec<(&'static str, Pulse)>,
    watchdog: Option<Watchdog>,
    writer: Handle,
    threads: Threads,
    /// Let go last.
    lock: Lock,
}

/// What projecting rests on, by the configuration.
#[must_use]
pub fn context(config: &Config) -> Context {
    Context {
        policy: Policy {
            plans: config.plans.clone(),
            grace_period_s: config.dunning.grace_period_days.saturating_mul(SECONDS_PER_DAY),
            stale_after_s: config.entitlement.stale_after_s,
            when_stale: config.entitlement.when_stale,
        },
        livemode: config.stripe.mode().map(|mode| mode == Mode::Live),
    }
}

/// What a client may ask of a listener. `length_required`: a webhook has a body; a call of the private listener need not.
#[must_use]
pub fn limits(config: &Config, length_required: bool) -> Limits {
    let (head_bytes, body_bytes) = (config.limits.head_bytes, config.limits.body_bytes);
    Limits {
        rules: Rules { head_bytes, body_bytes, length_required },
        connections: config.limits.connections,
        request_timeout: Duration::from_secs(config.limits.request_timeout_s),
        idle_timeout: IDLE_TIMEOUT,
        buffered_bytes: config.limits.buffered_bytes,
    }
}

/// Takes the file for this process alone, and brings it to the schema of this program.
fn take_database(config: &Config, now_ms: i64) -> Result<Lock, DaemonError> {
    let lock = lock::take(&config.database)?;
    damage::look(&config.database)?;
    let migrated = schema::up(&config.database, now_ms)?;
    if migrated.from != migrated.to {
        let copy = migrated.copy.map_or_else(|| "none, it was new".to_owned(), |copy| copy.display().to_string());
        log::info!("database migrated from={} to={} copy={copy}", migrated.from, migrated.to);
    }
    Ok(lock)
}

/// Both listeners: those that were passed, and for the rest those of the configuration.
fn doors(config: &Config, passed: Passed) -> Result<(Bound, Bound), DaemonError> {
    let public = match passed.public {
        Some(listener) => Bound::passed(listener)?,
        None => listen::bind("listen.public", &config.listen.public, PUBLIC_SOCKET_MODE)?,
    };
    let private = match passed.private {
        Some(listener) => Bound::passed(listener)?,
        None => listen::bind("listen.private", &config.listen.private, PRIVATE_SOCKET_MODE)?,
    };
    // The configuration has checked its own address; this may be another.
    let guarded = config.api.token.is_some() && config.api.admin_token.is_some();
    if !private.is_local() && !guarded {
        return Err(DaemonError::OpenDoor(private.address().to_owned()));
    }
    Ok((public, private))
}

type Tended = (Vec<Handle>, Vec<(&'static str, Pulse)>);

/// Starts what keeps the copy whole, if Stripe can be asked.
fn tend(
    config: &Config,
    client: Option<Client>,
    (store, clock, context, bell): (Store, Arc<dyn Clock>, Arc<Context>, Sender<()>),
    (threads, stop): (&Threads, &Stop),
) -> std::io::Result<Tended> {
    let Some(client) = client else { return Ok(Tended::default()) };
    let pull_interval_s = config.stripe.pull_interval_s;
    let nightly_drift = match config.stripe.nightly_drift {
        NightlyDrift::Off => None,
        NightlyDrift::Check => Some(Nightly::Check),
        NightlyDrift::Fix => Some(Nightly::Fix),
    };
    let tasks = Tasks { store, client, clock, context, bell, pull_interval_s, nightly_drift };
    let started = tasks.start(threads, stop)?;
    Ok(started.into_iter().map(|(name, handle, pulse)| (handle, (name, pulse))).unzip())
}

/// Opens the database, takes or binds both listeners and starts every thread.
///
/// # Errors
/// When something is in the way; then nothing is left running.
pub fn start(config: &Config, clock: &Arc<dyn Clock>, passed: Passed) -> Result<Running, DaemonError> {
    let connections = Descriptors::raise().connections(config.limits.connections, LISTENERS)?;
    let client = outward::client(config)?;
    let lock = take_database(config, clock.now_ms())?;
    let (public, private) = doors(config, passed)?;
    let threads = Threads::default();
    let (store, writer) = Store::open(&config.database, &threads)?;
    let context = Arc::new(context(config));
    derived::refresh_if_policy_changed(&store, &context.policy, clock.now_ms())?;

    let (bell, rung) = bounded(1);
    let (tickets, tickets_taken) = bounded(retrier::TICKETS);
    let (stopper, stop) = stopper();
    let tending = (store.clone(), Arc::clone(clock), Arc::clone(&context), bell.clone());
    let (mut workers, tended) = tend(config, client.clone(), tending, (&threads, &stop))?;
    let mut pulses = vec![("worker", Pulse::default()), ("retrier", Pulse::default())];
    pulses.extend(tended);
    {
        let worker = Worker::new(store.clone(), Arc::clone(&context), config.retry, tickets);
        let (stop, clock, pulse) = (stop.clone(), Arc::clone(clock), pulses[0].1.clone());
        workers.push(threads.spawn("worker", move || worker.run(&rung, &stop, clock.as_ref(), &pulse))?);
    }
    {
        let retrier = Retrier::new(store.clone(), bell.clone(), config.retry);
        let (clock, pulse) = (Arc::clone(clock), pulses[1].1.clone());
        let work = move || retrier.run(&tickets_taken, &stop, clock.as_ref(), &pulse);
        workers.push(threads.spawn("retrier", work)?);
    }
    let hooks = Hooks {
        store: store.clone(),
        clock: Arc::clone(clock),
        endpoints: config.stripe.webhooks.clone(),
        bell: bell.clone(),
    };
    let api = Api {
        store: store.clone(),
        clock: Arc::clone(clock),
        context,
        tokens: Tokens { api: config.api.token.clone(), admin: config.api.admin_token.clone() },
        bell,
    };
    let (public_address, private_address) = (public.address().to_owned(), private.address().to_owned());
    let hook_handler: Arc<Handler> =
        Arc::new(move |request, reply: Reply| webhook::answer(&hooks, request, |response| reply.send(response)));
    let api_handler: Arc<Handler> = Arc::new(move |request, reply: Reply| reply.send(api::answer(&api, &request)));
    let hook_limits = Limits { connections, ..limits(config, true) };
    let hook = Options { name: "hook", threads: HOOK_THREADS, in_hand: HOOKS_IN_HAND, limits: hook_limits };
    let private_limits = Limits { connections, ..limits(config, false) };
    let private_options = Options { name: "api", threads: API_THREADS, in_hand: API_THREADS, limits: private_limits };
    let servers = vec![
        server::serve(public, hook, &threads, &hook_handler)?,
        server::serve(private, private_options, &threads, &api_handler)?,
    ];
    log::info!("listening public={public_address} private={private_address}");
    let (public, private) = (public_address, private_address);
    Ok(Running {
        public,
        private,
        store,
        client,
        servers,
        stopper,
        workers,
        pulses,
        watchdog: None,
        writer,
        threads,
        lock,
    })
}

impl Running {
    /// The database, for tests and the commands that run a daemon.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where the unasked end of a thread is reported.
    #[must_use]
    pub fn ended(&self) -> &Receiver<Ended> {
        self.threads.reports()
    }

    /// Stops in the reverse order of the start: no new requests, those in hand answered, the flows after the step in
    /// hand, then the writer. The backlog stays on disk.
    pub fn stop(self) {
        if let Some(client) = &self.client {
            client.close();
        }
        self.servers.into_iter().for_each(Server::stop);
        drop(self.stopper);
        self.workers.into_iter().for_each(Handle::join);
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
/// When it did not start, a thread ended unasked, or it could not stop in order.
pub fn run(config: &Config) -> Result<(), DaemonError> {
    run_on(config, sockets::take()?, |_| ())
}

/// Runs the daemon on its own sockets, with something to do once it runs, such as telling its addresses.
///
/// # Errors
/// As [`run`].
pub fn run_with(config: &Config, started: impl FnOnce(&Running)) -> Result<(), DaemonError> {
    run_on(config, Passed::default(), started)
}

fn run_on(config: &Config, passed: Passed, started: impl FnOnce(&Running)) -> Result<(), DaemonError> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let mut running = start(config, &(Arc::new(SystemClock) as Arc<dyn Clock>), passed)?;
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

fn wait(signals: &Receiver<i32>, ended: &Receiver<Ended>) -> Result<(), DaemonError> {
    loop {
        select! {
            recv(signals) -> signal => match signal {
                Ok(SIGHUP) => log::info!("SIGHUP: nothing to reopen; restart to read the configuration anew"),
                _ => {
                    log::info!("stopping");
                    return Ok(());
                }
            },
            recv(ended) -> ended => {
                let name = ended.map_or_else(|_| "unknown".to_owned(), |ended| ended.name);
                log::error!("thread {name} ended unasked; the process ends");
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

/// Starts logging to standard error. `RUST_LOG` has already been taken into account by the configuration.
pub fn start_logging(config: &Config) {
    let mut builder = env_logger::Builder::new();
    // What refinery says of each step is said once by us.
    builder.filter_module("refinery_core", log::LevelFilter::Warn).parse_filters(&config.log);
    // Below that it writes the URLs of calls to Stripe, whatever was asked for.
    builder.filter_module("ureq", log::LevelFilter::Warn);
    if config.log_format == LogFormat::Json {
        builder.format(|buffer, record| {
            let line = serde_json::json!({
                "at": buffer.timestamp_millis().to_string(), "level": record.level().as_str(),
                "target": record.target(), "message": record.args().to_string(),
            });
            writeln!(buffer, "{line}")
        });
    } else {
        builder.format_timestamp_millis();
    }
    // A second logger in one process, as in tests, is no fault.
    let _ = builder.try_init();
    config.warnings.iter().for_each(|warning| log::warn!("{warning}"));
}
