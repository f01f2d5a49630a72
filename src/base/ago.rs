//! A time as people say it: "3 min ago", "in 2 h". Pure: both times are arguments. Called by lists of the command line and
//! by the dashboard, which show the full UTC time beside it or on request.

use jiff::Timestamp;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Half of the people who read "45 d" can say the month; nobody can say 700.
const MONTHS_FROM_DAYS: i64 = 60;
const DAYS_OF_A_MONTH: i64 = 30;
const YEARS_FROM_DAYS: i64 = 730;
const DAYS_OF_A_YEAR: i64 = 365;

/// How long `then` is before or after `now`, both in unix milliseconds. Whole units, rounded down: "59 min ago", "1 h ago".
#[must_use]
pub fn words(then_ms: i64, now_ms: i64) -> String {
    let distance = now_ms.saturating_sub(then_ms);
    let span = span(distance.saturating_abs());
    match distance {
        1000.. => format!("{span} ago"),
        ..=-1000 => format!("in {span}"),
        _ => "now".to_owned(),
    }
}

/// A length of time in its greatest unit, rounded down: "59 s", "3 min", "2 h", "9 d", "4 months", "2 years".
#[must_use]
pub fn span(length_ms: i64) -> String {
    let days = length_ms / DAY_MS;
    match length_ms {
        ..MINUTE_MS => format!("{} s", length_ms / 1000),
        MINUTE_MS..HOUR_MS => format!("{} min", length_ms / MINUTE_MS),
        HOUR_MS..DAY_MS => format!("{} h", length_ms / HOUR_MS),
        _ if days < MONTHS_FROM_DAYS => format!("{days} d"),
        _ if days < YEARS_FROM_DAYS => format!("{} months", days / DAYS_OF_A_MONTH),
        _ => format!("{} years", days / DAYS_OF_A_YEAR),
    }
}

/// Unix seconds as UTC, like `2026-11-24 01:20:05`.
#[must_use]
pub(crate) fn utc_s(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_greatest_whole_unit_before_and_after_now() {
        let now = 10_000 * DAY_MS;
        let cases = [
            (0, "now"),
            (-1_000, "1 s ago"),
            (-59_999, "59 s ago"),
            (-MINUTE_MS, "1 min ago"),
            (-HOUR_MS + 1, "59 min ago"),
            (-HOUR_MS, "1 h ago"),
            (-DAY_MS, "1 d ago"),
            (-59 * DAY_MS, "59 d ago"),
            (-60 * DAY_MS, "2 months ago"),
            (-800 * DAY_MS, "2 years ago"),
            (HOUR_MS, "in 1 h"),
        ];
        for (offset, expected) in cases {
            assert_eq!(words(now + offset, now), expected, "{offset}");
        }
    }
}
