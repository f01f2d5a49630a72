//! `test`: `tilld notify test ADDRESS` shows whether mail works. Called by `notice`.

use super::letter::{Letter, LetterTone};

pub(super) fn letter(product: &str) -> Letter {
    let subject = format!("{product}: mail works");
    Letter::new(LetterTone::Good, subject, "Mail works")
        .say("This is a test mail from tilld. If you can read it, your customers can be written to.")
        .say("Nothing else happened, and there is nothing to do.")
}
