//! Objects read from the API (the answer to a call, a page of a list): they go the way of an event, through the same
//! guard and the same families. What was read contains every event that was in the log when the request was sent, and
//! every event of an earlier second; so a late older event does not undo it, and a newer one does. It must never do
//! anything outside the database. Called by `calls`, `sync` and `fetch`.

use std::borrow::Cow;

use serde_json::Value;

use super::guard;
use super::order::{self, Candidate};
use super::{Context, Event, Origin, ProjectionError, Step, Winner, dispatch};
use crate::store::inbox;
use crate::store::objects::{self, Key, Mirrored, Reading, State, Version};
use crate::store::{Reader, StoreError, Tx};
use crate::stripe::event::{Content, EventError, Snapshot, Thin};

/// Begins the `event_id` of a row that rests on a reading.
pub const PREFIX: &str = "read:";

/// The state of things when a request to the API was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Unix milliseconds, by our clock.
    pub at_ms: i64,
    /// The newest event in the log.
    pub log_id: i64,
}

impl Sent {
    /// To be taken before the first byte leaves.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn now(reader: &Reader, now_ms: i64) -> Result<Self, StoreError> {
        Ok(Self { at_ms: now_ms, log_id: inbox::newest_log_id(reader)? })
    }

    /// What its answer shows was so at this time. `date_s`: Stripe's own time in the answer, which may differ from ours;
    /// how long the answer took, our clock tells. Rounded down: an event too many counts as news, which only repeats it.
    #[must_use]
    pub fn reading(self, date_s: Option<i64>, answered_ms: i64) -> Reading {
        let answered_there_ms = date_s.map_or(answered_ms, |date_s| date_s.saturating_mul(1000));
        let took_ms = answered_ms.saturating_sub(self.at_ms).max(0);
        let at_s = answered_there_ms.saturating_sub(took_ms).div_euclid(1000);
        Reading { at_s, log_id: self.log_id, sent_ms: self.at_ms }
    }
}

/// An object as the API showed it.
#[derive(Debug, Clone)]
pub struct Shown {
    snapshot: Snapshot,
    reading: Reading,
    account: Option<String>,
}

impl Shown {
    /// Reads an object's JSON, kept as it was written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(text: &str, reading: Reading) -> Result<Self, EventError> {
        Ok(Self { snapshot: Snapshot::of_object(text)?, reading, account: None })
    }

    /// The same of a connected account; `None` is our own.
    #[must_use]
    pub fn of_account(self, account: Option<String>) -> Self {
        Self { account, ..self }
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.snapshot.object
    }
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absorbed {
    /// The object's row rests on it now.
    Taken,
    /// The row rests on something newer.
    Late,
    /// It is nothing that the mirror keeps: it has no `object` or no `id`.
    NoObject,
}

/// Takes a reading into the tables.
///
/// # Errors
/// When the database or the object's shape does not allow it; nothing may be kept then.
pub fn absorb(tx: &Tx, shown: &Shown, context: &Context, now_ms: i64) -> Result<Absorbed, ProjectionError> {
    let snapshot = with_last_words(tx, shown, context)?;
    let mut event = event(&snapshot.object, shown, context);
    if is_deleted(&snapshot.object) {
        event.event_type = format!("{}.deleted", event.event_type.trim_end_matches(".read"));
    }
    let snapshot = &snapshot;
    let Some(key) = guard::key(&event, snapshot) else { return Ok(Absorbed::NoObject) };
    let step = Step { tx, event: &event, snapshot, context, now_ms };
    let Some(winner) = guard::choose(&step, key)? else { return Ok(Absorbed::Late) };
    // As with events: what a connected account shows is mirrored and no more.
    if event.account.is_some() {
        return Ok(Absorbed::Taken);
    }
    dispatch(&step, key.object, Some(&winner))?;
    Ok(Absorbed::Taken)
}

fn event(object: &Value, shown: &Shown, context: &Context) -> Event {
    let reading = shown.reading;
    let word = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or("");
    let kind = match word("object") {
        "subscription" => "customer.subscription",
        kind => kind,
    };
    Event {
        origin: Origin::Api(reading),
        id: format!("{PREFIX}{}:{}", word("id"), reading.sent_ms),
        event_type: format!("{kind}.read"),
        created: reading.at_s,
        livemode: object.get("livemode").and_then(Value::as_bool).or(context.livemode),
        account: shown.account.clone(),
        content: Content::Thin(Thin::default()),
    }
}

fn is_deleted(object: &Value) -> bool {
    object.get("deleted").and_then(Value::as_bool) == Some(true)
}

