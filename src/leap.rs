//! Has the clock leapt? A clock that was ahead for half a minute must not leave wrong answers behind, nor wrong mails in the
//! world. Each thread that tells something watches by itself: what the clock says is held against the time that has passed
//! since the last look. A leap forward is waited out once, in case it is taken back; a step back means that what was
//! computed meanwhile is computed anew. Pure: it reads no clock. Called by `tick` and `delivery`.

use std::time::{Duration, Instant};

/// A difference up to this is an ordinary correction, in milliseconds.
const LEAP_MS: i64 = 5 * 60 * 1000;
/// Two looks are never so far apart, in milliseconds, even where the other clock leaps, too.
const GAP_MS: i64 = 2 * 3600 * 1000;
/// Steps back that do not matter, in milliseconds.
pub const SLACK_MS: i64 = 2000;
/// How long a leap forward is waited out.
pub const WAIT: Duration = Duration::from_secs(90);
/// How long deliveries wait after a step back, so that what is wrong is put right before it is told.
pub const SETTLE: Duration = Duration::from_secs(15);

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
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
#[derive(Debug, Default)]
pub struct Watch {
    seen: Option<(i64, Instant)>,
    waits_until: Option<Instant>,
}

impl Watch {
    /// Nobody has looked yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.seen.is_none()
    }

    /// The clock says `now_ms` (unix milliseconds) at this moment.
    pub fn look(&mut self, now_ms: i64, at: Instant) -> Look {
        let Some((seen_ms, seen_at)) = self.seen.replace((now_ms, at)) else { return Look::Steady };
        let passed_ms = i64::try_from(at.saturating_duration_since(seen_at).as_millis()).unwrap_or(i64::MAX);
        let ahead_ms = now_ms.saturating_sub(seen_ms).saturating_sub(passed_ms);
        if ahead_ms < -SLACK_MS {
            self.waits_until = None;
            return Look::SetBack(ahead_ms.saturating_neg() / 1000);
        }
        if ahead_ms > LEAP_MS || now_ms.saturating_sub(seen_ms) > GAP_MS {
            self.waits_until = at.checked_add(WAIT);
            return Look::Leapt(now_ms.saturating_sub(seen_ms) / 1000);
        }
        match self.waits_until {
            Some(until) if at < until => Look::Waiting,
            _ => Look::Steady,
        }
    }

    /// Waits so long from now on.
    pub fn wait(&mut self, at: Instant, long: Duration) {
        self.waits_until = at.checked_add(long);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_leap_is_waited_out_once_and_a_step_back_ends_the_wait() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.look(0, start), Look::Steady);
        assert_eq!(watch.look(30_000, after(30)), Look::Steady);
        assert_eq!(watch.look(400 * DAY_MS + 60_000, after(60)), Look::Leapt(400 * 86_400 + 30));
        assert_eq!(watch.look(400 * DAY_MS + 90_000, after(90)), Look::Waiting);
        assert_eq!(watch.look(95_000, after(95)), Look::SetBack(400 * 86_400));
        assert_eq!(watch.look(100_000, after(100)), Look::Steady);
        // One that is not taken back is the truth.
        assert_eq!(watch.look(DAY_MS + 130_000, after(130)), Look::Leapt(86_430));
        assert_eq!(watch.look(DAY_MS + 219_000, after(219)), Look::Waiting);
        assert_eq!(watch.look(DAY_MS + 221_000, after(221)), Look::Steady);
    }

    #[test]
    fn corrections_are_nothing_and_a_clock_that_leaps_with_the_other_is_noticed_all_the_same() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        watch.look(0, start);
        assert_eq!(watch.look(61_000, after(1)), Look::Steady);
        assert_eq!(watch.look(61_000, after(3)), Look::Steady);
        let day = after(86_400);
        assert_eq!(watch.look(DAY_MS + 61_000, day), Look::Leapt(86_400));
        assert_eq!(watch.look(62_000, after(4)), Look::SetBack(86_399));
    }
}
