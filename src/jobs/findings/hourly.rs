//! What takes long to look at, looked at once an hour by a task of the daemon: whole tables, and Stripe where there is a key.
//! The results are remembered, so that no page waits for them. It must never end the daemon, nor keep it from stopping.
//! Started by `app::daemon`; tests drive the task.

use std::sync::Arc;

use super::{FindingsOf, Remembered, find_of_other_mode, in_tables, recall, remember};
use crate::base::finding::{Finding, FindingVerdict};
use crate::base::thread::{Pulse, Stop};
use crate::jobs::schedule::{Rhythm, ScheduledTask};
use crate::notify::NotifyContext;
use crate::outward::checks::{self, KnownFacts, StripeChecks, permissions};
use crate::outward::sync::SyncError;
use crate::store::{Store, StoreError};

/// How often.
pub const EVERY_S: i64 = 3600;
/// How long after the start for the first time: the start itself is not slowed down, and nobody is asked by a daemon that is
/// started again and again.
pub const FIRST_AFTER_S: i64 = 180;

/// The permissions of the key are asked for with requests that Stripe lists as failed: with every so many-th look only, or
/// as long as one is missing.
const PERMISSIONS_EVERY: u64 = 24;

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
        let mut looks = 0_u64;
        let work = Box::new(move |now_ms| {
            let asks_permissions = looks.is_multiple_of(PERMISSIONS_EVERY);
            looks = looks.wrapping_add(1);
            self.look(now_ms, asks_permissions)
        });
        ScheduledTask { name: "looking for what is not well", rhythm, work }
    }

    fn look(&self, now_ms: i64, asks_permissions: bool) -> Result<(), SyncError> {
        let findings = self.store.read(|reader| in_tables(reader, &self.context))?;
        self.keep(Remembered::Tables, FindingsOf { at_ms: now_ms, findings })?;
        let Some(wanted) = &self.stripe else { return Ok(()) };
        let of_other_mode = self.store.read(|reader| find_of_other_mode(reader, &self.context))?;
        let permissions = if asks_permissions { None } else { self.known_permissions()? };
        let known = KnownFacts { of_other_mode, permissions };
        let goes_on = || {
            self.pulse.beat();
            !self.stop.is_given()
        };
        match checks::ask(wanted, known, &goes_on) {
            Some(findings) => Ok(self.keep(Remembered::Stripe, FindingsOf { at_ms: now_ms, findings })?),
            None => Err(SyncError::Stopped),
        }
    }

    /// None are missing, as it was found out before.
    fn known_permissions(&self) -> Result<Option<Finding>, StoreError> {
        let before = self.store.read(|reader| recall(reader, Remembered::Stripe))?;
        let is_fine = |one: &Finding| one.check == permissions::CHECK && one.verdict == FindingVerdict::Ok;
        Ok(before.and_then(|found| found.findings.into_iter().find(is_fine)))
    }

    fn keep(&self, what: Remembered, found: FindingsOf) -> Result<(), StoreError> {
        self.store.write(move |tx| remember(tx, what, &found))
    }
}
