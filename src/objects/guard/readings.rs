//! The guard for objects read from the API: whether a reading is newer than what an object's row rests on, and that it is
//! kept if so. Two times count: Stripe's, by which events are dated, and ours, since Stripe's are rounded to seconds. It
//! must never keep a reading that is not taken over. Called by `guard` and, to compare only, by `reading`.

use std::borrow::Cow;

use serde_json::Value;

use super::{CountedReading, StoredBody, contest, is_deleted};
use crate::base::order;
use crate::objects::{ProjectionError, ProjectionStep, READING_PREFIX, WinningState, kinds};
use crate::store::mirror::{self, ApiReading, BodyLocation, HeldReading, Mirrored, ObjectKey, ObjectVersion, RowState};
use crate::store::readings::{self, NewReading};
use crate::store::{StoreError, StoreReader, inbox};
use crate::stripe::event::Snapshot;

/// How a reading compares with what a row rests on.
enum ReadingAge {
    /// The row is to rest on it.
    Newer,
    /// Neither is known to contain the other, and they are of one second, or it says how the object ended: the set decides.
    Contested,
    Older,
}

fn compare(
    step: &ProjectionStep,
    key: ObjectKey,
    row: &RowState,
    reading: ApiReading,
) -> Result<ReadingAge, StoreError> {
    let ends = kinds::of(key.object).is_terminal(&step.snapshot.object);
    // An object does not leave a terminal status, so a reading without one is older.
    if row.terminal && !ends && !is_deleted(&step.snapshot.object) {
        return Ok(ReadingAge::Older);
    }
    let Some(mirrored) = mirror::find(step.tx, key)? else { return Ok(ReadingAge::Newer) };
    if is_as_new(step.tx, &mirrored, reading)? {
        return Ok(ReadingAge::Newer);
    }
    let is_last = !row.terminal && ends;
    let is_newest = row.read.is_none_or(|known| reading.log_id >= known.log_id && reading.at_s >= known.at_s);
    let rests_on_event = sent_of(&mirrored).is_none();
    if rests_on_event && is_newest && (is_last || row.event_created == reading.at_s) {
        return Ok(ReadingAge::Contested);
    }
    // A reading with a terminal status is the last state, whenever it was read.
    Ok(if is_last { ReadingAge::Newer } else { ReadingAge::Older })
}

/// Whether a reading is as new as what the row rests on.
pub(in crate::objects) fn is_as_new(
    reader: &StoreReader,
    mirrored: &Mirrored,
    reading: ApiReading,
) -> Result<bool, StoreError> {
    if let Some(known) = sent_of(mirrored) {
        // Stripe's time alone is not enough: it is rounded down, and the row's is that of the newest event it contains, so
        // that of two changes in one second the answer to the second would be taken for the older. Ours alone is not
        // enough either: our clock may be set back.
        return Ok(reading.sent_ms >= known.sent_ms
            || reading.log_id > known.log_id
            || reading.at_s > mirrored.event_created);
    }
    let log_id = inbox::find_log_id(reader, &mirrored.event_id)?;
    Ok(log_id.is_some_and(|log_id| reading.contains(log_id, mirrored.event_created)))
}

/// When the request was sent whose answer a row rests on.
struct SentAt {
    sent_ms: i64,
    /// The newest event in the log at that time.
    log_id: i64,
}

/// `None` where the row rests on an event.
fn sent_of(mirrored: &Mirrored) -> Option<SentAt> {
    let (_, sent_ms) = mirrored.event_id.strip_prefix(READING_PREFIX)?.rsplit_once(':')?;
    Some(SentAt { sent_ms: sent_ms.parse().ok()?, log_id: mirrored.read.map_or(0, |read| read.log_id) })
}

/// As `guard::choose`, for a reading.
pub(super) fn choose<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
    row: Option<&RowState>,
    reading: ApiReading,
) -> Result<Option<WinningState<'a>>, ProjectionError> {
    match row.map(|row| compare(step, key, row, reading)).transpose()? {
        Some(ReadingAge::Older) => return Ok(None),
        Some(ReadingAge::Contested) => {
            let counted = keep(step, key, reading)?;
            return contest::decide(step, key, Some(reading), Some(counted));
        }
        Some(ReadingAge::Newer) | None => {}
    }
    let counted = keep(step, key, reading)?;
    // An event that it contains may be of a later second than the one to which the reading could be dated.
    let at_s = row.map_or(reading.at_s, |row| reading.at_s.max(row.event_created));
    let (event, object) = (step.event, &step.snapshot.object);
    let (deleted, terminal) = order::alone(kinds::of(key.object), &event.event_type, object);
    // The API shows a canceled subscription as canceled, never as deleted.
    let deleted = deleted || (terminal && row.is_some_and(|row| row.deleted));
    let read = Some(ApiReading { at_s, ..reading });
    let state = RowState { event_created: at_s, deleted, terminal, contested: false, read };
    let version = ObjectVersion {
        state: &state,
        event_id: &event.id,
        ambiguous: false,
        body: counted.stored.body,
        last_words: counted.stored.last_words,
        counted_reading: Some(counted.id),
    };
    mirror::put(step.tx, key, &version)?;
    let (object, event_id, livemode) = (Cow::Borrowed(object), Cow::Borrowed(event.id.as_str()), key.livemode);
    Ok(Some(WinningState { object, created: at_s, event_id, livemode, deleted }))
}

/// Writes down a reading that is taken over. Its JSON is stored unless the mirror shows the same already. Stripe shows only
/// the id of a deleted object; for such a one the mirror goes on showing what was known.
fn keep(step: &ProjectionStep, key: ObjectKey, reading: ApiReading) -> Result<CountedReading, ProjectionError> {
    let (snapshot, completed) =
        step.reading.map_or((step.snapshot, false), |reading| (reading.snapshot, reading.completed));
    let held = mirror::find_held(step.tx, key)?;
    let last_words = held.as_ref().filter(|_| is_deleted(&snapshot.object)).map(|held| held.body);
    let same = match held.as_ref().filter(|held| last_words.is_none() && !held.last_words) {
        Some(held) => is_same(step.tx, held, &snapshot.object)?.then_some(held.body),
        None => None,
    };
    if let Some(held) = held.as_ref().filter(|_| same.is_some()) {
        readings::drop_middle(step.tx, key, &held.event_id)?;
    }
    let new = NewReading {
        reading_id: &step.event.id,
        key,
        reading,
        completed,
        data: &snapshot.object_text,
        same,
        now_ms: step.now_ms,
    };
    let id = readings::add(step.tx, &new)?;
    let body = last_words.or(same).unwrap_or(BodyLocation::Reading(id));
    Ok(CountedReading { id, stored: StoredBody { body, last_words: last_words.is_some() } })
}

fn is_same(reader: &StoreReader, held: &HeldReading, object: &Value) -> Result<bool, ProjectionError> {
    Ok(Snapshot::of_object(&mirror::data_of(reader, held)?)?.object == *object)
}
