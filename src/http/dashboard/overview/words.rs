//! The words of the first page: the sentence that says whether all is well, where each finding can be mended, and which parts
//! of a message are commands. Pure. Called by `dashboard::overview`.

use crate::base::finding::{Finding, FindingVerdict};
use crate::jobs::findings::checks;

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http::dashboard) struct Part {
    pub(in crate::http::dashboard) text: String,
    /// It is to be typed.
    pub(in crate::http::dashboard) is_code: bool,
}

/// What stands between backticks is a command.
pub(in crate::http::dashboard) fn parts(message: &str) -> Vec<Part> {
    let part = |(number, text): (usize, &str)| Part { text: text.to_owned(), is_code: number % 2 == 1 };
    message.split('`').enumerate().map(part).filter(|part| !part.text.is_empty()).collect()
}

/// The page where it can be mended: its link and its name.
pub(super) fn place_of(check: &str) -> Option<(&'static str, &'static str)> {
    match check {
        checks::DEAD_LETTERS => Some(("dead-letters", "Dead letters")),
        checks::EVENTS => Some(("events?status=pending", "Events that wait")),
        checks::OUTBOX => Some(("outbox", "Outbox")),
        checks::ENDPOINT => Some(("outbox", "Outbox")),
        checks::LINKS => Some(("users", "Users")),
        checks::SYNC | checks::REFUSED | "plan" | "clock at Stripe" => Some(("stripe", "Stripe")),
        stripe if stripe.starts_with("stripe ") || stripe.starts_with("webhook ") => Some(("stripe", "Stripe")),
        "plans" | "prices" | "tokens" => Some(("settings", "Settings")),
        _ => None,
    }
}

/// Is all well, in one sentence, and the class of its dot.
pub(super) fn sentence(todo: &[&Finding], is_fresh: bool) -> (String, &'static str) {
    let failed = todo.iter().filter(|finding| finding.verdict == FindingVerdict::Fail).count();
    let things = |count: usize| if count == 1 { "1 thing".to_owned() } else { format!("{count} things") };
    let look = match todo.len() - failed {
        0 => String::new(),
        1 => "; 1 thing should be looked at".to_owned(),
        warned => format!("; {} should be looked at", things(warned)),
    };
    match (failed, is_fresh) {
        (0, true) => (format!("tilld runs and waits for its first webhook{look}."), "waiting"),
        (0, false) if todo.is_empty() => ("All is well.".to_owned(), "ok"),
        (0, false) => (format!("tilld works{look}."), "waiting"),
        (1, _) => (format!("1 thing does not work{look}."), "failed"),
        (failed, _) => (format!("{} do not work{look}.", things(failed)), "failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::finding::{fail, warn};

    #[test]
    fn the_sentence_says_how_much_is_to_be_done() {
        let (bad, odd) = (fail("a", ""), warn("b", ""));
        for (todo, is_fresh, expected) in [
            (vec![], false, ("All is well.", "ok")),
            (vec![], true, ("tilld runs and waits for its first webhook.", "waiting")),
            (vec![&odd], false, ("tilld works; 1 thing should be looked at.", "waiting")),
            (vec![&bad], false, ("1 thing does not work.", "failed")),
            (vec![&bad, &bad, &odd, &odd], true, ("2 things do not work; 2 things should be looked at.", "failed")),
        ] {
            let (words, state) = sentence(&todo, is_fresh);
            assert_eq!((words.as_str(), state), expected);
        }
    }

    #[test]
    fn what_stands_in_backticks_is_a_command() {
        let part = |text: &str, is_code| Part { text: text.to_owned(), is_code };
        assert_eq!(parts("run `tilld sync` now"), [part("run ", false), part("tilld sync", true), part(" now", false)]);
        assert_eq!(parts("`a`"), [part("a", true)]);
        assert_eq!(parts(""), []);
    }

    #[test]
    fn what_is_at_fault_at_stripe_is_mended_on_the_page_stripe() {
        for check in ["stripe key", "stripe permissions", "webhook endpoint", "plan", "sync"] {
            assert_eq!(place_of(check), Some(("stripe", "Stripe")), "{check}");
        }
        assert_eq!(place_of("clock"), None);
    }
}
