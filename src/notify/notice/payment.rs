//! The notices about a failed payment and about an overdue invoice: their facts, and what the customer reads: short,
//! friendly, what happened, what happens next, and the one thing to do. Who decides them: `failed_payment`, `overdue`.
//! Called by `notice`.

use serde::{Deserialize, Serialize};

use super::letter::{Letter, LetterFact, LetterTone, day_of, line, money_of, plan_of, safe, tier_of};
use super::words;
use crate::notify::text::{UntrustedLink, UntrustedText};

const PAID_MEANWHILE: &str = "Paid in the meantime? Then please ignore this mail.";

/// A failed payment, or an overdue invoice, and what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PaymentFacts {
    pub(crate) invoice_id: UntrustedText,
    pub(crate) subscription_id: Option<UntrustedText>,
    pub(crate) customer_id: Option<UntrustedText>,
    /// What remains to be paid, or what was paid once it is.
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<UntrustedText>,
    /// Stripe's code.
    pub(crate) failure_code: Option<UntrustedText>,
    pub(crate) attempt: Option<i64>,
    pub(crate) next_attempt_at: Option<i64>,
    pub(crate) first_failed_at: Option<i64>,
    pub(crate) failed_at: Option<i64>,
    pub(crate) settled_at: Option<i64>,
    pub(crate) grace_period_end: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_date: Option<i64>,
    pub(crate) invoice_number: Option<UntrustedText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosted_invoice_url: Option<UntrustedLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invoice_pdf: Option<UntrustedLink>,
    /// The tier that the invoice is for; where access has ended, the one that the user had.
    pub(crate) tier: Option<UntrustedText>,
    /// The tier that the user has now.
    pub(crate) tier_now: Option<UntrustedText>,
    /// Stripe has ended the subscription: paying does not bring it back.
    pub(crate) ended: bool,
    pub(crate) ended_at: Option<i64>,
    /// The invoice was sent to be paid, so that no attempt failed and there is no failure case.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sent: bool,
}

impl PaymentFacts {
    /// The same for the application: whoever has one of the links can use it, so they are for the customer alone.
    pub(super) fn without_links(&self) -> Self {
        Self { hosted_invoice_url: None, invoice_pdf: None, ..self.clone() }
    }

    fn money(&self) -> Option<String> {
        money_of(self.amount, self.currency.as_ref())
    }

    /// "$12.00", or words where the amount is not known.
    fn open_amount(&self) -> String {
        self.money().unwrap_or_else(|| "the open amount".to_owned())
    }

    /// "Your payment of $12.00", or without the amount.
    fn payment(&self) -> String {
        self.money().map_or_else(|| "Your payment".to_owned(), |money| format!("Your payment of {money}"))
    }

    /// " for your Pro plan", where there is one.
    fn for_plan(&self) -> String {
        plan_of(self.tier.as_ref()).map(|plan| format!(" for your {plan}")).unwrap_or_default()
    }

    fn why(&self) -> Option<&'static str> {
        line(self.failure_code.as_ref()).as_deref().and_then(words::failure)
    }

    /// "because your bank declined it", where we know.
    fn because(&self) -> String {
        self.why().map(|why| format!(" because {why}")).unwrap_or_default()
    }

    /// Until when everything works after a failed attempt, where that can be promised. After the last attempt Stripe may end
    /// the subscription at once.
    fn promised_end(&self) -> Option<String> {
        day_of(self.grace_period_end).filter(|_| self.next_attempt_at.is_some())
    }

    /// What templates may show; `end`: of the grace period, as far as it can be promised.
    fn for_templates(&self, end: Option<String>) -> [LetterFact; 14] {
        [
            ("amount", self.money()),
            ("attempt", self.attempt.map(|count| count.to_string())),
            ("currency", line(self.currency.as_ref()).map(|code| code.to_uppercase())),
            ("due_date", day_of(self.due_date)),
            ("failed_at", day_of(self.failed_at)),
            ("grace_period_end", end),
            ("invoice_id", self.invoice_id.line()),
            ("invoice_number", line(self.invoice_number.as_ref())),
            ("invoice_pdf", safe(self.invoice_pdf.as_ref())),
            ("next_attempt", day_of(self.next_attempt_at)),
            ("reason", self.why().map(str::to_owned)),
            ("settled_at", day_of(self.settled_at)),
            ("tier", line(self.tier.as_ref())),
            ("tier_now", line(self.tier_now.as_ref())),
        ]
    }
}

