//! Keeps the mirror: decides on which event or reading an object's row rests, now that one more has come, and writes it
//! down. Most events are plainly newer or older than the row; only where that does not decide, `contest` compares all
//! events of the object. `readings` decides about what was read from the API. It must never touch a typed table. Called
//! by `objects` for each event and by `reading`.

mod contest;
mod readings;

use std::borrow::Cow;

use serde_json::Value;

use super::{ProjectedEvent, ProjectionError, ProjectionStep, StateOrigin, WinningState, kinds};
use crate::base::order;
use crate::store::mirror::{self, ApiReading, BodyLocation, ObjectKey, ObjectVersion, RowState};
use crate::stripe::event::{self, Snapshot};
pub(super) use readings::is_as_new;

/// Which object an event shows; `None` when it has no id.
pub(super) fn key<'a>(event: &'a ProjectedEvent, snapshot: &'a Snapshot) -> Option<ObjectKey<'a>> {
    Some(ObjectKey {
        object: snapshot.object.get("object")?.as_str().filter(|kind| !kind.is_empty())?,
        id: event::id_of(&snapshot.object)?,
        livemode: event.livemode.unwrap_or(false),
        account: event.account.as_deref().unwrap_or(""),
    })
}

/// How an event compares with the present row, without looking at other events.
enum EventAge {
    Newest,
    Late,
    Contested,
}

fn compare(event: &ProjectedEvent, snapshot: &Snapshot, row: Option<&RowState>) -> EventAge {
    let Some(row) = row else { return EventAge::Newest };
    // What was read existed; it was not created after that, whatever the rounding of times says.
    let settled = row.deleted || row.terminal || (row.read.is_some() && order::is_creation(&event.event_type));
    if event.created > row.event_created && !settled {
        EventAge::Newest
    } else if event.created < row.event_created
        && !row.contested
        && !order::is_closing(kinds::of_shown(&snapshot.object), &event.event_type, &snapshot.object)
    {
        EventAge::Late
    } else {
        EventAge::Contested
    }
}

/// Mirrors the object if its row changes, and returns what the typed row is to be made from; `None`: the row stays as it
/// is.
pub(super) fn choose<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
) -> Result<Option<WinningState<'a>>, ProjectionError> {
    let row = mirror::find_state(step.tx, key)?;
    let log_id = match step.event.origin {
        StateOrigin::Log(log_id) => log_id,
        StateOrigin::Api(reading) => return readings::choose(step, key, row.as_ref(), reading),
    };
    let known = row.as_ref().and_then(|row| row.read);
    if known.is_some_and(|reading| reading.contains(log_id, step.event.created)) {
        // It adds nothing to the reading, but may decide in which order other events came.
        let is_contested = row.is_some_and(|row| row.contested);
        return if is_contested { contest::decide(step, key, known, None) } else { Ok(None) };
    }
    match compare(step.event, step.snapshot, row.as_ref()) {
        EventAge::Late => Ok(None),
        EventAge::Newest if !contest::is_stub(&step.snapshot.object) => newest(step, key, known, log_id).map(Some),
        EventAge::Newest | EventAge::Contested => contest::decide(step, key, known, None),
    }
}

/// The ordinary case: the row rests on this event from now on.
fn newest<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
    read: Option<ApiReading>,
    log_id: i64,
) -> Result<WinningState<'a>, ProjectionError> {
    let (event, object) = (step.event, &step.snapshot.object);
    let (deleted, terminal) = order::alone(kinds::of(key.object), &event.event_type, object);
    let state = RowState { event_created: event.created, deleted, terminal, contested: false, read };
    let version = ObjectVersion {
        state: &state,
        event_id: &event.id,
        ambiguous: false,
        body: BodyLocation::Event(log_id),
        last_words: false,
        counted_reading: None,
    };
    mirror::put(step.tx, key, &version)?;
    Ok(WinningState {
        object: Cow::Borrowed(object),
        created: event.created,
        event_id: Cow::Borrowed(&event.id),
        livemode: key.livemode,
        deleted,
    })
}

/// Where the mirror finds an object's JSON, and whether it is the last JSON known of an object that is deleted since.
#[derive(Clone, Copy)]
struct StoredBody {
    body: BodyLocation,
    last_words: bool,
}

/// A reading whose content counts: its row number, and where its object's JSON is.
#[derive(Clone, Copy)]
struct CountedReading {
    id: i64,
    stored: StoredBody,
}

/// Whether the object itself says that it was deleted.
pub(super) fn is_deleted(object: &Value) -> bool {
    object.get("deleted").and_then(Value::as_bool) == Some(true)
}
