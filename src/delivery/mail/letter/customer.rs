//! What customers are told: short, friendly, what happened, what happens next, and the one thing to do. Called by `letter`.

use super::super::notice::Notice;
use super::super::words;
use super::{Letter, Tone};

const PAID_MEANWHILE: &str = "Paid in the meantime? Then please ignore this mail.";

/// "$12.00", or words where the amount is not known.
fn amount(notice: &Notice) -> String {
    notice.money().unwrap_or_else(|| "the open amount".to_owned())
}

/// "Your payment of $12.00", or without the amount.
fn payment(notice: &Notice) -> String {
    notice.money().map_or_else(|| "Your payment".to_owned(), |money| format!("Your payment of {money}"))
}

/// " for your Pro plan", where there is one.
fn for_plan(notice: &Notice) -> String {
    notice.plan("tier").map(|plan| format!(" for your {plan}")).unwrap_or_default()
}

/// "because your bank declined it", where we know.
fn because(notice: &Notice) -> String {
    let code = notice.text("failure_code");
    code.as_deref().and_then(words::failure).map(|why| format!(" because {why}")).unwrap_or_default()
}

/// What happens if nothing is done.
fn outlook(letter: Letter, notice: &Notice) -> Letter {
    let letter = match notice.day("next_attempt_at") {
        Some(day) => letter.say(format!("We will try again on {day}. You can also pay now, or use another card.")),
        None => letter
            .say("We will not try again by ourselves, and without a payment your subscription can end at any time.")
            .say("Please pay now, or use another card."),
    };
    match notice.promised_end() {
        Some(day) => letter.say(format!("Until {day} everything keeps working as usual.")),
        None => letter,
    }
}

/// The table below an open payment.
fn open_payment(letter: Letter, notice: &Notice) -> Letter {
    letter
        .show("Amount", notice.money())
        .show("Plan", notice.tier("tier"))
        .show("Invoice", notice.text("invoice_number"))
        .show("Next attempt", notice.day("next_attempt_at"))
        .show("Access until", notice.promised_end())
        .button("Pay now", notice.link("hosted_invoice_url"))
        .after(PAID_MEANWHILE)
}

pub(super) fn payment_failed(notice: &Notice, product: &str) -> Letter {
    let subject = format!("{} to {product} did not go through", payment(notice));
    let (amount, plan, why) = (amount(notice), for_plan(notice), because(notice));
    let letter = Letter::new(Tone::Attention, subject, "Your payment did not go through")
        .say(format!("We could not collect {amount}{plan}{why}. This happens, and it is quickly put right."))
        .about(notice.day("failed_at"));
    open_payment(outlook(letter, notice), notice)
}

pub(super) fn payment_retry(notice: &Notice, product: &str) -> Letter {
    let subject = format!("{} to {product} failed again", payment(notice));
    let (amount, plan, why) = (amount(notice), for_plan(notice), because(notice));
    let letter = Letter::new(Tone::Attention, subject, "Your payment failed again")
        .say(format!("We tried once more to collect {amount}{plan}, and it did not work{why}."))
        .about(notice.day("failed_at"));
    open_payment(outlook(letter, notice), notice)
}

pub(super) fn payment_action_required(notice: &Notice, product: &str) -> Letter {
    let subject = format!("Please confirm {} to {product}", payment(notice).replacen("Your", "your", 1));
    let (amount, plan) = (amount(notice), for_plan(notice));
    let letter = Letter::new(Tone::Attention, subject, "Please confirm your payment")
        .say(format!("Your bank wants to be sure that it is you who pays {amount}{plan}. It takes a minute."))
        .about(notice.promised_end());
    let letter = match notice.promised_end() {
        Some(day) => letter.say(format!("Until {day} everything keeps working as usual.")),
        None => letter.say("Without that your subscription can end at any time."),
    };
    letter
        .show("Amount", notice.money())
        .show("Plan", notice.tier("tier"))
        .show("Invoice", notice.text("invoice_number"))
        .show("Access until", notice.promised_end())
        .button("Confirm payment", notice.link("hosted_invoice_url"))
        .after("Confirmed in the meantime? Then please ignore this mail.")
}

pub(super) fn grace_period_warning(notice: &Notice, product: &str) -> Letter {
    let end = notice.day("grace_period_end");
    let when = end.as_ref().map_or_else(|| "soon".to_owned(), |day| format!("on {day}"));
    let subject = format!("Your access to {product} ends {when}");
    let (payment, plan) = (payment(notice), for_plan(notice));
    let is_certain = notice.flag("sent") || notice.number("next_attempt_at").is_some();
    let advice = if is_certain {
        "Pay before that day, and nothing changes for you."
    } else {
        "Please pay it soon: we will not try again by ourselves, and your subscription can end before that day."
    };
    let letter = Letter::new(Tone::Attention, subject, &format!("Your access ends {when}"))
        .say(format!("{payment}{plan} is still open. {advice}"))
        .about(end);
    open_payment(letter, notice)
}

