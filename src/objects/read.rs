//! Objects read from the API (the answer to a call, a page of a list): they go the way of an event, through the same
//! guard and the same families. What was read contains every event that was in the log when the request was sent, and
//! every event of an earlier second; so a late older event does not undo it, and a newer one does. It must never do
//! anything outside the database. Called by `calls`, `sync` and `fetch`.

use std::borrow::Cow;

use serde_json::Value;

use super::derived::DerivationBasis;
use super::guard::{BodyShown, CountedReading};
use super::{
    ProjectedEvent, ProjectionContext, ProjectionError, ProjectionStep, StateOrigin, WinningState, dispatch, guard,
    kinds, thin,
};
use crate::base::order::{self, OrderCandidate};
use crate::store::mirror::{self, ApiReading, BodyPlace, HeldReading, Mirrored, ObjectKey, ObjectVersion, RowState};
use crate::store::readings::{self, NewReading};
use crate::store::{StoreError, StoreReader, Tx, inbox};
use crate::stripe::event::{EventContent, EventError, Snapshot, Thin};

/// Begins the `event_id` of a row that rests on a reading.
pub const PREFIX: &str = "read:";

/// The state of things when a request to the API was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSent {
    /// Unix milliseconds, by our clock.
    pub at_ms: i64,
    /// The newest event in the log.
    pub log_id: i64,
}

impl RequestSent {
    /// To be taken before the first byte leaves.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn now(reader: &StoreReader, now_ms: i64) -> Result<Self, StoreError> {
        Ok(Self { at_ms: now_ms, log_id: inbox::newest_log_id(reader)? })
    }

    /// What its answer shows was so at this time. `date_s`: Stripe's own time in the answer, which may differ from ours;
    /// how long the answer took, our clock tells. Rounded down: an event too many counts as news, which only repeats it.
    #[must_use]
    pub fn reading(self, date_s: Option<i64>, answered_ms: i64) -> ApiReading {
        let answered_there_ms = date_s.map_or(answered_ms, |date_s| date_s.saturating_mul(1000));
        let took_ms = answered_ms.saturating_sub(self.at_ms).max(0);
        let at_s = answered_there_ms.saturating_sub(took_ms).div_euclid(1000);
        ApiReading { at_s, log_id: self.log_id, sent_ms: self.at_ms }
    }
}

/// An object as the API showed it.
#[derive(Debug, Clone)]
pub struct ApiObject {
    snapshot: Snapshot,
    reading: ApiReading,
    account: Option<String>,
    /// Its lists were completed, as far as the key may.
    completed: bool,
    /// The mode that it counts for, where it is known already.
    livemode: Option<bool>,
}

impl ApiObject {
    /// Reads an object's JSON, kept as it was written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(text: &str, reading: ApiReading) -> Result<Self, EventError> {
        Ok(Self { snapshot: Snapshot::of_object(text)?, reading, account: None, completed: false, livemode: None })
    }

    /// The same of a connected account; `None` is our own.
    #[must_use]
    pub fn of_account(self, account: Option<String>) -> Self {
        Self { account, ..self }
    }

    /// The same with its lists completed, as far as the key may: what is cut all the same need not be fetched again.
    #[must_use]
    pub fn completed(self) -> Self {
        Self { completed: true, ..self }
    }

    /// The same of this mode, whatever it says: it was taken over once already.
    #[must_use]
    pub(crate) fn of_mode(self, livemode: bool) -> Self {
        Self { livemode: Some(livemode), ..self }
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.snapshot.object
    }
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingOutcome {
    /// The object's row rests on it now.
    Taken,
    /// The row rests on something newer.
    Late,
    /// It is nothing that the mirror keeps: it has no `object` or no `id`.
    NoObject,
}

/// Takes a reading into the tables. Called by `notify`, which acts on the facts.
///
/// # Errors
/// When the database or the object's shape does not allow it; nothing may be kept then.
pub(crate) fn absorb(
    tx: &Tx,
    shown: &ApiObject,
    context: &ProjectionContext,
    basis: DerivationBasis,
) -> Result<ReadingOutcome, ProjectionError> {
    let snapshot = with_last_words(tx, shown, context)?;
    let mut event = event(&snapshot.object, shown, context);
    if is_deleted(&snapshot.object) {
        event.event_type = format!("{}.deleted", event.event_type.trim_end_matches(".read"));
    }
    let snapshot = &snapshot;
    let Some(key) = guard::key(&event, snapshot) else { return Ok(ReadingOutcome::NoObject) };
    let step = ProjectionStep { tx, event: &event, snapshot, shown: Some(shown), context, basis, now_ms: basis.now_ms };
    let Some(winner) = guard::choose(&step, key)? else { return Ok(ReadingOutcome::Late) };
    if !shown.completed {
        thin::fetch_whole(&step, key, Some(&winner))?;
    }
    // As with events: what a connected account shows is mirrored and no more.
    if event.account.is_some() {
        return Ok(ReadingOutcome::Taken);
    }
    dispatch(&step, key.object, Some(&winner))?;
    Ok(ReadingOutcome::Taken)
}

