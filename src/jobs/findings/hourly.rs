//! What takes long to look at, looked at once an hour by a task of the daemon: whole tables, and Stripe where there is a key.
//! The results are remembered, so that no page waits for them. It must never end the daemon, nor keep it from stopping.
//! Started by `app::daemon`; tests drive the task.

use std::sync::Arc;

use super::{FindingsOf, Remembered, find_of_other_mode, in_tables, remember};
use crate::base::thread::{Pulse, Stop};
use crate::jobs::schedule::{Rhythm, ScheduledTask};
use crate::notify::NotifyContext;
use crate::outward::checks::{self, StripeChecks};
use crate::outward::sync::SyncError;
use crate::store::{Store, StoreError};

/// How often.
pub const EVERY_S: i64 = 3600;
/// How long after the start for the first time: the start itself is not slowed down, and nobody is asked by a daemon that is
/// started again and again.
pub const FIRST_AFTER_S: i64 = 60;

/// What it works with.
pub struct HourlyFindings {
    /// The database.
    pub store: Store,
    /// The configuration of projecting and notifying.
    pub context: Arc<NotifyContext>,
    /// What is asked of Stripe; `None` without a key.
    pub stripe: Option<StripeChecks>,
    /// Ends it between two questions.
    pub stop: Stop,
    /// Beats with each question.
    pub pulse: Pulse,
}

impl HourlyFindings {
    /// The task for the schedule.
    #[must_use]
    pub fn task(self) -> ScheduledTask {
        let rhythm = Rhythm::Later { first_s: FIRST_AFTER_S, every_s: EVERY_S };
        ScheduledTask { name: "looking for what is not well", rhythm, work: Box::new(move |now_ms| self.look(now_ms)) }
    }

    fn look(&self, now_ms: i64) -> Result<(), SyncError> {
        let findings = self.store.read(|reader| in_tables(reader, &self.context))?;
        self.keep(Remembered::Tables, FindingsOf { at_ms: now_ms, findings })?;
        let Some(wanted) = &self.stripe else { return Ok(()) };
        let of_other_mode = self.store.read(|reader| find_of_other_mode(reader, &self.context))?;
        let goes_on = || {
            self.pulse.beat();
            !self.stop.is_given()
        };
        match checks::ask(wanted, of_other_mode.as_deref(), &goes_on) {
            Some(findings) => Ok(self.keep(Remembered::Stripe, FindingsOf { at_ms: now_ms, findings })?),
            None => Err(SyncError::Stopped),
        }
    }

    fn keep(&self, what: Remembered, found: FindingsOf) -> Result<(), StoreError> {
        self.store.write(move |tx| remember(tx, what, &found))
    }
}