/// What happens if nothing is done.
fn outlook(letter: Letter, facts: &PaymentFacts) -> Letter {
    let letter = match day_of(facts.next_attempt_at) {
        Some(day) => letter.say(format!("We will try again on {day}. You can also pay now, or use another card.")),
        None => letter
            .say("We will not try again by ourselves, and without a payment your subscription can end at any time.")
            .say("Please pay now, or use another card."),
    };
    match facts.promised_end() {
        Some(day) => letter.say(format!("Until {day} everything keeps working as usual.")),
        None => letter,
    }
}

/// The table below an open payment; `end`: until when access lasts.
fn open_payment(letter: Letter, facts: &PaymentFacts, end: Option<String>) -> Letter {
    letter
        .show("Amount", facts.money())
        .show("Plan", tier_of(facts.tier.as_ref()))
        .show("Invoice", line(facts.invoice_number.as_ref()))
        .show("Next attempt", day_of(facts.next_attempt_at))
        .show("Access until", end.clone())
        .button("Pay now", safe(facts.hosted_invoice_url.as_ref()))
        .after(PAID_MEANWHILE)
        .with(facts.for_templates(end))
}

pub(super) fn failed(facts: &PaymentFacts, product: &str) -> Letter {
    let subject = format!("{} to {product} did not go through", facts.payment());
    let (amount, plan, why) = (facts.open_amount(), facts.for_plan(), facts.because());
    let letter = Letter::new(LetterTone::Attention, subject, "Your payment did not go through")
        .say(format!("We could not collect {amount}{plan}{why}. This happens, and it is quickly put right."))
        .about(day_of(facts.failed_at));
    open_payment(outlook(letter, facts), facts, facts.promised_end())
}

pub(super) fn failed_again(facts: &PaymentFacts, product: &str) -> Letter {
    let subject = format!("{} to {product} failed again", facts.payment());
    let (amount, plan, why) = (facts.open_amount(), facts.for_plan(), facts.because());
    let letter = Letter::new(LetterTone::Attention, subject, "Your payment failed again")
        .say(format!("We tried once more to collect {amount}{plan}, and it did not work{why}."))
        .about(day_of(facts.failed_at));
    open_payment(outlook(letter, facts), facts, facts.promised_end())
}

pub(super) fn action_required(facts: &PaymentFacts, product: &str) -> Letter {
    let subject = format!("Please confirm {} to {product}", facts.payment().replacen("Your", "your", 1));
    let (amount, plan) = (facts.open_amount(), facts.for_plan());
    let letter = Letter::new(LetterTone::Attention, subject, "Please confirm your payment")
        .say(format!("Your bank wants to be sure that it is you who pays {amount}{plan}. It takes a minute."))
        .about(facts.promised_end());
    let letter = match facts.promised_end() {
        Some(day) => letter.say(format!("Until {day} everything keeps working as usual.")),
        None => letter.say("Without that your subscription can end at any time."),
    };
    letter
        .show("Amount", facts.money())
        .show("Plan", tier_of(facts.tier.as_ref()))
        .show("Invoice", line(facts.invoice_number.as_ref()))
        .show("Access until", facts.promised_end())
        .button("Confirm payment", safe(facts.hosted_invoice_url.as_ref()))
        .after("Confirmed in the meantime? Then please ignore this mail.")
        .with(facts.for_templates(facts.promised_end()))
}

