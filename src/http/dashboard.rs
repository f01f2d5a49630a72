//! The pages for operators, under `/dashboard` on the private listener: a table of routes, and what stands before every
//! page: a session, and on every form a token of that session. All pages stand one level below `/dashboard/` and name what
//! they show in the query (`event?id=…`), so that every link is relative and works behind any prefix. It must never wait for
//! the network, nor change anything on a GET. Called by `private`.

mod calls;
mod chart;
mod confirm;
mod dead_letters;
mod error;
mod events;
mod hidden;
mod list;
mod login;
mod outbox;
mod overview;
mod page;
mod session;
mod settings;
mod stripe;
mod tree;
mod users;
mod view;

use std::time::Duration;

use super::api::ApiHandler;
pub use super::dashboard_state::{Dashboard, DashboardSettings, VALID_MINUTES};
use super::request::Method::{self, Get, Post};
use super::request::Request;
use super::response::Response;
use page::{Page, PageError, PageResult};

/// Where the pages stand.
const ROOT: &str = "/dashboard";
/// Where one logs in.
const LOGIN: &str = "/dashboard/login";

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
    overview::ROUTES,
    events::ROUTES,
    dead_letters::ROUTES,
    users::ROUTES,
    outbox::ROUTES,
    calls::ROUTES,
];

/// Whether a path belongs to the dashboard.
#[must_use]
pub(super) fn covers(path: &str) -> bool {
    path == ROOT || path.starts_with("/dashboard/")
}

/// How long an answer is held back: that to a wrong token at the login, to slow guessing down.
#[must_use]
pub(super) fn hold(api: &ApiHandler, request: &Request, response: &Response) -> Option<Duration> {
    let is_wrong_login = request.path == LOGIN && request.method == Post && response.status == login::WRONG;
    is_wrong_login.then(|| api.dashboard.brake.hold())
}

/// Whether a request may have to wait for Stripe: acts do that are checked there.
#[must_use]
pub(super) fn waits_for_stripe(request: &Request) -> bool {
    request.method == Post
        && request.path.strip_prefix("/dashboard/").is_some_and(|name| users::WAITING.contains(&name))
}

/// Answers a request for a page.
#[must_use]
pub(super) fn answer(api: &ApiHandler, request: &Request) -> Response {
    page::guarded(respond(api, request).unwrap_or_else(|error| page::failed(&error, request)))
}

fn respond(api: &ApiHandler, request: &Request) -> PageResult {
    let Some(name) = request.path.strip_prefix("/dashboard/") else { return Ok(page::see_other("dashboard/")) };
    let method = if request.method == Method::Head { Get } else { request.method };
    if let Some((content_type, text)) = asset(name)
        && method == Get
    {
        return Ok(page::asset(request, content_type, text));
    }
    match (name, method) {
        ("login", Get) => return login::get(api, request),
        ("login", Post) => return login::post(api, request),
        _ => {}
    }
    let routes = || ROUTES.iter().copied().flatten().filter(|route| route.name == name);
    if routes().next().is_none() && name != "login" && asset(name).is_none() {
        return Err(PageError::not_found("There is no such page."));
    }
    let Some(route) = routes().find(|route| route.method == method) else {
        return Err(PageError::Refused(405, "This address does not take such a request.".to_owned()));
    };
    if method != Get {
        session::check_site(request)?;
    }
    let Some(session) = session::find(api, request)? else { return Ok(login::first(request)) };
    if method != Get {
        session.check_form(request)?;
    }
    (route.handler)(&Page { api, request, session, now_ms: api.clock.now_ms() })
}

/// The files beside the pages, which everybody may have: content type and text.
fn asset(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "style.css" => Some(("text/css; charset=utf-8", include_str!("dashboard/style.css"))),
        "script.js" => Some(("text/javascript; charset=utf-8", include_str!("dashboard/script.js"))),
        "icon.svg" => Some(("image/svg+xml", include_str!("dashboard/icon.svg"))),
        _ => None,
    }
}
