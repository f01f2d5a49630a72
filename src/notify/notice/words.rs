//! Days, plans, reasons and intervals in plain words. Pure. Called by `letter` and the notices.

use jiff::Timestamp;

/// A day in UTC, as in "24 November 2026". `None`: not a time of the calendar.
pub(super) fn day(at_s: i64) -> Option<String> {
    Some(Timestamp::from_second(at_s).ok()?.strftime("%-d %B %Y").to_string())
}

/// A tier as a name: "team_plus" is "Team plus".
pub(super) fn tier(tier: &str) -> String {
    let mut letters = tier.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}", letters.as_str().replace(['_', '-'], " "))
}

/// Why a payment failed, by Stripe's code; it follows "because". None where the customer is not helped by it: a card
/// that was reported stolen is declined, no more.
pub(super) fn failure(code: &str) -> Option<&'static str> {
    Some(match code {
        "card_declined" | "generic_decline" | "do_not_honor" => "your bank declined it",
        "insufficient_funds" | "card_velocity_exceeded" => "there was not enough money on the account",
        "expired_card" => "the card has expired",
        "incorrect_cvc" | "invalid_cvc" => "the card's security code was wrong",
        "incorrect_number" | "invalid_number" => "the card's number was wrong",
        "authentication_required"
        | "invoice_payment_intent_requires_action"
        | "subscription_payment_intent_requires_action" => "your bank wants you to confirm it",
        "payment_intent_authentication_failure" => "it was not confirmed with your bank",
        "processing_error" => "your bank could not process it just then",
        "currency_not_supported" => "the card does not work in this currency",
        _ => return None,
    })
}

/// Why a payment is disputed, by Stripe's code.
pub(super) fn dispute(code: &str) -> String {
    match code {
        "fraudulent" => "the cardholder says that somebody else made this payment".to_owned(),
        "duplicate" => "the cardholder says that this was paid twice".to_owned(),
        "product_not_received" => "the cardholder says that nothing was delivered".to_owned(),
        "product_unacceptable" => "the cardholder says that it was not as described".to_owned(),
        "subscription_canceled" => "the cardholder says that the subscription was cancelled".to_owned(),
        "credit_not_processed" => "the cardholder waits for a refund".to_owned(),
        "unrecognized" => "the cardholder does not recognise this payment".to_owned(),
        other => other.replace('_', " "),
    }
}

/// How often: "every month", "every 3 months".
pub(super) fn interval(unit: &str, count: i64) -> String {
    if count == 1 { format!("every {unit}") } else { format!("every {count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_out() {
        assert_eq!(day(1_795_478_400).as_deref(), Some("24 November 2026"));
        assert_eq!(day(0).as_deref(), Some("1 January 1970"));
        assert_eq!(day(i64::MAX), None);
    }

    #[test]
    fn plans_and_intervals_read_as_words() {
        assert_eq!([tier("pro"), tier("team_plus"), tier("été")], ["Pro", "Team plus", "Été"]);
        assert_eq!([interval("month", 1), interval("year", 2)], ["every month", "every 2 years"]);
    }

    #[test]
    fn a_stolen_card_is_not_called_so() {
        assert_eq!([failure("stolen_card"), failure("lost_card"), failure("fraudulent")], [None; 3]);
    }
}
