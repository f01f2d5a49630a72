//! The pages for operators, under `/dashboard` on the private listener: a table of routes, and what stands before every
//! page: a session, and on every form a token of that session. All pages stand one level below `/dashboard/` and name what
//! they show in the query (`event?id=…`), so that every link is relative and works behind any prefix. It must never wait for
//! the network, nor change anything on a GET. Called by `private`.

mod calls;
mod confirm;
mod events;
mod list;
mod login;
mod outbox;
mod page;
mod payload;
mod session;
pub mod settings;
mod stripe;
mod view;

use super::api::ApiHandler;
use super::request::Method::{self, Get, Post};
use super::request::Request;
use super::response::Response;
use crate::notify::mail::MailSettings;
use page::{Page, PageError, PageResult};
use settings::SettingSection;

/// Where the pages stand.
const ROOT: &str = "/dashboard";

/// What the configuration says of the pages.
#[derive(Debug, Clone, Default)]
pub struct DashboardSettings {
    /// How long a login lasts, in milliseconds.
    pub session_ms: i64,
    /// What mails are written with; `None`: none are sent.
    pub mail: Option<MailSettings>,
    /// The configuration in force, without secrets.
    pub sections: Vec<SettingSection>,
    /// The file that it was read from.
    pub source: Option<String>,
    /// What of it is allowed but unwise.
    pub warnings: Vec<String>,
}

/// A page, or an act.
struct PageRoute {
    method: Method,
    /// Below `/dashboard/`.
    name: &'static str,
    handler: fn(&Page<'_>) -> PageResult,
}

const fn on(method: Method, name: &'static str, handler: fn(&Page<'_>) -> PageResult) -> PageRoute {
    PageRoute { method, name, handler }
}

/// What needs a session. Each room of pages has a list of its own.
const ROUTES: &[&[PageRoute]] = &[
    &[on(Post, "logout", login::logout)],
    events::ROUTES,
    outbox::ROUTES,
    calls::ROUTES,
    stripe::ROUTES,
    settings::ROUTES,
];

/// Whether a path belongs to the dashboard.
#[must_use]
pub(super) fn covers(path: &str) -> bool {
    path == ROOT || path.starts_with("/dashboard/")
}

/// Answers a request for a page.
#[must_use]
pub(super) fn answer(api: &ApiHandler, request: &Request) -> Response {
    page::guarded(respond(api, request).unwrap_or_else(|error| page::failed(&error, request)))
}

fn respond(api: &ApiHandler, request: &Request) -> PageResult {
    let Some(name) = request.path.strip_prefix("/dashboard/") else { return Ok(page::see_other("dashboard/")) };
    match (name, request.method) {
        ("style.css", _) => return Ok(page::asset("text/css; charset=utf-8", include_str!("dashboard/style.css"))),
        ("script.js", _) => {
            return Ok(page::asset("text/javascript; charset=utf-8", include_str!("dashboard/script.js")));
        }
        ("login", Method::Post) => return login::post(api, request),
        ("login", _) => return login::get(api, request),
        _ => {}
    }
    let routes = || ROUTES.iter().copied().flatten().filter(|route| route.name == name);
    if routes().next().is_none() {
        return Err(PageError::not_found("There is no such page."));
    }
    let method = if request.method == Method::Head { Get } else { request.method };
    let Some(route) = routes().find(|route| route.method == method) else {
        return Err(PageError::Refused(405, "This address does not take such a request.".to_owned()));
    };
    let Some(session) = session::find(api, request)? else { return Ok(login::first(request)) };
    if method != Get {
        session.check_form(request)?;
    }
    (route.handler)(&Page { api, request, session, now_ms: api.clock.now_ms() })
}
