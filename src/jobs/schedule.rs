//! The schedule: recurring tasks (catching up, the nightly comparison with Stripe), each with its rhythm. A task that
//! fails is logged and runs again when it is next due; no failure ends the thread. It must never sleep through the
//! order to stop. Started by `app::daemon` when there is an API key (one task, `jobs::findings::hourly`, without one, too); tests drive [`Scheduler::step`].

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Sender, never};

use crate::base::clock::Clock;
use crate::base::object_kind::ObjectKind;
use crate::base::thread::{Handle, Pulse, Stop, Threads, panic_text};
use crate::jobs::requests::RequestedTasks;
use crate::jobs::step::{self, LoopContext, NAP, NextStep, StepCause, StepJob};
use crate::notify::NotifyContext;
use crate::notify::notice::missing_webhooks;
use crate::notify::settings::NotifyBasis;
use crate::objects::kinds;
use crate::outward::sync::drift::{self, DriftOutcome, DriftTally};
use crate::outward::sync::{SyncError, SyncTools, catch_up};
use crate::store::Store;
use crate::stripe::client::Client;

/// How often Stripe is asked for events that no webhook brought, in seconds.
pub(crate) const CATCH_UP_EVERY_S: i64 = 600;
/// When the copy is compared with Stripe: 03:00 UTC, in seconds after midnight.
pub const DRIFT_AT_S: i64 = 3 * 3600;
const DAY_MS: i64 = 86_400_000;

/// When a task is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// At start, and that many seconds after each start of the task.
    Every(i64),
    /// That many seconds after the start, and then that many after each start of the task.
    Later {
        /// For the first time.
        first_s: i64,
        /// From then on.
        every_s: i64,
    },
    /// Once a day, that many seconds after midnight UTC.
    Daily(i64),
}

impl Rhythm {
    /// When it is first due.
    #[must_use]
    pub(crate) fn first_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::Every(_) => now_ms,
            Self::Later { first_s, .. } => now_ms.saturating_add(first_s.saturating_mul(1000)),
            Self::Daily(_) => self.next_ms(now_ms),
        }
    }

    /// When it is due again after it was started at `now_ms`.
    #[must_use]
    pub(crate) fn next_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::Every(seconds) | Self::Later { every_s: seconds, .. } => {
                now_ms.saturating_add(seconds.saturating_mul(1000))
            }
            Self::Daily(at_s) => {
                let today = now_ms.div_euclid(DAY_MS) * DAY_MS + at_s * 1000;
                if today > now_ms { today } else { today + DAY_MS }
            }
        }
    }
}

/// What a task does. It is given the time in unix milliseconds.
pub type ScheduledWork = Box<dyn FnMut(i64) -> Result<(), SyncError> + Send>;

/// A recurring task.
pub struct ScheduledTask {
    /// For the log.
    pub name: &'static str,
    /// When it is due.
    pub rhythm: Rhythm,
    /// What it does.
    pub work: ScheduledWork,
}

/// Runs recurring tasks one after the other.
pub struct Scheduler {
    tasks: Vec<(ScheduledTask, i64)>,
}

impl Scheduler {
    /// A scheduler of these tasks, from now on.
    #[must_use]
    pub fn new(tasks: Vec<ScheduledTask>, now_ms: i64) -> Self {
        let first = |task: ScheduledTask| {
            let due_ms = task.rhythm.first_ms(now_ms);
            (task, due_ms)
        };
        Self { tasks: tasks.into_iter().map(first).collect() }
    }

    /// Runs each task that is due once.
    pub fn step(&mut self, now_ms: i64) {
        for (task, due_ms) in &mut self.tasks {
            let next_ms = task.rhythm.next_ms(now_ms);
            if *due_ms > now_ms {
                continue;
            }
            *due_ms = next_ms;
            let done = catch_unwind(AssertUnwindSafe(|| (task.work)(now_ms)));
            match done.unwrap_or_else(|panic| Err(SyncError::Thread(panic_text(panic.as_ref())))) {
                Ok(()) | Err(SyncError::Stopped) => {}
                Err(error) => {
                    let wait_s = (next_ms - now_ms) / 1000;
                    log::warn!("{} failed: {error}; next try in {wait_s} s", task.name);
                }
            }
        }
    }
}

impl StepJob for Scheduler {
    type Error = Infallible;

    fn name(&self) -> String {
        "tasks".to_owned()
    }

    /// No task may be due later than if it were started now.
    fn correct(&mut self, cause: StepCause, now_ms: i64, _: &LoopContext) -> Result<(), Infallible> {
        if cause != StepCause::Start {
            self.tasks.iter_mut().for_each(|(task, due_ms)| *due_ms = (*due_ms).min(task.rhythm.next_ms(now_ms)));
        }
        Ok(())
    }

