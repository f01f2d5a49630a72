//! Values as pages show them: times, money, ids, links to Stripe. Each is made here, so that every page shows it alike.
//! Templates escape all of it. Called by every page.

use crate::base::invisible::is_invisible;
use crate::base::{ago, money};

/// How many characters of an id are shown before it is cut in its middle.
const SHOWN_ID_CHARS: usize = 20;
/// What is left of both ends of an id that is cut.
const END_CHARS: usize = 8;
/// How many characters of a foreign text are shown in a list.
const SHOWN_TEXT_CHARS: usize = 200;

/// A time: words for people, the whole of it in `title` and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    /// `3 min ago`.
    pub(super) words: String,
    /// `2026-11-30 14:05:09 UTC`.
    pub(super) utc: String,
    /// For the attribute `datetime`.
    pub(super) iso: String,
}

impl When {
    /// Of unix milliseconds.
    pub(super) fn ms(then_ms: i64, now_ms: i64) -> Self {
        let utc = ago::utc_s(then_ms.div_euclid(1000));
        let iso = format!("{}Z", utc.replace(' ', "T"));
        Self { words: ago::words(then_ms, now_ms), utc: format!("{utc} UTC"), iso }
    }

    /// Of unix seconds.
    pub(super) fn s(then_s: i64, now_ms: i64) -> Self {
        Self::ms(then_s.saturating_mul(1000), now_ms)
    }
}

/// An id: shown in monospace with a button that copies it, cut in the middle if it is long, whole in `title`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) whole: String,
    pub(super) shown: String,
}

impl Id {
    pub(super) fn new(id: &str) -> Self {
        let count = id.chars().count();
        let shown = if count <= SHOWN_ID_CHARS {
            id.to_owned()
        } else {
            let start: String = id.chars().take(END_CHARS).collect();
            let end: String = id.chars().skip(count.saturating_sub(END_CHARS)).collect();
            format!("{start}…{end}")
        };
        Self { whole: id.to_owned(), shown: plain(&shown) }
    }
}

/// A text with foreign words in it. What would turn the direction of the words around it is written out, as `\u{202e}`, so that
/// nobody says yes to a sentence that reads otherwise than it was written.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// An amount with its currency; "–" where it is not known.
pub(super) fn money(amount: Option<i64>, currency: Option<&str>) -> String {
    match (amount, currency) {
        (Some(amount), Some(currency)) => money::plain(amount, currency),
        _ => "–".to_owned(),
    }
}

/// The beginning of a text that somebody else wrote, for a list.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_TEXT_CHARS) {
        Some((at, _)) => format!("{}…", plain(&text[..at])),
        None => plain(text),
    }
}

/// A number with its word: `1 event`, `3 events`; what reaches the number up to which was counted is "at least".
pub(super) fn counted(count: u32, most: u32, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        _ if count >= most => format!("at least {} {word}s", thousands(count)),
        _ => format!("{} {word}s", thousands(count)),
    }
}

/// `12,345`.
fn thousands(count: u32) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length in bytes: `512 bytes`, `64 KiB`.
pub(super) fn bytes(length: i64) -> String {
    const KIB: i64 = 1024;
    if length < 10 * KIB { format!("{length} bytes") } else { format!("{} KiB", length / KIB) }
}

/// The class of the dot before a state's word, whatever table it is from: `ok`, `waiting`, `failed`, `dead` or `quiet`.
pub(super) fn class_of(word: &str) -> &'static str {
    match word {
        "processed" | "done" | "ok" | "paid" | "succeeded" | "active" | "complete" | "entitled" | "sent" => "ok",
        "pending" | "claimed" | "retrying" | "sending" | "in_doubt" | "trialing" | "past_due" | "warn" | "open"
        | "ending" | "grace_period" => "waiting",
        "failed" | "not_done" | "refused" | "unpaid" | "incomplete" | "fail" | "unknown_price" | "unknown_status"
        | "partial" | "stale" => "failed",
        "dead" => "dead",
        _ => "quiet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_id_is_cut_in_its_middle_and_kept_whole() {
        let id = Id::new("evt_1QabcdefghijklmnopqrstuvWX");
        assert_eq!((id.shown.as_str(), id.whole.len()), ("evt_1Qab…qrstuvWX", 30));
        assert_eq!(Id::new("evt_1").shown, "evt_1");
        assert_eq!(Id::new(&"é".repeat(64)).shown.chars().count(), 17);
    }

    #[test]
    fn what_would_turn_a_sentence_is_written_out_and_everything_else_stays() {
        assert_eq!(plain("bob\u{202e}eve is \u{2067}x"), "bob\\u{202e}eve is \\u{2067}x");
        assert_eq!(Id::new("bob\u{202e}eve").shown, "bob\\u{202e}eve");
        assert_eq!(cut(&"\u{202e}".repeat(201)), format!("{}…", "\\u{202e}".repeat(200)));
        for text in ["Zoë", "אבג", "👩\u{200d}👧", "a\nb"] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn a_number_has_its_word_and_says_where_counting_ended() {
        assert_eq!(counted(1, 10, "event"), "1 event");
        assert_eq!(counted(0, 10, "event"), "0 events");
        assert_eq!(counted(1_234_567, u32::MAX, "event"), "1,234,567 events");
        assert_eq!(counted(10_000, 10_000, "event"), "at least 10,000 events");
        assert_eq!((bytes(512), bytes(65_536)), ("512 bytes".to_owned(), "64 KiB".to_owned()));
    }

    #[test]
    fn a_time_has_words_and_the_whole_of_it() {
        let when = When::s(1_700_000_000, 1_700_000_180_000);
        assert_eq!((when.words.as_str(), when.utc.as_str()), ("3 min ago", "2023-11-14 22:13:20 UTC"));
        assert_eq!(when.iso, "2023-11-14T22:13:20Z");
    }
}
