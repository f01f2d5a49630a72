//! Characters that nobody sees and that change how the text around them reads. The one answer for the log, mails and pages; what
//! each does about them is its own. It must never name letters, nor what joins them. Called by `app::logging`, `notify::text`
//! and the dashboard's `view`.

/// Separators of lines and paragraphs, and what turns the direction of writing.
#[must_use]
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
