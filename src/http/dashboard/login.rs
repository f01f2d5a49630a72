//! Login with the admin token, and logout. The right token always gets in at once, whatever was tried before. It must never
//! say how near a wrong one was. The form needs no token of its own against other sites: whoever could post it knows the
//! admin token, there is one account only, and browsers say when another site posts (`Sec-Fetch-Site`). Called by `dashboard`.

use std::time::Instant;

use askama::Template;

use super::page::{self, Page, PageError, PageResult};
use super::session;
use crate::base::ids::random_token;
use crate::http::api::ApiHandler;
use crate::http::dashboard_state::VALID_MINUTES;
use crate::http::request::{Method, Request};
use crate::http::response::Response;
use crate::store::dashboard_sessions;

/// The status of an answer to a wrong token.
pub(super) const WRONG: u16 = 401;
/// The longest encoded page that the login leads back to. It stands in a header, to whoever asks: a longer one would fill what
/// stands between us and the browser.
const MAX_NEXT_BYTES: usize = 2048;

#[derive(Template, Default)]
#[template(path = "login.html", config = "src/http/dashboard/askama.toml")]
struct LoginPage {
    /// Where to go afterwards: the name of a page and its query.
    next: String,
    /// The token of a link that logs in once, if one was opened.
    once: Option<String>,
    /// What was wrong with the last try.
    fault: Option<String>,
    /// Whether there is a token that could open it.
    is_open: bool,
}

/// A page without session: first the login, then that page, unless its address is too long to be one that a page of ours
/// links to. An act is not repeated after the login.
pub(super) fn first(request: &Request) -> Response {
    let name = request.path.strip_prefix("/dashboard/").unwrap_or_default();
    let next = match (request.method, request.query.as_str()) {
        (Method::Get | Method::Head, "") => page::encoded(name),
        (Method::Get | Method::Head, query) => page::encoded(&format!("{name}?{query}")),
        _ => String::new(),
    };
    if next.is_empty() || next.len() > MAX_NEXT_BYTES {
        return page::see_other("login");
    }
    page::see_other(&format!("login?next={next}"))
}

pub(super) fn get(api: &ApiHandler, request: &Request) -> PageResult {
    let next = request.parameter("next").unwrap_or_default();
    let once = request.parameter("once").filter(|token| !token.is_empty());
    page::html(200, &LoginPage { next, once, fault: None, is_open: is_open(api) })
}

fn is_open(api: &ApiHandler) -> bool {
    api.tokens.admin.is_some()
}

pub(super) fn post(api: &ApiHandler, request: &Request) -> PageResult {
    session::check_site(request)?;
    let next = request.field("next").unwrap_or_default();
    match fault(api, request) {
        None => begin_session(api, request, &next),
        Some(words) => {
            api.dashboard.brake.count(&request.client(), Instant::now());
            let page = LoginPage { next, once: None, fault: Some(words), is_open: is_open(api) };
            page::html(WRONG, &page)
        }
    }
}

/// Why this form does not open the pages.
fn fault(api: &ApiHandler, request: &Request) -> Option<String> {
    let now_ms = api.clock.now_ms();
    if let Some(once) = request.field("once") {
        let opens = api.dashboard.once.as_ref().is_some_and(|link| link.open(&once, now_ms));
        return (!opens).then(|| {
            format!("This link has been used, or is older than {VALID_MINUTES} minutes. Log in with the admin token.")
        });
    }
    let opens = api.tokens.opens_admin(&request.field("token").unwrap_or_default());
    (!opens).then(|| "This is not the admin token (api.admin_token in the configuration).".to_owned())
}

fn begin_session(api: &ApiHandler, request: &Request, next: &str) -> PageResult {
    let refused = |words: String| PageError::Refused(503, words);
    let token = random_token("").map_err(|error| refused(error.to_string()))?;
    let hash = session::hash(api, &token).ok_or_else(|| refused("No admin token is configured.".to_owned()))?;
    let (now_ms, session_ms) = (api.clock.now_ms(), api.dashboard.settings.session_ms);
    let expires_at_ms = now_ms.saturating_add(session_ms);
    // Whoever logs in again has one session, not two.
    let before = session::find(api, request)?.map(|session| session.token_hash);
    api.store.write(move |tx| {
        if let Some(before) = before {
            dashboard_sessions::remove(tx, &before)?;
        }
        dashboard_sessions::add(tx, &hash, (now_ms, expires_at_ms))
    })?;
    let mut response = page::see_other(page::own_link(next).unwrap_or("./"));
    response.headers.push(session::set_cookie(request, &token, session_ms / 1000));
    Ok(response)
}

pub(super) fn logout(page: &Page<'_>) -> PageResult {
    let hash = page.session.token_hash.clone();
    page.api.store.write(move |tx| dashboard_sessions::remove(tx, &hash))?;
    let mut response = page::see_other("login");
    response.headers.push(session::set_cookie(page.request, "", 0));
    Ok(response)
}
