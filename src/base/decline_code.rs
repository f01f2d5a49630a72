//! The codes that say why a payment failed, as a closed list: figures are kept by code, and what comes from outside must not
//! make them grow. It must never decide anything. Called by `objects::payment_attempt`.

/// A code that Stripe gave and that is not in the list.
pub(crate) const OTHER: &str = "other";
/// Stripe gave no code.
pub(crate) const NONE: &str = "none";

/// Decline codes of banks and error codes of payments, docs.stripe.com/declines/codes and docs.stripe.com/error-codes, in
/// the order of the alphabet.
const KNOWN: &[&str] = &[
    "amount_too_large",
    "amount_too_small",
    "approve_with_id",
    "authentication_not_handled",
    "authentication_required",
    "balance_insufficient",
    "bank_account_declined",
    "bank_account_unusable",
    "call_issuer",
    "capture_charge_authorization_expired",
    "card_declined",
    "card_not_supported",
    "card_velocity_exceeded",
    "charge_exceeds_source_limit",
    "charge_exceeds_transaction_limit",
    "charge_exceeds_weekly_limit",
    "currency_not_supported",
    "debit_not_authorized",
    "do_not_honor",
    "do_not_try_again",
    "duplicate_transaction",
    "expired_card",
    "fraudulent",
    "generic_decline",
    "incorrect_address",
    "incorrect_cvc",
    "incorrect_number",
    "incorrect_pin",
    "incorrect_zip",
    "insufficient_funds",
    "invalid_account",
    "invalid_amount",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "invalid_pin",
    "issuer_not_available",
    "lost_card",
    "merchant_blacklist",
    "mobile_device_authentication_required",
    "new_account_information_available",
    "no_action_taken",
    "not_permitted",
    "offline_pin_required",
    "online_or_offline_pin_required",
    "payment_intent_authentication_failure",
    "payment_intent_payment_attempt_expired",
    "payment_intent_payment_attempt_failed",
    "payment_method_bank_account_blocked",
    "payment_method_customer_decline",
    "payment_method_microdeposit_failed",
    "payment_method_not_available",
    "payment_method_provider_decline",
    "payment_method_provider_timeout",
    "pickup_card",
    "pin_try_exceeded",
    "processing_error",
    "reenter_transaction",
    "refer_to_customer",
    "restricted_card",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "security_violation",
    "service_not_allowed",
    "stolen_card",
    "stop_payment_order",
    "testmode_decline",
    "transaction_not_allowed",
    "try_again_later",
    "withdrawal_count_limit_exceeded",
];

/// The code in the list that stands for this one.
#[must_use]
pub(crate) fn listed(code: Option<&str>) -> &'static str {
    let Some(code) = code else { return NONE };
    KNOWN.binary_search(&code).ok().and_then(|at| KNOWN.get(at)).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_found_and_any_other_is_other() {
        for code in KNOWN {
            assert_eq!(listed(Some(code)), *code);
        }
        for code in ["", "a", "other", "none", "zzz", &"x".repeat(65_536), "card_declined "] {
            assert_eq!(listed(Some(code)), OTHER);
        }
        assert_eq!(listed(None), NONE);
    }
}
