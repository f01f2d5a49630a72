//! Other people's words on their way into a mail: names, numbers of invoices, error texts, links. They are kept as they
//! came and can be shown only as something harmless, so that nobody can forget to make them so. Pure. Called by the notices
//! and by `mail`.

use serde::{Deserialize, Serialize};

use crate::base::invisible::is_invisible;

/// Longer names than this greet nobody.
const MAX_NAME: usize = 60;
/// How much of any other text is shown.
const MAX_TEXT: usize = 300;

/// A text that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UntrustedText(String);

impl UntrustedText {
    /// As it came, to look something up by it; never to be shown.
    #[must_use]
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }

    /// On one line, its length limited; blank is `None`.
    #[must_use]
    pub(crate) fn line(&self) -> Option<String> {
        Some(one_line(&self.0, MAX_TEXT)).filter(|line| !line.is_empty())
    }
}

impl<T: Into<String>> From<T> for UntrustedText {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// A link that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UntrustedLink(String);

impl UntrustedLink {
    /// The link, if it can be followed safely.
    #[must_use]
    pub(crate) fn safe(&self) -> Option<String> {
        let is_plain = self.0.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\`".contains(c));
        (self.0.starts_with("https://") && is_plain).then(|| self.0.clone())
    }
}

impl<T: Into<String>> From<T> for UntrustedLink {
    fn from(link: T) -> Self {
        Self(link.into())
    }
}

/// A text without line breaks, control characters and marks that turn its direction, its length limited.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    // Spaces without width hide where a text goes on, too.
    let has_no_width = |c: char| matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}');
    let is_unseen = |c: char| c.is_control() || is_invisible(c) || has_no_width(c);
    let spaced: String = text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    // A space that must not break a line stands between a currency and its amount.
    let words = spaced.split(|c: char| c.is_whitespace() && c != '\u{a0}').filter(|word| !word.is_empty());
    let mut line = words.collect::<Vec<_>>().join(" ").trim().to_owned();
    if line.chars().count() > max_chars {
        line = line.chars().take(max_chars.saturating_sub(1)).collect();
        line.push('…');
    }
    line
}

/// A name to greet with. Whoever signs up with somebody else's address chooses the name, so one that mail programs would turn
/// into a link is not used.
pub(crate) fn personal_name(text: &str) -> Option<String> {
    let name = one_line(text, MAX_NAME + 1);
    let has_domain = name.match_indices('.').any(|(at, _)| {
        let mut after = name[at + 1..].chars();
        matches!((after.next(), after.next()), (Some(one), Some(two)) if one.is_alphanumeric() && two.is_alphanumeric())
    });
    let is_name =
        !name.is_empty() && name.chars().count() <= MAX_NAME && !name.contains(['@', '/', '\\', '<', '>', ':']);
    (is_name && !has_domain).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_links_or_are_too_long_greet_nobody() {
        for wrong in [
            "",
            "  ",
            "\u{a0}",
            "evil.com",
            "Win at www.evil.example",
            "http://x",
            "a@b.c",
            "x/y",
            "<b>",
            &"a".repeat(61),
        ] {
            assert_eq!(personal_name(wrong), None, "{wrong}");
        }
        for right in ["Jane", "J.R.R. Tolkien", "Dr. Müller-Lüdenscheidt", "山田 太郎", "O'Neill", "R&D \"Team\""]
        {
            assert_eq!(personal_name(right).as_deref(), Some(right));
        }
    }

    #[test]
    fn a_name_has_no_line_break_and_no_unseen_mark() {
        assert_eq!(personal_name("Jane\r\nBcc\u{202e} Doe\u{0}").as_deref(), Some("Jane Bcc Doe"));
    }

    #[test]
    fn only_plain_https_links_are_links() {
        let link = |url: &str| UntrustedLink::from(url).safe();
        for wrong in ["http://x", "javascript:alert(1)", "https://x\r\ny", "https://x\"y", "https://x y", ""] {
            assert_eq!(link(wrong), None, "{wrong}");
        }
        assert_eq!(link("https://pay.example/i?a=1&b=2").as_deref(), Some("https://pay.example/i?a=1&b=2"));
    }

    #[test]
    fn a_text_is_shown_on_one_line_and_a_blank_one_not_at_all() {
        assert_eq!(UntrustedText::from("a\r\nBcc: b").line().as_deref(), Some("a Bcc: b"));
        assert_eq!(UntrustedText::from(" \n").line(), None);
        assert_eq!(UntrustedText::from("x".repeat(400)).line().map(|line| line.chars().count()), Some(MAX_TEXT));
    }
}
