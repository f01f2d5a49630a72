//! Counts by size: from how many values lay between which bounds, about how large was the one that so many percent did not
//! exceed? Pure. It must never claim more than the bounds allow: within two bounds the values count as spread evenly, and
//! beyond the last one only that bound is known. Called by `objects::figures`.

/// How many values were above the bound before and not above `up_to`. `i64::MAX` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramBucket {
    /// The upper bound.
    pub up_to: i64,
    /// The lower bound.
    pub above: i64,
    /// How many values.
    pub count: i64,
}

/// The value that `percent` of all do not exceed, interpolated; `None` where there are no values. The buckets rise.
#[must_use]
pub fn percentile(buckets: &[HistogramBucket], percent: i64) -> Option<i64> {
    let total: i128 = buckets.iter().map(|bucket| i128::from(bucket.count.max(0))).sum();
    if total == 0 {
        return None;
    }
    // In hundredths of a value, so that nothing is rounded before the end.
    let wanted = total * i128::from(percent.clamp(0, 100));
    let mut below = 0;
    for bucket in buckets.iter().filter(|bucket| bucket.count > 0) {
        let within = i128::from(bucket.count) * 100;
        if below + within >= wanted {
            let (above, width) = (i128::from(bucket.above), i128::from(bucket.up_to) - i128::from(bucket.above));
            let is_bounded = bucket.up_to != i64::MAX;
            let share = wanted - below;
            let exact = || width.checked_mul(share).map_or(width / within * share, |wide| wide / within);
            let part = if is_bounded { exact() } else { 0 };
            return i64::try_from(above + part).ok();
        }
        below += within;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[(i64, i64)]) -> Vec<HistogramBucket> {
        let mut above = 0;
        let buckets = counts.iter().map(|(up_to, count)| {
            let bucket = HistogramBucket { up_to: *up_to, above, count: *count };
            above = *up_to;
            bucket
        });
        buckets.collect()
    }

    #[test]
    fn a_percentile_lies_in_its_bucket_as_far_as_its_share_of_it() {
        let even = histogram(&[(10, 50), (20, 50), (50, 0), (100, 0)]);
        assert_eq!([0, 1, 25, 50, 75, 99, 100].map(|p| percentile(&even, p)), [0, 0, 5, 10, 15, 19, 20].map(Some));
        let late = histogram(&[(10, 98), (100, 1), (1000, 1)]);
        assert_eq!((percentile(&late, 50), percentile(&late, 99)), (Some(5), Some(100)));
    }

    #[test]
    fn beyond_the_last_bound_only_the_bound_is_known() {
        assert_eq!(percentile(&histogram(&[(10, 1), (i64::MAX, 9)]), 99), Some(10));
    }

    #[test]
    fn of_nothing_there_is_none() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&histogram(&[(10, 0), (20, 0)]), 50), None);
    }

    #[test]
    fn the_greatest_counts_do_not_overflow() {
        let all = histogram(&[(i64::MAX - 1, i64::MAX), (i64::MAX, i64::MAX)]);
        assert_eq!([25, 50, 99].map(|p| percentile(&all, p).is_some()), [true; 3]);
    }
}
