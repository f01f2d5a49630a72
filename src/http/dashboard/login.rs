//! Login with the admin token, and logout. The right token always gets in, whatever was tried before. It must never say how
//! near a wrong one was. Called by `dashboard`.

use askama::Template;

use super::page::{self, Page, PageError, PageResult};
use super::session;
use crate::base::ids::random_token;
use crate::http::api::ApiHandler;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::store::dashboard_sessions;

#[derive(Template)]
#[template(path = "login.html", config = "src/http/dashboard/askama.toml")]
struct LoginPage {
    /// Where to go afterwards: the name of a page and its query.
    next: String,
    /// What was wrong with the last try.
    fault: Option<&'static str>,
    /// Whether there is a token that could open it.
    is_open: bool,
}

/// A page without session: first the login, then that page.
pub(super) fn first(request: &Request) -> Response {
    let name = request.path.strip_prefix("/dashboard/").unwrap_or_default();
    let wanted = if request.query.is_empty() { name.to_owned() } else { format!("{name}?{}", request.query) };
    page::see_other(&format!("login?next={}", page::encoded(&wanted)))
}

pub(super) fn get(api: &ApiHandler, request: &Request) -> PageResult {
    form(api, request.parameter("next").unwrap_or_default(), (200, None))
}

fn form(api: &ApiHandler, next: String, (status, fault): (u16, Option<&'static str>)) -> PageResult {
    page::html(status, &LoginPage { next, fault, is_open: api.tokens.admin.is_some() })
}

pub(super) fn post(api: &ApiHandler, request: &Request) -> PageResult {
    session::check_site(request)?;
    let next = request.field("next").unwrap_or_default();
    if !api.tokens.opens_admin(&request.field("token").unwrap_or_default()) {
        return form(api, next, (401, Some("This is not the admin token (api.admin_token in the configuration).")));
    }
    let token = random_token("").map_err(|error| PageError::Refused(503, error.to_string()))?;
    let (hash, now_ms) = (session::hash(&token), api.clock.now_ms());
    let expires_at_ms = now_ms.saturating_add(api.dashboard.session_ms);
    api.store.write(move |tx| dashboard_sessions::add(tx, &hash, (now_ms, expires_at_ms)))?;
    let mut response = page::see_other(page::own_link(&next).unwrap_or("./"));
    response.headers.push(session::set_cookie(request, &token, api.dashboard.session_ms / 1000));
    Ok(response)
}

pub(super) fn logout(page: &Page<'_>) -> PageResult {
    let hash = page.session.token_hash.clone();
    page.api.store.write(move |tx| dashboard_sessions::remove(tx, &hash))?;
    let mut response = page::see_other("login");
    response.headers.push(session::set_cookie(page.request, "", 0));
    Ok(response)
}
