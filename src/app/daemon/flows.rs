//! The threads of the loops: each is started with the signal to stop, the clock and, where the watchdog observes it, a pulse.
//! Must never decide what a loop does. Called by `daemon`.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::app::config::Config;
use crate::base::clock::Clock;
use crate::base::thread::{Handle, Pulse, Stop, Stopper, Threads, stopper};
use crate::http::public;
use crate::http::throttle::Throttle;
use crate::jobs::fetch_and_recover;
use crate::jobs::findings::hourly::HourlyFindings;
use crate::jobs::schedule::{self, TaskThread, Tasks};
use crate::jobs::silence::Silence;
use crate::jobs::step::{self, LoopContext, StepJob};
use crate::notify::NotifyContext;
use crate::outward::checks::StripeChecks;
use crate::outward::fetch::Fetcher;
use crate::store::Store;
use crate::stripe::client::Client;

/// The checks of every tick beside what falls due: refused webhooks that had no line of their own in the log, and silence.
pub(super) fn beside(
    config: &Config,
    store: &Store,
    context: &Arc<NotifyContext>,
    refused: Arc<Throttle>,
) -> impl FnMut(i64) + Send + Sync + 'static {
    let silence_s = config.silence_h.map(|hours| hours.saturating_mul(3600));
    let (store, context, is_pulled) = (store.clone(), Arc::clone(context), config.stripe.is_pulled());
    let mut silence = silence_s.map(|limit_s| Silence::new(store, context, limit_s, is_pulled));
    move |now_ms| {
        public::log_refused(&refused);
        let checked = silence.as_mut().map_or(Ok(false), |silence| silence.step(now_ms));
        if let Err(error) = checked {
            log::info!("it could not be checked whether webhooks arrive: {error}");
        }
    }
}

/// The loops that run.
pub(super) struct Flows<'a> {
    threads: &'a Threads,
    clock: &'a Arc<dyn Clock>,
    stop: Stop,
    stopper: Stopper,
    handles: Vec<Handle>,
    pulses: Vec<(&'static str, Pulse)>,
}

/// What is needed to stop them.
pub(super) struct StartedThreads {
    /// All of them stop when it is dropped.
    pub(super) stopper: Stopper,
    pub(super) handles: Vec<Handle>,
    /// Those of the loops that never wait for the network.
    pub(super) pulses: Vec<(&'static str, Pulse)>,
}

impl<'a> Flows<'a> {
    pub(super) fn new(threads: &'a Threads, clock: &'a Arc<dyn Clock>) -> Self {
        let (stopper, stop) = stopper();
        Self { threads, clock, stop, stopper, handles: Vec::new(), pulses: Vec::new() }
    }

    /// Starts a loop with short steps; the bell wakes it.
    pub(super) fn spawn<T: Send + 'static>(
        &mut self,
        name: &'static str,
        bell: Receiver<T>,
        job: impl StepJob + Send + 'static,
    ) -> std::io::Result<()> {
        let pulse = Pulse::default();
        self.pulses.push((name, pulse.clone()));
        self.start(name, pulse, move |around| drop(step::run(job, &bell, around)))
    }

    /// Starts work that may wait for the network for minutes.
    pub(super) fn spawn_waiting(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&LoopContext) + Send + 'static,
    ) -> std::io::Result<()> {
        self.start(name, Pulse::default(), work)
    }

    fn start(
        &mut self,
        name: &'static str,
        pulse: Pulse,
        work: impl FnOnce(&LoopContext) + Send + 'static,
    ) -> std::io::Result<()> {
        let (stop, clock) = (self.stop.clone(), Arc::clone(self.clock));
        let work = move || work(&LoopContext { stop: &stop, clock: clock.as_ref(), pulse: &pulse });
        self.handles.push(self.threads.spawn(name, work)?);
        Ok(())
    }

    /// Starts what looks once an hour whether all is well.
    pub(super) fn look_hourly(
        &mut self,
        store: &Store,
        context: &Arc<NotifyContext>,
        stripe: Option<StripeChecks>,
    ) -> std::io::Result<()> {
        let (stop, pulse) = (self.stop.clone(), Pulse::default());
        let hourly =
            HourlyFindings { store: store.clone(), context: Arc::clone(context), stripe, stop, pulse: pulse.clone() };
        let thread = TaskThread { name: "findings", task: hourly.task(), pulse };
        let started = thread.start(self.clock, self.threads, &self.stop)?;
        self.adopt(vec![started]);
        Ok(())
    }

    /// Starts what asks Stripe by itself: fetching, and the tasks on a schedule. Returns the bell of the fetching thread.
    pub(super) fn ask_stripe(
        &mut self,
        (config, client): (&Config, Client),
        store: &Store,
        context: &Arc<NotifyContext>,
        bell: &Sender<()>,
    ) -> std::io::Result<Sender<()>> {
        let (fetch, rung) = bounded(1);
        let (store, clock, context) = (store.clone(), Arc::clone(self.clock), Arc::clone(context));
        let fetcher = Fetcher::new(store.clone(), client.clone(), Arc::clone(&context), config.retry);
        self.spawn_waiting("fetch", move |around| fetch_and_recover::fetch(fetcher, &rung, around))?;
        let (pull_interval_s, nightly_drift) = (config.stripe.pull_interval_s, config.stripe.nightly_drift);
        let tasks = Tasks { store, client, clock, context, bell: bell.clone(), pull_interval_s, nightly_drift };
        self.adopt(tasks.start(self.threads, &self.stop)?);
        Ok(fetch)
    }

    /// The signal to stop, for jobs that start their own threads.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Takes over threads that were started with [`Flows::stop`] and wait for the network.
    pub(super) fn adopt(&mut self, started: Vec<schedule::StartedTask>) {
        self.handles.extend(started.into_iter().map(|(_, handle, _)| handle));
    }

    pub(super) fn started(self) -> StartedThreads {
        StartedThreads { stopper: self.stopper, handles: self.handles, pulses: self.pulses }
    }
}
