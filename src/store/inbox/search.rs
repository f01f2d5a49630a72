//! The log as an operator searches it: by type, state, object, user and time, in any combination, newest first. One of these
//! is followed through an index; the others are checked on each event that comes by. It must never read without end: when so
//! many events have come by, it stops and says where. Called by the dashboard.

use std::collections::HashSet;

use super::{EventEntry, EventStatus};
use crate::store::engine::row::{self, RowReader, columns};
use crate::store::{StoreError, StoreReader};

/// Events that are looked at for one page; then the search stops and can be gone on with.
const MOST_LOOKED_AT: usize = 4096;
/// Events read at once.
const BATCH: u32 = 256;
/// Of two events, the one with the lower number may have been received this much later, since several threads receive.
const DISORDER_MS: i64 = 2_000;

/// What is searched for.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSearch {
    /// Only this type.
    pub(crate) event_type: Option<String>,
    /// Only this state.
    pub(crate) status: Option<EventStatus>,
    /// Only about this object.
    pub(crate) object_id: Option<String>,
    /// Only what concerns this user, as far as it has been projected.
    pub(crate) user_id: Option<String>,
    /// Only received at this time or later, unix milliseconds.
    pub(crate) from_ms: Option<i64>,
    /// Only received before this time, unix milliseconds.
    pub(crate) until_ms: Option<i64>,
    /// Only what comes after this event in the list.
    pub(crate) before: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct FoundEvents {
    /// Newest first.
    pub(crate) entries: Vec<EventEntry>,
    /// The last event that was looked at, if there may be more behind it that were not.
    pub(crate) stopped_at: Option<EventEntry>,
}

columns! {
    /// An event with what a search checks.
    struct LoggedEvent {
        object_id: Option<String> = "l.object_id",
        entry: EventEntry = EventEntry::COLUMNS => EventEntry::take,
    }
}

/// A way through the log. Each gives a place, by which one goes on, and the event: places below ?1, not below ?2, ?3 of
/// them, with the key ?4.
macro_rules! way {
    ($place:literal, $from:literal) => {
        constcat::concat!("SELECT ", $place, ", ", LoggedEvent::COLUMNS, " ", $from)
    };
}

const EVERYTHING: &str = way!(
    "l.id, 0",
    "FROM stripe_webhooks_log l NOT INDEXED WHERE l.id < ?1 AND l.id >= ?2 AND ?4 IS NULL ORDER BY l.id DESC LIMIT ?3"
);
const BY_TYPE: &str = way!(
    "l.id, 0",
    "FROM stripe_webhooks_log l INDEXED BY stripe_webhooks_log_type
     WHERE l.event_type = ?4 AND l.id < ?1 AND l.id >= ?2 ORDER BY l.id DESC LIMIT ?3"
);
// Repeats the condition of the partial index.
const BY_STATUS: &str = way!(
    "l.id, 0",
    "FROM stripe_webhooks_log l INDEXED BY stripe_webhooks_log_open
     WHERE l.status = ?4 AND l.status <> 'processed' AND l.id < ?1 AND l.id >= ?2 ORDER BY l.id DESC LIMIT ?3"
);
// A user's rows are in the order in which the events happened. The place has two parts, ?1 and ?2.
const BY_USER: &str = way!(
    "a.at_ms, a.id",
    "FROM audit_log a INDEXED BY audit_log_user CROSS JOIN stripe_webhooks_log l ON l.event_id = a.stripe_event_id
     WHERE a.user_id = ?4 AND (a.at_ms, a.id) < (?1, ?2) ORDER BY a.at_ms DESC, a.id DESC LIMIT ?3"
);
// The index of objects has projected events only. Of those that were not, the newest of each state are looked at.
const BY_OBJECT: &str = way!(
    "l.id, 0",
    "FROM stripe_webhooks_log l WHERE l.id IN (
        SELECT id FROM (SELECT id FROM stripe_webhooks_log INDEXED BY stripe_webhooks_log_object
            WHERE object_id = ?4 AND processed_at_ms IS NOT NULL AND id < ?1 AND id >= ?2 ORDER BY event_created DESC LIMIT 4096)
        UNION SELECT id FROM (SELECT id, object_id FROM stripe_webhooks_log INDEXED BY stripe_webhooks_log_open
            WHERE status = 'pending' AND status <> 'processed' AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT 1024) WHERE object_id = ?4
        UNION SELECT id FROM (SELECT id, object_id FROM stripe_webhooks_log INDEXED BY stripe_webhooks_log_open
            WHERE status = 'retrying' AND status <> 'processed' AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT 1024) WHERE object_id = ?4
        UNION SELECT id FROM (SELECT id, object_id FROM stripe_webhooks_log INDEXED BY stripe_webhooks_log_open
            WHERE status = 'dead' AND status <> 'processed' AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT 1024) WHERE object_id = ?4
        UNION SELECT id FROM (SELECT id, object_id FROM stripe_webhooks_log INDEXED BY stripe_webhooks_log_open
            WHERE status = 'ignored' AND status <> 'processed' AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT 1024) WHERE object_id = ?4)
     ORDER BY l.id DESC LIMIT ?3"
);

