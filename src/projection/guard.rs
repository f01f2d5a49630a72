//! Keeps the mirror: finds out which event an object's row rests on, now that one more has come, and writes it down.
//! Most events are plainly newer or older than the row; only where that does not decide are all events of the object
//! read from the log and given to `order`. Called by `projection`.

use std::borrow::Cow;

use serde_json::Value;

use super::order::{self, Candidate};
use super::{Event, Origin, ProjectionError, Step, Winner, kinds, read, thin};
use crate::store::inbox::{self, Sibling, SiblingKey};
use crate::store::objects::{self, Kept, Key, Reading, State, Version};
use crate::stripe::event::{self, Content, Snapshot};

/// Events of one object that are compared at most, newest first; an object with more in its contested past is rare,
/// and its newest seconds still decide.
const MAX_SIBLINGS: u32 = 1000;

/// Which object an event shows; `None` when it has no id.
pub(super) fn key<'a>(event: &'a Event, snapshot: &'a Snapshot) -> Option<Key<'a>> {
    Some(Key {
        object: snapshot.object.get("object")?.as_str().filter(|kind| !kind.is_empty())?,
        id: event::id_of(&snapshot.object)?,
        livemode: event.livemode.unwrap_or(false),
        account: event.account.as_deref().unwrap_or(""),
    })
}

/// What an event means for the row as it stands, without looking at others.
enum Place {
    Newest,
    Late,
    Contested,
}

fn place(event: &Event, snapshot: &Snapshot, row: Option<&State>) -> Place {
    let Some(row) = row else { return Place::Newest };
    // What was read was there; it is not made after that, whatever the rounding of times says.
    let settled = row.deleted || row.terminal || (row.read.is_some() && order::is_creation(&event.event_type));
    if event.created > row.event_created && !settled {
        Place::Newest
    } else if event.created < row.event_created
        && !row.contested
        && !order::is_closing(kinds::of_shown(&snapshot.object), &event.event_type, &snapshot.object)
    {
        Place::Late
    } else {
        Place::Contested
    }
}

/// Mirrors the object if its row changes, and returns what the typed row is to be made from; `None`: it stands.
pub(super) fn choose<'a>(step: &Step<'a>, key: Key) -> Result<Option<Winner<'a>>, ProjectionError> {
    let row = objects::find_state(step.tx, key)?;
    let log_id = match step.event.origin {
        Origin::Log(log_id) => log_id,
        Origin::Api(reading) => return read::choose(step, key, row.as_ref(), reading),
    };
    let known = row.as_ref().and_then(|row| row.read);
    if known.is_some_and(|reading| reading.contains(log_id, step.event.created)) {
        // It says nothing new, but it may tell in which order others were.
        let is_contested = row.is_some_and(|row| row.contested);
        return if is_contested { contested(step, key, known) } else { Ok(None) };
    }
    match place(step.event, step.snapshot, row.as_ref()) {
        Place::Late => Ok(None),
        Place::Newest if is_stub(&step.snapshot.object) => contested(step, key, known),
        Place::Newest => newest(step, key, known).map(Some),
        Place::Contested => contested(step, key, known),
    }
}

/// The ordinary case: the event is the row from now on.
fn newest<'a>(step: &Step<'a>, key: Key, read: Option<Reading>) -> Result<Winner<'a>, ProjectionError> {
    let (event, shown) = (step.event, &step.snapshot.object);
    let (deleted, terminal) = order::alone(kinds::of(key.object), &event.event_type, shown);
    let state = State { event_created: event.created, deleted, terminal, contested: false, read };
    let data = &step.snapshot.object_text;
    let version = Version { state: &state, event_id: &event.id, ambiguous: false, data, kept: None };
    objects::put(step.tx, key, &version)?;
    Ok(Winner {
        object: Cow::Borrowed(shown),
        created: event.created,
        event_id: Cow::Borrowed(&event.id),
        livemode: key.livemode,
        deleted,
    })
}

