//! What changes by time alone: grace periods and subscriptions end, warnings become due. Every 30 s it asks two indexes
//! for what is due and has it recomputed, page by page, each page in one transaction: a user's answer (so that the tier
//! falls in `subscriptions` and the application is notified), a failure case (so that its notices are written). What a
//! process that dies leaves undone is still due. After the clock has jumped forward it waits once whether the jump
//! lasts; after the clock was set back, and at start, answers that were computed at a future time are recomputed. It
//! must never decide anything itself. Run by `app::daemon`; tests drive [`Tick::step`].

use std::sync::Arc;
use std::time::Duration;

use crate::base::leap::{self, LeapCaution};
use crate::base::thread::Pulse;
use crate::jobs::levels;
use crate::jobs::step::{LoopContext, NextStep, StepCause, StepJob};
use crate::notify;
use crate::notify::NotifyContext;
use crate::notify::notice::failed_payment;
use crate::notify::settings::NotifyBasis;
use crate::objects::subscription::mrr;
use crate::objects::{effective, failure_case};
use crate::store::{Store, StoreError};

/// How often it looks for what is due.
const EVERY: Duration = Duration::from_secs(30);
/// The most users or cases in one transaction: limits how long a webhook waits for the writer.
const PAGE: u32 = 100;

/// What a step of the tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TickStep {
    /// Answers that were recomputed.
    pub users: usize,
    /// Failure cases that were reviewed.
    pub cases: usize,
}

/// Recomputes what is due.
pub struct Tick {
    store: Store,
    context: Arc<NotifyContext>,
    also: Box<dyn FnMut(i64) + Send + Sync>,
}

impl Tick {
    /// A tick for this database, by these rules.
    #[must_use]
    pub fn new(store: Store, context: Arc<NotifyContext>) -> Self {
        Self { store, context, also: Box::new(|_| ()) }
    }

    /// The same tick that also calls `also` at each step, with the time in unix milliseconds.
    #[must_use]
    pub fn with(self, also: impl FnMut(i64) + Send + Sync + 'static) -> Self {
        Self { also: Box::new(also), ..self }
    }

    /// Recomputes answers that were computed at a future time and, if there were any, makes all open cases due, since
    /// their due times may follow from that time.
    fn recompute(&self, now_ms: i64, pulse: &Pulse) -> Result<(), StoreError> {
        let latest_ms = now_ms.saturating_add(leap::SLACK_MS);
        let mut users = 0;
        loop {
            let page = self.store.read(|reader| effective::list_future(reader, latest_ms, PAGE))?;
            if page.is_empty() {
                break;
            }
            users += page.len();
            let context = Arc::clone(&self.context);
            self.store.write(move |tx| {
                notify::with_notices(tx, &context, now_ms, |basis| {
                    page.iter().try_for_each(|id| effective::refresh(tx, id, basis))
                })
            })?;
            pulse.beat();
        }
        if users > 0 {
            log::warn!(users; "answers that had been computed at a future time were recomputed");
            self.store.write(failure_case::set_all_due)?;
        }
        Ok(())
    }

    /// Recomputes everything that is due.
    ///
    /// # Errors
    /// When the database cannot be read or written; what was not reached stays due.
    pub fn step(&self, now_ms: i64) -> Result<TickStep, StoreError> {
        self.paged(now_ms, &Pulse::default())
    }

    fn paged(&self, now_ms: i64, pulse: &Pulse) -> Result<TickStep, StoreError> {
        let mut ticked = TickStep::default();
        // Answers first: notices are about them.
        while let users @ 1.. = self.users(now_ms)? {
            ticked.users += users;
            pulse.beat();
        }
        while let cases @ 1.. = self.cases(now_ms)? {
            ticked.cases += cases;
            pulse.beat();
        }
        while self.discounts(now_ms)? > 0 {
            pulse.beat();
        }
        Ok(ticked)
    }

    /// What subscriptions bring once a discount of theirs has ended. How many.
    fn discounts(&self, now_ms: i64) -> Result<usize, StoreError> {
        let now_s = now_ms.div_euclid(1000);
        if self.store.read(|reader| mrr::list_due(reader, now_s, 1))?.is_empty() {
            return Ok(0);
        }
        self.store.write(move |tx| Ok(mrr::refresh_due(tx, now_s, PAGE)?))
    }

    fn users(&self, now_ms: i64) -> Result<usize, StoreError> {
        let now_s = now_ms.div_euclid(1000);
        let due = self.store.read(|reader| effective::list_due(reader, now_s, PAGE))?;
        let (context, count) = (Arc::clone(&self.context), due.len());
        if count > 0 {
            self.store.write(move |tx| {
                notify::with_notices(tx, &context, now_ms, |basis| {
                    due.iter().try_for_each(|id| effective::refresh(tx, id, basis))
                })
            })?;
        }
        Ok(count)
    }

    fn cases(&self, now_ms: i64) -> Result<usize, StoreError> {
        let now_s = now_ms.div_euclid(1000);
        let due = self.store.read(|reader| failure_case::list_due(reader, now_s, PAGE))?;
        let (context, count) = (Arc::clone(&self.context), due.len());
        if count > 0 {
            self.store.write(move |tx| {
                due.iter().try_for_each(|id| failed_payment::review(tx, id, None, NotifyBasis::of(&context, now_ms)))
            })?;
        }
        Ok(count)
    }
}

impl StepJob for Tick {
    type Error = StoreError;
    const CAUTION: LeapCaution = LeapCaution::DECIDES;

    fn name(&self) -> String {
        "changes that are due by time".to_owned()
    }

    fn leapt(&self, seconds: i64) {
        let wait_s = leap::WAIT.as_secs();
        log::warn!(
            "the clock has jumped forward by {seconds} s: nobody is notified for {wait_s} s, in case it is set back"
        );
    }

    fn correct(&mut self, cause: StepCause, now_ms: i64, around: &LoopContext) -> Result<(), StoreError> {
        if let StepCause::SetBack(seconds) = cause {
            log::warn!("the clock was set back by {seconds} s: what was computed meanwhile is recomputed");
        }
        self.recompute(now_ms, around.pulse)
    }

    fn work(&mut self, now_ms: i64, around: &LoopContext) -> Result<NextStep, StoreError> {
        (self.also)(now_ms);
        self.paged(now_ms, around.pulse)?;
        levels::look(&self.store, now_ms)?;
        Ok(NextStep::After(EVERY))
    }
}
