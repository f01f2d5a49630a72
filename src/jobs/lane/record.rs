//! The outcome of an attempt: its outbox row, and the endpoint's state or the `dunning_attempts` row that go with it.
//! It must never attempt anything. Called by `lane`, within the transaction that records a batch.

use super::{LaneKind, SettledDelivery, due_again_ms};
use crate::notify::attempt::DeliveryOutcome;
use crate::objects::dunning_attempts;
use crate::store::outbox::{self, OutboxEnd, deliveries};
use crate::store::{StoreError, Tx};

pub(super) fn record(tx: &Tx, settled: &SettledDelivery, books: &LaneKind) -> Result<(), StoreError> {
    let SettledDelivery { effect, outcome, at_ms } = settled;
    let now_ms = *at_ms;
    let Some(outcome) = outcome else { return deliveries::release(tx, effect) };
    let (end, kept) = match outcome {
        DeliveryOutcome::Done(note) => (OutboxEnd::Done(note.as_deref()), None),
        DeliveryOutcome::Skipped(why) => (OutboxEnd::Skipped(why), Some(format!("skipped: {why}"))),
        DeliveryOutcome::Refused(why) => (OutboxEnd::Failed(why), Some(format!("failed: {why}"))),
        DeliveryOutcome::TryAgain { why, after_s } => {
            if let LaneKind::Endpoint(endpoint) = books
                && endpoint.fail(tx, why, now_ms)?
            {
                return deliveries::release_with(tx, effect, why);
            }
            let due_ms = due_again_ms(effect, *after_s, now_ms).filter(|_| !matches!(books, LaneKind::None));
            if let Some(due_ms) = due_ms {
                return outbox::retry(tx, effect, why, due_ms).map(|_| ());
            }
            (OutboxEnd::Failed(why), Some(format!("failed: {why}")))
        }
        DeliveryOutcome::NotTried => return deliveries::release(tx, effect),
        DeliveryOutcome::Gone => {
            if let LaneKind::Endpoint(endpoint) = books {
                endpoint.gone(tx, now_ms)?;
            }
            return deliveries::release_with(tx, effect, "answered 410");
        }
    };
    let is_ours = deliveries::end(tx, effect, end, now_ms)?;
    match books {
        LaneKind::Endpoint(endpoint) if matches!(outcome, DeliveryOutcome::Done(_)) => endpoint.succeed(tx, now_ms),
        LaneKind::Mail if is_ours => match kept {
            None => dunning_attempts::set_sent(tx, effect.id, now_ms).map(|_| ()),
            Some(outcome) => dunning_attempts::set_outcome(tx, effect.id, &outcome).map(|_| ()),
        },
        _ => Ok(()),
    }
}
