//! Routes as data (method, path pattern, who may call, handler), and the tokens that say who calls; ground for every
//! call. Tokens are compared in constant time; without a configured token a route stays closed. A handler must never
//! run before its route's token was checked, and no token or part of one may be logged. Called by `private`, which has
//! the tables, and by `api::calls`.

pub(crate) mod body;
pub(crate) mod description;
pub(crate) mod parameters;

use schemars::JsonSchema;
use subtle::ConstantTimeEq;

use super::error_code::ErrorCode;
use super::request::{Method, Request, decode_segment};
use super::response::{ErrorResponse, Response};
use crate::base::secret::Secret;
use description::{AsksStripe, Link, Parameter, RouteDescription};

/// Values of the `{…}` segments of a path, in order.
pub(crate) type PathSegments = Vec<String>;

/// A route.
pub(crate) struct Route<S> {
    /// The method; GET also answers HEAD.
    pub method: Method,
    /// For example `/api/v1/users/{user_id}`.
    pub pattern: &'static str,
    /// Who may call it.
    pub access: RouteAccess,
    /// What answers it.
    pub handler: fn(&S, &Request, &PathSegments) -> Result<Response, ErrorResponse>,
    /// What it says of itself.
    pub description: RouteDescription,
}

/// A route, in one line.
pub(crate) const fn route<S>(
    method: Method,
    pattern: &'static str,
    access: RouteAccess,
    handler: fn(&S, &Request, &PathSegments) -> Result<Response, ErrorResponse>,
) -> Route<S> {
    let description = RouteDescription {
        id: "",
        summary: "",
        details: "",
        query: &[],
        body: None,
        answers: [None; 3],
        errors: &[],
        stripe: AsksStripe::Never,
        links: &[],
    };
    Route { method, pattern, access, handler, description }
}

impl<S> Route<S> {
    /// Its name for programs, and what it does in one line. Only a route with a name is part of the described API.
    pub(crate) const fn named(mut self, id: &'static str, summary: &'static str) -> Self {
        (self.description.id, self.description.summary) = (id, summary);
        self
    }

    /// What the line does not say.
    pub(crate) const fn details(mut self, details: &'static str) -> Self {
        self.description.details = details;
        self
    }

    /// The parameters of its query.
    pub(crate) const fn query(mut self, parameters: &'static [Parameter]) -> Self {
        self.description.query = parameters;
        self
    }

    /// The type of its body.
    pub(crate) const fn body<T: JsonSchema>(mut self) -> Self {
        self.description.body = Some(description::body_of::<T>());
        self
    }

    /// An answer that is no error.
    pub(crate) const fn answers<T: JsonSchema>(mut self, status: u16, meaning: &'static str) -> Self {
        self.description = self.description.with_answer(description::json_answer::<T>(status, meaning));
        self
    }

    /// The same, as plain text.
    pub(crate) const fn answers_text(mut self, status: u16, meaning: &'static str) -> Self {
        self.description = self.description.with_answer(description::text_answer(status, meaning));
        self
    }

    /// The codes of its errors that do not follow from the rest.
    pub(crate) const fn errors(mut self, codes: &'static [ErrorCode]) -> Self {
        self.description.errors = codes;
        self
    }

    /// How it asks Stripe.
    pub(crate) const fn asks_stripe(mut self, how: AsksStripe) -> Self {
        self.description.stripe = how;
        self
    }

    /// Where what it answers leads.
    pub(crate) const fn links(mut self, links: &'static [Link]) -> Self {
        self.description.links = links;
        self
    }

    /// Every code that it may answer with.
    pub(crate) fn codes(&self) -> Vec<ErrorCode> {
        self.description.codes(self.pattern.contains('{'), self.access == RouteAccess::Open)
    }

    /// Whether the description says that it may answer with this code.
    fn may_answer_with(&self, code: ErrorCode) -> bool {
        self.description.id.is_empty() || self.codes().contains(&code)
    }
}

/// Answers a request by the handler of the first route that matches, after checking its token. HEAD is answered like
/// GET; tiny_http leaves the body out. An unknown path is a 404, a known one with another method a 405.
pub(crate) fn dispatch<S: 'static>(
    tables: impl Iterator<Item = &'static [Route<S>]>,
    tokens: &Tokens,
    state: &S,
    request: &Request,
) -> Response {
    answer(tables, tokens, state, request).unwrap_or_else(Response::from)
}

/// Whether one of the routes matches a request, method included.
#[must_use]
pub(crate) fn covers<S>(routes: &[Route<S>], request: &Request) -> bool {
    routes.iter().any(|route| serves(route.method, request.method) && matches(route.pattern, &request.path).is_some())
}