fn event(object: &Value, shown: &ApiObject, context: &ProjectionContext) -> ProjectedEvent {
    let reading = shown.reading;
    let word = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or("");
    ProjectedEvent {
        origin: StateOrigin::Api(reading),
        id: format!("{PREFIX}{}:{}", word("id"), reading.sent_ms),
        event_type: kinds::event_type(word("object"), "read"),
        created: reading.at_s,
        livemode: shown.livemode.or_else(|| object.get("livemode").and_then(Value::as_bool)).or(context.livemode),
        account: shown.account.clone(),
        content: EventContent::Thin(Thin::default()),
    }
}

fn is_deleted(object: &Value) -> bool {
    object.get("deleted").and_then(Value::as_bool) == Some(true)
}

/// Of a deleted object Stripe shows the id alone. What was known of it stays, marked as deleted.
fn with_last_words<'a>(
    tx: &Tx,
    shown: &'a ApiObject,
    context: &ProjectionContext,
) -> Result<Cow<'a, Snapshot>, ProjectionError> {
    let snapshot = &shown.snapshot;
    if !is_deleted(&snapshot.object) {
        return Ok(Cow::Borrowed(snapshot));
    }
    let event = event(&snapshot.object, shown, context);
    let Some(key) = guard::key(&event, snapshot) else { return Ok(Cow::Borrowed(snapshot)) };
    let Some(mirrored) = mirror::find(tx, key)? else { return Ok(Cow::Borrowed(snapshot)) };
    let mut known = Snapshot::of_object(&mirrored.data)?;
    if let Some(fields) = known.object.as_object_mut() {
        fields.insert("deleted".to_owned(), Value::Bool(true));
        known.object_text = known.object.to_string();
    }
    Ok(Cow::Owned(known))
}

/// How a reading stands to what a row rests on.
enum MirrorComparison {
    /// It takes its place.
    Newer,
    /// It is of the same second, and neither is known to contain the other.
    Beside,
    Older,
}

fn against(
    step: &ProjectionStep,
    key: ObjectKey,
    row: &RowState,
    reading: ApiReading,
) -> Result<MirrorComparison, StoreError> {
    let ends = kinds::of(key.object).is_terminal(&step.snapshot.object);
    // A status that cannot be left was not left.
    if row.terminal && !ends && !is_deleted(&step.snapshot.object) {
        return Ok(MirrorComparison::Older);
    }
    // And one that was read is the last one, whenever that was.
    if !row.terminal && ends {
        return Ok(MirrorComparison::Newer);
    }
    let Some(mirrored) = mirror::find(step.tx, key)? else { return Ok(MirrorComparison::Newer) };
    if is_as_new(step.tx, &mirrored, reading)? {
        return Ok(MirrorComparison::Newer);
    }
    let is_newest = row.read.is_none_or(|known| reading.log_id >= known.log_id && reading.at_s >= known.at_s);
    let same_second = row.event_created == reading.at_s && sent_of(&mirrored).is_none();
    Ok(if same_second && is_newest { MirrorComparison::Beside } else { MirrorComparison::Older })
}

/// Whether a reading is as new as what the row rests on.
fn is_as_new(reader: &StoreReader, mirrored: &Mirrored, reading: ApiReading) -> Result<bool, StoreError> {
    if let Some((sent_ms, log_id)) = sent_of(mirrored) {
        // Stripe's time alone will not do: it is rounded down, and the row's is that of the newest event it contains, so
        // that of two changes in one second the second one's answer would be taken for the older. Nor will ours alone: it
        // may be set back.
        let later = reading.sent_ms >= sent_ms || reading.log_id > log_id || reading.at_s > mirrored.event_created;
        return Ok(later);
    }
    let log_id = inbox::find_log_id(reader, &mirrored.event_id)?;
    Ok(log_id.is_some_and(|log_id| reading.contains(log_id, mirrored.event_created)))
}

/// How the mirror stands to a reading.
pub enum MirrorState {
    /// It does not know the object.
    Unknown,
    /// It rests on something newer, or an event about the object waits for the worker: they may differ.
    Ahead,
    /// It should show the same.
    Level(Mirrored),
}

