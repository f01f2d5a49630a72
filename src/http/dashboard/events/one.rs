//! One event: what it is and how it stands, what can be done, its attempts, what it changed, its object's other events, and
//! its body as a tree, folded. Called through the table in `events`.

use askama::Template;

use super::words::{self, Waiting};
use super::{EventRow, row};
use crate::http::dashboard::hidden;
use crate::http::dashboard::page::{self, Frame, Page, PageError, PageResult};
use crate::http::dashboard::tree::{Tree, TreeStep};
use crate::http::dashboard::view::{self, Id, When};
use crate::http::response::Response;
use crate::store::audit::AuditEntry;
use crate::store::inbox::search::{self, EventSearch};
use crate::store::inbox::traces::{self, EventDetail, HistoryTrace, ReadingTrace, RestsOn};
use crate::store::inbox::{self, EventEntry, FailedAttempt};
use crate::store::{StoreError, StoreReader, dead_letters, retries};

/// Other events of the object that are shown, this one included.
const SIBLINGS: usize = 11;
/// Readings of the object that are shown.
const READINGS: u32 = 5;

#[derive(Template)]
#[template(path = "event.html", config = "src/http/dashboard/askama.toml")]
struct EventPage {
    frame: Frame,
    id: Id,
    link: String,
    status: String,
    what: String,
    standing: String,
    is_dead: bool,
    error: Option<String>,
    object: Option<Link>,
    user: Option<Link>,
    facts: Vec<(&'static str, When)>,
    version: Option<String>,
    account: Option<String>,
    attempts: Vec<(u32, When, String)>,
    rests: String,
    rests_on: Option<Link>,
    history: Option<(Link, String)>,
    audit: Vec<AuditRow>,
    readings: Vec<(When, &'static str)>,
    siblings: Vec<EventRow>,
    has_more: bool,
    tree: Tree,
    bytes: String,
}

/// An id and where it leads, as a value of a link's query.
struct Link {
    id: Id,
    link: String,
}

impl Link {
    fn new(id: &str) -> Self {
        Self { id: Id::new(id), link: page::encoded(id) }
    }
}

struct AuditRow {
    action: String,
    user: Option<Link>,
    subject: Option<Id>,
}

/// All that is read of an event.
struct Found {
    detail: EventDetail,
    body: String,
    waiting: Waiting,
    attempts: Vec<FailedAttempt>,
    audit: Vec<AuditEntry>,
    history: Option<HistoryTrace>,
    rests_on: Option<RestsOn>,
    readings: Vec<ReadingTrace>,
    siblings: Vec<EventEntry>,
}

fn id_of(page: &Page<'_>) -> Result<String, PageError> {
    page.parameter("id").ok_or_else(|| PageError::not_found("This address names no event: it needs ?id=evt_…"))
}

fn unknown(id: &str) -> PageError {
    PageError::not_found(format!("There is no event {:?} in the log.", view::cut(id)))
}

fn find(reader: &StoreReader, id: &str) -> Result<Option<Found>, StoreError> {
    let Some(detail) = traces::find_detail(reader, id)? else { return Ok(None) };
    let object_id = detail.object_id.clone();
    let (readings, siblings) = match &object_id {
        Some(object_id) => {
            let wanted = EventSearch { object_id: Some(object_id.clone()), ..EventSearch::default() };
            let siblings = search::search(reader, &wanted, SIBLINGS.saturating_add(1))?.entries;
            (traces::list_readings(reader, object_id, READINGS)?, siblings)
        }
        None => (Vec::new(), Vec::new()),
    };
    Ok(Some(Found {
        body: inbox::find_payload(reader, id)?.unwrap_or_default(),
        waiting: Waiting { retry: retries::find(reader, id)?, letter: dead_letters::find(reader, id)? },
        attempts: inbox::list_attempts(reader, id)?,
        audit: traces::list_audit(reader, id)?,
        history: traces::find_history(reader, id)?,
        rests_on: traces::find_rests_on(reader, &detail)?,
        readings,
        siblings,
        detail,
    }))
}

pub(super) fn show(page: &Page<'_>) -> PageResult {
    let id = id_of(page)?;
    let found = page.api.store.read(|reader| find(reader, &id))?.ok_or_else(|| unknown(&id))?;
    let frame = page.frame("events", found.detail.entry.event_type.clone())?;
    page::html(200, &written(found, frame, page.now_ms))
}

fn written(found: Found, frame: Frame, now_ms: i64) -> EventPage {
    let (detail, entry) = (&found.detail, &found.detail.entry);
    let user = found.audit.iter().find_map(|row| row.user_id.as_deref()).map(Link::new);
    let is_this = |rests: &&RestsOn| rests.event_id != entry.event_id && !rests.event_id.starts_with("read:");
    let mut siblings: Vec<EventRow> = found.siblings.iter().map(|entry| row(entry, now_ms)).collect();
    let has_more = siblings.len() > SIBLINGS;
    siblings.truncate(SIBLINGS);
    EventPage {
        frame,
        id: Id::new(&entry.event_id),
        link: page::encoded(&entry.event_id),
        status: entry.status.clone(),
        what: words::what(detail),
        standing: words::standing(detail, &found.waiting, now_ms),
        is_dead: found.waiting.letter.is_some(),
        error: entry.error.clone().filter(|_| found.attempts.is_empty()).map(|error| view::cut(&error)),
        object: detail.object_id.as_deref().map(Link::new),
        user,
        facts: times(detail, now_ms),
        version: entry.api_version.clone(),
        account: entry.account.clone(),
        attempts: attempts(&found.attempts, now_ms),
        rests: words::rests(detail, found.rests_on.as_ref()),
        rests_on: found.rests_on.as_ref().filter(is_this).map(|rests| Link::new(&rests.event_id)),
        history: found.history.as_ref().map(|row| (Link::new(&row.subscription_id), words::history(row))),
        audit: found.audit.iter().map(audited).collect(),
        readings: found.readings.iter().map(|reading| read(reading, now_ms)).collect(),
        siblings,
        has_more,
        tree: Tree::of(&hidden::without(&found.body)),
        bytes: view::bytes(detail.body_bytes),
    }
}

fn times(detail: &EventDetail, now_ms: i64) -> Vec<(&'static str, When)> {
    let entry = &detail.entry;
    let mut times = vec![
        ("Happened at Stripe", When::s(entry.event_created, now_ms)),
        ("Received", When::ms(entry.received_ms, now_ms)),
    ];
    times.extend(detail.processed_at_ms.map(|at_ms| ("Last worked on", When::ms(at_ms, now_ms))));
    times
}

fn attempts(attempts: &[FailedAttempt], now_ms: i64) -> Vec<(u32, When, String)> {
    attempts.iter().map(|(number, at_ms, error)| (*number, When::ms(*at_ms, now_ms), view::cut(error))).collect()
}

fn audited(row: &AuditEntry) -> AuditRow {
    AuditRow {
        action: row.action.clone(),
        user: row.user_id.as_deref().map(Link::new),
        subject: row.subject.as_deref().map(Id::new),
    }
}

fn read(reading: &ReadingTrace, now_ms: i64) -> (When, &'static str) {
    let words = if reading.repeats { "it showed what was known" } else { "it showed something new" };
    (When::ms(reading.taken_at_ms, now_ms), words)
}

/// The body to look at in a browser and to save. As text, so that nothing in it is run. What opens a payment or a page is
/// left out here, too: a file that is saved goes further than a page. Byte for byte the command line and the admin API have it.
pub(super) fn body(page: &Page<'_>) -> PageResult {
    let id = id_of(page)?;
    let body = page.api.store.read(|reader| inbox::find_payload(reader, &id))?;
    Ok(Response::text(200, &hidden::without(&body.ok_or_else(|| unknown(&id))?)))
}
