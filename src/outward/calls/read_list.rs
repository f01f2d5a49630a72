//! Reads a list from Stripe into the tables, page by page, for a request that wants its present state. It must never change
//! anything at Stripe. Called by `http::api` and `without_key`.

use super::{Calls, CallsError};
use crate::objects::reading::RequestSent;
use crate::stripe::call::{Priority, StripeAnswer};
use crate::stripe::form::FormBody;
use crate::stripe::list::{self, ListPage, PAGE, Pages};

/// How many pages are read at most: somebody waits for the answer.
const MAX_PAGES: u32 = 10;

/// A page, the answer that it is of, and when it was asked for.
type ReadPage = ListPage<(StripeAnswer, RequestSent)>;

impl Calls {
    /// Projects the newest objects of a list. `filter` makes the parameters of each page. Whether those were all.
    ///
    /// # Errors
    /// Stripe's, or that the database cannot take them; pages before are kept.
    pub(crate) fn read_list(&self, path: &str, filter: impl Fn() -> FormBody) -> Result<bool, CallsError> {
        let mut pages = self.pages(path, filter).at_most(MAX_PAGES);
        for page in &mut pages {
            let ListPage { items, read: (answer, sent), .. } = page?;
            let texts: Vec<&str> = items.iter().map(|text| text.get()).collect();
            self.absorb(&texts, &answer, sent)?;
        }
        Ok(!pages.is_cut())
    }

    /// All pages of a list, for somebody who waits. `filter` makes the parameters of each page.
    pub(super) fn pages(
        &self,
        path: &str,
        filter: impl Fn() -> FormBody,
    ) -> Pages<impl FnMut(Option<&str>) -> Result<ReadPage, CallsError>> {
        Pages::new(move |after: Option<&str>| {
            let (answer, sent) = self.get(path, list::query(filter(), PAGE, after), Priority::Interactive)?;
            let page = ListPage::parse(&answer.text, after, ());
            let ListPage { items, next, .. } = page.map_err(|reason| CallsError::Answer(reason.to_owned()))?;
            Ok(ListPage { items, next, read: (answer, sent) })
        })
    }
}
