//! The table of routes of a listener, as data: method, path pattern, who may call, handler.

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

/// Finds the route of a request, checks its token and lets its handler answer.
pub fn dispatch<S>(routes: &[Route<S>], tokens: &Tokens, state: &S, request: &Request) -> Response {
    answer(routes, tokens, state, request).unwrap_or_else(Response::from)
}

fn answer<S>(routes: &[Route<S>], tokens: &Tokens, state: &S, request: &Request) -> Result<Response, ApiError> {
    let mut allowed = Vec::new();
    for route in routes {
        let Some(segments) = matches(route.pattern, &request.path) else { continue };
        if !serves(route.method, request.method) {
            allowed.push(route.method.as_str());
            continue;
        }
        tokens.check(route.access, request)?;
        let segments = segments.into_iter().map(segment).collect::<Result<_, _>>()?;
        return (route.handler)(state, request, &segments);
    }
    if allowed.is_empty() {
        return Err(ApiError::new(404, "not_found", format!("there is no {}", request.path)));
    }
    allowed.dedup();
    let allowed = allowed.join(", ");
    let message = format!("{} takes {allowed}", request.path);
    let mut error = ApiError::new(405, "method_not_allowed", message);
    error.headers.push(("Allow", allowed));
    Err(error)
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
    ];

    fn echo(_: &(), _: &Request, segments: &Segments) -> Result<Response, ApiError> {
        Ok(Response::text(200, &segments.join(",")))
    }

    fn call(method: Method, path: &str) -> (u16, String) {
        let (path, query) = (path.to_owned(), String::new());
        let request = Request { method, path, query, headers: Vec::new(), body: Vec::new(), peer: None };
        let response = dispatch(ROUTES, &Tokens::default(), &(), &request);
        (response.status, String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn segments_are_decoded_and_everything_else_is_told_apart() {
        assert_eq!(call(Method::Get, "/a/x%2Fy%20z"), (200, "x/y z".to_owned()));
        assert_eq!(call(Method::Head, "/a/x").0, 200);
        assert_eq!(call(Method::Get, "/a/%FF").0, 400);
        assert_eq!(call(Method::Get, "/a/").0, 404);
        assert_eq!(call(Method::Get, "/a/x/y").0, 404);
        assert_eq!(call(Method::Delete, "/a/x").0, 405);
        let (status, body) = call(Method::Put, "/a/x");
        assert!(status == 401 && body.contains("token_not_configured"));
    }
}
