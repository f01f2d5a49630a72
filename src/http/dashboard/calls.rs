//! Calls to Stripe: those whose outcome is not known first, and what will happen to each; one call with what was sent and
//! what came of it. It must never ask Stripe, nor show what opens something for whoever reads it. Called through the table
//! in `dashboard`.

mod one;
mod words;

use askama::Template;

use super::list::{ActiveFilter, Links, Pager, ROWS, fetch};
use super::outbox::UserLink;
use super::page::{self, Frame, Page, PageError, PageResult};
use super::view::{self, Id, When};
use super::{PageRoute, on};
use crate::http::request::Method::Get;
use crate::store::stripe_operations::list::{self as operations, OperationEntry, OperationFilter};

pub(super) const ROUTES: &[PageRoute] = &[on(Get, "calls", list), on(Get, "call", one::show)];

#[derive(Template)]
#[template(path = "calls.html", config = "src/http/dashboard/askama.toml")]
struct CallsPage {
    frame: Frame,
    has_key: bool,
    status: String,
    user: String,
    statuses: Vec<(&'static str, &'static str)>,
    filters: Vec<ActiveFilter>,
    rows: Vec<CallRow>,
    pager: Pager,
}

struct CallRow {
    id: String,
    what: String,
    status: String,
    state: &'static str,
    user: Option<UserLink>,
    /// What came of it, else what it is done to.
    object: Option<Id>,
    note: String,
    at: When,
}

fn list(page: &Page<'_>) -> PageResult {
    let [status, user, before] = ["status", "user", "before"].map(|name| page.parameter(name));
    if let Some(word) = status.as_deref().filter(|word| !operations::states().any(|known| known == *word)) {
        return Err(PageError::Refused(400, format!("There is no status {word:?}.")));
    }
    let after = before.as_deref().map(|text| text.parse().map_err(|_| no_call(text))).transpose()?;
    let links = Links::new("calls", &[("status", status.as_deref()), ("user", user.as_deref())]);
    let filter = OperationFilter { status: status.clone(), user_id: user.clone(), after };
    let mut found = page.api.store.read(|reader| operations::list(reader, &filter, fetch()))?;
    let pager = links.pager(&mut found, before.as_deref(), |entry| entry.id.clone());
    page::html(
        200,
        &CallsPage {
            frame: page.frame("calls", "Calls to Stripe")?,
            has_key: page.api.calls.is_some(),
            statuses: operations::states().map(|word| (word, words::state(word))).collect(),
            filters: links.active(),
            rows: found.iter().take(ROWS).map(|entry| row(page, entry)).collect(),
            pager,
            status: status.unwrap_or_default(),
            user: user.unwrap_or_default(),
        },
    )
}

fn no_call(text: &str) -> PageError {
    PageError::not_found(format!("There is no call {text:?}."))
}

fn row(page: &Page<'_>, entry: &OperationEntry) -> CallRow {
    let note = words::short(entry, page.api.calls.is_some(), page.now_ms);
    CallRow {
        id: entry.id.clone(),
        what: view::cut(&entry.kind),
        status: entry.status.clone(),
        state: words::state(&entry.status),
        user: entry.user_id.as_deref().map(UserLink::new),
        object: entry.object_id.as_deref().or(entry.subject.as_deref()).map(Id::new),
        note: view::cut(&note),
        at: When::ms(entry.first_sent_ms, page.now_ms),
    }
}