/// How the mirror stands to a reading; `None` if that is nothing that the mirror keeps.
///
/// # Errors
/// When the database cannot be read.
pub fn standing(
    reader: &StoreReader,
    shown: &ApiObject,
    context: &ProjectionContext,
) -> Result<Option<MirrorState>, StoreError> {
    let event = event(shown.object(), shown, context);
    let Some(key) = guard::key(&event, &shown.snapshot) else { return Ok(None) };
    let mirrored = mirror::find(reader, key)?;
    if inbox::is_awaited(reader, key.id)? {
        return Ok(Some(MirrorState::Ahead));
    }
    let Some(mirrored) = mirrored else { return Ok(Some(MirrorState::Unknown)) };
    let level = is_as_new(reader, &mirrored, shown.reading)?;
    Ok(Some(if level { MirrorState::Level(mirrored) } else { MirrorState::Ahead }))
}

/// When the reading was sent that a row rests on, and after which event; `None` where it rests on an event.
fn sent_of(mirrored: &Mirrored) -> Option<(i64, i64)> {
    let (_, sent_ms) = mirrored.event_id.strip_prefix(PREFIX)?.rsplit_once(':')?;
    Some((sent_ms.parse().ok()?, mirrored.read.map_or(0, |read| read.log_id)))
}

/// The guard for readings; as `guard::choose`.
pub(super) fn choose<'a>(
    step: &ProjectionStep<'a>,
    key: ObjectKey,
    row: Option<&RowState>,
    reading: ApiReading,
) -> Result<Option<WinningState<'a>>, ProjectionError> {
    match row.map(|row| against(step, key, row, reading)).transpose()? {
        Some(MirrorComparison::Older) => return Ok(None),
        Some(MirrorComparison::Beside) => {
            let counted = keep(step, key, reading)?;
            return guard::contested(step, key, Some(reading), Some(counted));
        }
        Some(MirrorComparison::Newer) | None => {}
    }
    let counted = keep(step, key, reading)?;
    // The events it contains may be of a later second than the one it could be dated to.
    let at_s = row.map_or(reading.at_s, |row| reading.at_s.max(row.event_created));
    let (event, shown) = (step.event, &step.snapshot.object);
    let (deleted, terminal) = order::alone(kinds::of(key.object), &event.event_type, shown);
    let read = Some(ApiReading { at_s, ..reading });
    let state = RowState { event_created: at_s, deleted, terminal, contested: false, read };
    let version = ObjectVersion {
        state: &state,
        event_id: &event.id,
        ambiguous: false,
        body: counted.shows.body,
        last_words: counted.shows.last_words,
        counted_reading: Some(counted.id),
    };
    mirror::put(step.tx, key, &version)?;
    let (object, event_id, livemode) = (Cow::Borrowed(shown), Cow::Borrowed(event.id.as_str()), key.livemode);
    Ok(Some(WinningState { object, created: at_s, event_id, livemode, deleted }))
}

/// Writes a reading down that is taken over. Its body is stored unless the mirror shows the same already; and of a deleted
/// object, of which Stripe shows the id alone, the mirror goes on showing what was known.
fn keep(step: &ProjectionStep, key: ObjectKey, reading: ApiReading) -> Result<CountedReading, ProjectionError> {
    let shown = step.shown.map_or(step.snapshot, |shown| &shown.snapshot);
    let held = mirror::find_held(step.tx, key)?;
    let last_words = held.as_ref().filter(|_| is_deleted(&shown.object)).map(|held| held.body);
    let same = match held.as_ref().filter(|held| last_words.is_none() && !held.last_words) {
        Some(held) => is_same(step.tx, held, &shown.object)?.then_some(held.body),
        None => None,
    };
    if let Some(held) = held.as_ref().filter(|_| same.is_some()) {
        readings::drop_middle(step.tx, key, &held.event_id)?;
    }
    let new = NewReading {
        reading_id: &step.event.id,
        key,
        reading,
        completed: step.shown.is_some_and(|shown| shown.completed),
        data: &shown.object_text,
        same,
        now_ms: step.now_ms,
    };
    let id = readings::add(step.tx, &new)?;
    let body = last_words.or(same).unwrap_or(BodyPlace::Reading(id));
    Ok(CountedReading { id, shows: BodyShown { body, last_words: last_words.is_some() } })
}

fn is_same(reader: &StoreReader, held: &HeldReading, object: &Value) -> Result<bool, ProjectionError> {
    Ok(Snapshot::of_object(&mirror::data_of(reader, held)?)?.object == *object)
}

/// The reading that counts for an object, as one of the set that decides: the one that the step is about (`arriving`), or
/// the newest that the row knows; `None` where there is none, or its second is over.
pub(super) fn candidate(
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
    let (shows, text) = if held.event_id == event_id {
        let shows = BodyShown { body: held.body, last_words: held.last_words };
        (shows, mirror::data_of(reader, &held)?)
    } else {
        let body = mirror::body_of(reader, id)?;
        (BodyShown { body, last_words: false }, mirror::object_text(reader, body)?)
    };
    Ok(Some((event_id, Snapshot::of_object(&text)?.object, CountedReading { id, shows })))
}
