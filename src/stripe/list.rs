//! Lists: what a page of one says, and the one walk through all of its pages. Asks nobody itself, so that each caller
//! keeps its own way to Stripe, its priority and its time limit. Called by `outward` and by `objects::read`'s callers.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::form::FormBody;

/// Objects on a page; Stripe's most.
pub(crate) const PAGE: i64 = 100;

/// A page of a list.
pub(crate) struct ListPage<T> {
    /// Its objects, as Stripe wrote them.
    pub items: Vec<Box<RawValue>>,
    /// What the next page comes after; `None` on the last one.
    pub next: Option<String>,
    /// What is known of when and how it was read.
    pub read: T,
}

#[derive(Deserialize)]
struct RawPage {
    data: Vec<Box<RawValue>>,
    has_more: bool,
}

#[derive(Deserialize)]
struct ListedId {
    id: Option<String>,
}

/// The id of an object, if it has one.
#[must_use]
pub(crate) fn id_of(object: &RawValue) -> Option<String> {
    serde_json::from_str::<ListedId>(object.get()).ok()?.id.filter(|id| !id.is_empty())
}

/// What is asked for: a page of at most `limit` objects, after an id.
#[must_use]
pub(crate) fn query(fixed: FormBody, limit: i64, after: Option<&str>) -> FormBody {
    fixed.put("limit", limit).put_opt("starting_after", after)
}

impl<T> ListPage<T> {
    /// Reads the answer to a list that was asked for after an id.
    ///
    /// # Errors
    /// Why it is not a list, or does not advance: it would be read for ever.
    pub(crate) fn parse(text: &str, after: Option<&str>, read: T) -> Result<Self, &'static str> {
        let page: RawPage = serde_json::from_str(text).map_err(|_| "it is not a list")?;
        let next = next(&page, after)?;
        Ok(Self { items: page.data, next, read })
    }
}

fn next(page: &RawPage, after: Option<&str>) -> Result<Option<String>, &'static str> {
    if !page.has_more {
        return Ok(None);
    }
    match page.data.iter().rev().find_map(|item| id_of(item)) {
        None if page.data.is_empty() => Err("an empty page that is not the last one"),
        None => Err("a page without ids"),
        Some(last) if after == Some(last.as_str()) => Err("a page that ends where the one before it ended"),
        last => Ok(last),
    }
}

/// Walks through a list page by page, and ends after the last one or after the first error.
pub(crate) struct Pages<F> {
    ask: F,
    after: Option<String>,
    left: u32,
    is_over: bool,
}

impl<F> Pages<F> {
    /// From the beginning, without an end of ours. `ask` gets the page after an id.
    pub(crate) fn new(ask: F) -> Self {
        Self { ask, after: None, left: u32::MAX, is_over: false }
    }

    /// From the object after this one.
    #[must_use]
    pub(crate) fn after(self, id: Option<String>) -> Self {
        Self { after: id, ..self }
    }

    /// No more pages than this.
    #[must_use]
    pub(crate) fn at_most(self, pages: u32) -> Self {
        Self { left: pages, ..self }
    }

    /// Whether there was more after the last page that was asked for.
    #[must_use]
    pub(crate) fn is_cut(&self) -> bool {
        self.left == 0 && !self.is_over
    }
}

impl<T, E, F> Iterator for Pages<F>
where
    F: FnMut(Option<&str>) -> Result<ListPage<T>, E>,
{
    type Item = Result<ListPage<T>, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let page = (self.ask)(self.after.as_deref());
        self.after = page.as_ref().ok().and_then(|page| page.next.clone());
        self.is_over = self.after.is_none();
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Asked = Result<ListPage<()>, &'static str>;

    /// A list of `pages` pages, each of one object; what was asked for goes to `asked`.
    fn list(pages: usize, asked: &mut Vec<Option<String>>) -> impl FnMut(Option<&str>) -> Asked {
        move |after| {
            asked.push(after.map(str::to_owned));
            let place = asked.len();
            ListPage::parse(&format!(r#"{{"data":[{{"id":"x_{place}"}}],"has_more":{}}}"#, place < pages), after, ())
        }
    }

    #[test]
    fn each_page_is_asked_for_after_the_last_object_of_the_one_before() {
        let mut asked = Vec::new();
        let mut pages = Pages::new(list(3, &mut asked)).after(Some("x_0".to_owned()));
        assert_eq!(pages.by_ref().map(|page| page.unwrap().items.len()).sum::<usize>(), 3);
        assert!(!pages.is_cut());
        drop(pages);
        let expected: Vec<_> = ["x_0", "x_1", "x_2"].map(|id| Some(id.to_owned())).into();
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_list_with_more_pages_than_are_wanted_is_cut_and_one_that_just_fits_is_not() {
        for (has, is_cut) in [(2, false), (3, true)] {
            let mut asked = Vec::new();
            let mut pages = Pages::new(list(has, &mut asked)).at_most(2);
            assert_eq!((pages.by_ref().count(), pages.is_cut()), (2, is_cut));
        }
    }

    #[test]
    fn nothing_is_asked_for_after_an_error() {
        let mut times = 0;
        let mut pages = Pages::new(|_: Option<&str>| -> Asked {
            times += 1;
            Err("refused")
        });
        assert!(pages.next().unwrap().is_err() && pages.next().is_none() && !pages.is_cut());
        assert_eq!(times, 1);
    }

    #[test]
    fn a_list_that_does_not_move_on_is_an_error() {
        let parse = |text, after| ListPage::parse(text, after, ()).map(|page| page.next).unwrap_err();
        assert_eq!(parse("[]", None), "it is not a list");
        assert_eq!(parse(r#"{"data":[],"has_more":true}"#, None), "an empty page that is not the last one");
        assert_eq!(parse(r#"{"data":[{}],"has_more":true}"#, None), "a page without ids");
        let again = r#"{"data":[{"id":"x_1"}],"has_more":true}"#;
        assert_eq!(parse(again, Some("x_1")), "a page that ends where the one before it ended");
    }
}