fn answer<S: 'static>(
    tables: impl Iterator<Item = &'static [Route<S>]>,
    tokens: &Tokens,
    state: &S,
    request: &Request,
) -> Result<Response, ErrorResponse> {
    let mut others = Vec::new();
    for route in tables.flatten() {
        let Some(segments) = matches(route.pattern, &request.path) else { continue };
        if !serves(route.method, request.method) {
            others.push(route.method);
            continue;
        }
        tokens.check(route.access, request)?;
        let segments = segments.into_iter().map(segment).collect::<Result<_, _>>()?;
        return (route.handler)(state, request, &segments).inspect_err(|error| {
            debug_assert!(route.may_answer_with(error.code), "{}: {} is not described", route.pattern, error.code);
        });
    }
    Err(refuse(&request.path, &others))
}

/// 404, or 405 if the path has routes of other methods.
fn refuse(path: &str, routes: &[Method]) -> ErrorResponse {
    let allowed: Vec<_> = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete]
        .into_iter()
        .filter(|method| routes.iter().any(|route| serves(*route, *method)))
        .map(Method::as_str)
        .collect();
    if allowed.is_empty() {
        return ErrorResponse::new(ErrorCode::NotFound, format!("the path {path} does not exist"));
    }
    let allowed = allowed.join(", ");
    let mut error = ErrorResponse::new(ErrorCode::MethodNotAllowed, format!("{path} accepts only {allowed}"));
    error.headers.push(("Allow", allowed));
    error
}

fn serves(route: Method, request: Method) -> bool {
    route == request || (route == Method::Get && request == Method::Head)
}

/// The raw segments where the pattern has `{…}`; `None` if the path does not match.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut found = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(found),
            (Some(name), Some(value)) if name.starts_with('{') && !value.is_empty() => found.push(value),
            (Some(name), Some(value)) if name == value => {}
            _ => return None,
        }
    }
}

fn segment(raw: &str) -> Result<String, ErrorResponse> {
    decode_segment(raw)
        .ok_or_else(|| ErrorResponse::new(ErrorCode::PathInvalid, format!("the path segment {raw} is not UTF-8")))
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteAccess {
    /// Everyone who reaches the listener.
    Open,
    /// Callers with `api.token` or `api.admin_token`.
    Api,
    /// Callers with `api.admin_token`.
    Admin,
}

/// The configured tokens.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// For the application.
    pub api: Option<Secret>,
    /// For operators.
    pub admin: Option<Secret>,
}

impl Tokens {
    /// Whether both tokens are configured.
    pub(crate) fn are_both_set(&self) -> bool {
        self.api.is_some() && self.admin.is_some()
    }

    /// Whether a text is the admin token; in constant time.
    #[must_use]
    pub(crate) fn opens_admin(&self, given: &str) -> bool {
        let usable = self.admin.iter().filter(|secret| !secret.expose().is_empty());
        usable.into_iter().any(|secret| bool::from(secret.expose().as_bytes().ct_eq(given.trim().as_bytes())))
    }

