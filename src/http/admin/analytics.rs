//! `GET /api/v1/admin/analytics`: the figures of a range, as JSON, or as CSV where that is asked for. Both say the same: a row of
//! the CSV is one number of the JSON. It must never compute a figure. Called through the table in `private`.

use serde_json::Value;

use super::{AdminResult, time_s};
use crate::base::figure_range::{FigureBucket, FigureRange, RangeError};
use crate::http::api::ApiHandler;
use crate::http::request::Method::Get;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Admin;
use crate::http::route::parameters;
use crate::http::route::{PathSegments, Route, route};
use crate::objects::figures::{self, Figures};

/// How far back an answer reaches unless the request says from when: by the hour and by the day, in seconds.
const DEFAULT_LENGTH_S: [(FigureBucket, i64); 2] = [(FigureBucket::Hour, 86_400), (FigureBucket::Day, 30 * 86_400)];
/// The columns of the CSV: the list in the JSON, what tells its element from others, the field, and its value.
const CSV_COLUMNS: [&str; 6] = ["list", "start", "currency", "name", "figure", "value"];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[route(Get, "/api/v1/admin/analytics", Admin, get)
    .named("getAnalytics", "Figures of a range: webhooks, payments, subscriptions, by the hour or by the day")
    .details("With `Accept: text/csv` the same as CSV, one number a row. docs/figures.md says what each counts.")
    .query(&[
        parameters::time(
            "from",
            "Beginning of the range, unix seconds; left out: a day ago by the hour, 30 days by the day.",
        ),
        parameters::time("to", "End of the range, unix seconds; left out: the end of the present bucket."),
        parameters::one_of("bucket", &["day", "hour"], "Length of a bucket; day if it is left out."),
    ])
    .answers::<Figures>(200, "The figures.")];

fn get(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let range = range(request, api.clock.now_ms().div_euclid(1000))?;
    let found = api.store.read(|reader| figures::read(reader, range))?;
    if !wants_csv(request) {
        return Ok(Response::json(200, &found));
    }
    let value = serde_json::to_value(&found).map_err(|error| ErrorResponse::internal(&error))?;
    let body = csv(&value).map_err(|error| ErrorResponse::internal(&error))?;
    let headers = vec![
        ("Content-Type", "text/csv; charset=utf-8".to_owned()),
        ("Content-Disposition", "attachment; filename=\"tilld-analytics.csv\"".to_owned()),
    ];
    Ok(Response { status: 200, headers, body })
}

/// Whether CSV is asked for, and not JSON before it.
fn wants_csv(request: &Request) -> bool {
    let accepted = request.header("Accept").unwrap_or_default().to_ascii_lowercase();
    let mut kinds = accepted.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.find(|kind| matches!(*kind, "text/csv" | "application/json")) == Some("text/csv")
}

fn range(request: &Request, now_s: i64) -> Result<FigureRange, ErrorResponse> {
    let bucket = match request.parameter("bucket") {
        None => FigureBucket::Day,
        Some(word) => FigureBucket::parse(&word)
            .ok_or_else(|| ErrorResponse::parameter("bucket", "bucket must be hour or day"))?,
    };
    let to_s = time_s(request, "to")?.unwrap_or_else(|| end_of_bucket(now_s, bucket));
    let length_s = DEFAULT_LENGTH_S.iter().find(|(of, _)| *of == bucket).map_or(0, |(_, length_s)| *length_s);
    let from_s = time_s(request, "from")?.unwrap_or_else(|| to_s.saturating_sub(length_s));
    FigureRange::new(from_s, to_s, bucket).map_err(|error| match error {
        RangeError::Empty => ErrorResponse::parameter("from", "from must be before to"),
        RangeError::TooLong => {
            let most = FigureRange::MAX_BUCKETS;
            let message = format!("an answer has {most} buckets at most: let from be later, or bucket be day");
            ErrorResponse::parameter("from", message)
        }
    })
}

/// End of the present bucket, so that what happens now is in it.
fn end_of_bucket(now_s: i64, bucket: FigureBucket) -> i64 {
    now_s.div_euclid(bucket.seconds()).saturating_add(1).saturating_mul(bucket.seconds())
}

/// Every number in the lists of the answer, one row each, in their order.
fn csv(answer: &Value) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CSV_COLUMNS)?;
    for (list, elements) in answer.as_object().into_iter().flatten() {
        for element in elements.as_array().into_iter().flatten() {
            rows_of(list, element).iter().try_for_each(|row| writer.write_record(row))?;
        }
    }
    writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))
}

fn rows_of(list: &str, element: &Value) -> Vec<[String; CSV_COLUMNS.len()]> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), harmless);
    let field = |name: &str| element.get(name).map(text).unwrap_or_default();
    let names = ["type", "code", "name", "label", "state"].into_iter().filter(|name| element.get(*name).is_some());
    let name = names.map(field).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("/");
    let figures = element.as_object().into_iter().flatten();
    let figures = figures.filter(|(key, value)| *key != "start" && (value.is_number() || value.is_null()));
    let row = |(key, value): (&String, &Value)| {
        let value = if value.is_null() { String::new() } else { value.to_string() };
        [list.to_owned(), field("start"), field("currency"), name.clone(), key.clone(), value]
    };
    figures.map(row).collect()
}

/// A spreadsheet takes what begins like this for a formula.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}
