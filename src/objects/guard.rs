//! Keeps the mirror: finds out which event an object's row rests on, now that one more has come, and writes it down.
//! Most events are plainly newer or older than the row; only where that does not decide are all events of the object
//! read from the log and given to `order`. Called by `projection`.

use std::borrow::Cow;

use serde_json::Value;

use super::{ProjectedEvent, ProjectionError, ProjectionStep, StateOrigin, WinningState, kinds, read, thin};
use crate::base::order::{self, OrderCandidate};
use crate::store::inbox::{self, SiblingEvent, SiblingKey};
use crate::store::mirror::{self, ApiReading, BodyPlace, ObjectKey, ObjectVersion, RowState};
use crate::stripe::event::{self, EventContent, Snapshot};

/// Events of one object that are compared at most, newest first; an object with more in its contested past is rare,
/// and its newest seconds still decide.
const MAX_SIBLINGS: u32 = 1000;

/// Which object an event shows; `None` when it has no id.
pub(super) fn key<'a>(event: &'a ProjectedEvent, snapshot: &'a Snapshot) -> Option<ObjectKey<'a>> {
    Some(ObjectKey {
        object: snapshot.object.get("object")?.as_str().filter(|kind| !kind.is_empty())?,
        id: event::id_of(&snapshot.object)?,
        livemode: event.livemode.unwrap_or(false),
        account: event.account.as_deref().unwrap_or(""),
    })
}

/// What an event means for the row as it stands, without looking at others.
enum Placement {
    Newest,
    Late,
    Contested,
}

fn place(event: &ProjectedEvent, snapshot: &Snapshot, row: Option<&RowState>) -> Placement {
    let Some(row) = row else { return Placement::Newest };
    // What was read was there; it is not made after that, whatever the rounding of times says.
    let settled = row.deleted || row.terminal || (row.read.is_some() && order::is_creation(&event.event_type));
    if event.created > row.event_created && !settled {
        Placement::Newest
    } else if event.created < row.event_created
        && !row.contested
        && !order::is_closing(kinds::of_shown(&snapshot.object), &event.event_type, &snapshot.object)
    {
        Placement::Late
    } else {
        Placement::Contested
    }
}

/// Mirrors the object if its row changes, and returns what the typed row is to be made from; `None`: it stands.
pub(super) fn choose<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
) -> Result<Option<WinningState<'a>>, ProjectionError> {
    let row = mirror::find_state(step.tx, key)?;
    let log_id = match step.event.origin {
        StateOrigin::Log(log_id) => log_id,
        StateOrigin::Api(reading) => return read::choose(step, key, row.as_ref(), reading),
    };
    let known = row.as_ref().and_then(|row| row.read);
    if known.is_some_and(|reading| reading.contains(log_id, step.event.created)) {
        // It says nothing new, but it may tell in which order others were.
        let is_contested = row.is_some_and(|row| row.contested);
        return if is_contested { contested(step, key, known, None) } else { Ok(None) };
    }
    match place(step.event, step.snapshot, row.as_ref()) {
        Placement::Late => Ok(None),
        Placement::Newest if is_stub(&step.snapshot.object) => contested(step, key, known, None),
        Placement::Newest => newest(step, key, known, log_id).map(Some),
        Placement::Contested => contested(step, key, known, None),
    }
}

/// The ordinary case: the event is the row from now on.
fn newest<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
    read: Option<ApiReading>,
    log_id: i64,
) -> Result<WinningState<'a>, ProjectionError> {
    let (event, shown) = (step.event, &step.snapshot.object);
    let (deleted, terminal) = order::alone(kinds::of(key.object), &event.event_type, shown);
    let state = RowState { event_created: event.created, deleted, terminal, contested: false, read };
    let version = ObjectVersion {
        state: &state,
        event_id: &event.id,
        ambiguous: false,
        body: BodyPlace::Event(log_id),
        last_words: false,
        counted_reading: None,
    };
    mirror::put(step.tx, key, &version)?;
    Ok(WinningState {
        object: Cow::Borrowed(shown),
        created: event.created,
        event_id: Cow::Borrowed(&event.id),
        livemode: key.livemode,
        deleted,
    })
}