pub(super) fn access_ends_soon(facts: &PaymentFacts, product: &str) -> Letter {
    let end = day_of(facts.grace_period_end);
    let when = end.as_ref().map_or_else(|| "soon".to_owned(), |day| format!("on {day}"));
    let subject = format!("Your access to {product} ends {when}");
    let (payment, plan) = (facts.payment(), facts.for_plan());
    let is_certain = facts.sent || facts.next_attempt_at.is_some();
    let advice = if is_certain {
        "Pay before that day, and nothing changes for you."
    } else {
        "Please pay it soon: we will not try again by ourselves, and your subscription can end before that day."
    };
    let letter = Letter::new(LetterTone::Attention, subject, &format!("Your access ends {when}"))
        .say(format!("{payment}{plan} is still open. {advice}"))
        .about(end.clone());
    open_payment(letter, facts, end)
}

/// Access has ended, and paying the invoice does not bring it back: Stripe has ended the subscription.
fn subscription_lost(facts: &PaymentFacts, product: &str, plan: &str) -> Letter {
    let subject = format!("Your {plan} at {product} has ended");
    let letter = Letter::new(LetterTone::Grave, subject, &format!("Your {plan} has ended"))
        .say(format!("{} could not be collected, so your subscription has ended.", facts.payment()));
    let letter = match plan_of(facts.tier_now.as_ref()) {
        Some(now) => letter.say(format!("Your account is on the {now} now.")),
        None => letter,
    };
    letter
        .say("Would you like to come back? You are welcome to subscribe again at any time.")
        .about(day_of(facts.ended_at))
        .show("Open amount", facts.money())
        .show("Invoice", line(facts.invoice_number.as_ref()))
        .show("Ended on", day_of(facts.ended_at))
        .show("Plan now", tier_of(facts.tier_now.as_ref()))
        .with(facts.for_templates(day_of(facts.grace_period_end)))
}

pub(super) fn access_has_ended(facts: &PaymentFacts, product: &str) -> Letter {
    let plan = plan_of(facts.tier.as_ref()).unwrap_or_else(|| "plan".to_owned());
    if facts.ended {
        return subscription_lost(facts, product, &plan);
    }
    let subject = format!("Your {plan} at {product} has ended");
    let open = format!("{} is still open, and the time to pay it is over.", facts.payment());
    let letter = Letter::new(LetterTone::Grave, subject, &format!("Your {plan} has ended"));
    let letter = match plan_of(facts.tier_now.as_ref()) {
        Some(now) => letter.say(format!("{open} Your account is on the {now} for now.")),
        None => letter.say(open),
    };
    letter
        .say(format!("Would you like to come back? Once the invoice is paid, your {plan} is yours again at once."))
        .about(day_of(facts.grace_period_end))
        .show("Open amount", facts.money())
        .show("Invoice", line(facts.invoice_number.as_ref()))
        .show("Ended on", day_of(facts.grace_period_end))
        .show("Plan now", tier_of(facts.tier_now.as_ref()))
        .button("Pay and come back", safe(facts.hosted_invoice_url.as_ref()))
        .after(PAID_MEANWHILE)
        .with(facts.for_templates(day_of(facts.grace_period_end)))
}

pub(super) fn recovered(facts: &PaymentFacts, product: &str) -> Letter {
    let subject = format!("Thank you: {} to {product} has arrived", facts.payment().replacen("Your", "your", 1));
    let letter = Letter::new(LetterTone::Good, subject, "Thank you, your payment has arrived");
    let letter = match plan_of(facts.tier.as_ref()) {
        Some(plan) => letter.say(format!("All is settled, and your {plan} goes on as before.")),
        None => letter.say("All is settled."),
    };
    letter
        .say("There is nothing else to do.")
        .about(day_of(facts.settled_at))
        .show("Amount", facts.money())
        .show("Plan", tier_of(facts.tier.as_ref()))
        .show("Invoice", line(facts.invoice_number.as_ref()))
        .show("Paid on", day_of(facts.settled_at))
        .button("See the invoice", safe(facts.hosted_invoice_url.as_ref()))
        .link("Download the PDF", safe(facts.invoice_pdf.as_ref()))
        .with(facts.for_templates(day_of(facts.grace_period_end)))
}
