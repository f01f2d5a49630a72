//! Dead letters: events that were given up, with the reason in words. One, the ticked ones or all that match can be replayed
//! or discarded. Called through the table in `dashboard`.

mod act;

use askama::Template;

use super::events;
use super::list::{ActiveFilter, Links, Pager, fetch};
use super::page::{self, Frame, Page, PageResult};
use super::view::{self, Id, When};
use super::{PageRoute, on};
use crate::http::request::Method::{Get, Post};
use crate::store::dead_letters::{self, LetterFilter, NumberedLetter};

pub(super) const ROUTES: &[PageRoute] = &[
    on(Get, "dead-letters", list),
    on(Get, "dead-letters-replay", act::ask_replay),
    on(Post, "dead-letters-replay", act::replay),
    on(Get, "dead-letters-discard", act::ask_discard),
    on(Post, "dead-letters-discard", act::discard),
];

/// The most dead letters that one act takes, and up to which they are counted.
const MOST_AT_ONCE: u32 = 10_000;

#[derive(Template)]
#[template(path = "dead_letters.html", config = "src/http/dashboard/askama.toml")]
struct DeadLettersPage {
    frame: Frame,
    event_type: String,
    error: String,
    filters: Vec<ActiveFilter>,
    rows: Vec<LetterRow>,
    pager: Pager,
    /// "12 dead letters", of those that match.
    all: String,
    /// The filter as the query of the acts.
    matching: String,
}

struct LetterRow {
    id: Id,
    whole: String,
    link: String,
    event_type: String,
    words: &'static str,
    error: String,
    attempts: String,
    given_up: When,
}

/// The filter that stands in the address.
fn filter(page: &Page<'_>) -> LetterFilter {
    LetterFilter { event_type: page.parameter("type"), error: page.parameter("error") }
}

fn list(page: &Page<'_>) -> PageResult {
    let (filter, before) = (filter(page), page.parameter("before"));
    let below = before.as_deref().and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    let (mut letters, count) = page.api.store.read(|reader| {
        let letters = dead_letters::list_matching(reader, &filter, below, fetch())?;
        Ok((letters, dead_letters::count_matching(reader, &filter, MOST_AT_ONCE)?))
    })?;
    let named = [("type", filter.event_type.as_deref()), ("error", filter.error.as_deref())];
    let links = Links::new("dead-letters", &named);
    let pager = links.pager(&mut letters, before.as_deref(), |letter| letter.number.to_string());
    page::html(
        200,
        &DeadLettersPage {
            frame: page.frame("dead-letters", "Dead letters")?,
            event_type: filter.event_type.clone().unwrap_or_default(),
            error: filter.error.clone().unwrap_or_default(),
            filters: links.active(),
            rows: letters.iter().map(|letter| row(letter, page.now_ms)).collect(),
            pager,
            all: view::counted(count.count, MOST_AT_ONCE, "dead letter"),
            matching: links.query("all=1"),
        },
    )
}

fn row(numbered: &NumberedLetter, now_ms: i64) -> LetterRow {
    let letter = &numbered.letter;
    LetterRow {
        id: Id::new(&letter.event_id),
        whole: letter.event_id.clone(),
        link: page::encoded(&letter.event_id),
        event_type: view::cut(&letter.event_type),
        words: events::reason(&letter.error),
        error: view::cut(&letter.error),
        attempts: events::attempts(letter.retry_count),
        given_up: When::ms(letter.created_at_ms, now_ms),
    }
}
