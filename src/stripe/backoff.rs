//! Which attempt of a call follows which, and when to stop: pure. Must never sleep, read a clock or draw a random
//! number. Called by `client` after each failed attempt.

use std::time::Duration;

use crate::base::verdict::FailureVerdict;
use crate::stripe::call::Verb;
use crate::stripe::error::{RateLimitKind, StripeError};

/// How often and how far apart the attempts of one call are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Attempts in all.
    pub max_attempts: u32,
    /// The longest pause after the first; it doubles with each further one.
    pub base: Duration,
    /// The longest pause.
    pub cap: Duration,
    /// The longest time from the start of the call to the start of an attempt.
    pub budget: Duration,
}

impl Backoff {
    /// The pause after failed attempt number `attempt` (1 is the first): anything from nothing to the doubled and capped
    /// base, by `jitter` (0 to 1), so that calls which failed together do not come back together ("full jitter").
    #[must_use]
    pub(crate) fn pause(&self, attempt: u32, jitter: f64) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(factor).min(self.cap);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        // The product cannot overflow: the factor is at most one.
        Duration::try_from_secs_f64(longest.as_secs_f64() * jitter).unwrap_or(longest).min(longest)
    }
}

/// The attempts of one call so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BackoffCourse {
    attempts: u32,
    /// One of them may have been carried out, and no later answer has shown whether it was.
    in_doubt: bool,
}

impl BackoffCourse {
    /// Attempts made.
    #[must_use]
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The pause before the next attempt, or `None` if there is none: the last error decides, then the number of
    /// attempts, then the time since the call began.
    pub(crate) fn after(
        &mut self,
        error: &StripeError,
        backoff: &Backoff,
        elapsed: Duration,
        jitter: f64,
    ) -> Option<Duration> {
        self.attempts = self.attempts.saturating_add(1);
        self.in_doubt = error.may_have_been_done() || (self.in_doubt && !error.settles_earlier_attempts());
        let pause = backoff.pause(self.attempts, jitter);
        // No turn at the bucket means none within the budget of this call.
        let had_no_turn = matches!(error, StripeError::Transport { limit: Some(RateLimitKind::Turn), .. });
        let goes_on = error.verdict() == FailureVerdict::Retry
            && !had_no_turn
            && self.attempts < backoff.max_attempts
            && elapsed.saturating_add(pause) < backoff.budget;
        goes_on.then_some(pause)
    }

    /// What the caller gets after the last attempt: its error, or that the outcome is not known. A GET changes
    /// nothing and is never in doubt.
    #[must_use]
    pub(crate) fn conclude(&self, verb: Verb, last: StripeError) -> StripeError {
        if self.in_doubt && verb != Verb::Get {
            return StripeError::InDoubt { attempts: self.attempts, last: Box::new(last) };
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::error::{AnswerHeaders, StripeApiError};
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff {
        max_attempts: 5,
        base: Duration::from_millis(500),
        cap: Duration::from_secs(5),
        budget: Duration::from_secs(30),
    };

    fn status(status: u16) -> StripeError {
        StripeError::Api(Box::new(StripeApiError::read(status, AnswerHeaders::default(), b"{}", "")))
    }

    fn lost() -> StripeError {
        StripeError::Transport { limit: None, reached: true, reason: "reset".to_owned() }
    }

    /// Runs a course over these errors; what the caller gets, and after how many attempts.
    fn run(verb: Verb, errors: Vec<StripeError>) -> (StripeError, u32) {
        let mut course = BackoffCourse::default();
        let mut errors = errors.into_iter().peekable();
        while let Some(error) = errors.next() {
            if course.after(&error, &BACKOFF, Duration::ZERO, 0.5).is_none() || errors.peek().is_none() {
                return (course.conclude(verb, error), course.attempts());
            }
        }
        panic!("no error given");
    }

    #[test]
    fn the_longest_pause_doubles_from_half_a_second_to_five() {
        let longest: Vec<u128> = (1..=6).map(|attempt| BACKOFF.pause(attempt, 1.0).as_millis()).collect();
        assert_eq!(longest, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(BACKOFF.pause(2, 0.25), Duration::from_millis(250));
        assert_eq!(BACKOFF.pause(3, 0.0), Duration::ZERO);
        assert_eq!(BACKOFF.pause(3, f64::NAN), Duration::from_secs(2));
        assert_eq!(BACKOFF.pause(u32::MAX, 1.0), Duration::from_secs(5));
    }

    #[test]
    fn a_call_is_given_up_after_its_attempts_or_within_its_budget() {
        assert_eq!(run(Verb::Get, vec![status(503); 9]).1, 5);
        let mut course = BackoffCourse::default();
        let after = |course: &mut BackoffCourse, s| course.after(&status(503), &BACKOFF, Duration::from_secs(s), 1.0);
        assert_eq!(after(&mut course, 29), Some(Duration::from_millis(500)));
        assert_eq!(after(&mut course, 29), None);
    }

    #[test]
    fn who_got_no_turn_within_the_budget_does_not_queue_again() {
        let no_turn =
            || StripeError::Transport { limit: Some(RateLimitKind::Turn), reached: false, reason: String::new() };
        assert_eq!(run(Verb::Post, vec![no_turn(), no_turn()]), (no_turn(), 1));
        assert!(matches!(run(Verb::Post, vec![lost(), no_turn()]).0, StripeError::InDoubt { attempts: 2, .. }));
    }

    #[test]
    fn a_refusal_ends_the_call_at_once() {
        for refusal in [400, 401, 402, 403, 404] {
            assert_eq!(run(Verb::Post, vec![status(refusal); 5]), (status(refusal), 1));
        }
    }

    #[test]
    fn a_lost_attempt_stays_in_doubt_until_an_answer_tells_about_it() {
        for last in [429, 409, 401, 403] {
            let (told, attempts) = run(Verb::Post, vec![lost(), status(last)]);
            assert_eq!(told, StripeError::InDoubt { attempts, last: Box::new(status(last)) });
        }
        for last in [400, 402, 404] {
            assert_eq!(run(Verb::Post, vec![lost(), status(last)]).0, status(last));
        }
        assert_eq!(run(Verb::Post, vec![status(429); 5]).0, status(429));
        assert!(matches!(run(Verb::Delete, vec![status(500); 5]).0, StripeError::InDoubt { attempts: 5, .. }));
    }

    #[test]
    fn a_read_is_never_in_doubt() {
        assert_eq!(run(Verb::Get, vec![lost(); 5]).0, lost());
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_its_cap_or_overflows(base_ms: u64, cap_ms: u64, attempt: u32, jitter: f64) {
            let (base, cap) = (Duration::from_millis(base_ms), Duration::from_millis(cap_ms));
            let pause = Backoff { base, cap, ..BACKOFF }.pause(attempt, jitter);
            prop_assert!(pause <= cap);
        }

        #[test]
        fn an_outcome_is_never_final_after_an_attempt_that_may_have_been_done_and_was_not_settled(
            codes in proptest::collection::vec(prop_oneof![Just(0_u16), Just(401), Just(409), Just(429), Just(500)], 1..6),
        ) {
            let errors: Vec<_> = codes.iter().map(|code| if *code == 0 { lost() } else { status(*code) }).collect();
            let (told, attempts) = run(Verb::Post, errors.clone());
            let doubtful = errors.iter().take(attempts as usize).any(StripeError::may_have_been_done);
            prop_assert_eq!(told.verdict() == FailureVerdict::Wait, doubtful);
        }
    }
}
