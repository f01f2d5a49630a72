//! Delivery: one lane for each endpoint and one for mail, each on a thread of its own, so that a slow receiver delays
//! only its own deliveries. A lane claims a batch of effects from the outbox, performs it outside any transaction,
//! records the outcomes, and claims again. The effects of one user for one target are performed in the order in which
//! they were written: after a failure the later ones of that user wait, those of other users do not. What a process had
//! claimed when it died is performed again, under the same id.
//!
//! A failed attempt is repeated after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h ([`DELAYS_S`]), each up to a fifth
//! longer, and not before the receiver's `Retry-After`, which delays that row and the later ones of its user and no
//! others; then the row is `failed`, and those behind it continue.
//!
//! A mail cannot be taken back, so each is claimed by itself and recorded before the next is claimed; while the
//! database cannot record it, no mail is sent. A mail that was claimed when the process died counts as attempted. It
//! must never compute a payload or decide who is notified. Run by `app::daemon`; tests drive [`DeliveryLane::step`].

mod record;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::never;

use crate::base::clock::Clock;
use crate::base::leap::LeapCaution;
use crate::base::metrics::{DeliveryKind, DeliveryResult};
use crate::base::retry::jitter_of;
use crate::base::thread::Stop;
use crate::jobs::step::{self, LoopContext, NextStep, StepCause, StepJob};
use crate::notify::attempt::{DeliveryAttempt, DeliveryOutcome, MAIL};
use crate::notify::endpoints;
use crate::notify::endpoints::EndpointLane;
use crate::objects::dunning_attempts;
use crate::store::outbox::OutboxEffect;
use crate::store::outbox::answers;
use crate::store::outbox::deliveries::{self, ClaimedEffects};
use crate::store::{Store, StoreError, StoreReader, Tx};

/// The most endpoints; each has a thread.
pub(crate) const MAX_ENDPOINTS: usize = 32;
/// Pauses after the first, second, … failure, in seconds.
pub const DELAYS_S: [i64; 7] = [5, 300, 1800, 7200, 18_000, 36_000, 36_000];
/// A `Retry-After` counts up to this, in seconds.
pub(crate) const MAX_RETRY_AFTER_S: i64 = 24 * 3600;
/// The share of a pause that jitter may add.
const SPREAD: f64 = 0.2;
/// The most effects that are claimed at once.
const BATCH: usize = 64;
/// Outcomes are recorded at least this often, in milliseconds.
const RECORD_EVERY_MS: i64 = 250;
/// How often an idle lane looks for effects that are due.
const POLL: Duration = Duration::from_millis(250);

/// Decides right before an effect is performed whether it should still be: the reason to skip it, or `None`. It is
/// given the database, the effect and the time in unix milliseconds.
pub(crate) type Judge = Box<dyn Fn(&StoreReader, &OutboxEffect, i64) -> Result<Option<String>, StoreError> + Send>;

/// A judge that skips an answer if a newer one of the same user is in the outbox, whatever became of the newer one.
#[must_use]
pub fn skip_overtaken_answers() -> Judge {
    Box::new(|reader, effect, _| {
        let newer = answers::find_overtaking(reader, effect.id)?;
        Ok(newer.map(|id| format!("row {id} has a newer answer of the same user")))
    })
}

/// Where attempts are recorded besides their outbox rows.
#[derive(Debug, Clone)]
pub enum LaneKind {
    /// In `dunning_attempts`.
    Mail,
    /// In the state of the endpoint.
    Endpoint(EndpointLane),
    /// Nowhere, and there is no second attempt.
    None,
}

/// When a failed effect is due again; `None`: it was the last attempt.
#[must_use]
pub(crate) fn due_again_ms(effect: &OutboxEffect, after_s: Option<i64>, now_ms: i64) -> Option<i64> {
    let number = usize::try_from(effect.attempts).unwrap_or(usize::MAX);
    let delay_s = *DELAYS_S.get(number.saturating_sub(1))?;
    // The cast of a float saturates.
    let spread_ms = (delay_s as f64 * 1000.0 * SPREAD * jitter_of(&effect.dedupe_key, effect.attempts)) as i64;
    let asked_ms = after_s.unwrap_or(0).clamp(0, MAX_RETRY_AFTER_S) * 1000;
    Some(now_ms.saturating_add((delay_s * 1000 + spread_ms).max(asked_ms)))
}