/// Of a deleted object Stripe shows the id alone. What was known of it stays, marked as deleted.
fn with_last_words<'a>(tx: &Tx, shown: &'a Shown, context: &Context) -> Result<Cow<'a, Snapshot>, ProjectionError> {
    let snapshot = &shown.snapshot;
    if !is_deleted(&snapshot.object) {
        return Ok(Cow::Borrowed(snapshot));
    }
    let event = event(&snapshot.object, shown, context);
    let Some(key) = guard::key(&event, snapshot) else { return Ok(Cow::Borrowed(snapshot)) };
    let Some(mirrored) = objects::find(tx, key)? else { return Ok(Cow::Borrowed(snapshot)) };
    let mut known = Snapshot::of_object(&mirrored.data)?;
    if let Some(fields) = known.object.as_object_mut() {
        fields.insert("deleted".to_owned(), Value::Bool(true));
        known.object_text = known.object.to_string();
    }
    Ok(Cow::Owned(known))
}

/// Whether a row that stands gives way to a reading.
fn gives_way(step: &Step, key: Key, row: &State, reading: Reading) -> Result<bool, StoreError> {
    // A status that cannot be left was not left.
    if row.terminal && !order::is_terminal(&step.snapshot.object) && !is_deleted(&step.snapshot.object) {
        return Ok(false);
    }
    let Some(mirrored) = objects::find(step.tx, key)? else { return Ok(true) };
    is_as_new(step.tx, &mirrored, reading)
}

/// Whether a reading is as new as what the row rests on.
fn is_as_new(reader: &Reader, mirrored: &Mirrored, reading: Reading) -> Result<bool, StoreError> {
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
pub enum Standing {
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
pub fn standing(reader: &Reader, shown: &Shown, context: &Context) -> Result<Option<Standing>, StoreError> {
    let event = event(shown.object(), shown, context);
    let Some(key) = guard::key(&event, &shown.snapshot) else { return Ok(None) };
    let mirrored = objects::find(reader, key)?;
    if inbox::is_awaited(reader, key.id)? {
        return Ok(Some(Standing::Ahead));
    }
    let Some(mirrored) = mirrored else { return Ok(Some(Standing::Unknown)) };
    let level = is_as_new(reader, &mirrored, shown.reading)?;
    Ok(Some(if level { Standing::Level(mirrored) } else { Standing::Ahead }))
}

/// When the reading was sent that a row rests on, and after which event; `None` where it rests on an event.
fn sent_of(mirrored: &Mirrored) -> Option<(i64, i64)> {
    let (_, sent_ms) = mirrored.event_id.strip_prefix(PREFIX)?.rsplit_once(':')?;
    Some((sent_ms.parse().ok()?, mirrored.read.map_or(0, |read| read.log_id)))
}

/// The guard for readings; as `guard::choose`.
pub(super) fn choose<'a>(
    step: &Step<'a>,
    key: Key,
    row: Option<&State>,
    reading: Reading,
) -> Result<Option<Winner<'a>>, ProjectionError> {
    if let Some(row) = row
        && !gives_way(step, key, row, reading)?
    {
        return Ok(None);
    }
    // The events it contains may be of a later second than the one it could be dated to.
    let at_s = row.map_or(reading.at_s, |row| reading.at_s.max(row.event_created));
    let (event, shown) = (step.event, &step.snapshot.object);
    let (deleted, terminal) = order::alone(&event.event_type, shown);
    let read = Some(Reading { at_s, ..reading });
    let state = State { event_created: at_s, deleted, terminal, contested: false, read };
    let version = Version { state: &state, event_id: &event.id, ambiguous: false, data: &step.snapshot.object_text };
    objects::put(step.tx, key, &version)?;
    let (object, event_id, livemode) = (Cow::Borrowed(shown), Cow::Borrowed(event.id.as_str()), key.livemode);
    Ok(Some(Winner { object, created: at_s, event_id, livemode, deleted }))
}

/// The reading that a row rests on, as one of the set that decides; `None` where it rests on an event.
pub(super) fn candidate(
    tx: &Tx,
    key: Key,
    known: Option<Reading>,
) -> Result<Option<(Candidate, String)>, ProjectionError> {
    let Some(reading) = known else { return Ok(None) };
    let Some(mirrored) = objects::find(tx, key)?.filter(|row| row.event_id.starts_with(PREFIX)) else {
        return Ok(None);
    };
    let snapshot = Snapshot::of_object(&mirrored.data)?;
    let phase = if mirrored.deleted { "deleted" } else { "read" };
    let candidate = Candidate {
        event_id: mirrored.event_id,
        event_type: format!("{}.{phase}", key.object),
        created: reading.at_s,
        object: snapshot.object,
        previous: None,
        read: true,
    };
    Ok(Some((candidate, mirrored.data)))
}
