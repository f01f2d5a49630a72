//! Parameters that many routes share: of pages, and of paths. It must never read one: `response::PageView` and the
//! handlers do. Used by the tables of routes and by the description of the API.

use super::description::{Parameter, ParameterKind};
use crate::http::response::{DEFAULT_LIMIT, MAX_LIMIT};

/// Unix seconds that a filter may have: every time that fits into 53 bits, as JSON's numbers do.
pub(crate) const TIMES: (i64, i64) = (0, 9_007_199_254_740_991);
/// The longest text in a body; Stripe's longest are URLs.
pub(crate) const MAX_BODY_TEXT_CHARS: usize = 5000;

/// How many rows a page has.
pub(crate) const LIMIT: Parameter = Parameter::new(
    "limit",
    ParameterKind::Whole(1, MAX_LIMIT as i64),
    "20",
    "The most rows of the page; 20 if it is left out.",
);

const _: () = assert!(DEFAULT_LIMIT == 20, "the words above say it");

/// Where a page begins; `example` is the id of a row.
pub(crate) const fn after(example: &'static str) -> Parameter {
    text("starting_after", example, "The id of the last row of the page before; left out: the first page.")
}

/// The same, where rows are numbered.
pub(crate) const AFTER_ROW: Parameter = Parameter::new(
    "starting_after",
    ParameterKind::Whole(1, i64::MAX),
    "4711",
    "The id of the last row of the page before, a number; left out: the first page.",
);

/// A text that a list is filtered by.
pub(crate) const fn text(name: &'static str, example: &'static str, meaning: &'static str) -> Parameter {
    Parameter::new(name, ParameterKind::Text, example, meaning)
}

/// A word that a list is filtered by.
pub(crate) const fn one_of(name: &'static str, words: &'static [&'static str], meaning: &'static str) -> Parameter {
    Parameter::new(name, ParameterKind::OneOf(words), words[0], meaning)
}

/// A time that a list is filtered by.
pub(crate) const fn time(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter::new(name, ParameterKind::Whole(TIMES.0, TIMES.1), "1767225600", meaning)
}

/// What the segments of paths are, by their names.
pub(crate) const OF_PATHS: [Parameter; 4] = [
    Parameter::new(
        "user_id",
        ParameterKind::Id(255),
        "alice",
        "The application's own id of a user, 1 to 255 characters without control characters, percent-encoded.",
    )
    .required(),
    Parameter::new("event_id", ParameterKind::Id(255), "evt_1NG8Du2eZvKYlo2CUI79vXWy", "Stripe's id of an event.")
        .required(),
    Parameter::new("outbox_id", ParameterKind::Whole(1, i64::MAX), "17", "The number of a row of the outbox.")
        .required(),
    Parameter::new("id", ParameterKind::Id(255), "pi_3MtwBwLkdIwHu7ix28a3tqPa", "Stripe's id of a payment intent.")
        .required(),
];