#[derive(Debug, Clone)]
struct SettledDelivery {
    effect: OutboxEffect,
    /// `None`: it was not attempted.
    outcome: Option<DeliveryOutcome>,
    at_ms: i64,
}

/// What a step of a lane did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneStep {
    /// Effects that were attempted.
    pub attempted: usize,
    /// More may be due.
    pub more: bool,
}

/// Releases what a process that died had claimed; to be called before the first claim. Returns how many rows, and the
/// mails that were given up because a process died in each of their attempts.
pub fn rescue(tx: &Tx, now_ms: i64) -> Result<(usize, Vec<i64>), StoreError> {
    let (rescued, spent) = deliveries::rescue(tx, DELAYS_S.len(), now_ms)?;
    for id in &spent {
        dunning_attempts::set_outcome(tx, *id, &format!("failed: {}", deliveries::DIED))?;
    }
    Ok((rescued, spent))
}

/// The deliveries to one target.
pub struct DeliveryLane {
    store: Store,
    target: String,
    books: LaneKind,
    attempt: DeliveryAttempt,
    judge: Option<Judge>,
    /// Outcomes that are not recorded yet.
    settled: Vec<SettledDelivery>,
    failing: bool,
}

impl DeliveryLane {
    /// A lane to `target` that performs its effects by `attempt`.
    #[must_use]
    pub fn new(store: Store, target: &str, books: LaneKind, attempt: DeliveryAttempt) -> Self {
        Self { store, target: target.to_owned(), books, attempt, judge: None, settled: Vec::new(), failing: false }
    }

    /// The same lane with a judge that is asked about every effect before it is performed.
    #[must_use]
    pub fn with_judge(mut self, judge: Judge) -> Self {
        self.judge = Some(judge);
        self
    }

    /// Where its effects go.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Enters an endpoint into its table. To be called once before the first step.
    pub fn prepare(&self) -> Result<(), StoreError> {
        match self.books.clone() {
            LaneKind::Endpoint(endpoint) => self.store.write(move |tx| endpoint.configure(tx)),
            LaneKind::Mail | LaneKind::None => Ok(()),
        }
    }

    fn bring_forward(&self, now_ms: i64) -> Result<(), StoreError> {
        let (target, latest_ms) = (self.target.clone(), now_ms.saturating_add(MAX_RETRY_AFTER_S * 1000));
        let endpoint = if let LaneKind::Endpoint(endpoint) = &self.books { Some(endpoint.clone()) } else { None };
        self.store.write(move |tx| {
            deliveries::bring_forward(tx, &target, now_ms, latest_ms)?;
            endpoint.map_or(Ok(()), |endpoint| endpoint.bring_forward(tx, now_ms))
        })
    }

    /// Runs the lane on its thread until the order to stop.
    pub fn run(self, around: &LoopContext) {
        // What is not recorded is performed again after the next start.
        if let Some(mut lane) = step::run(self, &never::<()>(), around)
            && let Err(error) = lane.record()
        {
            log::warn!("deliveries to {} were not recorded: {error}", lane.label());
        }
    }

    /// Performs one batch of what is due.
    ///
    /// # Errors
    /// When the database cannot be read or written. The outcomes so far are kept and recorded by the next step.
    pub fn step(&mut self, stop: &Stop, clock: &dyn Clock) -> Result<LaneStep, StoreError> {
        self.record()?;
        let now_ms = clock.now_ms();
        let Some(room) = self.room(now_ms)? else { return Ok(LaneStep::default()) };
        let target = self.target.clone();
        let is_probe = matches!(self.books, LaneKind::Endpoint(_)) && room < BATCH;
        let claimed = self.store.write(move |tx| match is_probe {
            true => deliveries::claim_one(tx, &target, BATCH, now_ms),
            false => deliveries::claim(tx, &target, room, now_ms),
        })?;
        self.perform(claimed, stop, clock)
    }

