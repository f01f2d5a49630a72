//! Replaying and discarding dead letters: the question, which names how many, and the act on those that were counted then.
//! What is given up after the question is not touched: numbers rise and are never given twice. Called through the table in
//! `dead_letters`.

use super::{LetterFilter, MOST_AT_ONCE, filter};
use crate::http::dashboard::confirm::Confirmation;
use crate::http::dashboard::events::ACTOR;
use crate::http::dashboard::page::{Page, PageError, PageResult};
use crate::http::dashboard::view;
use crate::jobs::operator::{self, Operator};
use crate::store::{StoreError, Tx, dead_letters};

/// Dead letters of one transaction: the writer does nothing else meanwhile.
const BATCH: u32 = 200;
/// The most that a page has ticks for, and some to spare.
const MOST_TICKED: usize = 100;

/// What is done with one dead letter. `false`: it is none any more.
type Act = fn(&Tx, &str, Option<&str>, Operator) -> Result<bool, StoreError>;

/// How an act is asked for and told.
struct ActWords {
    verb: &'static str,
    done: &'static str,
    /// What one becomes, and what several become.
    becomes: [&'static str; 2],
}

const REPLAY: ActWords = ActWords {
    verb: "Replay",
    done: "Replayed",
    becomes: [
        "becomes pending again and is projected once more, with its attempts forgotten. If it fails again, it comes back here.",
        "become pending again and are projected once more, with their attempts forgotten. What fails again comes back here.",
    ],
};
const DISCARD: ActWords = ActWords {
    verb: "Discard",
    done: "Discarded",
    becomes: [
        "is ignored from then on: it leaves this list, and what it says does not get into the tables. It stays in the log and can be replayed from there.",
        "are ignored from then on: they leave this list, and what they say does not get into the tables. They stay in the log and can be replayed from there.",
    ],
};

pub(super) fn ask_replay(page: &Page<'_>) -> PageResult {
    ask(page, &REPLAY, false)
}

pub(super) fn ask_discard(page: &Page<'_>) -> PageResult {
    ask(page, &DISCARD, true)
}

pub(super) fn replay(page: &Page<'_>) -> PageResult {
    act(page, &REPLAY, |tx, id, _, operator| operator::replay(tx, id, operator))
}

pub(super) fn discard(page: &Page<'_>) -> PageResult {
    act(page, &DISCARD, operator::discard)
}

fn nothing() -> PageError {
    PageError::Refused(400, "No dead letter was chosen, or it is none any more. Go back and tick some.".to_owned())
}

fn ask(page: &Page<'_>, words: &ActWords, asks_reason: bool) -> PageResult {
    let (count, fields) = if page.parameter("all").is_some() { matching(page)? } else { ticked(page)? };
    let [one, several] = words.becomes;
    let becomes = match count {
        0 => return Err(nothing()),
        1 => one,
        _ => several,
    };
    let confirmation = Confirmation {
        frame: page.frame("dead-letters", format!("{} dead letters", words.verb))?,
        sentence: format!("{} {becomes}", view::counted(count, MOST_AT_ONCE, "dead letter")),
        verb: format!("{} {}", words.verb, view::counted(count, u32::MAX, "event")),
        fields,
        asks_reason,
        back: "dead-letters".to_owned(),
    };
    confirmation.page()
}

type Fields = Vec<(&'static str, String)>;

/// All that match the filter, up to the newest one of now.
fn matching(page: &Page<'_>) -> Result<(u32, Fields), PageError> {
    let filter = filter(page);
    let found = page.api.store.read(|reader| dead_letters::count_matching(reader, &filter, MOST_AT_ONCE))?;
    let newest = found.newest.unwrap_or_default().to_string();
    let mut fields = vec![("newest", newest)];
    fields.extend(filter.event_type.map(|value| ("type", value)));
    fields.extend(filter.error.map(|value| ("error", value)));
    Ok((found.count, fields))
}

fn ticked(page: &Page<'_>) -> Result<(u32, Fields), PageError> {
    let mut ids = page.request.parameters("id");
    ids.truncate(MOST_TICKED);
    let mut fields = Vec::new();
    for id in ids {
        if page.api.store.read(|reader| dead_letters::find(reader, &id))?.is_some() {
            fields.push(("id", id));
        }
    }
    Ok((u32::try_from(fields.len()).unwrap_or(u32::MAX), fields))
}

fn act(page: &Page<'_>, words: &ActWords, act: Act) -> PageResult {
    let field =
        |name: &str| page.request.field(name).map(|value| value.trim().to_owned()).filter(|text| !text.is_empty());
    let done = ActDone { act, reason: field("reason"), operator: Operator { actor: ACTOR, now_ms: page.now_ms } };
    let newest = field("newest").and_then(|text| text.parse::<i64>().ok());
    let count = match newest {
        Some(newest) => {
            let filter = LetterFilter { event_type: field("type"), error: field("error") };
            done.on_matching(page, &filter, newest.saturating_add(1))?
        }
        None => {
            let mut ids = page.request.fields("id");
            ids.truncate(MOST_TICKED);
            page.api.store.write(move |tx| done.on(tx, &ids))?
        }
    };
    if count == 0 {
        return Err(nothing());
    }
    // If the channel is full, the worker is being woken already.
    let _ = page.api.bell.try_send(());
    page.done("dead-letters", format!("{} {}.", words.done, view::counted(count, u32::MAX, "event")))
}

/// An act, why, and by whom.
#[derive(Clone)]
struct ActDone {
    act: Act,
    reason: Option<String>,
    operator: Operator,
}

impl ActDone {
    /// How many of these were dead letters still.
    fn on(&self, tx: &Tx, ids: &[String]) -> Result<u32, StoreError> {
        let mut count = 0_u32;
        for id in ids {
            // A form can name any event; this page is about dead letters.
            if dead_letters::find(tx, id)?.is_some() && (self.act)(tx, id, self.reason.as_deref(), self.operator)? {
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }

    /// In several transactions, so that webhooks are stored between them. Each takes away what it has done; what dies again
    /// meanwhile comes back under a number that is not below.
    fn on_matching(&self, page: &Page<'_>, filter: &LetterFilter, below: i64) -> Result<u32, StoreError> {
        let mut count = 0_u32;
        while count < MOST_AT_ONCE {
            let (done, filter) = (self.clone(), filter.clone());
            let acted = page.api.store.write(move |tx| {
                let letters = dead_letters::list_matching(tx, &filter, below, BATCH)?;
                let ids: Vec<String> = letters.into_iter().map(|letter| letter.letter.event_id).collect();
                done.on(tx, &ids)
            })?;
            if acted == 0 {
                break;
            }
            count = count.saturating_add(acted);
        }
        Ok(count)
    }
}
