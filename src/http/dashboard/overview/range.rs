//! The ranges of time that the first page can show, and how their figures are put together so that a chart has some thirty
//! buckets. Pure. Called by `dashboard::overview`.

use std::collections::BTreeMap;

use crate::base::figure_range::{FigureBucket, FigureRange};
use crate::http::dashboard::chart::Buckets;

const DAY_S: i64 = 86_400;

/// A range that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// As in the address.
    pub(super) name: &'static str,
    /// On the page.
    pub(super) words: &'static str,
    /// How much a bucket of the chart holds.
    pub(super) each: &'static str,
    days: i64,
    bucket: FigureBucket,
    /// Buckets of figures in one of the chart.
    together: i64,
}

/// The first one is shown unless another is asked for.
pub(super) const RANGES: [Range; 4] = [
    Range { name: "24h", words: "24 hours", each: "per hour", days: 1, bucket: FigureBucket::Hour, together: 1 },
    Range { name: "7d", words: "7 days", each: "per 6 hours", days: 7, bucket: FigureBucket::Hour, together: 6 },
    Range { name: "30d", words: "30 days", each: "per day", days: 30, bucket: FigureBucket::Day, together: 1 },
    Range { name: "90d", words: "90 days", each: "per 3 days", days: 90, bucket: FigureBucket::Day, together: 3 },
];

impl Range {
    /// The range of that name.
    pub(super) fn find(name: &str) -> Option<Self> {
        RANGES.into_iter().find(|range| range.name == name)
    }

    /// Whether a bucket holds whole days.
    pub(super) fn is_by_day(self) -> bool {
        self.bucket == FigureBucket::Day
    }

    /// Its time, up to the end of the bucket that is running.
    pub(super) fn time(self, now_s: i64) -> FigureRange {
        let step_s = self.bucket.seconds();
        let to_s = now_s.div_euclid(step_s).saturating_add(1).saturating_mul(step_s);
        FigureRange { from_s: to_s.saturating_sub(self.days.saturating_mul(DAY_S)), to_s, bucket: self.bucket }
    }

    /// The buckets of its charts.
    pub(super) fn buckets(self, now_s: i64) -> Buckets {
        let each_s = self.bucket.seconds().saturating_mul(self.together);
        let count = usize::try_from(self.days.saturating_mul(DAY_S) / each_s).unwrap_or_default();
        Buckets { first_s: self.time(now_s).from_s, each_s, count }
    }
}

/// A figure and the beginning of its bucket, unix seconds.
pub(super) type At<T> = (i64, T);

fn place(buckets: &Buckets, start_s: i64) -> Option<usize> {
    let number = start_s.saturating_sub(buckets.first_s).div_euclid(buckets.each_s.max(1));
    usize::try_from(number).ok().filter(|number| *number < buckets.count)
}

/// Counts, added up; a bucket without any is 0.
pub(super) fn sums(buckets: &Buckets, figures: impl Iterator<Item = At<i64>>) -> Vec<i64> {
    let mut sums = vec![0_i64; buckets.count];
    for (start_s, count) in figures {
        if let Some(sum) = place(buckets, start_s).and_then(|at| sums.get_mut(at)) {
            *sum = sum.saturating_add(count);
        }
    }
    sums
}

/// The greatest in each bucket.
pub(super) fn greatest(buckets: &Buckets, figures: impl Iterator<Item = At<Option<i64>>>) -> Vec<Option<i64>> {
    let mut found = vec![None; buckets.count];
    for (start_s, value) in figures {
        if let Some(known) = place(buckets, start_s).and_then(|at| found.get_mut(at)) {
            *known = value.max(*known);
        }
    }
    found
}

/// What stood at the last look of each bucket; what was looked at together is added up.
pub(super) fn last(buckets: &Buckets, figures: impl Iterator<Item = At<i64>>) -> Vec<Option<i64>> {
    let mut looks: BTreeMap<i64, i64> = BTreeMap::new();
    for (start_s, value) in figures {
        let sum = looks.entry(start_s).or_default();
        *sum = sum.saturating_add(value);
    }
    let mut found = vec![None; buckets.count];
    for (start_s, value) in looks {
        if let Some(known) = place(buckets, start_s).and_then(|at| found.get_mut(at)) {
            *known = Some(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30 14:05.
    const NOW_S: i64 = 1_796_047_500;

    #[test]
    fn every_range_ends_with_the_running_bucket_and_has_some_thirty() {
        for range in RANGES {
            let (time, buckets) = (range.time(NOW_S), range.buckets(NOW_S));
            assert!((24..=30).contains(&buckets.count), "{range:?}");
            assert!(time.from_s <= NOW_S && NOW_S < time.to_s && time.to_s - NOW_S <= DAY_S);
            assert_eq!(buckets.first_s + buckets.each_s * i64::try_from(buckets.count).unwrap_or(0), time.to_s);
        }
        assert_eq!(Range::find("7d"), Some(RANGES[1]));
        assert_eq!(Range::find("8d"), None);
    }

    #[test]
    fn figures_are_put_together_by_their_meaning() {
        let buckets = Buckets { first_s: 100, each_s: 20, count: 3 };
        assert_eq!(sums(&buckets, [(100, 1), (110, 2), (150, 4), (160, 8), (90, 16)].into_iter()), [3, 0, 4]);
        let values = [(100, Some(5)), (110, Some(3)), (120, None)];
        assert_eq!(greatest(&buckets, values.into_iter()), [Some(5), None, None]);
        assert_eq!(last(&buckets, [(100, 9), (110, 1), (110, 2), (140, 0)].into_iter()), [Some(3), None, Some(0)]);
    }
}
