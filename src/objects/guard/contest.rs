//! Where one event and the present row do not decide: all events of the object are read from the log, and with the newest
//! reading given to `order`, which decides by the whole set. It must never depend on the order in which they arrived.
//! Called by `guard` and by `readings`.

use std::borrow::Cow;

use serde_json::Value;

use super::{CountedReading, StoredBody, is_deleted};
use crate::base::order::{self, OrderCandidate};
use crate::objects::{ProjectionError, ProjectionStep, StateOrigin, WinningState, kinds, thin};
use crate::store::StoreReader;
use crate::store::inbox::{self, SiblingEvent, SiblingKey};
use crate::store::mirror::{self, ApiReading, BodyLocation, HeldReading, ObjectKey, ObjectVersion, RowState};
use crate::stripe::event::{self, EventContent, Snapshot};

/// Events of one object that are compared at most, newest first; an object with more in its contested past is rare,
/// and its newest seconds still decide.
const MAX_SIBLINGS: u32 = 1000;

/// The whole set decides. `known`: the newest reading that the row knows. Where the step itself is about a reading,
/// `known` is that one, and `arriving` says where it is stored.
pub(super) fn decide<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
    known: Option<ApiReading>,
    arriving: Option<CountedReading>,
) -> Result<Option<WinningState<'a>>, ProjectionError> {
    let SiblingSet { mut candidates, bodies, reading } = SiblingSet::read(step, key, known, arriving)?;
    let Some(decision) = order::decide(kinds::of(key.object), &candidates) else { return Ok(None) };
    let is_stub = is_stub(&candidates[decision.winner].object);
    let whole = if is_stub { last_whole(key.object, &candidates) } else { None };
    let stored = bodies[whole.unwrap_or(decision.winner)];
    let last_object = whole.map(|index| as_deleted(&candidates[index].object));
    let mut winner = candidates.swap_remove(decision.winner);
    winner.object = last_object.unwrap_or(winner.object);
    let state = RowState {
        event_created: winner.created,
        deleted: decision.deleted,
        terminal: decision.terminal,
        // One more event may show more of a deleted object.
        contested: decision.contested || is_stub,
        read: known,
    };
    if decision.ambiguous {
        log::warn!(
            object = key.object, id = key.id, chosen = winner.event_id;
            "events of one second could not be put in order for certain"
        );
        thin::fetch_again(step, key, winner.created)?;
    }
    let version = ObjectVersion {
        state: &state,
        event_id: &winner.event_id,
        ambiguous: decision.ambiguous,
        body: stored.body,
        last_words: stored.last_words || whole.is_some(),
        counted_reading: reading,
    };
    mirror::put(step.tx, key, &version)?;
    Ok(Some(WinningState {
        object: Cow::Owned(winner.object),
        created: winner.created,
        event_id: Cow::Owned(winner.event_id),
        livemode: key.livemode,
        deleted: decision.deleted,
    }))
}

/// Whether it is all that Stripe shows of a deleted object: its id.
pub(super) fn is_stub(object: &Value) -> bool {
    /// `id`, `object`, `deleted`, and a mode.
    const MAX_FIELDS: usize = 4;
    is_deleted(object) && object.as_object().is_some_and(|fields| fields.len() <= MAX_FIELDS)
}

/// Where the last event is a stub: which of the others showed the whole object last.
fn last_whole(object: &str, candidates: &[OrderCandidate]) -> Option<usize> {
    let indexes: Vec<usize> = (0..candidates.len()).filter(|index| !is_stub(&candidates[*index].object)).collect();
    let whole: Vec<OrderCandidate> = indexes.iter().map(|index| candidates[*index].clone()).collect();
    order::decide(kinds::of(object), &whole).map(|decision| indexes[decision.winner])
}

fn as_deleted(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("deleted".to_owned(), Value::Bool(true));
    }
    object
}

/// Everything that is known of an object: its events, and the newest reading while its content is known.
struct SiblingSet {
    candidates: Vec<OrderCandidate>,
    /// Where the object's JSON of each candidate is.
    bodies: Vec<StoredBody>,
    /// Row number of the reading.
    reading: Option<i64>,
}

