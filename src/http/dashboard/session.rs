//! Sessions of the dashboard: a random token in a cookie, of which only the hash is kept, and the token of its forms, which
//! follows from it and which no other site can know. The hash is made with the admin token: with another one in the
//! configuration no older session is found. It must never compare a secret in a way that tells how much of it was
//! right. Called by `dashboard` before every page.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::error::PageError;
use crate::http::api::ApiHandler;
use crate::http::request::Request;
use crate::store::{StoreError, dashboard_sessions};

/// The cookie. It has no path: a browser then sends it to all pages beside `login`, whatever prefix a proxy adds.
const COOKIE: &str = "tilld_session";
/// The field of a form that has the token.
pub(super) const FORM_TOKEN: &str = "form_token";
/// What is signed with the session's token to get that of its forms.
const FORM_PURPOSE: &[u8] = b"tilld dashboard form";

/// A request's session.
pub(super) struct Session {
    /// By which it is kept.
    pub(super) token_hash: String,
    /// What every form of it must send.
    pub(super) form_token: String,
    /// Whether the page has something to tell, once.
    pub(super) has_said: bool,
}

/// The session of a request, if it has one that has not expired.
pub(super) fn find(api: &ApiHandler, request: &Request) -> Result<Option<Session>, StoreError> {
    let Some(token) = cookie(request, COOKIE) else { return Ok(None) };
    let Some(token_hash) = hash(api, &token) else { return Ok(None) };
    let now_ms = api.clock.now_ms();
    let row = api.store.read(|reader| dashboard_sessions::find(reader, &token_hash, now_ms))?;
    Ok(row.map(|row| Session { token_hash, form_token: form_token(&token), has_said: row.said.is_some() }))
}

impl Session {
    /// Refuses a form that did not come from a page of this session: another site cannot know the token.
    pub(super) fn check_form(&self, request: &Request) -> Result<(), PageError> {
        let given = request.field(FORM_TOKEN).unwrap_or_default();
        if !given.is_empty() && bool::from(given.as_bytes().ct_eq(self.form_token.as_bytes())) {
            return Ok(());
        }
        Err(PageError::Refused(
            403,
            "This form is older than your session, or came from elsewhere. Go back, load the page again and repeat."
                .to_owned(),
        ))
    }
}

/// Refuses what a browser says another site has sent. Origin and Host are not compared, since proxies change them.
pub(super) fn check_site(request: &Request) -> Result<(), PageError> {
    match request.header("Sec-Fetch-Site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(PageError::Refused(403, "This request was sent by another site. Nothing was done.".to_owned())),
    }
}

/// The value of a cookie of a request.
pub(super) fn cookie(request: &Request, name: &str) -> Option<String> {
    let pairs = request.header("Cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// The header that gives a browser its session.
pub(super) fn set_cookie(request: &Request, token: &str, max_age_s: i64) -> (&'static str, String) {
    // What a browser reaches over https says so through the proxy; over http the cookie would never come back.
    // Of several proxies the first is the one that the browser speaks to.
    let scheme = request.header("X-Forwarded-Proto").and_then(|schemes| schemes.split(',').next());
    let is_https = scheme.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
    let secure = if is_https { "; Secure" } else { "" };
    ("Set-Cookie", format!("{COOKIE}={token}; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}"))
}

/// What is kept of a session's token; `None` without an admin token, which is to say that there are no sessions.
pub(super) fn hash(api: &ApiHandler, token: &str) -> Option<String> {
    let admin = api.tokens.admin.as_ref()?;
    signed(admin.expose().as_bytes(), token.as_bytes())
}

fn form_token(token: &str) -> String {
    // An empty token would match no form: `check_form` refuses it.
    signed(token.as_bytes(), FORM_PURPOSE).unwrap_or_default()
}

/// HMAC-SHA256 in hex. A key of any length is right for it, so that it is always `Some`.
fn signed(key: &[u8], text: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(hex::encode(mac.finalize().into_bytes()))
}
