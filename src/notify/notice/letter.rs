//! What a mail says, once for both of its parts, so that text and HTML never differ: subject, heading, sentences, a table
//! of facts, one button; and the same facts for the operator's own templates. The words stand with each notice. Called by
//! the notices, which write their letters, and by `mail`, which fills its templates with them.

use std::collections::BTreeMap;

use super::words;
use crate::base::money;
use crate::notify::notice::{MailKind, NoticeMail};
use crate::notify::text::{UntrustedLink, UntrustedText};

/// The tone of a mail, shown by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::notify) enum LetterTone {
    /// Something is to be done.
    Attention,
    /// Something has ended or is lost.
    Grave,
    /// All is well.
    Good,
    /// For information.
    Calm,
}

impl LetterTone {
    /// The colour of its mark, readable on white and on black.
    pub(in crate::notify) fn colour(self) -> &'static str {
        match self {
            Self::Attention => "#b45309",
            Self::Grave => "#b91c1c",
            Self::Good => "#15803d",
            Self::Calm => "#1d4ed8",
        }
    }
}

/// The placeholder of a fact in templates, and its text; `None`: not known.
pub(in crate::notify) type LetterFact = (&'static str, Option<String>);

/// The facts of one mail, by placeholder.
pub(in crate::notify) type LetterValues = BTreeMap<&'static str, String>;

/// A link with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::notify) struct LetterLink {
    pub(in crate::notify) label: &'static str,
    pub(in crate::notify) url: String,
}

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::notify) struct Letter {
    pub(in crate::notify) tone: LetterTone,
    pub(in crate::notify) subject: String,
    pub(in crate::notify) heading: String,
    /// Before the button.
    pub(in crate::notify) sentences: Vec<String>,
    pub(in crate::notify) button: Option<LetterLink>,
    /// A second, lesser link.
    pub(in crate::notify) link: Option<LetterLink>,
    /// The rows of the table: label and value.
    pub(in crate::notify) details: Vec<(&'static str, String)>,
    /// Sentences below the table.
    pub(in crate::notify) after: Vec<String>,
    /// The day that it is about.
    pub(in crate::notify) date: Option<String>,
    /// What only notices of this kind know, for templates.
    facts: Vec<LetterFact>,
}

impl Letter {
    pub(super) fn new(tone: LetterTone, subject: String, heading: &str) -> Self {
        Self {
            tone,
            subject,
            heading: heading.to_owned(),
            sentences: Vec::new(),
            button: None,
            link: None,
            details: Vec::new(),
            after: Vec::new(),
            date: None,
            facts: Vec::new(),
        }
    }

    /// Adds a sentence.
    pub(super) fn say(mut self, sentence: impl Into<String>) -> Self {
        self.sentences.push(one_stop(&sentence.into()));
        self
    }

    /// Adds a line to the table, if there is something to show.
    pub(super) fn show(mut self, label: &'static str, value: Option<String>) -> Self {
        self.details.extend(value.map(|value| (label, value)));
        self
    }

    pub(super) fn button(mut self, label: &'static str, url: Option<String>) -> Self {
        self.button = url.map(|url| LetterLink { label, url });
        self
    }

    pub(super) fn link(mut self, label: &'static str, url: Option<String>) -> Self {
        self.link = url.map(|url| LetterLink { label, url });
        self
    }

    pub(super) fn after(mut self, sentence: impl Into<String>) -> Self {
        self.after.push(sentence.into());
        self
    }

    /// What templates may show besides.
    pub(super) fn with(mut self, facts: impl IntoIterator<Item = LetterFact>) -> Self {
        self.facts.extend(facts);
        self
    }

    pub(super) fn about(mut self, date: Option<String>) -> Self {
        self.date = date;
        self
    }
}

/// A sentence with one full stop at its end: a name in it may end with one of its own.
fn one_stop(sentence: &str) -> String {
    let mut text = sentence.to_owned();
    while let Some(at) = text.find("..") {
        text.replace_range(at..at + 2, ".");
    }
    text
}

/// The facts of a mail by placeholder. A fact that is not known is not in it.
pub(in crate::notify) fn values(mail: &NoticeMail, letter: &Letter, product: &str) -> LetterValues {
    let common = [
        ("date", letter.date.clone()),
        ("greeting", Some(greeting(mail))),
        ("heading", Some(letter.heading.clone())),
        ("product", Some(product.to_owned())),
        ("subject", Some(letter.subject.clone())),
        ("url", letter.button.as_ref().map(|button| button.url.clone())),
        ("user_id", line(mail.user.id.as_ref())),
        ("user_name", mail.user.name()),
    ];
    let all = common.into_iter().chain(letter.facts.clone());
    all.filter_map(|(name, value)| Some((name, value?))).collect()
}

/// "Hello Jane," or "Hello,".
pub(in crate::notify) fn greeting(mail: &NoticeMail) -> String {
    mail.user.name().map_or_else(|| "Hello,".to_owned(), |name| format!("Hello {name},"))
}

/// Why somebody gets this mail.
pub(in crate::notify) fn reason(kind: MailKind, product: &str) -> String {
    if kind.is_for_operator() {
        return one_stop(&format!("You get this mail because you are the operator of billing for {product}."));
    }
    one_stop(&format!("You get this mail because you have an account with {product}. It was sent automatically."))
}

/// An amount in its currency.
pub(super) fn money_of(amount: Option<i64>, currency: Option<&UntrustedText>) -> Option<String> {
    let currency = line(currency).filter(|code| code.len() == 3 && code.is_ascii())?;
    Some(money::words(amount?, &currency))
}

/// A time as a day.
pub(super) fn day_of(at_s: Option<i64>) -> Option<String> {
    at_s.and_then(words::day)
}

/// Whether a text can stand in a command or in the path of a link.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A text, on one line; blank is `None`.
pub(super) fn line(text: Option<&UntrustedText>) -> Option<String> {
    text.and_then(UntrustedText::line)
}

/// A link that can be followed safely.
pub(super) fn safe(link: Option<&UntrustedLink>) -> Option<String> {
    link.and_then(UntrustedLink::safe)
}

/// A tier as a name.
pub(super) fn tier_of(tier: Option<&UntrustedText>) -> Option<String> {
    line(tier).map(|tier| words::tier(&tier))
}

/// A tier as a plan.
pub(super) fn plan_of(of: Option<&UntrustedText>) -> Option<String> {
    tier_of(of).map(|tier| format!("{tier} plan"))
}

#[cfg(test)]
mod tests;
