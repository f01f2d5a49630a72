//! One call to Stripe: where it stands, what will happen, what was sent and what came of it. Secrets, and links that open a
//! session for whoever has them, are left out. It must never ask Stripe. Called through the table in `calls`.

use askama::Template;

use super::words;
use crate::http::dashboard::hidden::{self, HIDDEN};
use crate::http::dashboard::outbox::UserLink;
use crate::http::dashboard::page::{self, Frame, Page, PageResult};
use crate::http::dashboard::tree::{Tree, TreeStep};
use crate::http::dashboard::view::{self, Id, When};
use crate::http::request;
use crate::store::stripe_operations::one;
use crate::stripe::settings::Mode;

/// Parameters that are shown.
const MOST_PARAMETERS: usize = 200;

#[derive(Template)]
#[template(path = "call.html", config = "src/http/dashboard/askama.toml")]
struct CallPage {
    frame: Frame,
    status: String,
    state: &'static str,
    standing: &'static str,
    /// What will happen, if its outcome is not known.
    fate: Vec<String>,
    error: String,
    user: Option<UserLink>,
    subject: Option<Id>,
    object: Option<Id>,
    key: Id,
    request: Option<RequestLink>,
    attempts: u32,
    sent: When,
    ended: Option<When>,
    line: String,
    parameters: Vec<(String, String)>,
    answer: Option<Tree>,
}

/// Stripe's id of a request, and its page at Stripe.
struct RequestLink {
    id: Id,
    link: Option<String>,
}

pub(super) fn show(page: &Page<'_>) -> PageResult {
    let id = page.parameter("id").unwrap_or_default();
    let number = id.parse().map_err(|_| super::no_call(&id))?;
    let found = page.api.store.read(|reader| one::find(reader, number))?.ok_or_else(|| super::no_call(&id))?;
    let (entry, now_ms) = (&found.entry, page.now_ms);
    let kind = found.known.as_ref().map(|known| known.kind);
    let has_key = page.api.calls.is_some();
    let fate = if words::is_open(&entry.status) { words::fate(entry, kind, has_key, now_ms) } else { Vec::new() };
    page::html(
        200,
        &CallPage {
            frame: page.frame("calls", format!("Call {}: {}", entry.id, view::cut(&entry.kind)))?,
            status: entry.status.clone(),
            state: words::state(&entry.status),
            standing: words::standing(&entry.status),
            fate,
            error: view::cut(entry.error.as_deref().unwrap_or_default()),
            user: entry.user_id.as_deref().map(UserLink::new),
            subject: entry.subject.as_deref().map(Id::new),
            object: entry.object_id.as_deref().map(Id::new),
            key: Id::new(&entry.idempotency_key),
            request: entry.request_id.as_deref().map(|id| request_link(id, page.api.offers.mode)),
            attempts: entry.attempts,
            sent: When::ms(entry.first_sent_ms, now_ms),
            ended: entry.finished_at_ms.map(|ms| When::ms(ms, now_ms)),
            line: format!("{} {}", found.verb, view::cut(&found.path)),
            parameters: parameters(&found.form),
            answer: found.answer.as_deref().map(|text| Tree::of(&hidden::without(text))),
        },
    )
}

/// A request has a page at Stripe if its id is one of Stripe's.
fn request_link(id: &str, mode: Option<Mode>) -> RequestLink {
    let is_stripes = id.starts_with("req_") && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let folder = if mode == Some(Mode::Live) { "" } else { "test/" };
    let link = is_stripes.then(|| format!("https://dashboard.stripe.com/{folder}logs/{id}"));
    RequestLink { id: Id::new(id), link }
}

/// The parameters of a form, decoded.
fn parameters(form: &str) -> Vec<(String, String)> {
    let shown = |(name, value): (String, String)| {
        let value = if hidden::is_hidden(&name, &value) { HIDDEN.to_owned() } else { view::cut(&value) };
        (name, value)
    };
    request::pairs(form).filter(|(name, _)| !name.is_empty()).take(MOST_PARAMETERS).map(shown).collect()
}
