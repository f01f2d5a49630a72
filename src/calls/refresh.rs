//! Reads a list from Stripe into the tables, page by page. Changes nothing at Stripe. Called by `http::api` for what a
//! request wants to see as it is now.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Calls, CallsError};
use crate::stripe::call::Priority;
use crate::stripe::form::Form;

/// Objects in a page (Stripe's limit).
const PAGE: &str = "100";
/// Pages at most: somebody waits for the answer.
const MAX_PAGES: usize = 10;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Calls {
    /// Takes the newest objects of a list into the tables. `filter` makes the parameters of each page. Whether that were
    /// all.
    ///
    /// # Errors
    /// Stripe's, or that the database cannot take them; pages before are kept.
    pub fn refresh(&self, path: &str, filter: impl Fn() -> Form) -> Result<bool, CallsError> {
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let query = filter().put("limit", PAGE).put_opt("starting_after", after.as_deref());
            let (answer, sent) = self.get(path, query, Priority::Interactive)?;
            let unreadable = |error: serde_json::Error| CallsError::Answer(error.to_string());
            let page: List = serde_json::from_str(&answer.text).map_err(unreadable)?;
            let texts: Vec<&str> = page.data.iter().map(|text| text.get()).collect();
            self.absorb(&texts, &answer, sent)?;
            match texts.last() {
                Some(last) if page.has_more => {
                    let last: Named = serde_json::from_str(last).map_err(unreadable)?;
                    after = Some(last.id);
                }
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}
