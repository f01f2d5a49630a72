//! One row of the outbox: where it stands in a sentence, what can be done, its facts, the mail as its reader sees it, and its
//! payload as a tree. It must never change the row. Called through the table in `outbox`.

use askama::Template;

use super::{EndpointView, UserLink, endpoint, find, id_of, mail, words};
use crate::http::dashboard::hidden;
use crate::http::dashboard::page::{self, Frame, Page, PageError, PageResult};
use crate::http::dashboard::tree::{Tree, TreeStep};
use crate::http::dashboard::view::{self, Id, When};
use crate::notify::attempt::MAIL;
use crate::notify::mail::RenderedMail;
use crate::store::outbox::rows::OutboxRow;
use crate::store::webhook_endpoints::{self, EndpointEntry};

#[derive(Template)]
#[template(path = "outbox_row.html", config = "src/http/dashboard/askama.toml")]
struct OutboxRowPage {
    frame: Frame,
    id: String,
    sentence: String,
    state: &'static str,
    status: String,
    about: &'static str,
    can_retry: bool,
    can_discard: bool,
    kind: String,
    what: String,
    to: String,
    user: Option<UserLink>,
    /// The event that brought it about, and its link.
    cause: Option<(Id, String)>,
    attempts: u32,
    error: String,
    written: When,
    due: Option<When>,
    ended: Option<When>,
    key: Id,
    endpoint: Option<EndpointView>,
    mail: Option<MailView>,
    tree: Tree,
}

/// A mail, or why it cannot be shown.
struct MailView {
    subject: String,
    text: String,
    fault: Option<String>,
}

pub(super) fn show(page: &Page<'_>) -> PageResult {
    let row = find(page, id_of(page.parameter("id"))?)?;
    let (now_ms, when) = (page.now_ms, |ms: i64| When::ms(ms, page.now_ms));
    let shown = OutboxRowPage {
        frame: page.frame("outbox", format!("Outbox row {}", row.id))?,
        id: row.id.clone(),
        sentence: words::sentence(&row, now_ms),
        state: words::state(&row.status),
        status: row.status.clone(),
        about: words::about(&row.status),
        can_retry: words::can_retry(&row),
        can_discard: words::can_discard(&row),
        kind: words::kind(&row.kind),
        what: words::what(&row),
        to: words::to(&row),
        user: row.user_id.as_deref().map(UserLink::new),
        cause: row.cause.as_deref().map(|id| (Id::new(id), page::encoded(id))),
        attempts: row.attempts,
        error: row.error.clone().unwrap_or_default(),
        written: when(row.created_at_ms),
        due: (row.status == "pending").then(|| when(row.due_ms)),
        ended: row.finished_at_ms.map(when),
        key: Id::new(&row.shown_key()),
        endpoint: troubled(page, &row)?,
        mail: (row.kind == "mail").then(|| mail_of(page, &row)),
        tree: Tree::of(&hidden::without(&row.payload)),
    };
    let mut response = page::html(200, &shown)?;
    response.headers.push(("Content-Security-Policy", mail::FRAMING_POLICY.to_owned()));
    Ok(response)
}

/// The endpoint that it goes to, if that takes nothing.
fn troubled(page: &Page<'_>, row: &OutboxRow) -> Result<Option<EndpointView>, PageError> {
    let Some(url) = row.target.as_deref().filter(|target| *target != MAIL) else { return Ok(None) };
    let state = page.api.store.read(|reader| webhook_endpoints::find(reader, url))?;
    let entry = state.map(|state| EndpointEntry { url: url.to_owned(), state });
    Ok(entry.filter(EndpointEntry::is_troubled).map(|entry| endpoint(&entry, page.now_ms)))
}

fn mail_of(page: &Page<'_>, row: &OutboxRow) -> MailView {
    match mail::render(page.api.dashboard.settings.mail.as_ref(), row) {
        Ok(RenderedMail { subject, text, .. }) => MailView { subject, text, fault: None },
        Err(fault) => MailView { subject: String::new(), text: String::new(), fault: Some(fault) },
    }
}
