//! The outbox: what is to be sent and what became of it, filtered by what stands in the address, and how the application's
//! endpoints fare. Its children show one row, look at a mail, and have rows sent again or discarded. It must never send
//! anything itself. Called through the table in `dashboard`.

mod acts;
mod mail;
mod one;
mod words;

use askama::Template;

use super::list::{ActiveFilter, Links, Pager, ROWS, fetch};
use super::page::{self, Frame, Page, PageError, PageResult};
use super::view::{self, When};
use super::{PageRoute, on};
use crate::base::secret::without_query;
use crate::http::request::Method::{Get, Post};
use crate::store::outbox::rows::{self, OutboxCounts, OutboxFilter, OutboxRow};
use crate::store::webhook_endpoints::{self, EndpointEntry};
use words::{KINDS, STATES};

pub(super) const ROUTES: &[PageRoute] = &[
    on(Get, "outbox", list),
    on(Get, "outbox-row", one::show),
    on(Get, "outbox-mail", mail::show),
    on(Get, "outbox-retry", acts::ask_retry),
    on(Post, "outbox-retry", acts::retry),
    on(Get, "outbox-retry-all", acts::ask_retry_all),
    on(Post, "outbox-retry-all", acts::retry_all),
    on(Get, "outbox-discard", acts::ask_discard),
    on(Post, "outbox-discard", acts::discard),
];

/// Up to here rows are counted.
const MOST_COUNTED: u32 = 10_000;
/// Endpoints that are listed.
const MOST_ENDPOINTS: u32 = 100;

#[derive(Template)]
#[template(path = "outbox.html", config = "src/http/dashboard/askama.toml")]
struct OutboxPage {
    frame: Frame,
    /// How it stands, in a sentence.
    standing: String,
    has_failed: bool,
    endpoints: Vec<EndpointView>,
    chosen: ChosenFilter,
    filters: Vec<ActiveFilter>,
    rows: Vec<RowView>,
    pager: Pager,
}

/// The filter as its form shows it.
struct ChosenFilter {
    status: String,
    kind: String,
    target: String,
    user: String,
}

/// An endpoint that gets nothing, or not everything.
struct EndpointView {
    url: String,
    /// The list of its rows.
    link: String,
    /// The class of its dot.
    word: &'static str,
    since: Option<When>,
    reason: String,
    /// When a disabled one is tried again.
    probe: Option<When>,
    last_success: Option<When>,
}

struct RowView {
    id: String,
    what: String,
    status: String,
    state: &'static str,
    to: String,
    user: Option<UserLink>,
    note: String,
    at: When,
}

/// A user, and the link to the page about him.
pub(super) struct UserLink {
    pub(super) id: String,
    pub(super) link: String,
}

impl UserLink {
    pub(super) fn new(id: &str) -> Self {
        Self { id: view::cut(id), link: format!("user?id={}", page::encoded(id)) }
    }
}

fn list(page: &Page<'_>) -> PageResult {
    let [status, kind, target, user, before] =
        ["status", "kind", "target", "user", "before"].map(|name| page.parameter(name));
    known("status", status.as_deref(), STATES.iter().map(|state| state.word))?;
    known("kind", kind.as_deref(), KINDS.iter().map(|(word, _)| *word))?;
    let number = before.as_deref().map(|text| text.parse().map_err(|_| no_row(text))).transpose()?;
    // An endpoint has a name for the addresses of pages, in which its URL may not stand.
    let url = target.as_deref().map(|name| url_of(page, name)).transpose()?;
    let target = url.as_deref().map(without_query);
    let filter = OutboxFilter {
        kind: kind.as_deref(),
        status: status.as_deref(),
        target: url.as_deref(),
        user_id: user.as_deref(),
        before: number,
    };
    let links = Links::new(
        "outbox",
        &[
            ("status", status.as_deref()),
            ("kind", kind.as_deref()),
            ("target", target.as_deref()),
            ("user", user.as_deref()),
        ],
    );
    let (mut found, counts, endpoints) = page.api.store.read(|reader| {
        let endpoints = webhook_endpoints::list_all(reader, MOST_ENDPOINTS)?;
        Ok((rows::list(reader, filter, fetch())?, rows::count(reader, MOST_COUNTED + 1)?, endpoints))
    })?;
    let pager = links.pager(&mut found, before.as_deref(), |row| row.id.clone());
    let troubled = endpoints.iter().filter(|entry| entry.is_troubled());
    page::html(
        200,
        &OutboxPage {
            frame: page.frame("outbox", "Outbox")?,
            standing: standing(counts),
            has_failed: counts.failed > 0,
            endpoints: troubled.map(|entry| endpoint(entry, page.now_ms)).collect(),
            filters: links.active(),
            rows: found.iter().take(ROWS).map(|found| row(found, &endpoints, page.now_ms)).collect(),
            pager,
            chosen: ChosenFilter {
                status: status.unwrap_or_default(),
                kind: kind.unwrap_or_default(),
                target: target.unwrap_or_default(),
                user: user.unwrap_or_default(),
            },
        },
    )
}