    /// How many effects may be claimed; `None`: none may be, or none is due.
    fn room(&self, now_ms: i64) -> Result<Option<usize>, StoreError> {
        self.store.read(|reader| {
            let room = match &self.books {
                LaneKind::Endpoint(endpoint) => endpoint.room(reader, BATCH, now_ms)?,
                LaneKind::Mail => Some(1),
                LaneKind::None => Some(BATCH),
            };
            let is_due = room.is_some() && deliveries::is_due(reader, &self.target, now_ms)?;
            Ok(room.filter(|_| is_due))
        })
    }

    fn perform(&mut self, claimed: ClaimedEffects, stop: &Stop, clock: &dyn Clock) -> Result<LaneStep, StoreError> {
        let room = if matches!(self.books, LaneKind::Mail) { 1 } else { BATCH };
        let is_full = claimed.effects.len() == room;
        let mut stepped = LaneStep { attempted: 0, more: claimed.more || is_full };
        let (mut waiting, mut closed, mut recorded_ms) = (HashSet::new(), false, clock.now_ms());
        for effect in claimed.effects {
            let is_behind = effect.user_id.as_ref().is_some_and(|user| waiting.contains(user));
            if closed || is_behind || stop.is_given() {
                self.settled.push(SettledDelivery { effect, outcome: None, at_ms: clock.now_ms() });
                continue;
            }
            let Ok(against) = self.judged(&effect, clock.now_ms()) else {
                closed = true;
                self.settled.push(SettledDelivery { effect, outcome: None, at_ms: clock.now_ms() });
                continue;
            };
            stepped.attempted += usize::from(against.is_none());
            stepped.more |= against.is_some();
            let outcome = against.map_or_else(|| (self.attempt)(&effect, clock.now_ms()), DeliveryOutcome::Skipped);
            let at_ms = clock.now_ms();
            // After the last attempt the user's later effects need not wait.
            if matches!(outcome, DeliveryOutcome::TryAgain { .. }) && !self.is_last(&effect) {
                waiting.extend(effect.user_id.clone());
            }
            closed |= outcome == DeliveryOutcome::Gone;
            self.settled.push(SettledDelivery { effect, outcome: Some(outcome), at_ms });
            // A failing store does not end the batch: the outcomes are recorded later.
            if at_ms.saturating_sub(recorded_ms) >= RECORD_EVERY_MS && self.record().is_ok() {
                recorded_ms = at_ms;
                closed |= !self.is_open().unwrap_or(false);
            }
        }
        stepped.more &= !closed;
        self.record()?;
        Ok(stepped)
    }

    fn judged(&self, effect: &OutboxEffect, now_ms: i64) -> Result<Option<String>, StoreError> {
        let Some(judge) = &self.judge else { return Ok(None) };
        self.store.read(|reader| judge(reader, effect, now_ms)).inspect_err(|error| {
            log::warn!("deliveries to {} wait: {error}", self.label());
        })
    }

    fn is_open(&self) -> Result<bool, StoreError> {
        match &self.books {
            LaneKind::Endpoint(endpoint) => self.store.read(|reader| endpoint.is_enabled(reader)),
            LaneKind::Mail | LaneKind::None => Ok(true),
        }
    }

    fn is_last(&self, effect: &OutboxEffect) -> bool {
        matches!(self.books, LaneKind::None) || due_again_ms(effect, None, 0).is_none()
    }

    /// Records the outcomes so far.
    fn record(&mut self) -> Result<(), StoreError> {
        if self.settled.is_empty() {
            return Ok(());
        }
        let settled = Arc::new(std::mem::take(&mut self.settled));
        let (batch, books) = (Arc::clone(&settled), self.books.clone());
        match self.store.write(move |tx| batch.iter().try_for_each(|one| record::record(tx, one, &books))) {
            Ok(()) => {
                self.count(&settled);
                self.log_changes(&settled);
                Ok(())
            }
            Err(error) => {
                self.settled = Arc::unwrap_or_clone(settled);
                Err(error)
            }
        }
    }

