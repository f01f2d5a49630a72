//! An event in words: what it is and how it stands, as sentences; what it changed, likewise. Pure: all values are arguments.
//! Called by the page of one event; the reasons by the page of dead letters, too.

use crate::base::ago;
use crate::store::dead_letters::DeadLetter;
use crate::store::inbox::EventStatus;
use crate::store::inbox::traces::{EventDetail, HistoryTrace, RestsOn};
use crate::store::retries::Retry;

/// What waits or was given up of an event.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) retry: Option<Retry>,
    pub(super) letter: Option<DeadLetter>,
}

/// What it is: "Stripe says by it that invoice in_1: payment_failed."
pub(super) fn what(detail: &EventDetail) -> String {
    let entry = &detail.entry;
    let about = match (&detail.object_type, &detail.object_id) {
        (Some(object), Some(_)) => format!("about {} {}", article(object), object.replace(['_', '.'], " ")),
        (Some(object), None) => format!("about {} {} without an id", article(object), object.replace(['_', '.'], " ")),
        _ => "that names no object".to_owned(),
    };
    let brought = if entry.source == "webhook" { "sent by Stripe" } else { "asked for at Stripe" };
    let account = if entry.account.is_some() { ", of a connected account" } else { "" };
    let mode = match entry.livemode {
        Some(true) => ", in live mode",
        Some(false) => ", in test mode",
        None => "",
    };
    format!("An event {about}, {brought}{mode}{account}.")
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// How it stands, and what comes next.
pub(super) fn standing(detail: &EventDetail, waiting: &Waiting, now_ms: i64) -> String {
    let error = detail.entry.error.as_deref().unwrap_or_default();
    match (EventStatus::parse(&detail.entry.status), &waiting.retry, &waiting.letter) {
        (Some(EventStatus::Pending), ..) => {
            "It waits for the worker, which takes events in the order of their arrival.".to_owned()
        }
        (Some(EventStatus::Processed), ..) => "It is done: what it says is in the tables.".to_owned(),
        (Some(EventStatus::Ignored), ..) if detail.processed => {
            "It is done: its object was mirrored. No table of its own is made from this type.".to_owned()
        }
        (Some(EventStatus::Ignored), ..) if error.is_empty() => "It was ignored: nothing was taken from it.".to_owned(),
        (Some(EventStatus::Ignored), ..) => format!("It was ignored, nothing was taken from it: {error}."),
        (Some(EventStatus::Retrying), Some(retry), _) => format!(
            "It failed {} of {} times and is tried again {}; after the last time it is a dead letter.",
            retry.retry_count,
            retry.max_retries,
            ago::words(retry.due_ms, now_ms)
        ),
        (Some(EventStatus::Dead), _, Some(letter)) => format!(
            "It is a dead letter, given up after {}. {} Nothing more happens until somebody replays or discards it.",
            attempts(letter.retry_count),
            reason(&letter.error)
        ),
        _ => format!("Its state is {}.", detail.entry.status),
    }
}

/// `1 attempt`, `8 attempts`.
pub(in crate::http::dashboard) fn attempts(count: u32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

/// Why an event failed, in words that say what to do. The error itself is shown beside it.
pub(in crate::http::dashboard) fn reason(error: &str) -> &'static str {
    let has = |words: &str| error.contains(words);
    match () {
        () if error.starts_with("data.object.") => {
            "Its object lacks something that tilld needs, or has it in a form that tilld does not know. A replay helps after an update of tilld."
        }
        () if has("the process ended while") => {
            "tilld itself died each time while working on it. Update tilld or report it, then replay."
        }
        () if has("panicked") => {
            "tilld has a fault that this event brought to light. Update tilld or report it, then replay."
        }
        () if has("beyond what can be read") || has("not a Stripe event") || has("is not UTF-8") => {
            "Its body cannot be read. A replay changes nothing; discard it."
        }
        () if has("disk") || has("full") || has("I/O") => {
            "The database could not be written. See that the disk has room, then replay."
        }
        () if error.starts_with("database error") || error.starts_with("JSON that") => {
            "The database refused what follows from it. Update tilld or report it, then replay."
        }
        () => "It failed each time it was tried. If the cause is gone, replay it.",
    }
}

/// What an event added to the history of a subscription.
pub(super) fn history(trace: &HistoryTrace) -> String {
    let mut words = match &trace.status {
        Some(status) => format!("a row that shows it as {status}"),
        None => "a row, without a state of the subscription".to_owned(),
    };
    if trace.delinquent == Some(true) {
        words.push_str(", with a payment missing");
    }
    if trace.collection_paused == Some(true) {
        words.push_str(", with collection paused");
    }
    if let Some(end) = trace.period_end {
        words.push_str(&format!(", paid until {} UTC", ago::utc_s(end)));
    }
    words
}

/// Whether the newest known state of its object is from this event.
pub(super) fn rests(detail: &EventDetail, rests: Option<&RestsOn>) -> String {
    let Some(rests) = rests else { return "Nothing is known of its object.".to_owned() };
    let deleted = if rests.deleted { " It was deleted at Stripe." } else { "" };
    let ambiguous =
        if rests.ambiguous { " Several events share its second, and their order is not certain." } else { "" };
    let which = match rests.event_id.as_str() {
        id if id == detail.entry.event_id => "The newest known state of its object rests on this event.".to_owned(),
        id if id.starts_with("read:") => "The newest known state of its object was read from Stripe's API.".to_owned(),
        _ if rests.event_created > detail.entry.event_created => {
            "The newest known state of its object is from a later event.".to_owned()
        }
        _ => "The newest known state of its object is from another event.".to_owned(),
    };
    format!("{which}{deleted}{ambiguous}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_words_that_say_what_to_do() {
        let cases = [
            ("data.object.customer is missing", "lacks something"),
            ("panicked: index out of bounds", "brought to light"),
            ("the process ended while this event was projected; given up after 8 attempts", "died each time"),
            ("the body is not a Stripe event: `id` is missing", "cannot be read"),
            ("the database cannot take this now: disk full", "has room"),
            ("database error: UNIQUE constraint failed", "refused"),
            ("something new", "If the cause is gone"),
        ];
        for (error, words) in cases {
            assert!(reason(error).contains(words), "{error}: {}", reason(error));
        }
    }
}
