//! The retry queue: events that failed and are tried again by themselves, the next one first. Called through the table in
//! `events`.

use askama::Template;

use super::words;
use crate::http::dashboard::list::{Links, Pager, fetch};
use crate::http::dashboard::page::{self, Frame, Page, PageResult};
use crate::http::dashboard::view::{self, Id, When};
use crate::store::retries::{self, Retry};

#[derive(Template)]
#[template(path = "retries.html", config = "src/http/dashboard/askama.toml")]
struct RetriesPage {
    frame: Frame,
    rows: Vec<RetryRow>,
    pager: Pager,
}

struct RetryRow {
    id: Id,
    link: String,
    event_type: String,
    attempts: String,
    error: String,
    due: When,
}

pub(super) fn list(page: &Page<'_>) -> PageResult {
    let before = page.parameter("before");
    let mut rows = page.api.store.read(|reader| retries::list(reader, before.as_deref(), fetch()))?;
    let links = Links::new("retries", &[]);
    let pager = links.pager(&mut rows, before.as_deref(), |row| row.event_id.clone());
    let rows = rows.iter().map(|retry| row(retry, page.now_ms)).collect();
    page::html(200, &RetriesPage { frame: page.frame("events", "Retries")?, rows, pager })
}

fn row(retry: &Retry, now_ms: i64) -> RetryRow {
    RetryRow {
        id: Id::new(&retry.event_id),
        link: page::encoded(&retry.event_id),
        event_type: view::cut(&retry.event_type),
        attempts: format!("{} of {}", words::attempts(retry.retry_count), retry.max_retries),
        error: view::cut(&retry.last_error),
        due: When::ms(retry.due_ms, now_ms),
    }
}
