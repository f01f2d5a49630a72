//! Tables of the pages about a user: rows of cells, so that one macro of the templates shows them all. Called by `parts`.

use crate::http::dashboard::page::encoded;
use crate::http::dashboard::view::{self, Id, When};

/// What is known of one kind.
pub(super) struct Table {
    pub(super) title: &'static str,
    /// The word in addresses, and the anchor.
    pub(super) name: &'static str,
    /// One line under the heading.
    pub(super) note: &'static str,
    /// Headings; `true`: of numbers.
    pub(super) heads: &'static [(&'static str, bool)],
    pub(super) rows: Vec<Vec<Cell>>,
    /// Where the rows go on that are not shown.
    pub(super) all: Option<String>,
}

/// A cell.
pub(super) enum Cell {
    Text(String),
    Number(String),
    State(String),
    When(When),
    /// An id of Stripe's, and where Stripe shows it.
    Id(Id, String),
    /// A word, what it is done to, and a link of ours.
    Link(&'static str, String, String),
}

impl Cell {
    /// The beginning of a text that may be missing.
    pub(super) fn text(text: Option<&str>) -> Self {
        Self::Text(view::cut(text.unwrap_or_default()))
    }

    /// An amount of money.
    pub(super) fn money(amount: Option<i64>, currency: Option<&str>) -> Self {
        Self::Number(view::money(amount, currency))
    }

    /// A time that may be missing, in unix seconds.
    pub(super) fn s(at: Option<i64>, now_ms: i64) -> Self {
        at.map_or_else(|| Self::Text(String::new()), |at| Self::When(When::s(at, now_ms)))
    }

    /// An object of Stripe's; `folder`: where Stripe's pages have its kind.
    pub(super) fn object(id: &str, folder: &str, livemode: bool) -> Self {
        Self::Id(Id::new(id), at_stripe(id, folder, livemode))
    }
}

/// The page of Stripe's own dashboard about an object.
pub(super) fn at_stripe(id: &str, folder: &str, livemode: bool) -> String {
    let mode = if livemode { "" } else { "test/" };
    format!("https://dashboard.stripe.com/{mode}{folder}/{}", encoded(id))
}
