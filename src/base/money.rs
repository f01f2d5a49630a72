//! Amounts in the smallest unit of their currency, by Stripe's rules (docs.stripe.com/currencies). Pure. Called by
//! `http::api` before an amount is sent, and by notices and lists that show one.

/// The largest amount that Stripe takes for any currency: twelve digits. Most payment methods take less and say so.
pub(crate) const MAX_AMOUNT: i64 = 999_999_999_999;

const ZERO_DECIMAL: [&str; 15] =
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"];
const THREE_DECIMAL: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];
/// Without decimals, but written with two, which are zeros: 5 UGX is 500.
const WRITTEN_WITH_TWO: [&str; 2] = ["isk", "ugx"];
/// Signs that mean one currency to whoever reads English.
const SIGNS: [(&str, &str); 6] = [("usd", "$"), ("eur", "€"), ("gbp", "£"), ("jpy", "¥"), ("inr", "₹"), ("krw", "₩")];

/// Why an amount cannot be charged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not three lower-case letters.
    #[error("{0:?} is not a valid currency: write its ISO code in lower case, as in usd")]
    Currency(String),
    /// Not positive, or of too many digits.
    #[error("{0} cannot be charged: an amount is 1 to {MAX_AMOUNT}, in the smallest unit of the currency")]
    Amount(i64),
    /// Not in the steps that the currency has.
    #[error("{amount} {currency} cannot be charged: {currency} goes in steps of {step} ({example})")]
    Step {
        /// What was given.
        amount: i64,
        /// Its currency.
        currency: String,
        /// Amounts are multiples of it.
        step: i64,
        /// In words.
        example: &'static str,
    },
}

/// How many decimals an amount of this currency is written with.
#[must_use]
pub(crate) fn decimals(currency: &str) -> u32 {
    match currency {
        zero if ZERO_DECIMAL.contains(&zero) => 0,
        three if THREE_DECIMAL.contains(&three) => 3,
        _ => 2,
    }
}

/// An amount as people write it in English: the currency's sign where it has a well-known one, else its code.
#[must_use]
pub fn words(amount: i64, currency: &str) -> String {
    let currency = currency.to_ascii_lowercase();
    let decimals = decimals(&currency);
    let scale = 10_u64.pow(decimals);
    let (whole, part) = (amount.unsigned_abs() / scale, amount.unsigned_abs() % scale);
    let whole = with_commas(whole);
    let is_whole = decimals == 0 || (part == 0 && WRITTEN_WITH_TWO.contains(&currency.as_str()));
    let number = if is_whole { whole } else { format!("{whole}.{part:0width$}", width = decimals as usize) };
    let minus = if amount < 0 { "-" } else { "" };
    match SIGNS.iter().find(|(code, _)| *code == currency) {
        Some((_, sign)) => format!("{minus}{sign}{number}"),
        None => format!("{minus}{}\u{a0}{number}", currency.to_ascii_uppercase()),
    }
}

/// An amount as lists and commands write it: the number, then the currency's code.
#[must_use]
pub fn plain(amount: i64, currency: &str) -> String {
    let currency = currency.to_ascii_lowercase();
    let decimals = decimals(&currency);
    let scale = 10_u64.pow(decimals);
    let (whole, part) = (amount.unsigned_abs() / scale, amount.unsigned_abs() % scale);
    let minus = if amount < 0 { "-" } else { "" };
    let code = currency.to_ascii_uppercase();
    match decimals {
        0 => format!("{minus}{whole} {code}"),
        width => format!("{minus}{whole}.{part:0width$} {code}", width = width as usize),
    }
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// Checks the shape of a currency's code. Stripe decides which currencies an account may charge.
///
/// # Errors
/// When it is not three lower-case letters.
pub(crate) fn check_currency(currency: &str) -> Result<(), MoneyError> {
    let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_code { Ok(()) } else { Err(MoneyError::Currency(currency.to_owned())) }
}

/// Checks an amount that is to be charged.
///
/// # Errors
/// When Stripe would refuse it in any account.
pub fn check(amount: i64, currency: &str) -> Result<(), MoneyError> {
    check_currency(currency)?;
    if !(1..=MAX_AMOUNT).contains(&amount) {
        return Err(MoneyError::Amount(amount));
    }
    let (step, example) = match currency {
        two if WRITTEN_WITH_TWO.contains(&two) => (100, "it has no decimals but is written with two: 5 is 500"),
        three if THREE_DECIMAL.contains(&three) => (10, "the last of its three decimals is 0: 5.12 is 5120"),
        _ => return Ok(()),
    };
    if amount % step == 0 {
        return Ok(());
    }
    Err(MoneyError::Step { amount, currency: currency.to_owned(), step, example })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn currencies_have_two_decimals_but_for_those_that_have_none_or_three() {
        let found = ["usd", "eur", "huf", "twd", "jpy", "krw", "xpf", "kwd", "tnd", "isk", "ugx"].map(decimals);
        assert_eq!(found, [2, 2, 2, 2, 0, 0, 0, 3, 3, 2, 2]);
    }

    #[test]
    fn an_amount_is_written_with_the_decimals_of_its_currency() {
        let written = [
            (1200, "usd", "$12.00"),
            (5, "eur", "€0.05"),
            (1_500, "jpy", "¥1,500"),
            (123_456_789, "krw", "₩123,456,789"),
            (5_120, "kwd", "KWD\u{a0}5.120"),
            (7, "tnd", "TND\u{a0}0.007"),
            (500, "isk", "ISK\u{a0}5"),
            (100_000, "ugx", "UGX\u{a0}1,000"),
            (123_456, "chf", "CHF\u{a0}1,234.56"),
            (-250, "gbp", "-£2.50"),
            (0, "USD", "$0.00"),
            (i64::MIN, "usd", "-$92,233,720,368,547,758.08"),
        ];
        for (amount, currency, expected) in written {
            assert_eq!(words(amount, currency), expected);
        }
    }

    #[test]
    fn a_currency_is_three_lower_case_letters() {
        for wrong in ["", "us", "USD", "usdt", "u$d", "üs", "usd "] {
            let error = check(100, wrong).unwrap_err();
            assert_eq!(error, MoneyError::Currency(wrong.to_owned()), "{wrong}");
        }
        check_currency("eur").unwrap();
    }

    #[test]
    fn an_amount_is_positive_and_has_twelve_digits_at_most() {
        for wrong in [0, -1, i64::MIN, MAX_AMOUNT + 1] {
            assert_eq!(check(wrong, "usd").unwrap_err(), MoneyError::Amount(wrong));
        }
        check(1, "usd").unwrap();
        check(MAX_AMOUNT, "idr").unwrap();
    }

    #[test]
    fn currencies_with_steps_are_charged_in_them_and_the_error_says_which() {
        for (amount, currency) in [(500, "ugx"), (100, "isk"), (5120, "kwd"), (7, "jpy"), (4999, "huf")] {
            check(amount, currency).unwrap();
        }
        for (amount, currency, step) in [(501, "ugx", "100"), (150, "isk", "100"), (5124, "kwd", "10")] {
            let words = check(amount, currency).unwrap_err().to_string();
            assert!(words.contains(currency) && words.contains(&format!("steps of {step} ")), "{words}");
        }
    }
}
