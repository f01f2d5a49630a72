//! The two jobs whose steps ask Stripe: fetching objects that an event only names, and finding out the outcome of operations in
//! doubt. A step may take minutes, so the watchdog does not watch them. It must never decide what is asked: `outward::fetch`
//! and `outward::calls` do. Run by `app::daemon`, on a thread each.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, never};

use crate::jobs::step::{self, JobError, LoopContext, NAP, NextStep, Reaction, StepCause, StepJob};
use crate::outward::calls::{Calls, CallsError};
use crate::outward::fetch::{FetchStep, Fetcher};
use crate::store::StoreError;

/// How often operations in doubt are looked for.
const RECOVERY_POLL: Duration = Duration::from_millis(500);

impl StepJob for Fetcher {
    type Error = StoreError;

    fn name(&self) -> String {
        "fetches".to_owned()
    }

    fn correct(&mut self, cause: StepCause, now_ms: i64, _: &LoopContext) -> Result<(), StoreError> {
        self.bring_forward(now_ms)?;
        if cause == StepCause::Start { self.rescue() } else { Ok(()) }
    }

    fn work(&mut self, now_ms: i64, around: &LoopContext) -> Result<NextStep, StoreError> {
        match self.step(now_ms)? {
            FetchStep::Worked => Ok(NextStep::AtOnce),
            FetchStep::Idle => Ok(NextStep::due(self.next_due_ms()?, around.clock.now_ms(), NAP)),
        }
    }
}

/// Runs the fetch thread.
pub fn fetch(fetcher: Fetcher, bell: &Receiver<()>, around: &LoopContext) {
    step::run(fetcher.until(around.stop.clone()), bell, around);
}

/// Runs the recovery thread.
pub fn recover(calls: Arc<Calls>, around: &LoopContext) {
    step::run(Recovery(calls), &never::<()>(), around);
}

/// Finds out the outcome of operations in doubt.
struct Recovery(Arc<Calls>);

impl StepJob for Recovery {
    type Error = CallsError;

    fn name(&self) -> String {
        "operations whose outcome is not known".to_owned()
    }

    fn correct(&mut self, _: StepCause, now_ms: i64, _: &LoopContext) -> Result<(), CallsError> {
        self.0.bring_forward(now_ms)
    }

    fn work(&mut self, now_ms: i64, around: &LoopContext) -> Result<NextStep, CallsError> {
        self.0.recover(now_ms, &|| around.stop.is_given())?;
        Ok(NextStep::After(RECOVERY_POLL))
    }
}

impl JobError for CallsError {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Store(error) => error.reaction(),
            Self::Account(_) => Reaction::Rarely,
            _ => Reaction::Soon,
        }
    }
}
