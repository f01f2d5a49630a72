//! An object's typed rows made once more from the mirror, to compare them or to repair them. They are made in the way of every
//! event; where they are only compared, in a savepoint that is rolled back, so it must never leave a trace then. Called by
//! `outward::sync`, through `notify`.

use std::borrow::Cow;

use super::fact::{ObjectFacts, WantedComparisons};
use super::{
    DerivationBasis, ProjectedEvent, ProjectionContext, ProjectionError, ProjectionStep, StateOrigin, WinningState,
    dispatch, kinds, typed,
};
use crate::store::mirror::{self, ApiReading, ObjectKey};
use crate::store::{StoreError, Tx, in_savepoint};
use crate::stripe::event::{EventContent, Snapshot, Thin};

/// How a comparison ends: as an error, so that the savepoint is rolled back.
enum ComparisonEnd {
    Compared(Vec<String>),
    Failed(ProjectionError),
}

impl From<StoreError> for ComparisonEnd {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// The `table.column` of each cell that differs from what the mirror gives; nothing is changed.
pub(crate) fn differing(
    tx: &Tx,
    key: ObjectKey,
    context: &ProjectionContext,
    now_ms: i64,
) -> Result<Vec<String>, ProjectionError> {
    let due = typed::is_answer_due(tx, key.id, now_ms.div_euclid(1000))?;
    let rows = |tx: &Tx| {
        let rows = typed::rows(tx, kinds::of(key.object), key.id)?;
        Ok::<_, StoreError>(if due { rows.without_answers() } else { rows })
    };
    let before = rows(tx)?;
    let ended = in_savepoint(tx, |tx| -> Result<(), ComparisonEnd> {
        // All of this is rolled back, so nobody is notified of its facts.
        let facts = ObjectFacts::default();
        let (policy, link) = (&context.policy, &context.link);
        let basis = DerivationBasis { policy, link, facts: &facts, compared: WantedComparisons::default(), now_ms };
        project(tx, key, context, basis).map_err(ComparisonEnd::Failed)?;
        Err(ComparisonEnd::Compared(before.differing(&rows(tx)?)))
    });
    match ended {
        Ok(()) => Ok(Vec::new()),
        Err(ComparisonEnd::Compared(fields)) => Ok(fields),
        Err(ComparisonEnd::Failed(error)) => Err(error),
    }
}

/// Writes the typed rows of an object once more, and what is derived from them.
pub(crate) fn project(
    tx: &Tx,
    key: ObjectKey,
    context: &ProjectionContext,
    basis: DerivationBasis,
) -> Result<(), ProjectionError> {
    let Some(mirrored) = mirror::find(tx, key)? else { return Ok(()) };
    let snapshot = Snapshot::of_object(&mirrored.data)?;
    let known = ApiReading { at_s: mirrored.event_created, log_id: 0, sent_ms: 0 };
    let event = ProjectedEvent {
        origin: StateOrigin::Api(mirrored.read.unwrap_or(known)),
        id: mirrored.event_id.clone(),
        event_type: kinds::event_type(key.object, "read"),
        created: mirrored.event_created,
        livemode: Some(key.livemode),
        account: None,
        content: EventContent::Thin(Thin::default()),
    };
    let winner = WinningState {
        object: Cow::Borrowed(&snapshot.object),
        created: mirrored.event_created,
        event_id: Cow::Borrowed(&mirrored.event_id),
        livemode: key.livemode,
        deleted: mirrored.deleted,
    };
    let step =
        ProjectionStep { tx, event: &event, snapshot: &snapshot, reading: None, context, basis, now_ms: basis.now_ms };
    dispatch(&step, key.object, Some(&winner)).map(|_| ())
}
