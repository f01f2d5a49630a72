//! Objects read from the API (the answer to a call, a page of a list): they pass the same guard and the same kinds as the
//! objects in events. A reading contains every event that was in the log when its request was sent, and every event of an
//! earlier second; so an older event that comes late does not undo it, and a newer one does. It must never do anything
//! outside the database. Called by `notify`, which acts on the facts, and, to compare only, by `outward::sync`.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    DerivationBasis, ProjectedEvent, ProjectionContext, ProjectionError, ProjectionStep, READING_PREFIX, ReadObject,
    StateOrigin, dispatch, guard, kinds, thin,
};
use crate::store::mirror::{self, ApiReading, Mirrored};
use crate::store::{StoreError, StoreReader, Tx, inbox};
use crate::stripe::event::{EventContent, EventError, Snapshot, Thin};

/// The time, by our clock and by the log, at which a request to the API was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSent {
    /// Unix milliseconds, by our clock.
    pub at_ms: i64,
    /// The newest event in the log.
    pub log_id: i64,
}

impl RequestSent {
    /// To be taken before the first byte leaves.
    pub fn now(reader: &StoreReader, now_ms: i64) -> Result<Self, StoreError> {
        Ok(Self { at_ms: now_ms, log_id: inbox::newest_log_id(reader)? })
    }

    /// As of when its answer shows an object. `date_s` is Stripe's own time in the answer, which may differ from ours; how
    /// long the answer took is measured by our clock. Rounded down, so that at worst an event that the answer contains
    /// already counts as newer, which only repeats it.
    #[must_use]
    pub fn reading(self, date_s: Option<i64>, answered_ms: i64) -> ApiReading {
        let answered_there_ms = date_s.map_or(answered_ms, |date_s| date_s.saturating_mul(1000));
        let took_ms = answered_ms.saturating_sub(self.at_ms).max(0);
        let at_s = answered_there_ms.saturating_sub(took_ms).div_euclid(1000);
        ApiReading { at_s, log_id: self.log_id, sent_ms: self.at_ms }
    }
}

/// An object as the API answered with it.
#[derive(Debug, Clone)]
pub struct ApiObject {
    snapshot: Snapshot,
    reading: ApiReading,
    account: Option<String>,
    /// Its lists were completed, as far as the key permits.
    completed: bool,
    /// The mode that it counts for, where that is known already.
    livemode: Option<bool>,
}

impl ApiObject {
    /// Reads an object's JSON, which is kept as it was written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(text: &str, reading: ApiReading) -> Result<Self, EventError> {
        Ok(Self { snapshot: Snapshot::of_object(text)?, reading, account: None, completed: false, livemode: None })
    }

    /// The same, of a connected account; `None` is our own.
    #[must_use]
    pub(crate) fn of_account(self, account: Option<String>) -> Self {
        Self { account, ..self }
    }

    /// The same, with its lists completed as far as the key permits: a list that is cut all the same is not fetched again.
    #[must_use]
    pub fn completed(self) -> Self {
        Self { completed: true, ..self }
    }

    /// The same, of this mode, whatever the object itself says: it was taken over once already.
    #[must_use]
    pub(crate) fn of_mode(self, livemode: bool) -> Self {
        Self { livemode: Some(livemode), ..self }
    }

    /// Its JSON.
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
    /// The mirror does not keep it: it has no `object` or no `id`.
    NoObject,
}

/// Takes a reading into the tables. On an error nothing may be kept.
pub(crate) fn absorb(
    tx: &Tx,
    read: &ApiObject,
    context: &ProjectionContext,
    basis: DerivationBasis,
) -> Result<ReadingOutcome, ProjectionError> {
    let snapshot = with_known_fields(tx, read, context)?;
    let mut event = event(&snapshot.object, read, context);
    if guard::is_deleted(&snapshot.object) {
        event.event_type = format!("{}.deleted", event.event_type.trim_end_matches(".read"));
    }
    let snapshot = &snapshot;
    let Some(key) = guard::key(&event, snapshot) else { return Ok(ReadingOutcome::NoObject) };
    let reading = Some(ReadObject { snapshot: &read.snapshot, completed: read.completed });
    let step = ProjectionStep { tx, event: &event, snapshot, reading, context, basis, now_ms: basis.now_ms };
    let Some(winner) = guard::choose(&step, key)? else { return Ok(ReadingOutcome::Late) };
    if !read.completed {
        thin::fetch_whole(&step, key, Some(&winner))?;
    }
    // As with events: an object of a connected account is mirrored and no more.
    if event.account.is_some() {
        return Ok(ReadingOutcome::Taken);
    }
    dispatch(&step, key.object, Some(&winner))?;
    Ok(ReadingOutcome::Taken)
}

fn event(object: &Value, read: &ApiObject, context: &ProjectionContext) -> ProjectedEvent {
    let reading = read.reading;
    let word = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or("");
    ProjectedEvent {
        origin: StateOrigin::Api(reading),
        id: format!("{READING_PREFIX}{}:{}", word("id"), reading.sent_ms),
        event_type: kinds::event_type(word("object"), "read"),
        created: reading.at_s,
        livemode: read.livemode.or_else(|| object.get("livemode").and_then(Value::as_bool)).or(context.livemode),
        account: read.account.clone(),
        content: EventContent::Thin(Thin::default()),
    }
}

/// Stripe shows only the id of a deleted object. What was known of it stays, marked as deleted.
fn with_known_fields<'a>(
    tx: &Tx,
    read: &'a ApiObject,
    context: &ProjectionContext,
) -> Result<Cow<'a, Snapshot>, ProjectionError> {
    let snapshot = &read.snapshot;
    if !guard::is_deleted(&snapshot.object) {
        return Ok(Cow::Borrowed(snapshot));
    }
    let event = event(&snapshot.object, read, context);
    let Some(key) = guard::key(&event, snapshot) else { return Ok(Cow::Borrowed(snapshot)) };
    let Some(mirrored) = mirror::find(tx, key)? else { return Ok(Cow::Borrowed(snapshot)) };
    let mut known = Snapshot::of_object(&mirrored.data)?;
    if let Some(fields) = known.object.as_object_mut() {
        fields.insert("deleted".to_owned(), Value::Bool(true));
        known.object_text = known.object.to_string();
    }
    Ok(Cow::Owned(known))
}

/// How the mirror compares with a reading.
pub(crate) enum MirrorState {
    /// It does not know the object.
    Unknown,
    /// It rests on something newer, or an event about the object waits for the worker: they may differ.
    Ahead,
    /// It should show the same.
    Level(Mirrored),
}

/// How the mirror compares with a reading; `None` if the mirror does not keep such an object.
pub(crate) fn mirror_state(
    reader: &StoreReader,
    read: &ApiObject,
    context: &ProjectionContext,
) -> Result<Option<MirrorState>, StoreError> {
    let event = event(read.object(), read, context);
    let Some(key) = guard::key(&event, &read.snapshot) else { return Ok(None) };
    let mirrored = mirror::find(reader, key)?;
    if inbox::is_awaited(reader, key.id)? {
        return Ok(Some(MirrorState::Ahead));
    }
    let Some(mirrored) = mirrored else { return Ok(Some(MirrorState::Unknown)) };
    let level = guard::is_as_new(reader, &mirrored, read.reading)?;
    Ok(Some(if level { MirrorState::Level(mirrored) } else { MirrorState::Ahead }))
}
