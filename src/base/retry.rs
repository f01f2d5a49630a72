//! When a failed piece of work is due again, and when to give up. Must never read the clock or
//! draw a random number: time and jitter are arguments. Called by the worker, the retry thread,
//! the outbox and the Stripe client.

use sha2::{Digest, Sha256};

/// How often and how far apart work is tried again (`retry.*` in the configuration).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; after as many failures the work is exhausted.
    pub max_attempts: u32,
    /// The delay after the first failure, in seconds; it doubles with each further one.
    pub base_delay_s: u64,
    /// The longest delay, in seconds.
    pub max_delay_s: u64,
}

impl RetryPolicy {
    /// Milliseconds to wait after failure number `attempt` (1 is the first; 0 counts as 1).
    ///
    /// Half of the doubled and capped delay is fixed, the other half is spread by `jitter` (0 to
    /// 1), so that work which failed together does not come back together. Saturates.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32, jitter: f64) -> u64 {
        let factor = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        let delay_s = self.base_delay_s.saturating_mul(factor).min(self.max_delay_s);
        let delay_ms = delay_s.saturating_mul(1000);
        let spread_ms = delay_ms / 2;
        // The cast of a float saturates and takes NaN for 0; large floats may round up.
        let jittered_ms = ((spread_ms as f64 * jitter) as u64).min(spread_ms);
        delay_ms - spread_ms + jittered_ms
    }

    /// When the next attempt is due after `attempts` failures in all, the last of them now; unix milliseconds. `None`: all
    /// attempts are used up.
    #[must_use]
    pub fn due_ms(&self, attempts: u32, now_ms: i64, jitter: f64) -> Option<i64> {
        let is_exhausted = attempts >= self.max_attempts;
        (!is_exhausted).then(|| now_ms.saturating_add_unsigned(self.delay_ms(attempts, jitter)))
    }
}

/// A jitter in `[0, 1)` that depends on nothing but the work's key and its attempt, so that a due
/// time can be computed again, after a crash or in a test, and comes out the same.
#[must_use]
pub fn jitter_of(key: &str, attempt: u32) -> f64 {
    let digest = Sha256::new().chain_update(attempt.to_be_bytes()).chain_update(key).finalize();
    let number = digest.iter().take(4).fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 8, base_delay_s: 30, max_delay_s: 3600 };

    #[test]
    fn the_delay_doubles_up_to_the_cap_and_half_of_it_is_jitter() {
        // (failure, without jitter, with half of it)
        let table = [
            (0, 15_000, 22_500),
            (1, 15_000, 22_500),
            (2, 30_000, 45_000),
            (3, 60_000, 90_000),
            (7, 960_000, 1_440_000),
            (8, 1_800_000, 2_700_000),
            (9, 1_800_000, 2_700_000),
            (64, 1_800_000, 2_700_000),
            (u32::MAX, 1_800_000, 2_700_000),
        ];
        for (attempt, least, middle) in table {
            assert_eq!(POLICY.delay_ms(attempt, 0.0), least, "failure {attempt}");
            assert_eq!(POLICY.delay_ms(attempt, 0.5), middle, "failure {attempt}");
        }
    }

    #[test]
    fn a_base_of_zero_retries_at_once_whatever_the_attempt() {
        let at_once = RetryPolicy { base_delay_s: 0, ..POLICY };
        assert_eq!(at_once.delay_ms(1, 0.9), 0);
        assert_eq!(at_once.delay_ms(u32::MAX, 0.9), 0);
    }

    #[test]
    fn work_is_exhausted_by_its_last_allowed_failure_and_not_before() {
        assert_eq!(POLICY.due_ms(1, 1_000, 0.0), Some(16_000));
        assert_eq!(POLICY.due_ms(7, 1_000, 0.0), Some(961_000));
        assert_eq!(POLICY.due_ms(8, 1_000, 0.0), None);
        assert_eq!(POLICY.due_ms(9, 1_000, 0.0), None);
        assert_eq!(POLICY.due_ms(1, i64::MAX, 0.0), Some(i64::MAX));
    }

    #[test]
    fn jitter_is_the_same_for_the_same_work_and_differs_between_works_and_attempts() {
        let of = |key, attempt| jitter_of(key, attempt).to_bits();
        assert_eq!(of("evt_1", 1), of("evt_1", 1));
        assert_ne!(of("evt_1", 1), of("evt_2", 1));
        assert_ne!(of("evt_1", 1), of("evt_1", 2));
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        let of = |n: u32| jitter_of(&format!("evt_{n}"), 1);
        for tenth in 0..10 {
            let hits = (0..1000).filter(|n| (of(*n) * 10.0) as u32 == tenth).count();
            assert!((60..140).contains(&hits), "tenth {tenth}: {hits} of 1000");
        }
    }

    fn policies() -> impl Strategy<Value = RetryPolicy> {
        (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(max_attempts, base, max)| RetryPolicy {
            max_attempts,
            base_delay_s: base,
            max_delay_s: max,
        })
    }

    proptest! {
        #[test]
        fn no_input_overflows_and_the_delay_stays_under_the_cap(
            policy in policies(), attempts: u32, now_ms: i64, jitter: f64,
        ) {
            prop_assert!(policy.delay_ms(attempts, jitter) <= policy.max_delay_s.saturating_mul(1000));
            if let Some(due_ms) = policy.due_ms(attempts, now_ms, jitter) {
                prop_assert!(due_ms >= now_ms);
            }
        }

        #[test]
        fn the_delay_lies_between_half_and_the_whole_of_the_capped_delay(
            attempt in 1_u32..40, base in 0_u64..1 << 20, max in 0_u64..1 << 30, jitter in 0.0..1.0,
        ) {
            let policy = RetryPolicy { max_attempts: 1, base_delay_s: base, max_delay_s: max };
            let whole_ms = (u128::from(base) << (attempt - 1)).min(u128::from(max)) * 1000;
            let delay_ms = u128::from(policy.delay_ms(attempt, jitter));
            prop_assert!(whole_ms / 2 <= delay_ms && delay_ms <= whole_ms);
        }

        #[test]
        fn a_later_failure_and_a_larger_jitter_never_shorten_the_delay(
            policy in policies(), attempt in 0..u32::MAX, low in 0.0..1.0, high in 0.0..1.0,
        ) {
            prop_assert!(policy.delay_ms(attempt, low) <= policy.delay_ms(attempt + 1, low));
            let (low, high) = if low <= high { (low, high) } else { (high, low) };
            prop_assert!(policy.delay_ms(attempt, low) <= policy.delay_ms(attempt, high));
        }

        #[test]
        fn jitter_is_at_least_nothing_and_less_than_one(key: String, attempt: u32) {
            prop_assert!((0.0..1.0).contains(&jitter_of(&key, attempt)));
        }
    }
}
