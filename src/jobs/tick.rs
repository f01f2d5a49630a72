//! What time alone changes: grace periods and subscriptions that end, warnings that fall due. Every so often it asks two
//! indexes for what is due and has it computed anew, page by page, each page in one transaction: a user's answer (so the
//! tier falls in `subscriptions` and the application hears of it), a failure case (so its notices are written). What a
//! process that dies leaves undone is still due. A clock that leaps forward is waited out once before anything is computed;
//! when it was set back, and at start, what was computed at a time that has not come yet is computed anew. It must never
//! decide anything itself. Run by `daemon`; tests drive [`Tick::step`].

use std::sync::Arc;
use std::time::Duration;

use crate::base::leap::{self, LeapCaution};
use crate::base::thread::Pulse;
use crate::jobs::step::{LoopContext, NextStep, StepCause, StepJob};
use crate::notify;
use crate::notify::NotifyContext;
use crate::notify::notice::failed_payment;
use crate::notify::settings::NotifyBasis;
use crate::objects::derived;
use crate::objects::{effective, payment_failures};
use crate::store::{Store, StoreError};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(30);
/// Users or cases in one transaction at most: bounds how long a webhook waits for the writer.
const PAGE: u32 = 100;

/// What one look did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticked {
    /// Answers that were computed anew.
    pub users: usize,
    /// Failure cases that were looked at.
    pub cases: usize,
}

/// Looks for what is due.
pub struct Tick {
    store: Store,
    context: Arc<NotifyContext>,
    also: Box<dyn FnMut(i64) + Send + Sync>,
}

impl Tick {
    /// Looks in this database, by these rules.
    #[must_use]
    pub fn new(store: Store, context: Arc<NotifyContext>) -> Self {
        Self { store, context, also: Box::new(|_| ()) }
    }

    /// Does something else, too, when it looks for what is due; it is handed the time.
    #[must_use]
    pub fn with(self, also: impl FnMut(i64) + Send + Sync + 'static) -> Self {
        Self { also: Box::new(also), ..self }
    }

    /// Answers that were computed in the future, and all open cases, whose due times may rest on it.
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
                notify::acting(tx, &context, now_ms, |basis| {
                    page.iter().try_for_each(|id| derived::refresh_effective(tx, id, basis))
                })
            })?;
            pulse.beat();
        }
        if users > 0 {
            log::warn!("answers that were computed at a time that has not come yet are computed anew: users={users}");
            self.store.write(payment_failures::set_all_due)?;
        }
        Ok(())
    }

    /// Has everything computed that is due.
    ///
    /// # Errors
    /// When the database cannot be read or written; what was not reached stays due.
    pub fn step(&self, now_ms: i64) -> Result<Ticked, StoreError> {
        self.paged(now_ms, &Pulse::default())
    }

    fn paged(&self, now_ms: i64, pulse: &Pulse) -> Result<Ticked, StoreError> {
        let mut ticked = Ticked::default();
        // The answer first: what a notice says of it has then come true.
        while let users @ 1.. = self.users(now_ms)? {
            ticked.users += users;
            pulse.beat();
        }
        while let cases @ 1.. = self.cases(now_ms)? {
            ticked.cases += cases;
            pulse.beat();
        }
        Ok(ticked)
    }

    fn users(&self, now_ms: i64) -> Result<usize, StoreError> {
        let now_s = now_ms.div_euclid(1000);
        let due = self.store.read(|reader| effective::list_due(reader, now_s, PAGE))?;
        let (context, count) = (Arc::clone(&self.context), due.len());
        if count > 0 {
            self.store.write(move |tx| {
                notify::acting(tx, &context, now_ms, |basis| {
                    due.iter().try_for_each(|id| derived::refresh_effective(tx, id, basis))
                })
            })?;
        }
        Ok(count)
    }

    fn cases(&self, now_ms: i64) -> Result<usize, StoreError> {
        let now_s = now_ms.div_euclid(1000);
        let due = self.store.read(|reader| payment_failures::list_due(reader, now_s, PAGE))?;
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
            "the clock has leapt forward by {seconds} s: nothing is told for {wait_s} s, in case it is set back"
        );
    }

    fn correct(&mut self, cause: StepCause, now_ms: i64, around: &LoopContext) -> Result<(), StoreError> {
        if let StepCause::SetBack(seconds) = cause {
            log::warn!("the clock was set back by {seconds} s: what was computed meanwhile is computed anew");
        }
        self.recompute(now_ms, around.pulse)
    }

    fn work(&mut self, now_ms: i64, around: &LoopContext) -> Result<NextStep, StoreError> {
        (self.also)(now_ms);
        self.paged(now_ms, around.pulse)?;
        Ok(NextStep::After(EVERY))
    }
}
