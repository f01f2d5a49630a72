//! What the operator is told: what broke, and the command or page to go on with. Called by `letter`.

use super::super::notice::Notice;
use super::super::words;
use super::{Letter, Tone};

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn dispute_created(notice: &Notice, product: &str) -> Letter {
    let money = notice.money().map(|money| format!(" of {money}")).unwrap_or_default();
    let due = notice.day("evidence_due_by");
    let reason = notice.text("reason").map(|code| words::dispute(&code));
    let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let subject = format!("{product}: a payment{money} is disputed");
    let page = notice.text("payment_intent_id").filter(|id| is_id(id));
    let letter = Letter::new(Tone::Grave, subject, "A payment is disputed")
        .say(format!("A customer asks the bank to take a payment{money} back{because}."));
    let letter = match &due {
        Some(day) => letter.say(format!("Answer with evidence by {day}, or the money is lost.")),
        None => letter.say("Answer with evidence in time, or the money is lost."),
    };
    letter
        .about(due.clone())
        .show("Amount", notice.money())
        .show("Reason", reason)
        .show("Evidence by", due)
        .show("Dispute", notice.text("dispute_id"))
        .show("Charge", notice.text("charge_id"))
        .button("Open in Stripe", page.map(|id| format!("https://dashboard.stripe.com/payments/{id}")))
}

pub(super) fn webhook_dead_letter(notice: &Notice, product: &str) -> Letter {
    let kind = notice.text("event_type").unwrap_or_else(|| "of unknown type".to_owned());
    let subject = format!("{product}: an event {kind} could not be processed");
    let letter = Letter::new(Tone::Attention, subject, "An event could not be processed")
        .say("tilld tried it as often as it may and gave it up. Until it is processed, what it says is not in the database.")
        .about(notice.day("received_at"))
        .show("Event", notice.text("event_id"))
        .show("Type", notice.text("event_type"))
        .show("Attempts", notice.number("attempts").map(|attempts| attempts.to_string()))
        .show("Received", notice.day("received_at"))
        .show("Error", notice.text("error"));
    match notice.text("event_id").filter(|id| is_id(id)) {
        Some(id) => letter
            .show("To look at it", Some(format!("tilld dead-letters show {id}")))
            .show("To try again", Some(format!("tilld dead-letters replay {id}"))),
        None => letter,
    }
}

pub(super) fn webhook_endpoint_disabled(notice: &Notice, product: &str) -> Letter {
    // What follows a question mark may be a secret.
    let url = notice.text("url").map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned());
    let subject = format!("{product}: an endpoint gets no more events");
    Letter::new(Tone::Grave, subject, "An endpoint gets no more events")
        .say("tilld no longer sends events to this endpoint of your application. They are kept in the outbox.")
        .about(notice.day("disabled_at"))
        .show("Endpoint", url)
        .show("Why", notice.text("reason"))
        .show("Last answer", notice.text("error"))
        .show("Last success", notice.day("last_success_at"))
        .show("Since", notice.day("disabled_at"))
}

pub(super) fn webhooks_missing(notice: &Notice, product: &str) -> Letter {
    let since = notice.day("silent_since");
    let late = notice.number("late_events").map(|count| count.to_string());
    let subject = format!("{product}: Stripe's webhooks do not come");
    let letter = Letter::new(Tone::Grave, subject, "Webhooks do not come");
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
    Letter::new(Tone::Good, subject, "Mail works")
        .say("This is a test mail from tilld. If you can read it, your customers can be written to.")
        .say("Nothing else happened, and there is nothing to do.")
}