/// All ways, for the test that none of them reads a whole table.
#[doc(hidden)]
pub const WAYS: [&str; 5] = [EVERYTHING, BY_TYPE, BY_STATUS, BY_USER, BY_OBJECT];

/// Where a search stands on its way: the number in the log, or the time and the number of a user's row.
type Place = (i64, i64);

/// At most so many events that match.
pub(crate) fn search(reader: &StoreReader, search: &EventSearch, most: usize) -> Result<FoundEvents, StoreError> {
    let (sql, key) = way(search);
    let Some((mut below, floor)) = bounds(reader, search, sql)? else { return Ok(FoundEvents::default()) };
    let (mut found, mut seen, mut looked_at) = (FoundEvents::default(), HashSet::new(), 0);
    while looked_at < MOST_LOOKED_AT {
        let second = if sql == BY_USER { below.1 } else { floor };
        let batch = reader.list(sql, (below.0, second, BATCH, key), |row| {
            let mut cells = RowReader::of(row);
            Ok(((cells.take()?, cells.take()?), LoggedEvent::take(&mut cells)?))
        })?;
        looked_at += batch.len();
        found.stopped_at = batch.last().filter(|_| is_full(&batch)).map(|(_, event)| event.entry.clone());
        below = batch.last().map_or(below, |(place, _)| *place);
        // A user's rows may name an event twice.
        let new = batch.into_iter().filter(|(_, event)| matches(search, event)).map(|(_, event)| event.entry);
        found.entries.extend(new.filter(|entry| seen.insert(entry.event_id.clone())));
        if found.entries.len() >= most || found.stopped_at.is_none() {
            break;
        }
    }
    if found.entries.len() >= most {
        found.entries.truncate(most);
        found.stopped_at = None;
    }
    Ok(found)
}

fn is_full<T>(batch: &[T]) -> bool {
    u32::try_from(batch.len()).unwrap_or(u32::MAX) >= BATCH
}

/// The narrowest way, and its key.
fn way(search: &EventSearch) -> (&'static str, Option<&str>) {
    let open = search.status.filter(|status| *status != EventStatus::Processed);
    match (&search.object_id, &search.user_id, open, &search.event_type) {
        (Some(object_id), ..) => (BY_OBJECT, Some(object_id)),
        (_, Some(user_id), ..) => (BY_USER, Some(user_id)),
        (_, _, Some(status), _) => (BY_STATUS, Some(status.as_str())),
        (.., Some(event_type)) => (BY_TYPE, Some(event_type)),
        _ => (EVERYTHING, None),
    }
}

fn matches(search: &EventSearch, event: &LoggedEvent) -> bool {
    let entry = &event.entry;
    search.event_type.as_ref().is_none_or(|wanted| *wanted == entry.event_type)
        && search.status.is_none_or(|wanted| wanted.as_str() == entry.status)
        && search.object_id.as_ref().is_none_or(|wanted| event.object_id.as_ref() == Some(wanted))
        && search.from_ms.is_none_or(|from| entry.received_ms >= from)
        && search.until_ms.is_none_or(|until| entry.received_ms < until)
}

/// Behind which place the search begins, and at which number of the log it ends; `None`: the event to go on behind is not
/// known.
fn bounds(reader: &StoreReader, search: &EventSearch, sql: &str) -> Result<Option<(Place, i64)>, StoreError> {
    // Of several rows of one event the last one on the way, so that it is not found again.
    const AUDITED: &str = "SELECT at_ms, id FROM audit_log WHERE stripe_event_id = ?1 ORDER BY at_ms, id LIMIT 1";
    const LOGGED: &str = "SELECT id, 0 FROM stripe_webhooks_log WHERE event_id = ?1";
    let by_user = sql == BY_USER;
    let start = search
        .before
        .as_ref()
        .map(|before| reader.find(if by_user { AUDITED } else { LOGGED }, [before], row::tuple::<Place>));
    let Some(below) = start.transpose()?.map_or(Some((i64::MAX, i64::MAX)), |place| place) else { return Ok(None) };
    if by_user {
        return Ok(Some((below, 0)));
    }
    let late = |ms: i64| first_received(reader, ms.saturating_add(DISORDER_MS));
    let early = |ms: i64| first_received(reader, ms.saturating_sub(DISORDER_MS));
    let end = search.until_ms.map(late).transpose()?.unwrap_or(i64::MAX);
    Ok(Some(((below.0.min(end), below.1), search.from_ms.map(early).transpose()?.unwrap_or(0))))
}

const NEXT: &str = "SELECT id, created_at_ms FROM stripe_webhooks_log WHERE id >= ?1 ORDER BY id LIMIT 1";

/// The number of the first event that was received then or later. Numbers rise with time, so that halving finds it in a
/// few steps without an index of times.
fn first_received(reader: &StoreReader, ms: i64) -> Result<i64, StoreError> {
    let newest: i64 = reader.get("SELECT coalesce(max(id), 0) FROM stripe_webhooks_log", [], row::only)?;
    let (mut low, mut high) = (0, newest.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        match reader.find(NEXT, [middle], row::tuple::<(i64, i64)>)? {
            Some((id, received_ms)) if received_ms < ms => low = id.saturating_add(1),
            _ => high = middle,
        }
    }
    Ok(low)
}
