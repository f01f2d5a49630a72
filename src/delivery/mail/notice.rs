//! What a mail is about, as its row in the outbox says it. Names and other people's words are made harmless here. It must
//! never make a text. Called by `mail`.

use serde_json::Value;

/// Kinds of mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The first attempt at a payment failed.
    PaymentFailed,
    /// A later one failed.
    PaymentRetry,
    /// The customer must confirm a payment.
    PaymentActionRequired,
    /// Access ends soon.
    GracePeriodWarning,
    /// Access has ended.
    SubscriptionDowngraded,
    /// It is paid after all.
    PaymentRecovered,
    /// There is an invoice.
    InvoiceFinalized,
    /// A trial ends soon.
    TrialWillEnd,
    /// A customer wants money back by way of the bank; to the operator.
    DisputeCreated,
    /// An event of Stripe's was given up; to the operator.
    WebhookDeadLetter,
    /// An endpoint of the application's was switched off; to the operator.
    WebhookEndpointDisabled,
    /// Stripe's webhooks do not come; to the operator.
    WebhooksMissing,
    /// The operator tries whether mail works.
    Test,
}

/// All of them, with the word that stands in payloads and names of templates.
pub const KINDS: [(Kind, &str); 13] = [
    (Kind::PaymentFailed, "payment_failed"),
    (Kind::PaymentRetry, "payment_retry"),
    (Kind::PaymentActionRequired, "payment_action_required"),
    (Kind::GracePeriodWarning, "grace_period_warning"),
    (Kind::SubscriptionDowngraded, "subscription_downgraded"),
    (Kind::PaymentRecovered, "payment_recovered"),
    (Kind::InvoiceFinalized, "invoice_finalized"),
    (Kind::TrialWillEnd, "trial_will_end"),
    (Kind::DisputeCreated, "dispute_created"),
    (Kind::WebhookDeadLetter, "webhook_dead_letter"),
    (Kind::WebhookEndpointDisabled, "webhook_endpoint_disabled"),
    (Kind::WebhooksMissing, "webhooks_missing"),
    (Kind::Test, "test"),
];

/// Longer names than this greet nobody.
const MAX_NAME: usize = 60;
/// Of any other text, so much is shown.
const MAX_TEXT: usize = 300;

impl Kind {
    /// The kind of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, word)| *word == name).map(|(kind, _)| *kind)
    }

    /// It is for the operator, not for a customer.
    #[must_use]
    pub fn is_for_operator(self) -> bool {
        matches!(
            self,
            Self::DisputeCreated
                | Self::WebhookDeadLetter
                | Self::WebhookEndpointDisabled
                | Self::WebhooksMissing
                | Self::Test
        )
    }
}

/// A mail to be.
pub(super) struct Notice<'a> {
    pub(super) kind: Kind,
    pub(super) to: Option<&'a str>,
    pub(super) user_id: Option<String>,
    /// What the user is called, if that can be a name.
    pub(super) user_name: Option<String>,
    facts: &'a Value,
}

impl<'a> Notice<'a> {
    /// Reads a payload. The error is for the operator.
    pub(super) fn read(payload: &'a Value) -> Result<Self, String> {
        let name = payload["notice"].as_str().ok_or("the row is no mail: it names no notice")?;
        let kind = Kind::of(name).ok_or_else(|| format!("{:?} is no kind of notice", one_line(name, MAX_TEXT)))?;
        Ok(Self {
            kind,
            to: payload["to"].as_str().map(str::trim).filter(|to| !to.is_empty()),
            user_id: payload["user"]["id"].as_str().map(|id| one_line(id, MAX_TEXT)),
            user_name: payload["user"]["name"].as_str().and_then(personal_name),
            facts: &payload["facts"],
        })
    }

    /// A fact that is a text, on one line; blank is none.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = one_line(self.facts[name].as_str()?, MAX_TEXT);
        (!text.is_empty()).then_some(text)
    }

    /// A fact that is a whole number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.facts[name].as_i64()
    }

    /// A fact that is yes or no.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.facts[name].as_bool().unwrap_or_default()
    }

    /// A fact that is a link that can be followed safely.
    pub(super) fn link(&self, name: &str) -> Option<String> {
        let link = self.facts[name].as_str()?;
        let is_plain = link.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\`".contains(c));
        (link.starts_with("https://") && is_plain).then(|| link.to_owned())
    }
}

/// A text without line breaks, control characters and marks that turn its direction, its length limited.
pub(super) fn one_line(text: &str, max_chars: usize) -> String {
    let is_unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
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

/// A name to greet with. Whoever signs up with somebody else's address chooses the name, so what mail programs would turn
/// into a link is none.
pub(super) fn personal_name(text: &str) -> Option<String> {
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
    #![allow(clippy::unwrap_used)]
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
    fn every_kind_is_found_by_its_name() {
        for (kind, name) in KINDS {
            assert_eq!(Kind::of(name), Some(kind));
        }
        assert_eq!(Kind::of("payment"), None);
    }

    #[test]
    fn only_plain_https_links_are_links() {
        let link = |url: &str| {
            let payload = serde_json::json!({"notice": "test", "facts": {"url": url}});
            Notice::read(&payload).unwrap().link("url")
        };
        for wrong in ["http://x", "javascript:alert(1)", "https://x\r\ny", "https://x\"y", "https://x y", ""] {
            assert_eq!(link(wrong), None, "{wrong}");
        }
        assert_eq!(link("https://pay.example/i?a=1&b=2").as_deref(), Some("https://pay.example/i?a=1&b=2"));
    }
}
