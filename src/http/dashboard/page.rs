//! What every page shares: the request in hand, the frame (bar, title, what was said), answers with the headers that keep a
//! browser from running or keeping anything, and errors as pages. Called by every page.

use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

pub(super) use super::error::PageError;
use super::session::Session;
use super::view;
use crate::http::api::ApiHandler;
use crate::http::request::{Method, Request};
use crate::http::response::Response;
use crate::store::{StoreError, dashboard_sessions};
use crate::stripe::settings::Mode;

/// Nothing but our own style sheet, script and pictures; forms go to us; nobody frames us.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// How many characters of a file's hash tell its versions apart.
const TAG_CHARS: usize = 16;

/// What a page becomes.
pub(super) type PageResult = Result<Response, PageError>;

/// A request that has a session.
pub(super) struct Page<'a> {
    pub(super) api: &'a ApiHandler,
    pub(super) request: &'a Request,
    pub(super) session: Session,
    /// Unix milliseconds.
    pub(super) now_ms: i64,
}

/// The frame of a page: what the template `base.html` shows around it.
pub(super) struct Frame {
    /// The name of the page, in the title and above it.
    pub(super) title: String,
    /// Which word of the bar is the present one, for example `events`.
    pub(super) place: &'static str,
    /// What every form sends.
    pub(super) form_token: String,
    /// What the act before this page brought about, told once.
    pub(super) said: Option<String>,
    /// The mode of the API key.
    pub(super) mode: &'static str,
}

impl Frame {
    /// The words of the bar: place, link, word.
    pub(super) const BAR: &'static [(&'static str, &'static str, &'static str)] = &[
        ("overview", "./", "Overview"),
        ("events", "events", "Events"),
        ("dead-letters", "dead-letters", "Dead letters"),
        ("users", "users", "Users"),
        ("outbox", "outbox", "Outbox"),
        ("calls", "calls", "Calls"),
        ("stripe", "stripe", "Stripe"),
        ("settings", "settings", "Settings"),
    ];
}

impl Page<'_> {
    /// The frame for a page of that place of the bar.
    pub(super) fn frame(&self, place: &'static str, title: impl Into<String>) -> Result<Frame, PageError> {
        let hash = self.session.token_hash.clone();
        // What only looks at the head shows nobody what was said.
        let said = match self.session.has_said && self.request.method != Method::Head {
            true => self.api.store.write(move |tx| dashboard_sessions::take_said(tx, &hash))?,
            false => None,
        };
        let mode = match self.api.offers.mode {
            Some(Mode::Live) => "live mode",
            Some(Mode::Test) => "test mode",
            None => "no API key",
        };
        Ok(Frame { title: view::plain(&title.into()), place, form_token: self.session.form_token.clone(), said, mode })
    }

    /// A parameter of the query that is not empty.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.request.parameter(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// After an act: `said` is told on the page that `link` names.
    pub(super) fn done(&self, link: &str, said: impl Into<String>) -> PageResult {
        let (hash, said) = (self.session.token_hash.clone(), view::plain(&said.into()));
        self.api.store.write(move |tx| dashboard_sessions::say(tx, &hash, &said))?;
        Ok(see_other(link))
    }
}

/// A template as a page.
pub(super) fn html(status: u16, template: &impl Template) -> PageResult {
    let headers = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
    Ok(Response { status, headers, body: template.render()?.into_bytes() })
}

/// Goes on to another page by GET. The link is relative, so that any prefix stays.
pub(super) fn see_other(link: &str) -> Response {
    Response { status: 303, headers: vec![("Location", link.to_owned())], body: Vec::new() }
}

/// A file that a browser may keep, and asks each time whether it is still the same: another version of tilld has others.
pub(super) fn asset(request: &Request, content_type: &str, text: &str) -> Response {
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let tag = format!("\"{}\"", hash.get(..TAG_CHARS).unwrap_or(&hash));
    let is_kept = request.header("If-None-Match").is_some_and(|known| known.contains(&tag));
    let headers =
        vec![("Content-Type", content_type.to_owned()), ("Cache-Control", "no-cache".to_owned()), ("ETag", tag)];
    let (status, body) = if is_kept { (304, Vec::new()) } else { (200, text.as_bytes().to_vec()) };
    Response { status, headers, body }
}

/// Adds what every answer of the dashboard says to a browser.
pub(super) fn guarded(mut response: Response) -> Response {
    let add = |response: &mut Response, name: &'static str, value: &str| {
        if !response.headers.iter().any(|(known, _)| *known == name) {
            response.headers.push((name, value.to_owned()));
        }
    };
    add(&mut response, "Content-Security-Policy", CONTENT_SECURITY_POLICY);
    add(&mut response, "X-Content-Type-Options", "nosniff");
    add(&mut response, "Referrer-Policy", "no-referrer");
    add(&mut response, "Cross-Origin-Resource-Policy", "same-origin");
    add(&mut response, "Cache-Control", "no-store");
    response
}

#[derive(Template)]
#[template(path = "error.html", config = "src/http/dashboard/askama.toml")]
struct ErrorPage {
    title: &'static str,
    words: String,
}

/// An error as a page. The cause of one of ours goes to the log alone.
pub(super) fn failed(error: &PageError, request: &Request) -> Response {
    let (status, title, words) = match error {
        PageError::Refused(status, words) => (*status, "That did not work", view::plain(words)),
        PageError::Store(StoreError::Unavailable(_) | StoreError::Damaged(_) | StoreError::Stopped) => {
            log::error!("the database is not available: {error}");
            (
                503,
                "The database is not available",
                "Load the page again in a moment; `tilld check` says more.".to_owned(),
            )
        }
        PageError::Store(_) | PageError::Template(_) => {
            log::error!("a page failed: {error} ({})", request.path);
            (500, "tilld failed to make this page", "Its log has the cause.".to_owned())
        }
    };
    html(status, &ErrorPage { title, words }).unwrap_or_else(|_| Response::text(status, title))
}

/// A text as a value in a link's query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A link that came from outside, if it leads to a page of ours: the name of a page and a query. Anything that could leave
/// (`//host`, `https:`, `../`) is none, nor is login and logout, which are no page to come back to.
pub(super) fn own_link(link: &str) -> Option<&str> {
    let name = link.split_once('?').map_or(link, |(name, _)| name);
    if name == "login" || name == "logout" {
        return None;
    }
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    (is_name && link.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_from_outside_leads_to_a_page_of_ours_or_nowhere() {
        for link in ["events", "events?type=a%2Fb&status=dead", "dead-letters", "user?id=%F0%9F%92%A9"] {
            assert_eq!(own_link(link), Some(link));
        }
        for link in [
            "",
            "/",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "../api",
            "./events",
            "events/..",
            "events?x=\r\nSet-Cookie: a=b",
            "events?x=\\",
            "events#x",
            "eve nts",
            "évents",
            "events?x=é",
            "login?once=1",
            "logout",
        ] {
            assert_eq!(own_link(link), None, "{link:?}");
        }
    }
}
