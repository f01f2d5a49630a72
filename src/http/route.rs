//! The table of routes of a listener, as data: method, path pattern, who may call, handler. A handler must never run
//! before its route's token was checked. Called by the listeners' handlers; the tables are in `api` and `admin`.

use super::auth::{Access, Tokens};
use super::request::{Method, Request, decode_segment};
use super::response::{ApiError, Response};

/// Values of the `{…}` segments of a path, in order.
pub type Segments = Vec<String>;

/// One line of the table.
pub struct Route<S> {
    /// Its method; GET also answers HEAD.
    pub method: Method,
    /// For example `/api/v1/users/{user_id}`.
    pub pattern: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What answers it.
    pub handler: fn(&S, &Request, &Segments) -> Result<Response, ApiError>,
}

/// Finds the first route that fits a request, checks its token and lets its handler answer. HEAD is answered as GET;
/// tiny_http leaves the body out. An unknown path is a 404, a known one with another method a 405.
pub fn dispatch<S>(tables: &[&[Route<S>]], tokens: &Tokens, state: &S, request: &Request) -> Response {
    answer(tables, tokens, state, request).unwrap_or_else(Response::from)
}

/// Whether one of the routes is this request's, its method included.
#[must_use]
pub fn covers<S>(routes: &[Route<S>], request: &Request) -> bool {
    routes.iter().any(|route| serves(route.method, request.method) && matches(route.pattern, &request.path).is_some())
}

fn answer<S>(tables: &[&[Route<S>]], tokens: &Tokens, state: &S, request: &Request) -> Result<Response, ApiError> {
    let mut others = Vec::new();
    for route in tables.iter().copied().flatten() {
        let Some(segments) = matches(route.pattern, &request.path) else { continue };
        if !serves(route.method, request.method) {
            others.push(route.method);
            continue;
        }
        tokens.check(route.access, request)?;
        let segments = segments.into_iter().map(segment).collect::<Result<_, _>>()?;
        return (route.handler)(state, request, &segments);
    }
    Err(refuse(&request.path, &others))
}

/// 404, or 405 when the path has routes of other methods.
fn refuse(path: &str, routes: &[Method]) -> ApiError {
    let allowed: Vec<_> = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete]
        .into_iter()
        .filter(|method| routes.iter().any(|route| serves(*route, *method)))
        .map(Method::as_str)
        .collect();
    if allowed.is_empty() {
        return ApiError::new(404, "not_found", format!("there is no {path}"));
    }
    let allowed = allowed.join(", ");
    let mut error = ApiError::new(405, "method_not_allowed", format!("{path} takes {allowed}"));
    error.headers.push(("Allow", allowed));
    error
}

fn serves(route: Method, request: Method) -> bool {
    route == request || (route == Method::Get && request == Method::Head)
}

/// The raw segments where the pattern has `{…}`; `None` when it does not fit.
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

fn segment(raw: &str) -> Result<String, ApiError> {
    decode_segment(raw)
        .ok_or_else(|| ApiError::new(400, "path_invalid", format!("the path segment {raw} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROUTES: &[Route<()>] = &[
        Route { method: Method::Get, pattern: "/a/{id}", access: Access::Open, handler: echo },
        Route { method: Method::Put, pattern: "/a/{id}", access: Access::Api, handler: echo },
        Route { method: Method::Post, pattern: "/a/replay", access: Access::Open, handler: echo },
        Route { method: Method::Get, pattern: "/a/{id}/b/{other}", access: Access::Open, handler: echo },
    ];

    fn echo(_: &(), _: &Request, segments: &Segments) -> Result<Response, ApiError> {
        Ok(Response::text(200, &segments.join(",")))
    }

    fn respond(method: Method, path: &str) -> Response {
        dispatch(&[ROUTES], &Tokens::default(), &(), &Request::new(method, path))
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
