//! What operators ask for on the dashboard: catching up, a sync, a comparison with Stripe. The thread takes one request after
//! the other, does it and writes down what came of it. A failure ends no thread. It must never be waited for: who asked
//! looks at the row. Started by `schedule` where there is an API key; tests drive [`RequestedTasks::step`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, never};

use crate::base::thread::{Handle, Threads, panic_text};
use crate::jobs::step::{self, LoopContext, NextStep, StepCause, StepJob};
use crate::objects::kinds;
use crate::outward::sync::backfill::{self, BackfillOrder};
use crate::outward::sync::drift::{self, DriftOutcome, DriftTally};
use crate::outward::sync::{SyncError, SyncTools, catch_up};
use crate::store::StoreError;
use crate::store::task_requests::{self, RequestedTask};

/// How often an idle thread looks for a request.
const POLL: Duration = Duration::from_millis(500);
/// In whose name comparisons are written down.
const ACTOR: &str = "dashboard";

/// Does what was asked for.
pub struct RequestedTasks {
    tools: SyncTools,
    /// Wakes the worker.
    bell: Sender<()>,
}

impl RequestedTasks {
    /// With these tools.
    #[must_use]
    pub fn new(tools: SyncTools, bell: Sender<()>) -> Self {
        Self { tools, bell }
    }

    /// Starts its thread.
    pub(crate) fn start(self, threads: &Threads) -> std::io::Result<Handle> {
        let (clock, stop, pulse) = (Arc::clone(&self.tools.clock), self.tools.stop.clone(), self.tools.pulse.clone());
        let work = move || {
            let around = LoopContext { stop: &stop, clock: clock.as_ref(), pulse: &pulse };
            step::run(self, &never::<()>(), &around);
        };
        threads.spawn("requests", work)
    }

    /// Does what has waited longest. `false`: nothing waits.
    ///
    /// # Errors
    /// When the database cannot be used; what failed at Stripe is written down.
    pub fn step(&mut self, now_ms: i64) -> Result<bool, StoreError> {
        if !self.tools.store.read(task_requests::is_any_waiting)? {
            return Ok(false);
        }
        let Some(request) = self.tools.store.write(move |tx| task_requests::claim(tx, now_ms))? else {
            return Ok(false);
        };
        let done = catch_unwind(AssertUnwindSafe(|| self.perform(request.task)));
        let done = done.unwrap_or_else(|panic| Err(SyncError::Thread(panic_text(panic.as_ref()))));
        let (is_done, outcome) = match done {
            Ok(words) => (true, words),
            Err(error) => (false, error.to_string()),
        };
        if !is_done {
            log::warn!("what was asked for on the dashboard failed task={}: {outcome}", request.task.as_str());
        }
        let ended_ms = self.tools.clock.now_ms();
        self.tools.store.write(move |tx| task_requests::finish(tx, request.id, (is_done, &outcome), ended_ms))?;
        Ok(true)
    }

    fn perform(&self, task: RequestedTask) -> Result<String, SyncError> {
        match task {
            RequestedTask::CatchUp => self.catch_up(),
            RequestedTask::Sync => self.sync(),
            RequestedTask::Compare => self.compare(false),
            RequestedTask::CompareAndFix => self.compare(true),
        }
    }

    fn ring(&self) {
        // If the channel is full, the worker is being woken already.
        let _ = self.bell.try_send(());
    }

    fn catch_up(&self) -> Result<String, SyncError> {
        let caught = catch_up::run(&self.tools, &|| self.ring())?;
        let resynced = if caught.resynced { "; every object was read, to close a gap" } else { "" };
        Ok(format!("{} new events, {} known ones{resynced}", caught.new, caught.known))
    }

    fn sync(&self) -> Result<String, SyncError> {
        // A key without the permission to read events may still read objects.
        let events = match catch_up::events(&self.tools, &|| self.ring()) {
            Ok(caught) => format!("{} new events", caught.new),
            Err(error) if error.is_refusal() => "events were refused by Stripe".to_owned(),
            Err(error) => return Err(error),
        };
        let done = backfill::run(&self.tools, &BackfillOrder::everything(), &|_| ())?;
        let objects: u64 = done.progress.iter().map(|progress| u64::from(progress.objects)).sum();
        let without = match done.refused.as_slice() {
            [] => String::new(),
            refused => format!("; not read: {}", refused.join("; ")),
        };
        Ok(format!("{objects} objects read, {events}{without}"))
    }

    fn compare(&self, fix: bool) -> Result<String, SyncError> {
        let kinds: Vec<_> = kinds::by_default().collect();
        Ok(compared(&drift::run(&self.tools, &kinds, fix, ACTOR, &mut |_| ())?))
    }
}

fn compared(outcome: &DriftOutcome) -> String {
    let found: u64 = outcome.tallies.iter().map(DriftTally::found).sum();
    let same: u64 = outcome.tallies.iter().map(|tally| tally.same).sum();
    let left = outcome.left();
    let words = match (found, left) {
        (0, _) => format!("no differences in {same} objects"),
        (found, 0) => format!("{found} differences, all repaired"),
        (found, left) => format!("{found} differences, {left} of them left"),
    };
    match outcome.refused.as_slice() {
        [] => words,
        refused => format!("{words}; not compared: {}", refused.join("; ")),
    }
}

impl StepJob for RequestedTasks {
    type Error = StoreError;

    fn name(&self) -> String {
        "requests of operators".to_owned()
    }

    fn correct(&mut self, cause: StepCause, now_ms: i64, _: &LoopContext) -> Result<(), StoreError> {
        match cause {
            StepCause::Start => self.tools.store.write(move |tx| task_requests::give_up_running(tx, now_ms)),
            StepCause::SetBack(_) => Ok(()),
        }
    }

    fn work(&mut self, now_ms: i64, _: &LoopContext) -> Result<NextStep, StoreError> {
        Ok(if self.step(now_ms)? { NextStep::AtOnce } else { NextStep::After(POLL) })
    }
}
