//! Events: the log, filtered by what stands in the address. Called through the table in `dashboard`.

mod filter;
mod one;
mod replay;
mod retries;
mod words;

use askama::Template;

use super::list::{ActiveFilter, Links, Pager, ROWS};
use super::page::{self, Frame, Page, PageResult};
use super::view::{self, Id, When};
use super::{PageRoute, on};
use crate::http::request::Method::{Get, Post};
use crate::objects::kinds;
use crate::store::inbox::search::{self, FoundEvents};
use crate::store::inbox::{EventEntry, EventStatus};
use crate::store::{dead_letters, retries as queue};

pub(super) use replay::ACTOR;
pub(super) use words::{attempts, reason};

pub(super) const ROUTES: &[PageRoute] = &[
    on(Get, "events", list),
    on(Get, "event", one::show),
    on(Get, "event-body", one::body),
    on(Get, "event-replay", replay::ask),
    on(Post, "event-replay", replay::act),
    on(Get, "retries", retries::list),
];

/// What waits for a retry, or for an operator, is counted up to here; more is "more than".
const MOST_COUNTED: u32 = 10_000;

#[derive(Template)]
#[template(path = "events.html", config = "src/http/dashboard/askama.toml")]
struct EventsPage {
    frame: Frame,
    fields: filter::Fields,
    types: Vec<&'static str>,
    statuses: Vec<&'static str>,
    filters: Vec<ActiveFilter>,
    rows: Vec<EventRow>,
    pager: Pager,
    /// Where the search stopped, and the link that goes on with it.
    stopped: Option<(When, String)>,
    /// Events that wait for a retry, and when the next one is due.
    retrying: Option<(String, Option<When>)>,
    /// Dead letters.
    dead: Option<String>,
}

/// An event as lists show it.
struct EventRow {
    id: Id,
    /// The id as a value of a link's query.
    link: String,
    event_type: String,
    status: String,
    error: String,
    received: When,
}

fn list(page: &Page<'_>) -> PageResult {
    let fields = filter::Fields::of(page);
    let search = fields.search(page.parameter("before"))?;
    let links = Links::new("events", &fields.named());
    let (found, counts) = page.api.store.read(|reader| {
        let found = search::search(reader, &search, ROWS.saturating_add(1))?;
        let dead = dead_letters::count_matching(reader, &dead_letters::LetterFilter::default(), MOST_COUNTED)?;
        Ok((found, (queue::count(reader, MOST_COUNTED)?, queue::next_due_ms(reader)?, dead.count)))
    })?;
    let FoundEvents { mut entries, stopped_at } = found;
    let pager = links.pager(&mut entries, search.before.as_deref(), |entry| entry.event_id.clone());
    let (retrying, next_ms, dead) = counts;
    let next = next_ms.map(|ms| When::ms(ms, page.now_ms));
    page::html(
        200,
        &EventsPage {
            frame: page.frame("events", "Events")?,
            types: kinds::event_types().collect(),
            statuses: EventStatus::ALL.map(EventStatus::as_str).to_vec(),
            filters: links.active(),
            rows: entries.iter().map(|entry| row(entry, page.now_ms)).collect(),
            pager,
            stopped: stopped_at.map(|at| (When::ms(at.received_ms, page.now_ms), links.before(&at.event_id))),
            retrying: (retrying > 0).then(|| (view::counted(retrying, MOST_COUNTED, "event"), next)),
            dead: (dead > 0).then(|| view::counted(dead, MOST_COUNTED, "dead letter")),
            fields,
        },
    )
}

fn row(entry: &EventEntry, now_ms: i64) -> EventRow {
    EventRow {
        id: Id::new(&entry.event_id),
        link: page::encoded(&entry.event_id),
        event_type: view::cut(&entry.event_type),
        status: entry.status.clone(),
        error: view::cut(entry.error.as_deref().unwrap_or_default()),
        received: When::ms(entry.received_ms, now_ms),
    }
}