/// The whole set decides. `known`: the newest reading, or the one that the step is about.
pub(super) fn contested<'a>(
    step: &Step<'a>,
    key: Key,
    known: Option<Reading>,
) -> Result<Option<Winner<'a>>, ProjectionError> {
    let Set { mut candidates, texts, reading } = Set::read(step, key, known)?;
    let Some(decision) = order::decide(kinds::of(key.object), &candidates) else { return Ok(None) };
    let reading = reading.filter(|place| *place != decision.winner);
    let kept_id = reading.map(|place| candidates[place].event_id.clone());
    let kept = reading.zip(kept_id.as_deref()).map(|(place, event_id)| Kept { event_id, data: &texts[place] });
    let last_words = last_words(key.object, &candidates, decision.winner);
    let mut winner = candidates.swap_remove(decision.winner);
    let data = last_words.as_ref().map_or_else(|| texts[decision.winner].clone(), Value::to_string);
    // One more event may say more of what is gone.
    let contested = decision.contested || last_words.is_some();
    winner.object = last_words.unwrap_or(winner.object);
    let state = State {
        event_created: winner.created,
        deleted: decision.deleted,
        terminal: decision.terminal,
        contested,
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
    let ambiguous = decision.ambiguous;
    let version = Version { state: &state, event_id: &winner.event_id, ambiguous, data: &data, kept };
    objects::put(step.tx, key, &version)?;
    Ok(Some(Winner {
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

/// Where the last event is a stub: what the others showed last, marked as deleted.
fn last_words(object: &str, candidates: &[Candidate], winner: usize) -> Option<Value> {
    if !is_stub(&candidates[winner].object) {
        return None;
    }
    let whole: Vec<Candidate> = candidates.iter().filter(|one| !is_stub(&one.object)).cloned().collect();
    let mut object = order::decide(kinds::of(object), &whole)
        .map_or(&candidates[winner], |decision| &whole[decision.winner])
        .object
        .clone();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("deleted".to_owned(), Value::Bool(true));
    }
    Some(object)
}

/// Everything that is known of an object: its events, and the newest reading while its content is known.
struct Set {
    candidates: Vec<Candidate>,
    /// The object as each of them wrote it.
    texts: Vec<String>,
    /// Place of the reading.
    reading: Option<usize>,
}

impl Set {
    fn read(step: &Step, key: Key, known: Option<Reading>) -> Result<Self, ProjectionError> {
        let reading = read::candidate(step, key, known)?;
        // What a reading contains means nothing without what it shows.
        let known = known.filter(|_| reading.is_some());
        let is_contained = |log_id, created| known.is_some_and(|reading| reading.contains(log_id, created));
        let mut set = Self { candidates: Vec::new(), texts: Vec::new(), reading: None };
        if let Origin::Log(log_id) = step.event.origin {
            let event = Candidate {
                event_id: step.event.id.clone(),
                event_type: step.event.event_type.clone(),
                created: step.event.created,
                object: step.snapshot.object.clone(),
                previous: step.snapshot.previous_attributes.clone(),
                read: false,
                contained: is_contained(log_id, step.event.created),
            };
            set.add(event, step.snapshot.object_text.clone());
        }
        for sibling in siblings(step, key)? {
            let Content::Snapshot(snapshot) = event::content(&sibling.data)? else { continue };
            let event = Candidate {
                contained: is_contained(sibling.log_id, sibling.event_created),
                event_id: sibling.event_id,
                event_type: sibling.event_type,
                created: sibling.event_created,
                object: snapshot.object,
                previous: snapshot.previous_attributes,
                read: false,
            };
            set.add(event, snapshot.object_text);
        }
        if let Some((mut reading, text)) = reading {
            // What it contains may be of a later second than the one it could be dated to.
            let contained = set.candidates.iter().filter(|event| event.contained).map(|event| event.created);
            reading.created = contained.max().map_or(reading.created, |newest| newest.max(reading.created));
            set.reading = Some(set.candidates.len());
            set.add(reading, text);
        }
        Ok(set)
    }

    fn add(&mut self, candidate: Candidate, text: String) {
        self.candidates.push(candidate);
        self.texts.push(text);
    }
}

/// All other projected events of the object.
fn siblings(step: &Step, key: Key) -> Result<Vec<Sibling>, ProjectionError> {
    let key = SiblingKey {
        object_id: key.id,
        object_type: key.object,
        livemode: key.livemode,
        account: step.event.account.as_deref(),
    };
    Ok(inbox::list_siblings(step.tx, &key, &step.event.id, MAX_SIBLINGS)?)
}