/// The whole set decides. `known`: the newest reading, or the one that the step is about, which `arriving` is.
pub(super) fn contested<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
    known: Option<ApiReading>,
    arriving: Option<CountedReading>,
) -> Result<Option<WinningState<'a>>, ProjectionError> {
    let SiblingSet { mut candidates, bodies, reading } = SiblingSet::read(step, key, known, arriving)?;
    let Some(decision) = order::decide(kinds::of(key.object), &candidates) else { return Ok(None) };
    let is_stub = is_stub(&candidates[decision.winner].object);
    let speaks = if is_stub { last_whole(key.object, &candidates) } else { None };
    let shown = bodies[speaks.unwrap_or(decision.winner)];
    let last_object = speaks.map(|place| as_deleted(&candidates[place].object));
    let mut winner = candidates.swap_remove(decision.winner);
    winner.object = last_object.unwrap_or(winner.object);
    let state = RowState {
        event_created: winner.created,
        deleted: decision.deleted,
        terminal: decision.terminal,
        // One more event may say more of what is gone.
        contested: decision.contested || is_stub,
        read: known,
    };
    if decision.ambiguous {
        log::warn!(
            "events of one second could not be put in order for certain object={} id={} chosen={}",
            key.object,
            key.id,
            winner.event_id
        );
        thin::fetch_again(step, key, winner.created)?;
    }
    let version = ObjectVersion {
        state: &state,
        event_id: &winner.event_id,
        ambiguous: decision.ambiguous,
        body: shown.body,
        last_words: shown.last_words || speaks.is_some(),
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
fn is_stub(object: &Value) -> bool {
    /// `id`, `object`, `deleted`, and a mode.
    const MAX_FIELDS: usize = 4;
    let is_deleted = object.get("deleted").and_then(Value::as_bool) == Some(true);
    is_deleted && object.as_object().is_some_and(|fields| fields.len() <= MAX_FIELDS)
}

/// Where the last event is a stub: which of the others showed the object last.
fn last_whole(object: &str, candidates: &[OrderCandidate]) -> Option<usize> {
    let places: Vec<usize> = (0..candidates.len()).filter(|place| !is_stub(&candidates[*place].object)).collect();
    let whole: Vec<OrderCandidate> = places.iter().map(|place| candidates[*place].clone()).collect();
    order::decide(kinds::of(object), &whole).map(|decision| places[decision.winner])
}

fn as_deleted(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("deleted".to_owned(), Value::Bool(true));
    }
    object
}

/// What shows an object, and whether it is what was shown before all that is left is that it is deleted.
#[derive(Clone, Copy)]
pub(super) struct BodyShown {
    pub(super) body: BodyPlace,
    pub(super) last_words: bool,
}

/// A reading whose content counts: its row number, and what shows its object.
#[derive(Clone, Copy)]
pub(super) struct CountedReading {
    pub(super) id: i64,
    pub(super) shows: BodyShown,
}

/// Everything that is known of an object: its events, and the newest reading while its content is known.
struct SiblingSet {
    candidates: Vec<OrderCandidate>,
    /// What shows the object of each of them.
    bodies: Vec<BodyShown>,
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
        let reading = read::candidate(step, key, known, arriving)?;
        // What a reading contains means nothing without what it shows.
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
            set.add(event, BodyShown { body: BodyPlace::Event(log_id), last_words: false });
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
            set.add(event, BodyShown { body: BodyPlace::Event(sibling.log_id), last_words: false });
        }
        if let Some((mut reading, counted)) = reading {
            // What it contains may be of a later second than the one it could be dated to.
            let contained = set.candidates.iter().filter(|event| event.contained).map(|event| event.created);
            reading.created = contained.max().map_or(reading.created, |newest| newest.max(reading.created));
            set.reading = Some(counted.id);
            set.add(reading, counted.shows);
        }
        Ok(set)
    }

    fn add(&mut self, candidate: OrderCandidate, shows: BodyShown) {
        self.candidates.push(candidate);
        self.bodies.push(shows);
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
