//! Events: the log, filtered by what stands in the address; one event. Called through the table in `dashboard`.

use askama::Template;

use super::list::{ActiveFilter, Links, Pager, ROWS, fetch};
use super::page::{self, Frame, Page, PageError, PageResult};
use super::view::{self, Id, When};
use super::{PageRoute, on};
use crate::http::request::Method::Get;
use crate::objects::kinds;
use crate::store::inbox::{self, EventEntry, EventFilter, EventStatus};

pub(super) const ROUTES: &[PageRoute] = &[on(Get, "events", list)];

#[derive(Template)]
#[template(path = "events.html", config = "src/http/dashboard/askama.toml")]
struct EventsPage {
    frame: Frame,
    event_type: String,
    status: String,
    types: Vec<&'static str>,
    statuses: Vec<&'static str>,
    filters: Vec<ActiveFilter>,
    rows: Vec<EventRow>,
    pager: Pager,
}

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
    let (event_type, status) = (page.parameter("type"), page.parameter("status"));
    let chosen = status.as_deref().map(|text| {
        EventStatus::parse(text).ok_or_else(|| PageError::Refused(400, format!("There is no status {text:?}.")))
    });
    let filter =
        EventFilter { event_type: event_type.clone(), status: chosen.transpose()?, before: page.parameter("before") };
    let links = Links::new("events", &[("type", event_type.as_deref()), ("status", status.as_deref())]);
    let mut entries = page.api.store.read(|reader| inbox::list(reader, &filter, fetch()))?;
    let pager = links.pager(&mut entries, filter.before.as_deref(), |entry| entry.event_id.clone());
    page::html(
        200,
        &EventsPage {
            frame: page.frame("events", "Events")?,
            event_type: event_type.clone().unwrap_or_default(),
            status: status.clone().unwrap_or_default(),
            types: kinds::event_types().collect(),
            statuses: EventStatus::ALL.map(EventStatus::as_str).to_vec(),
            filters: links.active(),
            rows: entries.iter().take(ROWS).map(|entry| row(entry, page.now_ms)).collect(),
            pager,
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
