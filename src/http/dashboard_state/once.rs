//! A link that logs in once, which `tilld dev` prints. Opening it shows a button and changes nothing, as every GET: what
//! looks at links before people do (a preview, a prefetch, a scanner) does not use it up. The button's POST does. It must
//! never outlive its time or its process, and no other command makes one. Called by the login of the dashboard, made by `app::cli::dev`.

use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How long a link opens the pages, in minutes.
pub const VALID_MINUTES: i64 = 15;
const MS_PER_MINUTE: i64 = 60_000;

/// What a link of this process must show.
#[derive(Debug)]
pub(crate) struct OnceLogin {
    /// SHA-256 of its token: texts of any length are compared in constant time.
    hash: [u8; 32],
    /// Unix milliseconds.
    until_ms: i64,
    is_used: AtomicBool,
}

impl OnceLogin {
    /// A link with that token, from now on.
    pub(crate) fn new(token: &str, now_ms: i64) -> Self {
        let until_ms = now_ms.saturating_add(VALID_MINUTES.saturating_mul(MS_PER_MINUTE));
        Self { hash: Sha256::digest(token.as_bytes()).into(), until_ms, is_used: AtomicBool::new(false) }
    }

    /// Whether this token opens the pages now; then it is used up.
    pub(crate) fn open(&self, token: &str, now_ms: i64) -> bool {
        let given: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        bool::from(given.ct_eq(&self.hash)) && now_ms < self.until_ms && !self.is_used.swap(true, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_once_and_not_after_its_time_and_a_wrong_one_does_not_use_it_up() {
        let end = VALID_MINUTES * MS_PER_MINUTE;
        let link = OnceLogin::new("right", 0);
        assert!(!link.open("wrong", 1));
        assert!(link.open("right", 1));
        assert!(!link.open("right", 2));
        assert!(!OnceLogin::new("right", 0).open("right", end));
        assert!(OnceLogin::new("right", 0).open("right", end - 1));
    }
}
