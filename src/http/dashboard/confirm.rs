//! The page before an act: a sentence that says what will happen to whom, and a button with the verb on it. The act itself is
//! a POST to the same address. It must never act. Called by pages that change something.

use askama::Template;

use super::page::{self, Frame, PageResult};
use super::view;
use crate::jobs::operator::MAX_REASON_CHARS;

/// An act that waits for a yes.
#[derive(Template)]
#[template(path = "confirm.html", config = "src/http/dashboard/askama.toml")]
pub(super) struct Confirmation {
    pub(super) frame: Frame,
    /// What will happen, to whom, and whether it can be undone.
    pub(super) sentence: String,
    /// The verb and the count, for example "Replay 12 events".
    pub(super) verb: String,
    /// What the POST sends along: names and values.
    pub(super) fields: Vec<(&'static str, String)>,
    /// Whether a reason may be given; it is kept in the audit log.
    pub(super) asks_reason: bool,
    /// Where "Cancel" leads.
    pub(super) back: String,
}

impl Confirmation {
    /// As a page.
    pub(super) fn page(mut self) -> PageResult {
        self.sentence = view::plain(&self.sentence);
        self.verb = view::plain(&self.verb);
        page::html(200, &self)
    }
}
