//! The brake on guessing at the login: the answer to a wrong token is held back, the longer the more there were. It must
//! never hold back or refuse a right token: behind a proxy all come from one address, and whoever guesses must not lock the
//! operator out. So it slows one who guesses by hand or one try after the other, and fills the log, and no more: where many are
//! tried side by side, `later` has no room and refuses the rest at once (429), after their comparison. What protects is the
//! token's length: 16 characters at least, and 43 random ones if tilld made it. Called by the login of the dashboard; the wait
//! is done by `later`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::throttle::Throttle;

/// How long the answer to the first wrong token is held back; each further one doubles it.
const FIRST: Duration = Duration::from_millis(250);
/// No answer is held back longer.
const LONGEST: Duration = Duration::from_secs(4);
/// Doublings until then, and some to spare.
const MOST_DOUBLINGS: u32 = 8;
/// After this time without a wrong token all is as in the beginning.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Counts wrong tokens.
#[derive(Debug, Default)]
pub(crate) struct Brake {
    wrong: Mutex<WrongTokens>,
    logged: Throttle,
}

#[derive(Debug, Default)]
struct WrongTokens {
    count: u32,
    newest: Option<Instant>,
}

impl Brake {
    /// Counts a wrong token, and logs it if there were not many just before.
    pub(crate) fn count(&self, client: &str, now: Instant) {
        let mut wrong = self.lock();
        let is_over = wrong.newest.is_some_and(|newest| now.duration_since(newest) >= FORGOTTEN);
        wrong.count = if is_over { 1 } else { wrong.count.saturating_add(1) };
        wrong.newest = Some(now);
        let count = wrong.count;
        drop(wrong);
        if self.logged.admit("wrong_token", now) {
            log::warn!("wrong admin token at the login of the dashboard client={client} in_a_row={count}");
        }
    }

    /// How long the answer to the newest wrong token is held back.
    pub(crate) fn hold(&self) -> Duration {
        let doublings = self.lock().count.saturating_sub(1).min(MOST_DOUBLINGS);
        FIRST.saturating_mul(1 << doublings).min(LONGEST)
    }

    fn lock(&self) -> MutexGuard<'_, WrongTokens> {
        // No code that holds the lock can leave the value half-changed.
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_limit_and_is_forgotten_after_a_while() {
        let (brake, start) = (Brake::default(), Instant::now());
        let waits: Vec<u128> = (0..8)
            .map(|_| {
                brake.count("local", start);
                brake.hold().as_millis()
            })
            .collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 4000, 4000, 4000]);
        brake.count("local", start + FORGOTTEN - Duration::from_secs(1));
        assert_eq!(brake.hold(), LONGEST);
        brake.count("local", start + FORGOTTEN * 2);
        assert_eq!(brake.hold(), FIRST);
    }
}
