//! JSON that Stripe's servers let through and a strict reader does not: an escape that is half a character. People paste
//! such texts; they decide nothing, and must not keep the rest of an event from being read. Called by `event`.

use std::borrow::Cow;

/// What replaces half a character.
const REPLACEMENT: &str = "\\ufffd";
/// Length of an escape, `\uXXXX`.
const ESCAPE: usize = 6;

/// The text with every lone surrogate escape replaced; borrowed where there is none.
pub(super) fn repaired(text: &str) -> Cow<'_, str> {
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        let Some(unit) = unit_at(text, at) else {
            // Another escape: of a quote, or of a backslash, which must not be taken for the beginning of one.
            at += 2;
            continue;
        };
        let is_high = (0xd800..0xdc00).contains(&unit);
        let follows_low = || unit_at(text, at + ESCAPE).is_some_and(|next| (0xdc00..0xe000).contains(&next));
        if is_high && follows_low() {
            at += 2 * ESCAPE;
            continue;
        }
        if (0xd800..0xe000).contains(&unit) {
            out.push_str(text.get(copied..at).unwrap_or_default());
            out.push_str(REPLACEMENT);
            copied = at + ESCAPE;
        }
        at += ESCAPE;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The UTF-16 unit that is escaped here.
fn unit_at(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}
