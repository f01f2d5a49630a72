//! The words for a call to Stripe: where it stands, and what will happen to one whose outcome is not known. Pure. Called by
//! the pages of calls.

use crate::base::ago;
use crate::http::dashboard::view;
use crate::outward::calls::prospect::{self, FoundBy, NextQuestion, Prospect};
use crate::store::stripe_operations::list::OperationEntry;
use crate::stripe::operation::OperationKind;

/// How a state is shown.
pub(super) fn state(word: &str) -> &'static str {
    match word {
        "sending" => "being sent",
        "in_doubt" => "in doubt",
        "done" => "done",
        "refused" => "refused",
        "not_done" => "not done",
        _ => "unknown",
    }
}

/// A state in a sentence.
pub(super) fn standing(word: &str) -> &'static str {
    match word {
        "sending" => "It is being sent now, or the process that sent it has died.",
        "in_doubt" => "It was sent, and it is not known yet whether Stripe has done it.",
        "done" => "Stripe has done it.",
        "refused" => "Stripe has refused it for good, such as a declined card; the same key gets the same answer.",
        "not_done" => "Stripe has certainly not done it; the same key may try again.",
        _ => "This tilld does not know its state.",
    }
}

/// Whether its outcome is still to be found out.
pub(super) fn is_open(word: &str) -> bool {
    matches!(word, "sending" | "in_doubt")
}

/// In a list: what happens next, or why it came to nothing.
pub(super) fn short(entry: &OperationEntry, has_key: bool, now_ms: i64) -> String {
    if !is_open(&entry.status) {
        return entry.error.clone().unwrap_or_default();
    }
    if !has_key {
        return "waits for an API key".to_owned();
    }
    let prospect = of(entry, OperationKind::parse(&entry.kind), now_ms);
    let when = when(prospect.at_ms, now_ms);
    match prospect.next {
        NextQuestion::UnderKey => format!("asked for again {when}, under the same key"),
        NextQuestion::AsItIs => format!("sent again {when}; twice is once"),
        NextQuestion::Found(FoundBy::Search) => format!("searched for at Stripe {when}, not sent again"),
        NextQuestion::Found(FoundBy::Look) => format!("read at Stripe {when}, not sent again"),
        NextQuestion::Found(FoundBy::Nothing) => format!("counts as not done {when}"),
        NextQuestion::Never => "not known to this tilld: stays in doubt".to_owned(),
    }
}

/// What will happen to an open call, in sentences.
pub(super) fn fate(entry: &OperationEntry, kind: Option<OperationKind>, has_key: bool, now_ms: i64) -> Vec<String> {
    if !has_key {
        return vec![
            "Nothing happens to it as long as there is no API key: set stripe.api_key, and start the daemon again."
                .to_owned(),
        ];
    }
    let prospect = of(entry, kind, now_ms);
    let Prospect { next, at_ms, key_until_ms, then } = prospect;
    let (when, key) = (when(at_ms, now_ms), view::cut(&entry.idempotency_key));
    let subject = entry.subject.as_deref().map_or_else(|| "what it was done to".to_owned(), view::cut);
    let found = |by: FoundBy| match by {
        FoundBy::Search => format!(
            "tilld reads Stripe's list of what was made since and looks for the key {key} in its metadata. It sends nothing \
             again. What is found was made by this call; if nothing is, the call was not done."
        ),
        FoundBy::Look => format!(
            "tilld reads {subject} at Stripe and sees whether it is what this call was to make of it. It sends nothing again. \
             If it is not, the call was not done."
        ),
        FoundBy::Nothing => "it counts as not done, since it leaves nothing that matters.".to_owned(),
    };
    let until = format!(
        "Stripe certainly knows the key until {} UTC ({}).",
        ago::utc_s(key_until_ms.div_euclid(1000)),
        ago::words(key_until_ms, now_ms)
    );
    let after = then.map(|by| format!("After that {}", found(by)));
    let first = match next {
        NextQuestion::UnderKey => format!(
            "It is asked for again {when}, under the key {key} and with the same bytes. Stripe then answers as it did the first \
             time and does nothing twice."
        ),
        NextQuestion::AsItIs => format!(
            "It is sent again {when} as it was: Stripe takes no key for it, and doing it twice is doing it once. If Stripe finds \
             nothing left to do, {subject} shows whether it was done."
        ),
        NextQuestion::Found(by) => {
            return vec![format!("Stripe may have forgotten the key {key}. So, {when}, {}", found(by))];
        }
        NextQuestion::Never => {
            return vec![format!(
                "This tilld does not know what {:?} is, or not all that it was asked for with. It is neither sent nor looked for, \
                 and stays in doubt until the version that wrote it runs again.",
                view::cut(&entry.kind)
            )];
        }
    };
    std::iter::once(first).chain([until]).chain(after).collect()
}

fn of(entry: &OperationEntry, kind: Option<OperationKind>, now_ms: i64) -> Prospect {
    prospect::of(kind, (entry.first_sent_ms, entry.next_attempt_at_ms), now_ms)
}

fn when(at_ms: Option<i64>, now_ms: i64) -> String {
    at_ms.map_or_else(|| "now".to_owned(), |at_ms| ago::words(at_ms, now_ms))
}
