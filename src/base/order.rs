//! Which of an object's events its row rests on: a function of the *set* of them, whatever arrived first. Pure: it
//! knows no database and no clock, and of an object's kind only what it is given. Called by `objects::guard`.
//!
//! The order, from the strongest rule to the weakest:
//! 1. A deletion stays. Only a `….created` event of a later second, or a later reading, revives the object (ids chosen by
//!    people are used again), and a canceled subscription still takes further events as long as they say canceled too.
//! 2. A terminal status stays (`canceled`, `incomplete_expired`; a payment's `succeeded`, `canceled`).
//! 3. A later second wins over an earlier one.
//! 4. Within one second, by what `previous_attributes` prove: they say which state an update came from, so the updates
//!    form a chain that begins at the state before that second. The end of the only possible chain wins, be it an update
//!    after a deletion.
//! 5. Where that leaves several, by rank: created < others < deleted, then terminal, then what only ever grows
//!    (an invoice's status, its attempts; what a charge has refunded; …).
//! 6. What is left undecided is taken by event id, the same on every machine, and reported as ambiguous.
//!
//! A reading from the API is one of the set: the end of every event that it contains. An event of its second that it is
//! not known to contain is ordered by the same rules; one that shows the object's creation, or less progress than was
//! read, was before it. Where that decides nothing, the reading wins and is reported as ambiguous.

use serde_json::Value;

use crate::base::object_kind::{self, ObjectKind, ObjectProgress, ObjectState};

mod chain;
mod paths;

/// An event of the object.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderCandidate {
    /// Stripe's event id.
    pub event_id: String,
    /// `resource.verb`.
    pub event_type: String,
    /// Unix seconds.
    pub created: i64,
    /// The object in this event.
    pub object: Value,
    /// Old values of what it changed.
    pub previous: Option<Value>,
    /// No event, but the object as it was read from the API.
    pub read: bool,
    /// An event that is known to be in what was read.
    pub contained: bool,
}

/// What the set comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderDecision {
    /// Index of the event that the row rests on.
    pub winner: usize,
    /// The object is deleted.
    pub deleted: bool,
    /// The winner's status cannot be left.
    pub terminal: bool,
    /// Several events of the winner's second were compared.
    pub contested: bool,
    /// Their order could not be told for certain.
    pub ambiguous: bool,
}

/// Decides for a set of events of one object of this kind that is not empty; `None` for an empty one.
#[must_use]
pub(crate) fn decide(kind: &ObjectKind, candidates: &[OrderCandidate]) -> Option<OrderDecision> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |index: usize| (candidates[index].created, candidates[index].event_id.as_str());
        key(a).cmp(&key(b))
    });
    order
        .chunk_by(|&a, &b| candidates[a].created == candidates[b].created)
        .fold(None, |before, second| after_second(kind, candidates, before, second))
}

/// For an event that is the only one, or comes after everything else: whether the object is deleted with it, and whether its
/// status cannot be left.
#[must_use]
pub fn alone(kind: &ObjectKind, event_type: &str, object: &Value) -> (bool, bool) {
    (phase_of(event_type) == EventPhase::Deleted, kind.is_terminal(object))
}

/// The state after one more second of events.
fn after_second(
    kind: &ObjectKind,
    candidates: &[OrderCandidate],
    before: Option<OrderDecision>,
    second: &[usize],
) -> Option<OrderDecision> {
    let admitted = admit(kind, candidates, before, second);
    if admitted.is_empty() {
        return before;
    }
    let base = before.map(|decision| &candidates[decision.winner].object);
    let (winner, certain) = chain::last(kind, candidates, &admitted, base);
    let has = |wanted: EventPhase| admitted.iter().any(|&index| phase(&candidates[index]) == wanted);
    let revives = |index: usize| phase(&candidates[index]) == EventPhase::Created || is_alive(kind, &candidates[index]);
    let was_deleted = before.is_some_and(|decision| decision.deleted) && !admitted.iter().any(|&index| revives(index));
    // An update that comes after the deletion in its second revives nothing.
    let is_deleted = has(EventPhase::Deleted) && !revives(winner);
    Some(OrderDecision {
        winner,
        deleted: was_deleted || is_deleted,
        terminal: kind.is_terminal(&candidates[winner].object),
        contested: admitted.len() > 1,
        ambiguous: !certain,
    })
}

/// The events of a second that may follow the present state.
fn admit(
    kind: &ObjectKind,
    candidates: &[OrderCandidate],
    before: Option<OrderDecision>,
    second: &[usize],
) -> Vec<usize> {
    let Some(before) = before else { return second.to_vec() };
    let present = &candidates[before.winner];
    if present.read && !before.deleted && !before.terminal {
        let is_later = |index: &&usize| {
            let candidate = &candidates[**index];
            phase(candidate) != EventPhase::Created && progress(kind, candidate) >= progress(kind, present)
        };
        return second.iter().filter(is_later).copied().collect();
    }
    let created = |index: &usize| phase(&candidates[*index]) == EventPhase::Created;
    let closing = |index: &usize| {
        let candidate = &candidates[*index];
        kind.is_terminal(&candidate.object) || phase(candidate) == EventPhase::Deleted
    };
    let read_again = |index: &usize| !before.terminal && is_alive(kind, &candidates[*index]);
    if before.deleted && second.iter().any(|index| created(index) || read_again(index)) {
        return second.to_vec();
    }
    if before.deleted && !before.terminal {
        return Vec::new();
    }
    if before.terminal {
        return second.iter().copied().filter(closing).collect();
    }
    second.to_vec()
}

/// Whether it is a reading that shows the object as one that has not ended.
fn is_alive(kind: &ObjectKind, candidate: &OrderCandidate) -> bool {
    candidate.read && phase(candidate) != EventPhase::Deleted && !kind.is_terminal(&candidate.object)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EventPhase {
    Created,
    Changed,
    Deleted,
}

fn phase(candidate: &OrderCandidate) -> EventPhase {
    phase_of(&candidate.event_type)
}

fn phase_of(event_type: &str) -> EventPhase {
    match object_kind::last_word(event_type) {
        "created" => EventPhase::Created,
        "deleted" => EventPhase::Deleted,
        _ => EventPhase::Changed,
    }
}

/// Whether an event reports that its object was created.
#[must_use]
pub(crate) fn is_creation(event_type: &str) -> bool {
    phase_of(event_type) == EventPhase::Created
}

/// Whether an event closes its object: deletes it, or shows it in a status that cannot be left. Such an event counts
/// even when it is older than the present state.
#[must_use]
pub(crate) fn is_closing(kind: &ObjectKind, event_type: &str, object: &Value) -> bool {
    event_type.ends_with(".deleted") || kind.is_terminal(object)
}

fn progress(kind: &ObjectKind, candidate: &OrderCandidate) -> ObjectProgress {
    let (object, event_type) = (&candidate.object, candidate.event_type.as_str());
    (kind.progress)(&ObjectState { object, event_type, is_read: candidate.read })
}

/// Position within a second, as far as the event alone shows it.
fn rank(kind: &ObjectKind, candidate: &OrderCandidate) -> (EventPhase, bool, ObjectProgress) {
    (phase(candidate), kind.is_terminal(&candidate.object), progress(kind, candidate))
}

#[cfg(test)]
mod tests;