    fn work(&mut self, now_ms: i64, around: &LoopContext) -> Result<NextStep, Infallible> {
        self.step(now_ms);
        let next_ms = self.tasks.iter().map(|(_, due_ms)| *due_ms).min();
        Ok(NextStep::due(next_ms, around.clock.now_ms(), NAP))
    }
}

/// What the recurring tasks need.
pub(crate) struct Tasks {
    /// The copy of Stripe's objects.
    pub store: Store,
    /// Asks Stripe.
    pub client: Client,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The settings of projecting and notifying.
    pub context: Arc<NotifyContext>,
    /// Wakes the worker.
    pub bell: Sender<()>,
    /// `stripe.pull_interval_s`: how often Stripe is asked for events if it sends none.
    pub(crate) pull_interval_s: Option<i64>,
    /// `stripe.nightly_drift`: whether the copy is compared with Stripe at night, and whether it is repaired then.
    pub(crate) nightly_drift: Option<Nightly>,
}

/// What the nightly comparison does about differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nightly {
    /// It logs them.
    Check,
    /// It logs and repairs them.
    Fix,
}

impl Nightly {
    /// As the configuration writes them; None: differences are not looked for.
    pub(crate) const WORDS: [(&str, Option<Self>); 3] =
        [("off", None), ("check", Some(Self::Check)), ("fix", Some(Self::Fix))];
}