    /// Checks the token of a request.
    ///
    /// # Errors
    /// 401 `token_not_configured`, `token_missing` or `token_invalid`.
    pub(crate) fn check(&self, access: RouteAccess, request: &Request) -> Result<(), ErrorResponse> {
        let (accepted, key) = match access {
            RouteAccess::Open => return Ok(()),
            RouteAccess::Api => (vec![&self.api, &self.admin], "api.token"),
            RouteAccess::Admin => (vec![&self.admin], "api.admin_token"),
        };
        // A blank token would accept `Bearer ` followed by nothing.
        let usable = |secret: &&Secret| !secret.expose().is_empty();
        let accepted: Vec<&Secret> = accepted.into_iter().flatten().filter(usable).collect();
        if accepted.is_empty() {
            return Err(unauthorized(
                ErrorCode::TokenNotConfigured,
                format!("{key} is not configured, so this call is closed"),
            ));
        }
        let header = request
            .unique_header("Authorization")
            .map_err(|error| unauthorized(ErrorCode::TokenInvalid, error.to_string()))?;
        let Some(token) = header.and_then(bearer) else {
            return Err(unauthorized(
                ErrorCode::TokenMissing,
                "send the token as `Authorization: Bearer <token>`".to_owned(),
            ));
        };
        let matches = accepted
            .iter()
            .fold(subtle::Choice::from(0), |found, secret| found | secret.expose().as_bytes().ct_eq(token.as_bytes()));
        if bool::from(matches) {
            Ok(())
        } else {
            Err(unauthorized(ErrorCode::TokenInvalid, format!("the token is not the configured {key}")))
        }
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

fn unauthorized(code: ErrorCode, message: String) -> ErrorResponse {
    let mut error = ErrorResponse::new(code, message);
    error.headers.push(("WWW-Authenticate", "Bearer".to_owned()));
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROUTES: &[Route<()>] = &[
        route(Method::Get, "/a/{id}", RouteAccess::Open, echo),
        route(Method::Put, "/a/{id}", RouteAccess::Api, echo),
        route(Method::Post, "/a/replay", RouteAccess::Open, echo),
        route(Method::Get, "/a/{id}/b/{other}", RouteAccess::Open, echo),
    ];

    fn echo(_: &(), _: &Request, segments: &PathSegments) -> Result<Response, ErrorResponse> {
        Ok(Response::text(200, &segments.join(",")))
    }

    fn respond(method: Method, path: &str) -> Response {
        dispatch(std::iter::once(ROUTES), &Tokens::default(), &(), &Request::new(method, path))
    }

    fn call(method: Method, path: &str) -> (u16, String) {
        let response = respond(method, path);
        (response.status, String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        assert_eq!(call(Method::Get, "/a/x%2Fy%20z+"), (200, "x/y z+".to_owned()));
        assert_eq!(call(Method::Get, "/a/1/b/2?limit=3"), (200, "1,2".to_owned()));
    }

    #[test]
    fn a_segment_that_is_not_utf_8_is_a_400() {
        let (status, body) = call(Method::Get, "/a/%FF");
        assert!(status == 400 && body.contains("path_invalid"), "{status} {body}");
    }

    #[test]
    fn an_unknown_path_is_a_404() {
        for path in ["/", "/a", "/a/", "/a/x/", "/a/x/y", "//a/x", "/A/x", ""] {
            let (status, body) = call(Method::Get, path);
            assert!(status == 404 && body.contains("\"code\":\"not_found\""), "{path}: {status} {body}");
        }
    }

    #[test]
    fn another_method_of_a_known_path_is_a_405_that_names_the_methods() {
        let allow =
            |path| respond(Method::Delete, path).headers.into_iter().find(|(name, _)| *name == "Allow").unwrap().1;
        assert_eq!(respond(Method::Other, "/a/x").status, 405);
        assert_eq!(allow("/a/x"), "GET, HEAD, PUT");
        assert_eq!(allow("/a/replay"), "GET, HEAD, POST, PUT");
    }

    #[test]
    fn head_is_answered_as_get() {
        assert_eq!(call(Method::Head, "/a/x"), call(Method::Get, "/a/x"));
    }

    #[test]
    fn no_handler_runs_before_its_token_was_checked() {
        let (status, body) = call(Method::Put, "/a/%FF");
        assert!(status == 401 && body.contains("token_not_configured"), "{status} {body}");
    }
}

#[cfg(test)]
mod token_tests {
    use super::*;
    use crate::http::request::Method;

    fn tokens(api: &str, admin: &str) -> Tokens {
        Tokens { api: Some(Secret::new(api)), admin: Some(Secret::new(admin)) }
    }

    /// The code of the refusal, or `ok`.
    fn check(tokens: &Tokens, access: RouteAccess, authorization: &[&str]) -> &'static str {
        let headers = authorization.iter().map(|value| ("authorization".to_owned(), (*value).to_owned())).collect();
        let request = Request { headers, ..Request::new(Method::Get, "/") };
        match tokens.check(access, &request) {
            Ok(()) => "ok",
            Err(error) => {
                assert_eq!(error.status, 401);
                assert!(error.headers.contains(&("WWW-Authenticate", "Bearer".to_owned())));
                assert!(!error.message.contains("t0k"), "{}", error.message);
                error.code.as_str()
            }
        }
    }

    #[test]
    fn each_token_opens_what_it_is_for() {
        let tokens = tokens("t0k-api", "t0k-admin");
        assert_eq!(check(&tokens, RouteAccess::Open, &[]), "ok");
        assert_eq!(check(&tokens, RouteAccess::Api, &["Bearer t0k-api"]), "ok");
        assert_eq!(check(&tokens, RouteAccess::Api, &["bearer  t0k-admin"]), "ok");
        assert_eq!(check(&tokens, RouteAccess::Admin, &["Bearer t0k-admin"]), "ok");
        assert_eq!(check(&tokens, RouteAccess::Admin, &["Bearer t0k-api"]), "token_invalid");
    }

    #[test]
    fn missing_wrong_and_repeated_tokens_are_refused() {
        let tokens = tokens("t0k-api", "t0k-admin");
        assert_eq!(check(&tokens, RouteAccess::Api, &[]), "token_missing");
        assert_eq!(check(&tokens, RouteAccess::Api, &["Basic dDBrOg=="]), "token_missing");
        assert_eq!(check(&tokens, RouteAccess::Api, &["Bearer t0k-ap"]), "token_invalid");
        assert_eq!(check(&tokens, RouteAccess::Api, &["Bearer t0k-apix"]), "token_invalid");
        assert_eq!(check(&tokens, RouteAccess::Api, &["Bearer t0k-api", "Bearer x"]), "token_invalid");
    }

    #[test]
    fn without_a_token_that_could_open_it_a_route_is_closed_and_says_so() {
        let none = Tokens::default();
        assert_eq!(check(&none, RouteAccess::Api, &["Bearer "]), "token_not_configured");
        assert_eq!(check(&tokens("t0k-api", " "), RouteAccess::Admin, &["Bearer "]), "token_not_configured");
        let admin_only = Tokens { api: None, ..tokens("", "t0k-admin") };
        assert_eq!(check(&admin_only, RouteAccess::Api, &["Bearer t0k-admin"]), "ok");
    }
}
