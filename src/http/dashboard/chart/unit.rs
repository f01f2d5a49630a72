//! How the values and the times of a chart are written. Pure. Called by `dashboard::chart`.

use jiff::Timestamp;

use crate::base::money;

/// What values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChartUnit {
    /// How many of these, in the plural.
    Count(&'static str),
    /// Percent, 0 to 100.
    Percent,
    /// Milliseconds.
    Milliseconds,
    /// Smallest units of this currency.
    Money(String),
}

impl ChartUnit {
    /// What stands after the title.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Count(what) => (*what).to_owned(),
            Self::Percent => "%".to_owned(),
            Self::Milliseconds => "time".to_owned(),
            Self::Money(currency) => currency.to_ascii_uppercase(),
        }
    }

    /// Whether a part of one makes no sense.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Count(_))
    }

    /// A value, whole.
    pub(super) fn words(&self, value: f64) -> String {
        match self {
            Self::Count(_) => with_commas(value),
            Self::Percent => format!("{} %", tenth(value)),
            Self::Milliseconds => time(value),
            Self::Money(currency) => money::words(rounded(value), currency),
        }
    }

    /// A value beside a grid line, as short as it can be.
    pub(super) fn short(&self, value: f64) -> String {
        match self {
            Self::Count(_) => shortened(value),
            Self::Percent => tenth(value),
            Self::Milliseconds => time(value),
            Self::Money(currency) => shortened(value / 10_f64.powf(f64::from(money::decimals(currency)))),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // amounts and counts are far below 2^53
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

fn with_commas(value: f64) -> String {
    let digits = rounded(value).to_string();
    let mut parts: Vec<&str> = digits.as_bytes().rchunks(3).filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.reverse();
    parts.join(",")
}

/// With one decimal, if it is not zero.
fn tenth(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn shortened(value: f64) -> String {
    match value {
        million if million >= 1e6 => format!("{}M", hundredth(million / 1e6)),
        thousand if thousand >= 1e4 => format!("{}k", hundredth(thousand / 1e3)),
        other => hundredth(other),
    }
}

/// With two decimals at most.
fn hundredth(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn time(milliseconds: f64) -> String {
    match milliseconds {
        hours if hours >= 3_600_000.0 => format!("{} h", tenth(hours / 3_600_000.0)),
        minutes if minutes >= 60_000.0 => format!("{} min", tenth(minutes / 60_000.0)),
        seconds if seconds >= 1000.0 => format!("{} s", hundredth(seconds / 1000.0)),
        short => format!("{} ms", tenth(short)),
    }
}

fn written(at_s: i64, pattern: &str) -> String {
    Timestamp::from_second(at_s).map_or_else(|_| at_s.to_string(), |at| at.strftime(pattern).to_string())
}

/// As in `30 Nov`.
pub(super) fn day(at_s: i64) -> String {
    written(at_s, "%-d %b")
}

/// As in `13:00`.
pub(super) fn hour(at_s: i64) -> String {
    written(at_s, "%H:%M")
}

/// As in `30 Nov 13:00`.
pub(super) fn day_and_hour(at_s: i64) -> String {
    written(at_s, "%-d %b %H:%M")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_write_them() {
        for (unit, value, words, short) in [
            (ChartUnit::Count("events"), 1_234_567.0, "1,234,567", "1.23M"),
            (ChartUnit::Count("events"), 999.0, "999", "999"),
            (ChartUnit::Count("events"), 15_000.0, "15,000", "15k"),
            (ChartUnit::Percent, 97.25, "97.2 %", "97.2"),
            (ChartUnit::Percent, 100.0, "100 %", "100"),
            (ChartUnit::Milliseconds, 12.0, "12 ms", "12 ms"),
            (ChartUnit::Milliseconds, 1250.0, "1.25 s", "1.25 s"),
            (ChartUnit::Milliseconds, 90_000.0, "1.5 min", "1.5 min"),
            (ChartUnit::Money("usd".to_owned()), 123_456.0, "$1,234.56", "1234.56"),
            (ChartUnit::Money("jpy".to_owned()), 50_000.0, "¥50,000", "50k"),
        ] {
            assert_eq!((unit.words(value).as_str(), unit.short(value).as_str()), (words, short));
        }
    }
}