impl SiblingSet {
    fn read(
        step: &ProjectionStep,
        key: ObjectKey,
        known: Option<ApiReading>,
        arriving: Option<CountedReading>,
    ) -> Result<Self, ProjectionError> {
        let reading = candidate_of_reading(step, key, known, arriving)?;
        // Which events a reading contains does not matter once its own content is gone.
        let known = known.filter(|_| reading.is_some());
        let is_contained = |log_id, created| known.is_some_and(|reading| reading.contains(log_id, created));
        let mut set = Self { candidates: Vec::new(), bodies: Vec::new(), reading: None };
        if let StateOrigin::Log(log_id) = step.event.origin {
            let event = OrderCandidate {
                event_id: step.event.id.clone(),
                event_type: step.event.event_type.clone(),
                created: step.event.created,
                object: step.snapshot.object.clone(),
                previous: step.snapshot.previous_attributes.clone(),
                read: false,
                contained: is_contained(log_id, step.event.created),
            };
            set.add(event, StoredBody { body: BodyLocation::Event(log_id), last_words: false });
        }
        for sibling in siblings(step, key)? {
            let EventContent::Snapshot(snapshot) = event::content(&sibling.data)? else { continue };
            let event = OrderCandidate {
                contained: is_contained(sibling.log_id, sibling.event_created),
                event_id: sibling.event_id,
                event_type: sibling.event_type,
                created: sibling.event_created,
                object: snapshot.object,
                previous: snapshot.previous_attributes,
                read: false,
            };
            set.add(event, StoredBody { body: BodyLocation::Event(sibling.log_id), last_words: false });
        }
        if let Some((mut reading, counted)) = reading {
            // An event that it contains may be of a later second than the one to which the reading could be dated.
            let contained = set.candidates.iter().filter(|event| event.contained).map(|event| event.created);
            reading.created = contained.max().map_or(reading.created, |newest| newest.max(reading.created));
            set.reading = Some(counted.id);
            set.add(reading, counted.stored);
        }
        Ok(set)
    }

    fn add(&mut self, candidate: OrderCandidate, stored: StoredBody) {
        self.candidates.push(candidate);
        self.bodies.push(stored);
    }
}

/// All other projected events of the object.
fn siblings(step: &ProjectionStep, key: ObjectKey) -> Result<Vec<SiblingEvent>, ProjectionError> {
    let key = SiblingKey {
        object_id: key.id,
        object_type: key.object,
        livemode: key.livemode,
        account: step.event.account.as_deref(),
    };
    Ok(inbox::list_siblings(step.tx, &key, &step.event.id, MAX_SIBLINGS)?)
}

/// The reading that counts for an object, as one of the set that decides: the one that the step is about (`arriving`), or
/// the newest that the row knows; `None` where there is none, or its second is over.
fn candidate_of_reading(
    step: &ProjectionStep,
    key: ObjectKey,
    known: Option<ApiReading>,
    arriving: Option<CountedReading>,
) -> Result<Option<(OrderCandidate, CountedReading)>, ProjectionError> {
    let Some(reading) = known else { return Ok(None) };
    let found = match arriving {
        Some(counted) => Some((step.event.id.clone(), step.snapshot.object.clone(), counted)),
        None => mirror::find_held(step.tx, key)?.map_or(Ok(None), |held| counted(step.tx, held))?,
    };
    let Some((event_id, object, counted)) = found else { return Ok(None) };
    let phase = if is_deleted(&object) { "deleted" } else { "read" };
    let (event_type, created) = (format!("{}.{phase}", key.object), reading.at_s);
    let candidate =
        OrderCandidate { event_id, event_type, created, object, previous: None, read: true, contained: false };
    Ok(Some((candidate, counted)))
}

/// The reading that a row knows while its content counts: its id, and its object.
fn counted(
    reader: &StoreReader,
    held: HeldReading,
) -> Result<Option<(String, Value, CountedReading)>, ProjectionError> {
    let Some((event_id, id)) = held.counted.clone() else { return Ok(None) };
    let (stored, text) = if held.event_id == event_id {
        let stored = StoredBody { body: held.body, last_words: held.last_words };
        (stored, mirror::data_of(reader, &held)?)
    } else {
        let body = mirror::body_of(reader, id)?;
        (StoredBody { body, last_words: false }, mirror::object_text(reader, body)?)
    };
    Ok(Some((event_id, Snapshot::of_object(&text)?.object, CountedReading { id, stored })))
}
