//! An object's typed rows made once more from the mirror: whether they are what they should be, and that they are. It goes
//! the way of every event, in a savepoint that is undone again where only the comparison is wanted. Called by
//! `sync::drift`.

use std::borrow::Cow;

use super::derived::DerivationBasis;
use super::fact::{ObjectFacts, WantedComparisons};
use super::{
    ProjectedEvent, ProjectionContext, ProjectionError, ProjectionStep, StateOrigin, WinningState, dispatch, kinds,
};
use crate::objects::typed;
use crate::store::mirror::{self, ApiReading, ObjectKey};
use crate::store::{StoreError, Tx, in_savepoint};
use crate::stripe::event::{EventContent, Snapshot, Thin};

/// How a comparison ends: never well, so that it is undone.
enum ComparisonEnd {
    Compared(Vec<String>),
    Failed(ProjectionError),
}

impl From<StoreError> for ComparisonEnd {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// `table.column` of what is not as the mirror says; nothing is changed.
///
/// # Errors
/// When the database or the object's shape does not allow it.
pub fn differing(
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
        // What happens here is undone, and nobody is told of it.
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

/// Makes the typed rows of an object, and what is derived from them, what the mirror says.
///
/// # Errors
/// As [`differing`].
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
        ProjectionStep { tx, event: &event, snapshot: &snapshot, shown: None, context, basis, now_ms: basis.now_ms };
    dispatch(&step, key.object, Some(&winner)).map(|_| ())
}