/// Access has ended, and paying the invoice does not bring it back: Stripe has ended the subscription.
fn subscription_lost(notice: &Notice, product: &str, plan: &str) -> Letter {
    let subject = format!("Your {plan} at {product} has ended");
    let letter = Letter::new(Tone::Grave, subject, &format!("Your {plan} has ended"))
        .say(format!("{} could not be collected, so your subscription has ended.", payment(notice)));
    let letter = match notice.plan("tier_now") {
        Some(now) => letter.say(format!("Your account is on the {now} now.")),
        None => letter,
    };
    letter
        .say("Would you like to come back? You are welcome to subscribe again at any time.")
        .about(notice.day("ended_at"))
        .show("Open amount", notice.money())
        .show("Invoice", notice.text("invoice_number"))
        .show("Ended on", notice.day("ended_at"))
        .show("Plan now", notice.tier("tier_now"))
}

pub(super) fn subscription_downgraded(notice: &Notice, product: &str) -> Letter {
    let plan = notice.plan("tier").unwrap_or_else(|| "plan".to_owned());
    if notice.flag("ended") {
        return subscription_lost(notice, product, &plan);
    }
    let subject = format!("Your {plan} at {product} has ended");
    let open = format!("{} is still open, and the time to pay it is over.", payment(notice));
    let letter = Letter::new(Tone::Grave, subject, &format!("Your {plan} has ended"));
    let letter = match notice.plan("tier_now") {
        Some(now) => letter.say(format!("{open} Your account is on the {now} for now.")),
        None => letter.say(open),
    };
    letter
        .say(format!("Would you like to come back? Once the invoice is paid, your {plan} is yours again at once."))
        .about(notice.day("grace_period_end"))
        .show("Open amount", notice.money())
        .show("Invoice", notice.text("invoice_number"))
        .show("Ended on", notice.day("grace_period_end"))
        .show("Plan now", notice.tier("tier_now"))
        .button("Pay and come back", notice.link("hosted_invoice_url"))
        .after(PAID_MEANWHILE)
}

pub(super) fn payment_recovered(notice: &Notice, product: &str) -> Letter {
    let subject = format!("Thank you: {} to {product} has arrived", payment(notice).replacen("Your", "your", 1));
    let letter = Letter::new(Tone::Good, subject, "Thank you, your payment has arrived");
    let letter = match notice.plan("tier") {
        Some(plan) => letter.say(format!("All is settled, and your {plan} goes on as before.")),
        None => letter.say("All is settled."),
    };
    letter
        .say("There is nothing else to do.")
        .about(notice.day("settled_at"))
        .show("Amount", notice.money())
        .show("Plan", notice.tier("tier"))
        .show("Invoice", notice.text("invoice_number"))
        .show("Paid on", notice.day("settled_at"))
        .button("See the invoice", notice.link("hosted_invoice_url"))
        .link("Download the PDF", notice.link("invoice_pdf"))
}

pub(super) fn invoice_finalized(notice: &Notice, product: &str) -> Letter {
    let number = notice.text("invoice_number").map(|number| format!(" {number}")).unwrap_or_default();
    let money = notice.money().map(|money| format!(" for {money}")).unwrap_or_default();
    let subject = format!("Your invoice{number} from {product}");
    let due = notice.day("due_date");
    let letter =
        Letter::new(Tone::Calm, subject, "Your invoice is ready").say(format!("Here is your invoice{number}{money}."));
    let letter = match (&due, notice.number("amount")) {
        (_, Some(0)) => letter.say("Nothing is due: please keep it for your records."),
        (Some(day), _) => letter.say(format!("Please pay it by {day}.")),
        (None, _) => letter.say("It is paid with the payment method that you gave us; you need not do anything."),
    };
    letter
        .about(due.clone().or_else(|| notice.day("finalized_at")))
        .show("Amount", notice.money())
        .show("Invoice", notice.text("invoice_number"))
        .show(
            "From",
            notice.day("period_start").filter(|_| notice.number("period_start") != notice.number("period_end")),
        )
        .show("To", notice.day("period_end").filter(|_| notice.number("period_start") != notice.number("period_end")))
        .show("Due", due)
        .button("See the invoice", notice.link("hosted_invoice_url"))
        .link("Download the PDF", notice.link("invoice_pdf"))
}

pub(super) fn trial_will_end(notice: &Notice, product: &str) -> Letter {
    let end = notice.day("trial_end");
    let when = end.as_ref().map_or_else(|| "soon".to_owned(), |day| format!("on {day}"));
    let subject = format!("Your trial of {product} ends {when}");
    let plan = notice.plan("tier").unwrap_or_else(|| "subscription".to_owned());
    let unit = notice.text("interval").filter(|unit| matches!(unit.as_str(), "day" | "week" | "month" | "year"));
    let often = unit.map(|unit| words::interval(&unit, notice.number("interval_count").unwrap_or(1)));
    let price = notice.money().map(|money| match &often {
        Some(often) => format!("{money} {often}"),
        None => money,
    });
    let letter = Letter::new(Tone::Calm, subject, &format!("Your trial ends {when}")).about(end.clone());
    let letter = if notice.flag("ends_with_trial") {
        letter.say("It ends by itself, and nothing is charged. We hope that you liked it.")
    } else {
        let costs =
            price.as_ref().map_or_else(|| ", and it is charged for".to_owned(), |price| format!(" for {price}"));
        letter
            .say(format!("After that, your {plan} goes on{costs}. If that is what you want, there is nothing to do."))
            .say("If not, please cancel before that day.")
    };
    letter.show("Plan", notice.tier("tier")).show("Price", price).show("Trial ends", end)
}
