//! The time that figures are of: a range of whole buckets, of an hour or a day each, by UTC. Pure. It must never be longer than
//! a page or an answer can show. Called by `store::figures` and `objects::figures`; made by `http` from what was asked for.

use serde::Serialize;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 86_400;

/// What figures are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FigureBucket {
    /// An hour.
    Hour,
    /// A day, by UTC.
    Day,
}

impl FigureBucket {
    /// The bucket of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            _ => None,
        }
    }

    /// How long it is.
    #[must_use]
    pub fn seconds(self) -> i64 {
        match self {
            Self::Hour => HOUR_S,
            Self::Day => DAY_S,
        }
    }
}

/// Whole buckets, from `from_s` on and before `to_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FigureRange {
    /// Beginning of the first bucket, unix seconds.
    pub from_s: i64,
    /// End of the last one, unix seconds.
    pub to_s: i64,
    /// What they are added up by.
    pub bucket: FigureBucket,
}

/// Why there is no such range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeError {
    /// It ends before it begins, or when it does.
    Empty,
    /// It has more buckets than [`FigureRange::MAX_BUCKETS`].
    TooLong,
}

impl FigureRange {
    /// The most buckets: 92 days by the hour.
    pub const MAX_BUCKETS: i64 = 92 * 24;

    /// The buckets that a time touches.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn new(from_s: i64, to_s: i64, bucket: FigureBucket) -> Result<Self, RangeError> {
        let step = bucket.seconds();
        if from_s >= to_s {
            return Err(RangeError::Empty);
        }
        let first = from_s.div_euclid(step);
        let last = to_s.saturating_sub(1).div_euclid(step);
        if last.saturating_sub(first) >= Self::MAX_BUCKETS {
            return Err(RangeError::TooLong);
        }
        let at = |number: i64| number.saturating_mul(step);
        Ok(Self { from_s: at(first), to_s: at(last.saturating_add(1)), bucket })
    }

    /// The last `length_s` seconds up to now: by the hour up to two days, by the day beyond.
    #[must_use]
    pub fn last(length_s: i64, now_s: i64) -> Self {
        let bucket = if length_s <= 2 * DAY_S { FigureBucket::Hour } else { FigureBucket::Day };
        let step = bucket.seconds();
        let to_s = now_s.div_euclid(step).saturating_add(1).saturating_mul(step);
        let buckets = (length_s / step).clamp(1, Self::MAX_BUCKETS);
        Self { from_s: to_s.saturating_sub(buckets.saturating_mul(step)), to_s, bucket }
    }

    /// The beginnings of its buckets, unix seconds.
    pub fn starts(self) -> impl Iterator<Item = i64> {
        let step = self.bucket.seconds();
        (0..self.to_s.saturating_sub(self.from_s) / step).map(move |number| self.from_s + number * step)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_range_is_all_buckets_that_it_touches() {
        let range = |from, to, bucket| FigureRange::new(from, to, bucket).map(|range| (range.from_s, range.to_s));
        assert_eq!(range(3600, 7200, FigureBucket::Hour), Ok((3600, 7200)));
        assert_eq!(range(3599, 7201, FigureBucket::Hour), Ok((0, 10_800)));
        assert_eq!(range(-1, 1, FigureBucket::Day), Ok((-86_400, 86_400)));
        assert_eq!(range(5, 5, FigureBucket::Day), Err(RangeError::Empty));
        assert_eq!(range(6, 5, FigureBucket::Day), Err(RangeError::Empty));
    }

    #[test]
    fn it_has_no_more_buckets_than_an_answer_can_show() {
        let most = FigureRange::MAX_BUCKETS;
        let range = FigureRange::new(0, most * 3600, FigureBucket::Hour).unwrap();
        assert_eq!(range.starts().count(), 2208);
        assert_eq!(FigureRange::new(0, most * 3600 + 1, FigureBucket::Hour), Err(RangeError::TooLong));
        assert_eq!(FigureRange::new(i64::MIN, i64::MAX, FigureBucket::Day), Err(RangeError::TooLong));
        assert!(FigureRange::new(i64::MAX - 9, i64::MAX, FigureBucket::Day).is_ok());
        assert!(FigureRange::new(i64::MIN, i64::MIN + 9, FigureBucket::Hour).is_ok());
    }

    #[test]
    fn the_last_days_end_with_the_present_bucket() {
        let day = FigureRange::last(DAY_S, 100 * DAY_S + 5);
        assert_eq!((day.starts().count(), day.from_s, day.to_s), (24, 99 * DAY_S + 3600, 100 * DAY_S + 3600));
        let month = FigureRange::last(30 * DAY_S, 100 * DAY_S + 5);
        assert_eq!((month.bucket, month.starts().count(), month.to_s), (FigureBucket::Day, 30, 101 * DAY_S));
    }
}
