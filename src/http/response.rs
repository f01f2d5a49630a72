//! Answers: JSON, text, and errors and lists in Stripe's shape (contract §4).

use serde::Serialize;
use serde_json::json;

use super::request::Request;
use crate::store::StoreError;

/// Rows of a list page, unless asked otherwise.
pub const DEFAULT_LIMIT: u32 = 20;
/// Rows of a list page at most.
pub const MAX_LIMIT: u32 = 100;

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers, `Content-Length` excepted.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Response {
    /// A value as JSON.
    #[must_use]
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status, headers: vec![("Content-Type", "application/json".to_owned())], body },
            Err(error) => ApiError::internal(&error).into(),
        }
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Self {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        Self { status, headers, body: text.as_bytes().to_vec() }
    }

    /// A page of a list: `rows` holds one more than `page.limit` where there are more.
    #[must_use]
    pub fn list<T: Serialize>(mut rows: Vec<T>, page: &Page) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Self::json(200, &json!({"object": "list", "data": rows, "has_more": has_more}))
    }
}

/// An error in Stripe's shape.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Stripe's `type`.
    pub kind: &'static str,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<&'static str>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl ApiError {
    /// An error of the request.
    #[must_use]
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let kind = if status >= 500 { "api_error" } else { "invalid_request_error" };
        Self { status, kind, code, message: message.into(), param: None, headers: Vec::new() }
    }

    /// 400, naming a parameter.
    #[must_use]
    pub fn parameter(param: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, "parameter_invalid", message).at(param)
    }

    /// Names the parameter at fault.
    #[must_use]
    pub fn at(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// 500; the cause goes to the log, not to the caller.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        log::error!("a request failed: {cause}");
        Self::new(500, "internal_error", "something is wrong in tilld; its log says what")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Stopped => {
                log::error!("the database cannot answer: {error}");
                Self::new(503, "database_unavailable", "the database cannot answer now; try again")
            }
            StoreError::Sql(_) | StoreError::Panicked(_) => Self::internal(&error),
        }
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        let mut inner = json!({"type": error.kind, "code": error.code, "message": error.message});
        if let Some(param) = error.param {
            inner["param"] = json!(param);
        }
        let mut response = Self::json(error.status, &json!({ "error": inner }));
        response.headers.extend(error.headers);
        response
    }
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rows at most.
    pub limit: u32,
    /// The last row of the page before.
    pub starting_after: Option<String>,
}

impl Page {
    /// Reads `limit` and `starting_after`.
    ///
    /// # Errors
    /// When `limit` is not a whole number from 1 to 100.
    pub fn from_request(request: &Request) -> Result<Self, ApiError> {
        let limit = match request.parameter("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
                _ => {
                    let message = format!("limit is {text:?}; it takes a whole number from 1 to {MAX_LIMIT}");
                    return Err(ApiError::parameter("limit", message));
                }
            },
        };
        Ok(Self { limit, starting_after: request.parameter("starting_after").filter(|text| !text.is_empty()) })
    }

    /// Rows to read: one more than asked for, which tells whether there are more.
    #[must_use]
    pub fn fetch(&self) -> u32 {
        self.limit.saturating_add(1)
    }
}