    fn count(&self, settled: &[SettledDelivery]) {
        let kind = if matches!(self.books, LaneKind::Mail) { DeliveryKind::Mail } else { DeliveryKind::Webhook };
        for one in settled {
            let outcome = match &one.outcome {
                None | Some(DeliveryOutcome::NotTried) => continue,
                Some(DeliveryOutcome::Done(_)) => DeliveryResult::Delivered,
                Some(DeliveryOutcome::Skipped(_)) => DeliveryResult::Skipped,
                // Its row waits for the endpoint to be enabled again.
                Some(DeliveryOutcome::Gone) => DeliveryResult::Failed,
                Some(DeliveryOutcome::TryAgain { .. }) if !self.is_last(&one.effect) => DeliveryResult::Failed,
                Some(DeliveryOutcome::TryAgain { .. } | DeliveryOutcome::Refused(_)) => DeliveryResult::GivenUp,
            };
            self.store.metrics().delivery(kind, outcome);
        }
    }

    /// Logs changes and not each attempt: a dead receiver may have thousands of rows.
    fn log_changes(&mut self, settled: &[SettledDelivery]) {
        if matches!(self.books, LaneKind::None) {
            return;
        }
        let failed: Vec<(&OutboxEffect, &str)> = settled
            .iter()
            .filter_map(|one| match &one.outcome {
                Some(DeliveryOutcome::TryAgain { why, .. }) => Some((&one.effect, why.as_str())),
                _ => None,
            })
            .collect();
        let label = self.label();
        let was_failing = self.failing;
        match failed.first() {
            Some((effect, why)) if !was_failing => {
                log::warn!(to = label, first = effect.id; "deliveries fail and are tried again: {why}");
            }
            None if was_failing && settled.iter().any(|one| matches!(one.outcome, Some(DeliveryOutcome::Done(_)))) => {
                log::info!(to = label; "deliveries succeed again");
                self.failing = false;
            }
            _ => {}
        }
        self.failing |= !failed.is_empty();
        let given_up = failed.iter().filter(|(effect, _)| self.is_last(effect));
        if let Some((first, _)) = given_up.clone().next() {
            let (count, id) = (given_up.count(), first.id);
            log::error!(count, to = label; "deliveries given up, see `tilld outbox show {id}`");
        }
    }

    fn label(&self) -> String {
        if self.target == MAIL { MAIL.to_owned() } else { endpoints::origin(&self.target) }
    }
}

impl StepJob for DeliveryLane {
    type Error = StoreError;
    const CAUTION: LeapCaution = LeapCaution::PASSES_ON;

    fn name(&self) -> String {
        format!("deliveries to {}", self.label())
    }

    fn correct(&mut self, _: StepCause, now_ms: i64, _: &LoopContext) -> Result<(), StoreError> {
        self.bring_forward(now_ms)
    }

    fn work(&mut self, _: i64, around: &LoopContext) -> Result<NextStep, StoreError> {
        let stepped = self.step(around.stop, around.clock)?;
        Ok(if stepped.more { NextStep::AtOnce } else { NextStep::After(POLL) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(attempts: u32) -> OutboxEffect {
        let (dedupe_key, payload) = ("webhook:x".to_owned(), String::new());
        OutboxEffect { id: 1, dedupe_key, user_id: None, payload, attempts, claimed_at_ms: 0 }
    }

    #[test]
    fn seven_pauses_grow_as_promised_each_up_to_a_fifth_longer_and_then_it_is_given_up() {
        for (attempts, delay_s) in (1..).zip(DELAYS_S) {
            let due_ms = due_again_ms(&effect(attempts), None, 1000).unwrap_or_default() - 1000;
            assert!((delay_s * 1000..=delay_s * 1200).contains(&due_ms), "{attempts}: {due_ms}");
        }
        assert_eq!(due_again_ms(&effect(8), None, 1000), None);
    }

    #[test]
    fn what_the_receiver_asks_for_counts_up_to_a_day_and_never_shortens_a_pause() {
        assert_eq!(due_again_ms(&effect(1), Some(120), 1000), Some(121_000));
        assert_eq!(due_again_ms(&effect(1), Some(i64::MAX), 1000), Some(86_401_000));
        assert_eq!(due_again_ms(&effect(2), Some(1), 0), due_again_ms(&effect(2), None, 0));
    }
}
