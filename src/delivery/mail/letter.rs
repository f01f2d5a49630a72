//! What a mail says, once for both of its parts, so that text and HTML never differ: subject, heading, sentences, a table
//! of facts, one button. `letter::customer` and `letter::operator` have the words. Called by `mail`.

mod customer;
mod operator;

use super::notice::{Kind, Notice};
use super::words;
use crate::money;

/// What a mail looks like at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something is to be done.
    Attention,
    /// Something has ended or is lost.
    Grave,
    /// All is well.
    Good,
    /// To be known.
    Calm,
}

impl Tone {
    /// The colour of its mark, readable on white and on black.
    pub(super) fn colour(self) -> &'static str {
        match self {
            Self::Attention => "#b45309",
            Self::Grave => "#b91c1c",
            Self::Good => "#15803d",
            Self::Calm => "#1d4ed8",
        }
    }
}

/// A link with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) label: &'static str,
    pub(super) url: String,
}

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) tone: Tone,
    pub(super) subject: String,
    pub(super) heading: String,
    /// Before the button.
    pub(super) sentences: Vec<String>,
    pub(super) button: Option<Link>,
    /// A second, lesser link.
    pub(super) link: Option<Link>,
    /// What, and how much of it.
    pub(super) details: Vec<(&'static str, String)>,
    /// Below all that.
    pub(super) after: Vec<String>,
    /// The day that it is about.
    pub(super) date: Option<String>,
}

impl Letter {
    fn new(tone: Tone, subject: String, heading: &str) -> Self {
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
        }
    }

    /// Adds a sentence.
    fn say(mut self, sentence: impl Into<String>) -> Self {
        self.sentences.push(one_stop(&sentence.into()));
        self
    }

    /// Adds a line to the table, if there is something to show.
    fn show(mut self, label: &'static str, value: Option<String>) -> Self {
        self.details.extend(value.map(|value| (label, value)));
        self
    }

    fn button(mut self, label: &'static str, url: Option<String>) -> Self {
        self.button = url.map(|url| Link { label, url });
        self
    }

    fn link(mut self, label: &'static str, url: Option<String>) -> Self {
        self.link = url.map(|url| Link { label, url });
        self
    }

    fn after(mut self, sentence: impl Into<String>) -> Self {
        self.after.push(sentence.into());
        self
    }

    fn about(mut self, date: Option<String>) -> Self {
        self.date = date;
        self
    }
}

/// A sentence that ends once: a name in it may end with a stop of its own.
fn one_stop(sentence: &str) -> String {
    let mut text = sentence.to_owned();
    while let Some(at) = text.find("..") {
        text.replace_range(at..at + 2, ".");
    }
    text
}

/// Writes the letter of a notice.
pub(super) fn write(notice: &Notice, product: &str) -> Letter {
    match notice.kind {
        Kind::PaymentFailed => customer::payment_failed(notice, product),
        Kind::PaymentRetry => customer::payment_retry(notice, product),
        Kind::PaymentActionRequired => customer::payment_action_required(notice, product),
        Kind::GracePeriodWarning => customer::grace_period_warning(notice, product),
        Kind::SubscriptionDowngraded => customer::subscription_downgraded(notice, product),
        Kind::PaymentRecovered => customer::payment_recovered(notice, product),
        Kind::InvoiceFinalized => customer::invoice_finalized(notice, product),
        Kind::TrialWillEnd => customer::trial_will_end(notice, product),
        Kind::DisputeCreated => operator::dispute_created(notice, product),
        Kind::WebhookDeadLetter => operator::webhook_dead_letter(notice, product),
        Kind::WebhookEndpointDisabled => operator::webhook_endpoint_disabled(notice, product),
        Kind::WebhooksMissing => operator::webhooks_missing(notice, product),
        Kind::Test => operator::test(product),
    }
}

/// "Hello Jane," or "Hello,".
pub(super) fn greeting(notice: &Notice) -> String {
    notice.user_name.as_ref().map_or_else(|| "Hello,".to_owned(), |name| format!("Hello {name},"))
}

/// Why somebody gets this mail.
pub(super) fn reason(notice: &Notice, product: &str) -> String {
    if notice.kind.is_for_operator() {
        return one_stop(&format!("You get this mail because you are the operator of billing for {product}."));
    }
    one_stop(&format!("You get this mail because you have an account with {product}. It was sent automatically."))
}

impl Notice<'_> {
    /// The amount in its currency.
    pub(super) fn money(&self) -> Option<String> {
        let currency = self.text("currency").filter(|code| code.len() == 3 && code.is_ascii())?;
        Some(money::words(self.number("amount")?, &currency))
    }

    /// A time as a day.
    pub(super) fn day(&self, name: &str) -> Option<String> {
        self.number(name).and_then(words::day)
    }

    /// Until when everything works, where that can be promised: after the last attempt Stripe may end the subscription at
    /// once.
    pub(super) fn promised_end(&self) -> Option<String> {
        let is_attempt = matches!(self.kind, Kind::PaymentFailed | Kind::PaymentRetry | Kind::PaymentActionRequired);
        self.day("grace_period_end").filter(|_| !is_attempt || self.number("next_attempt_at").is_some())
    }

    /// A tier as a plan.
    pub(super) fn plan(&self, name: &str) -> Option<String> {
        self.tier(name).map(|tier| format!("{tier} plan"))
    }

    /// A tier as a name.
    pub(super) fn tier(&self, name: &str) -> Option<String> {
        self.text(name).map(|tier| words::tier(&tier))
    }
}

#[cfg(test)]
mod tests;
