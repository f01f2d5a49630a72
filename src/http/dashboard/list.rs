//! Lists of the dashboard: the filters that stand in the address, said in words with a way to take each away, and the links to
//! older rows. It must never count all rows. Called by every page with a list.

use super::page::encoded;
use super::view;

/// Rows of a page.
pub(super) const ROWS: usize = 50;

/// How many rows to read: one more shows whether there are older ones.
pub(super) fn fetch() -> u32 {
    u32::try_from(ROWS).unwrap_or(u32::MAX).saturating_add(1)
}

/// A filter that is in force.
pub(super) struct ActiveFilter {
    /// `type invoice.paid`.
    pub(super) words: String,
    /// The same list without it.
    pub(super) without: String,
}

/// Links to the neighbouring pages of a list.
pub(super) struct Pager {
    pub(super) newer: Option<String>,
    pub(super) older: Option<String>,
}

/// The links of one list, which keep its filters.
pub(super) struct Links<'a> {
    name: &'a str,
    filters: Vec<(&'a str, &'a str)>,
}

impl<'a> Links<'a> {
    /// The list of that page with those filters; one without a value is none.
    pub(super) fn new(name: &'a str, filters: &[(&'a str, Option<&'a str>)]) -> Self {
        let filters = filters.iter().filter_map(|(key, value)| value.map(|value| (*key, value))).collect();
        Self { name, filters }
    }

    /// The filters, each with the list that lacks it.
    pub(super) fn active(&self) -> Vec<ActiveFilter> {
        let one = |(key, value): &(&str, &str)| ActiveFilter {
            words: format!("{} {}", key.replace('_', " "), view::cut(value)),
            without: self.link(|other| other != *key, None),
        };
        self.filters.iter().map(one).collect()
    }

    /// The links around the rows of a page. Takes the row away that only shows that there are more.
    pub(super) fn pager<T>(&self, rows: &mut Vec<T>, before: Option<&str>, id: impl Fn(&T) -> String) -> Pager {
        let has_older = rows.len() > ROWS;
        rows.truncate(ROWS);
        let last = rows.last().filter(|_| has_older).map(id);
        Pager {
            newer: before.map(|_| self.link(|_| true, None)),
            older: last.map(|last| self.link(|_| true, Some(&last))),
        }
    }

    /// The same list after that row.
    pub(super) fn before(&self, id: &str) -> String {
        self.link(|_| true, Some(id))
    }

    /// The filters as a query, after something else: `all=1&type=…`.
    pub(super) fn query(&self, first: &str) -> String {
        let filters = self.filters.iter().map(|(key, value)| format!("&{key}={}", encoded(value)));
        std::iter::once(first.to_owned()).chain(filters).collect()
    }

    /// The list from its beginning.
    pub(super) fn first(&self) -> String {
        self.link(|_| true, None)
    }

    fn link(&self, keeps: impl Fn(&str) -> bool, before: Option<&str>) -> String {
        let kept = self.filters.iter().copied().filter(|(key, _)| keeps(key)).chain(before.map(|id| ("before", id)));
        let query: Vec<String> = kept.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        if query.is_empty() { self.name.to_owned() } else { format!("{}?{}", self.name, query.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_every_filter_but_the_one_that_is_taken_away() {
        let links = Links::new("events", &[("type", Some("a&b")), ("status", Some("dead")), ("user", None)]);
        let active = links.active();
        assert_eq!((active[0].words.as_str(), active[0].without.as_str()), ("type a&b", "events?status=dead"));
        let mut rows: Vec<usize> = (0..=ROWS).collect();
        let pager = links.pager(&mut rows, None, ToString::to_string);
        assert_eq!(rows.len(), ROWS);
        assert_eq!(pager.older.as_deref(), Some("events?type=a%26b&status=dead&before=49"));
        assert_eq!(pager.newer, None);
    }
}