/// A started thread: its name, its handle, and the pulse that the watchdog watches.
pub(crate) type StartedTask = (&'static str, Handle, Pulse);

/// A thread that is to be started for a task.
pub(crate) struct TaskThread {
    /// Of the thread.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) task: ScheduledTask,
    /// Beats while it goes round.
    pub(crate) pulse: Pulse,
}

impl TaskThread {
    /// Starts it.
    pub(crate) fn start(self, clock: &Arc<dyn Clock>, threads: &Threads, stop: &Stop) -> std::io::Result<StartedTask> {
        let Self { name, task, pulse } = self;
        let (clock, stop, beating) = (Arc::clone(clock), stop.clone(), pulse.clone());
        let scheduler = Scheduler::new(vec![task], clock.now_ms());
        let work = move || {
            let around = LoopContext { stop: &stop, clock: clock.as_ref(), pulse: &beating };
            step::run(scheduler, &never::<()>(), &around);
        };
        let handle = threads.spawn(name, work)?;
        Ok((name, handle, pulse))
    }
}

impl Tasks {
    /// Starts the threads.
    pub fn start(self, threads: &Threads, stop: &Stop) -> std::io::Result<Vec<StartedTask>> {
        let pulse = Pulse::default();
        let task = self.catch_up(self.tools(stop, &pulse));
        let mut started = vec![TaskThread { name: "scheduler", task, pulse }.start(&self.clock, threads, stop)?];
        // It may take hours, for which catching up must not wait.
        if let Some(nightly) = self.nightly_drift {
            let pulse = Pulse::default();
            let task = compare_at_night(self.tools(stop, &pulse), nightly);
            started.push(TaskThread { name: "nightly", task, pulse }.start(&self.clock, threads, stop)?);
        }
        let pulse = Pulse::default();
        let asked = RequestedTasks::new(self.tools(stop, &pulse), self.bell.clone());
        started.push(("requests", asked.start(threads)?, pulse));
        Ok(started)
    }

    fn tools(&self, stop: &Stop, pulse: &Pulse) -> SyncTools {
        SyncTools {
            store: self.store.clone(),
            client: self.client.clone(),
            clock: Arc::clone(&self.clock),
            context: Arc::clone(&self.context),
            stop: stop.clone(),
            pulse: pulse.clone(),
        }
    }

    fn catch_up(&self, tools: SyncTools) -> ScheduledTask {
        let bell = self.bell.clone();
        let ring = move || {
            // If the channel is full, the worker is being woken already.
            let _ = bell.try_send(());
        };
        let mut late = self.pull_interval_s.is_none().then(LateEventCounter::default);
        let work = move |now_ms| {
            let caught = catch_up::run(&tools, &ring)?;
            late.as_mut().map_or(Ok(()), |late| late.note(&tools, caught.late, now_ms))
        };
        let rhythm = Rhythm::Every(self.pull_interval_s.unwrap_or(CATCH_UP_EVERY_S));
        ScheduledTask { name: "catching up", rhythm, work: Box::new(work) }
    }
}

/// Counts how often in a row catching up has found events that webhooks should have brought. Once is normal after a
/// pause.
#[derive(Debug, Default)]
pub struct LateEventCounter {
    in_a_row: u32,
}

impl LateEventCounter {
    /// Takes how many late events were found. From the second time in a row the operator is warned: in the log each
    /// time, by mail once a day.
    pub fn note(&mut self, tools: &SyncTools, late: u64, now_ms: i64) -> Result<(), SyncError> {
        if late == 0 {
            self.in_a_row = 0;
            return Ok(());
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row < 2 {
            return Ok(());
        }
        log::warn!(
            events = late;
            "webhooks do not arrive: catching up has found events older than {} min for the {}. time in a row, so answers \
             lag; is the endpoint enabled at Stripe, and can Stripe still reach its URL? `tilld check` finds out",
            catch_up::LATE_S / 60,
            self.in_a_row
        );
        let context = Arc::clone(&tools.context);
        Ok(tools
            .store
            .write(move |tx| missing_webhooks::announce_late_events(tx, late, NotifyBasis::of(&context, now_ms)))?)
    }
}

/// The nightly comparison of the objects on which answers depend.
#[must_use]
pub fn compare_at_night(tools: SyncTools, nightly: Nightly) -> ScheduledTask {
    let kinds: Vec<&'static ObjectKind> = kinds::of_answers().collect();
    let work = move |_| {
        let outcome = drift::run(&tools, &kinds, nightly == Nightly::Fix, "tilld", &mut |_| ())?;
        log_outcome(&outcome);
        Ok(())
    };
    ScheduledTask { name: "comparing with Stripe", rhythm: Rhythm::Daily(DRIFT_AT_S), work: Box::new(work) }
}

fn log_outcome(outcome: &DriftOutcome) {
    let found: u64 = outcome.tallies.iter().map(DriftTally::found).sum();
    let (left, same) = (outcome.left(), outcome.tallies.iter().map(|tally| tally.same).sum::<u64>());
    if found > 0 {
        let fields: Vec<&str> = outcome.fields.keys().map(String::as_str).collect();
        log::warn!(
            objects = found, repaired = found - left, fields = fields.join(",");
            "the copy differed from Stripe; `tilld drift` lists them{}",
            if left > 0 { ", `tilld drift --fix` repairs them" } else { "" }
        );
    } else {
        log::info!(objects = same; "the copy is the same as at Stripe");
    }
    outcome.refused.iter().for_each(|refused| log::warn!("not compared with Stripe: {refused}"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_daily_task_is_due_once_at_its_hour() {
        let three = Rhythm::Daily(3 * 3600);
        let hour_ms = 3_600_000;
        assert_eq!(three.first_ms(2 * hour_ms), 3 * hour_ms);
        assert_eq!(three.next_ms(3 * hour_ms), 27 * hour_ms);
        assert_eq!(three.first_ms(4 * hour_ms), 27 * hour_ms);
    }

    #[test]
    fn a_task_that_fails_or_panics_runs_again_when_due_and_stops_no_other() {
        let counts: Vec<Arc<AtomicU32>> = (0..3).map(|_| Arc::default()).collect();
        let task = |index: usize, rhythm| {
            let count = Arc::clone(&counts[index]);
            let work = move |_| match (count.fetch_add(1, Ordering::SeqCst), index) {
                (0, 0) => Err(SyncError::GivenUp),
                (0, 1) => std::panic::panic_any("boom"),
                _ => Ok(()),
            };
            ScheduledTask { name: "test", rhythm, work: Box::new(work) }
        };
        let tasks = vec![task(0, Rhythm::Every(10)), task(1, Rhythm::Every(20)), task(2, Rhythm::Every(10))];
        let mut scheduler = Scheduler::new(tasks, 0);
        let seen = |counts: &[Arc<AtomicU32>]| counts.iter().map(|c| c.load(Ordering::SeqCst)).collect::<Vec<_>>();
        scheduler.step(0);
        assert_eq!(seen(&counts), [1, 1, 1]);
        scheduler.step(9_999);
        assert_eq!(seen(&counts), [1, 1, 1]);
        scheduler.step(10_000);
        assert_eq!(seen(&counts), [2, 1, 2]);
        scheduler.step(20_000);
        assert_eq!(seen(&counts), [3, 2, 3]);
        // The clock was set back by an hour.
        let (clock, pulse, (_stopper, stop)) =
            (crate::base::clock::ManualClock::new(0), Pulse::default(), crate::base::thread::stopper());
        let around = LoopContext { stop: &stop, clock: &clock, pulse: &pulse };
        scheduler.correct(StepCause::SetBack(3620), -3_600_000, &around).unwrap();
        scheduler.step(-3_600_000);
        scheduler.step(-3_590_000);
        assert_eq!(seen(&counts), [4, 2, 4]);
    }

    #[test]
    fn a_stop_wakes_it() {
        let (stopper, stop) = crate::base::thread::stopper();
        let never = ScheduledTask { name: "test", rhythm: Rhythm::Daily(0), work: Box::new(|_| Ok(())) };
        let scheduler = Scheduler::new(vec![never], 1);
        let run = move || {
            let (clock, pulse) = (crate::base::clock::ManualClock::new(1), Pulse::default());
            let around = LoopContext { stop: &stop, clock: &clock, pulse: &pulse };
            step::run(scheduler, &crossbeam_channel::never::<()>(), &around);
        };
        let thread = Threads::default().spawn("test", run).unwrap();
        drop(stopper);
        thread.join();
    }
}
