//! What the operator is told: what broke, and the command or page to go on with. Called by `letter`.

use super::super::words;
use super::{Letter, LetterTone, day_of, line, money_of};
use crate::notify::notice::{DeadLetterFacts, DisputeFacts, EndpointFacts, MissingFacts};

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn dispute_created(facts: &DisputeFacts, product: &str) -> Letter {
    let amount = money_of(facts.amount, facts.currency.as_ref());
    let money = amount.as_ref().map(|money| format!(" of {money}")).unwrap_or_default();
    let due = day_of(facts.evidence_due_by);
    let reason = line(facts.reason.as_ref()).map(|code| words::dispute(&code));
    let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let subject = format!("{product}: a payment{money} is disputed");
    let page = line(facts.payment_intent_id.as_ref()).filter(|id| is_id(id));
    let letter = Letter::new(LetterTone::Grave, subject, "A payment is disputed")
        .say(format!("A customer asks the bank to take a payment{money} back{because}."));
    let letter = match &due {
        Some(day) => letter.say(format!("Answer with evidence by {day}, or the money is lost.")),
        None => letter.say("Answer with evidence in time, or the money is lost."),
    };
    letter
        .about(due.clone())
        .show("Amount", amount.clone())
        .show("Reason", reason)
        .show("Evidence by", due)
        .show("Dispute", facts.dispute_id.line())
        .show("Charge", line(facts.charge_id.as_ref()))
        .button("Open in Stripe", page.map(|id| format!("https://dashboard.stripe.com/payments/{id}")))
        .with([
            ("amount", amount),
            ("currency", line(facts.currency.as_ref()).map(|code| code.to_uppercase())),
            ("dispute_id", facts.dispute_id.line()),
            ("evidence_due_by", day_of(facts.evidence_due_by)),
            ("reason", line(facts.reason.as_ref())),
        ])
}

pub(super) fn webhook_dead_letter(facts: &DeadLetterFacts, product: &str) -> Letter {
    let kind = line(facts.event_type.as_ref()).unwrap_or_else(|| "of unknown type".to_owned());
    let subject = format!("{product}: an event {kind} could not be processed");
    let letter = Letter::new(LetterTone::Attention, subject, "An event could not be processed")
        .say("tilld tried it as often as it may and gave it up. Until it is processed, what it says is not in the database.")
        .about(day_of(facts.received_at))
        .show("Event", facts.event_id.line())
        .show("Type", line(facts.event_type.as_ref()))
        .show("Attempts", facts.attempts.map(|attempts| attempts.to_string()))
        .show("Received", day_of(facts.received_at))
        .show("Error", line(facts.error.as_ref()))
        .with([
            ("attempt", facts.attempts.map(|attempts| attempts.to_string())),
            ("error", line(facts.error.as_ref())),
            ("event_id", facts.event_id.line()),
            ("event_type", line(facts.event_type.as_ref())),
        ]);
    match facts.event_id.line().filter(|id| is_id(id)) {
        Some(id) => letter
            .show("To look at it", Some(format!("tilld dead-letters show {id}")))
            .show("To try again", Some(format!("tilld dead-letters replay {id}"))),
        None => letter,
    }
}

pub(super) fn webhook_endpoint_disabled(facts: &EndpointFacts, product: &str) -> Letter {
    // What follows a question mark may be a secret.
    let url = facts.url.line().map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned());
    let subject = format!("{product}: an endpoint gets no more events");
    Letter::new(LetterTone::Grave, subject, "An endpoint gets no more events")
        .say("tilld no longer sends events to this endpoint of your application. They are kept in the outbox.")
        .about(day_of(facts.disabled_at))
        .show("Endpoint", url.clone())
        .show("Why", line(facts.reason.as_ref()))
        .show("Last answer", line(facts.error.as_ref()))
        .show("Last success", day_of(facts.last_success_at))
        .show("Since", day_of(facts.disabled_at))
        .with([("endpoint", url), ("error", line(facts.error.as_ref())), ("reason", line(facts.reason.as_ref()))])
}

pub(super) fn webhooks_missing(facts: &MissingFacts, product: &str) -> Letter {
    let since = day_of(facts.silent_since);
    let late = facts.late_events.map(|count| count.to_string());
    let subject = format!("{product}: Stripe's webhooks do not come");
    let letter = Letter::new(LetterTone::Grave, subject, "Webhooks do not come");
    let letter = match (&since, &late) {
        (_, Some(_)) => letter.say(
            "tilld finds events by asking Stripe that webhooks should have brought long before. So it answers by what was so \
             some minutes ago.",
        ),
        (Some(day), None) => letter.say(format!("The last webhook came on {day}. Nothing may have happened since, or it is lost.")),
        (None, None) => letter.say("No webhook has come for longer than you allow. Nothing may have happened, or it is lost."),
    };
    letter
        .say("Look whether the endpoint is enabled at Stripe, and whether its URL is still reached from outside.")
        .about(since.clone())
        .show("Last webhook", since)
        .show("Found by asking", late)
        .show("To look at it", Some("tilld check".to_owned()))
        .button("Webhooks at Stripe", Some("https://dashboard.stripe.com/webhooks".to_owned()))
}

pub(super) fn test(product: &str) -> Letter {
    let subject = format!("{product}: mail works");
    Letter::new(LetterTone::Good, subject, "Mail works")
        .say("This is a test mail from tilld. If you can read it, your customers can be written to.")
        .say("Nothing else happened, and there is nothing to do.")
}
