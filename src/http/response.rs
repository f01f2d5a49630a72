//! Answers: JSON, text, and errors and lists in Stripe's shape (contract §4); ground for every request. The cause of an
//! error of our own must never reach the caller. Used by every handler.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::error_code::ErrorCode;
use super::request::{RepeatedHeader, Request};
use crate::store::StoreError;

/// The rows of a page, unless the request says otherwise.
pub(crate) const DEFAULT_LIMIT: u32 = 20;
/// The most rows of a page.
pub(crate) const MAX_LIMIT: u32 = 100;

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, except `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A value as JSON. Nobody on the way may keep it: it is about a user or a payment, and true for now.
    #[must_use]
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => {
                let headers =
                    vec![("Content-Type", "application/json".to_owned()), ("Cache-Control", "no-store".to_owned())];
                Self { status, headers, body }
            }
            Err(error) => ErrorResponse::internal(&error).into(),
        }
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Self {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        Self { status, headers, body: text.as_bytes().to_vec() }
    }

    /// A page of a list. `rows` has one row more than `page.limit` if there are more.
    #[must_use]
    pub(crate) fn list<T: Serialize>(mut rows: Vec<T>, page: &PageView) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Self::json(200, &ListView { object: "list", data: rows, has_more })
    }
}

/// A page of a list, in Stripe's shape.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct ListView<T> {
    /// `list`.
    #[schemars(extend("const" = "list"), example = &"list")]
    object: &'static str,
    /// The rows of this page.
    data: Vec<T>,
    /// Whether there are more: ask again with `starting_after` and the `id` of the last row.
    #[schemars(example = false)]
    has_more: bool,
}

/// What went wrong, in Stripe's shape.
#[derive(JsonSchema)]
#[schemars(rename = "Error")]
#[allow(dead_code)] // it describes what `From<ErrorResponse>` and the calls to Stripe write
pub(crate) struct ErrorView {
    /// What went wrong.
    error: ErrorDetails,
}

/// What went wrong, for programs and for people. What has no value is left out.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct ErrorDetails {
    /// `invalid_request_error` or `api_error`; of an error that Stripe answered with: Stripe's type, such as `card_error`.
    #[schemars(example = &"invalid_request_error")]
    r#type: String,
    /// What went wrong, for programs: a code of tilld, which the description of each answer lists, or Stripe's own, which
    /// Stripe may leave out.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"user_not_found")]
    code: String,
    /// The same in words, for people; it may change. Stripe may leave it out.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"there is no user \"alice\"; PUT /api/v1/users/{user_id} creates one")]
    message: String,
    /// The parameter at fault, where one is.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"user_id")]
    param: String,
    /// Stripe's reason of a declined card.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"insufficient_funds")]
    decline_code: String,
    /// Stripe's id of the payment that failed.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"pi_3MtwBwLkdIwHu7ix28a3tqPa")]
    payment_intent: String,
    /// Stripe's id of the request that it refused.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"req_fbwW3Gv2bHkWkP")]
    request_id: String,
    /// Stripe's id of the subscription that stands in the way.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    subscription_id: String,
    /// Stripe's id of the customer that the error is about.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"cus_NffrFeUfNV2Hib")]
    stripe_customer_id: String,
    /// Stripe's id of the schedule that manages the subscription.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"sub_sched_1Mr3YcLkdIwHu7ixjop3qtff")]
    schedule_id: String,
    /// Stripe's id of the checkout session that was completed.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4W")]
    session_id: String,
    /// Status of what stands in the way.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"active")]
    status: String,
    /// What to do instead: `pay_invoice`, `resume`, `reactivate` or `change_plan`.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"change_plan")]
    way_out: String,
    /// Stripe's page on which the invoice can be paid.
    #[schemars(skip_serializing_if = "String::is_empty", example = &"https://invoice.stripe.com/i/acct_1/live_1")]
    invoice_url: String,
}

/// What an error has besides type, code, message and parameter: [`ErrorDetails`] describes each.
const FURTHER: [&str; 7] =
    ["subscription_id", "stripe_customer_id", "schedule_id", "session_id", "status", "way_out", "invoice_url"];

/// An error in Stripe's shape.
#[derive(Debug, Clone)]
pub(crate) struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// Stripe's `type`.
    pub kind: &'static str,
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<&'static str>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Further fields for programs, such as a way out.
    pub fields: Box<[(&'static str, Value)]>,
}

impl ErrorResponse {
    /// An error of the request.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = code.status();
        let kind = if status >= 500 { "api_error" } else { "invalid_request_error" };
        Self { status, kind, code, message: message.into(), param: None, headers: Vec::new(), fields: Box::default() }
    }

    /// 400, naming a parameter.
    #[must_use]
    pub fn parameter(param: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ParameterInvalid, message).at(param)
    }

    /// Names the parameter at fault.
    #[must_use]
    pub fn at(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// Adds a field, unless its value is null.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        debug_assert!(FURTHER.contains(&name), "{name} is not described");
        let value = value.into();
        if !value.is_null() {
            self.fields = self.fields.into_iter().chain([(name, value)]).collect();
        }
        self
    }

    /// 500; the cause goes to the log, not to the caller.
    #[must_use]
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        log::error!("a request failed: {cause}");
        Self::new(ErrorCode::InternalError, "tilld failed to answer; its log has the cause")
    }
}

impl From<RepeatedHeader> for ErrorResponse {
    fn from(error: RepeatedHeader) -> Self {
        Self::new(ErrorCode::HeaderRepeated, error.to_string())
    }
}

impl From<StoreError> for ErrorResponse {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Damaged(_) | StoreError::Stopped => {
                log::error!("the database is not available: {error}");
                Self::new(ErrorCode::DatabaseUnavailable, "the database is not available now; try again")
            }
            StoreError::Sql(_)
            | StoreError::Json(_)
            | StoreError::Missing(_)
            | StoreError::Content(_)
            | StoreError::Panicked(_) => Self::internal(&error),
        }
    }
}

impl From<ErrorResponse> for Response {
    fn from(error: ErrorResponse) -> Self {
        let mut inner = json!({"type": error.kind, "code": error.code.as_str(), "message": error.message});
        if let Some(param) = error.param {
            inner["param"] = json!(param);
        }
        for (name, value) in error.fields {
            inner[name] = value;
        }
        let mut response = Self::json(error.status, &json!({ "error": inner }));
        response.headers.extend(error.headers);
        response
    }
}

/// The part of a list that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageView {
    /// The most rows.
    pub limit: u32,
    /// The id of the last row of the previous page.
    starting_after: Option<String>,
}

impl PageView {
    /// Reads `limit` and `starting_after`.
    ///
    /// # Errors
    /// When `limit` is not a whole number from 1 to 100.
    pub(crate) fn from_request(request: &Request) -> Result<Self, ErrorResponse> {
        let limit = match request.parameter("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
                _ => {
                    let message = format!("limit must be a whole number from 1 to {MAX_LIMIT}, not {text:?}");
                    return Err(ErrorResponse::parameter("limit", message));
                }
            },
        };
        Ok(Self { limit, starting_after: request.parameter("starting_after") })
    }

    /// The id in `starting_after`; an empty one means the first page.
    #[must_use]
    pub(crate) fn id_after(&self) -> Option<&str> {
        self.starting_after.as_deref().filter(|id| !id.is_empty())
    }

    /// The number of the row in `starting_after`, in lists whose rows are numbered.
    pub(crate) fn row_after(&self) -> Result<Option<i64>, ErrorResponse> {
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number > 0);
        match self.starting_after.as_deref().map(number) {
            None => Ok(None),
            Some(Some(number)) => Ok(Some(number)),
            Some(None) => {
                Err(ErrorResponse::parameter("starting_after", "starting_after must be the id of a row, a number"))
            }
        }
    }

    /// How many rows to read: one more than asked for, which shows whether there are more.
    #[must_use]
    pub fn fetch(&self) -> u32 {
        self.limit.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::request::Method;
    use super::*;

    fn body(response: impl Into<Response>) -> Value {
        serde_json::from_slice(&response.into().body).unwrap()
    }

    fn page(query: &str) -> Result<PageView, ErrorResponse> {
        PageView::from_request(&Request::new(Method::Get, &format!("/list?{query}")))
    }

    #[test]
    fn errors_have_stripes_shape() {
        let error = ErrorResponse::new(ErrorCode::UserNotFound, "no user u1").at("user_id");
        let expected = json!({"error": {"type": "invalid_request_error", "code": "user_not_found",
            "message": "no user u1", "param": "user_id"}});
        assert_eq!(Response::from(error.clone()).status, 404);
        assert_eq!(body(error), expected);
        let further = ErrorResponse::new(ErrorCode::CustomerTaken, "by u2");
        let further = body(further.with("status", "active").with("invoice_url", None::<String>));
        assert_eq!((&further["error"]["status"], further["error"].get("invoice_url")), (&json!("active"), None));
        let plain = body(ErrorResponse::new(ErrorCode::DatabaseUnavailable, "later"));
        assert_eq!(plain["error"]["type"], "api_error");
        assert!(plain["error"].get("param").is_none());
    }

    #[test]
    fn every_further_field_of_an_error_is_described() {
        let schema = schemars::schema_for!(ErrorDetails);
        let described = schema.get("properties").and_then(Value::as_object).unwrap();
        assert!(FURTHER.iter().all(|name| described.contains_key(*name)), "{described:?}");
    }

    #[test]
    fn the_cause_of_an_internal_error_does_not_reach_the_caller() {
        let response = Response::from(ErrorResponse::internal(&"disk /secret/path"));
        assert_eq!(response.status, 500);
        assert!(!String::from_utf8(response.body).unwrap().contains("secret"));
    }

    #[test]
    fn a_value_that_cannot_be_json_is_a_500_and_not_a_panic() {
        let keys_must_be_text = std::collections::HashMap::from([((1, 2), 3)]);
        assert_eq!(Response::json(200, &keys_must_be_text).status, 500);
    }

    #[test]
    fn a_list_is_cut_at_the_limit_and_says_whether_there_is_more() {
        let page = page("limit=2").unwrap();
        assert_eq!(page.fetch(), 3);
        assert_eq!(
            body(Response::list(vec![1, 2, 3], &page)),
            json!({"object": "list", "data": [1, 2], "has_more": true})
        );
        assert_eq!(
            body(Response::list(vec![1, 2], &page)),
            json!({"object": "list", "data": [1, 2], "has_more": false})
        );
    }

    #[test]
    fn a_page_has_20_rows_unless_the_request_says_otherwise() {
        assert_eq!(page("").unwrap(), PageView { limit: 20, starting_after: None });
        let last = PageView { limit: 100, starting_after: Some("evt_1".to_owned()) };
        assert_eq!(page("limit=100&starting_after=evt_1").unwrap(), last);
    }

    #[test]
    fn an_empty_id_is_the_first_page_and_an_empty_number_is_refused() {
        let empty = page("starting_after=").unwrap();
        assert_eq!(empty.id_after(), None);
        assert_eq!(empty.row_after().unwrap_err().param, Some("starting_after"));
        assert_eq!(page("").unwrap().row_after().unwrap(), None);
    }

    #[test]
    fn a_limit_outside_1_to_100_is_refused_by_name() {
        for limit in ["0", "101", "-1", "abc", "", "4294967296", "%FF"] {
            let error = page(&format!("limit={limit}")).unwrap_err();
            assert_eq!((error.status, error.param), (400, Some("limit")), "{limit}");
            assert!(error.message.contains("1 to 100"), "{}", error.message);
        }
    }
}
