//! Has the clock leapt? A clock that was ahead for half a minute must not leave wrong answers behind, nor wrong mails in the
//! world. Each thread watches by itself: what the clock says is held against the time that has passed
//! since the last look. A leap forward is waited out once, in case it is taken back; after a step back
//! whatever was dated meanwhile is corrected, after a wait where other threads must do so first. Pure: it reads no clock. Called
//! by the loop that all threads of `jobs` share.

use std::time::{Duration, Instant};

/// A difference up to this is an ordinary correction, in milliseconds.
const LEAP_MS: i64 = 5 * 60 * 1000;
/// Two looks are never so far apart, in milliseconds, even where the other clock leaps, too.
const GAP_MS: i64 = 2 * 3600 * 1000;
/// Steps back that do not matter, in milliseconds.
pub(crate) const SLACK_MS: i64 = 2000;
/// How long a leap forward is waited out.
pub(crate) const WAIT: Duration = Duration::from_secs(90);
/// How long deliveries wait after a step back, so that what is wrong is corrected before it is sent.
pub(crate) const SETTLE: Duration = Duration::from_secs(15);

/// How long a thread does nothing after the clock has jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeapCaution {
    /// After a leap forward, in case it is taken back.
    pub leap: Duration,
    /// After a step back, so that other threads first correct what this one passes on.
    pub set_back: Duration,
}

impl LeapCaution {
    /// It goes on at once.
    pub const NONE: Self = Self { leap: Duration::ZERO, set_back: Duration::ZERO };
    /// It waits out a leap, and corrects what a step back made wrong.
    pub(crate) const DECIDES: Self = Self { leap: WAIT, set_back: Duration::ZERO };
    /// It waits out a leap, and after a step back for others to correct what they wrote.
    pub(crate) const PASSES_ON: Self = Self { leap: WAIT, set_back: SETTLE };
}

/// What one look at the clock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeapLook {
    /// Time goes on as it should.
    Steady,
    /// The clock has just leapt forward, by so many seconds.
    Leapt(i64),
    /// It leapt not long ago.
    Waiting,
    /// It was set back, by so many seconds.
    SetBack(i64),
}

/// The looks of one thread.
#[derive(Debug)]
pub struct ClockWatch {
    caution: LeapCaution,
    seen: Option<(i64, Instant)>,
    waits_until: Option<Instant>,
}

impl ClockWatch {
    /// Of a thread that has not looked yet.
    #[must_use]
    pub fn new(caution: LeapCaution) -> Self {
        Self { caution, seen: None, waits_until: None }
    }

    /// The clock says `now_ms` (unix milliseconds) at this moment.
    pub fn look(&mut self, now_ms: i64, at: Instant) -> LeapLook {
        let Some((seen_ms, seen_at)) = self.seen.replace((now_ms, at)) else { return LeapLook::Steady };
        let passed_ms = i64::try_from(at.saturating_duration_since(seen_at).as_millis()).unwrap_or(i64::MAX);
        let ahead_ms = now_ms.saturating_sub(seen_ms).saturating_sub(passed_ms);
        if ahead_ms < -SLACK_MS {
            self.waits_until = at.checked_add(self.caution.set_back);
            return LeapLook::SetBack(ahead_ms.saturating_neg() / 1000);
        }
        if ahead_ms > LEAP_MS || now_ms.saturating_sub(seen_ms) > GAP_MS {
            self.waits_until = at.checked_add(self.caution.leap);
            return LeapLook::Leapt(now_ms.saturating_sub(seen_ms) / 1000);
        }
        if self.is_waiting(at) { LeapLook::Waiting } else { LeapLook::Steady }
    }

    /// Whether a jump is waited out at this moment.
    #[must_use]
    pub(crate) fn is_waiting(&self, at: Instant) -> bool {
        self.waits_until.is_some_and(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_leap_is_waited_out_once_and_a_step_back_ends_the_wait() {
        let (mut watch, start) = (ClockWatch::new(LeapCaution::DECIDES), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.look(0, start), LeapLook::Steady);
        assert_eq!(watch.look(30_000, after(30)), LeapLook::Steady);
        assert_eq!(watch.look(400 * DAY_MS + 60_000, after(60)), LeapLook::Leapt(400 * 86_400 + 30));
        assert_eq!(watch.look(400 * DAY_MS + 90_000, after(90)), LeapLook::Waiting);
        assert_eq!(watch.look(95_000, after(95)), LeapLook::SetBack(400 * 86_400));
        assert_eq!(watch.look(100_000, after(100)), LeapLook::Steady);
        // One that is not taken back is the truth.
        assert_eq!(watch.look(DAY_MS + 130_000, after(130)), LeapLook::Leapt(86_430));
        assert_eq!(watch.look(DAY_MS + 219_000, after(219)), LeapLook::Waiting);
        assert_eq!(watch.look(DAY_MS + 221_000, after(221)), LeapLook::Steady);
    }

    #[test]
    fn corrections_are_nothing_and_a_clock_that_leaps_with_the_other_is_noticed_all_the_same() {
        let (mut watch, start) = (ClockWatch::new(LeapCaution::DECIDES), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        watch.look(0, start);
        assert_eq!(watch.look(61_000, after(1)), LeapLook::Steady);
        assert_eq!(watch.look(61_000, after(3)), LeapLook::Steady);
        let day = after(86_400);
        assert_eq!(watch.look(DAY_MS + 61_000, day), LeapLook::Leapt(86_400));
        assert_eq!(watch.look(62_000, after(4)), LeapLook::SetBack(86_399));
    }
}