/// The URL of the endpoint of that name.
fn url_of(page: &Page<'_>, name: &str) -> Result<String, PageError> {
    Ok(page.api.store.read(|reader| webhook_endpoints::url_of(reader, name))?)
}

/// Refuses a word that a filter cannot have.
fn known<'a>(name: &str, given: Option<&str>, mut words: impl Iterator<Item = &'a str>) -> Result<(), PageError> {
    match given {
        Some(given) if !words.any(|word| word == given) => {
            Err(PageError::Refused(400, format!("There is no {name} {given:?}.")))
        }
        _ => Ok(()),
    }
}

fn no_row(text: &str) -> PageError {
    PageError::not_found(format!("There is no row {text:?} in the outbox."))
}

/// The number of the row that a request names.
fn id_of(text: Option<String>) -> Result<i64, PageError> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| no_row(&text))
}

/// The row that a request is about.
fn find(page: &Page<'_>, id: i64) -> Result<OutboxRow, PageError> {
    let found = page.api.store.read(|reader| rows::find(reader, id))?;
    found.ok_or_else(|| no_row(&id.to_string()))
}

fn standing(counts: OutboxCounts) -> String {
    let count = |number: u32| match number {
        0 => "nothing".to_owned(),
        number if number > MOST_COUNTED => format!("more than {MOST_COUNTED}"),
        number => number.to_string(),
    };
    let was = if counts.failed <= 1 { "was" } else { "were" };
    match (counts.waiting, counts.failed) {
        (0, 0) => "Nothing waits, and nothing was given up.".to_owned(),
        (waiting, failed) => format!("Waiting: {}; {} {was} given up.", count(waiting), count(failed)),
    }
}

fn endpoint(entry: &EndpointEntry, now_ms: i64) -> EndpointView {
    let (state, when) = (&entry.state, |ms: Option<i64>| ms.map(|ms| When::ms(ms, now_ms)));
    EndpointView {
        url: view::cut(&without_query(&entry.url)),
        link: format!("outbox?target={}", page::encoded(&without_query(&entry.url))),
        word: if state.disabled_at_ms.is_some() { "disabled" } else { "failing" },
        since: when(state.disabled_at_ms.or(state.first_failure_ms)),
        reason: state.disabled_reason.clone().unwrap_or_default(),
        probe: when(state.probe_at_ms.filter(|_| state.disabled_at_ms.is_some())),
        last_success: when(state.last_success_ms),
    }
}

fn row(row: &OutboxRow, endpoints: &[EndpointEntry], now_ms: i64) -> RowView {
    let of = endpoints.iter().find(|entry| row.target.as_deref() == Some(entry.url.as_str()));
    let disabled = of.map(|entry| &entry.state).filter(|state| state.disabled_at_ms.is_some());
    RowView {
        id: row.id.clone(),
        what: words::what(row),
        status: row.status.clone(),
        state: words::state(&row.status),
        to: words::to(row),
        user: row.user_id.as_deref().map(UserLink::new),
        note: view::cut(&words::note(row, disabled, now_ms)),
        at: When::ms(row.created_at_ms, now_ms),
    }
}
