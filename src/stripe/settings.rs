//! What the client is told at start: key, address, limits. Must never show the key. Made by the daemon from the
//! configuration, which this module does not know; tests set shorter limits.

use std::fmt;
use std::time::Duration;

/// Until a connection stands, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence within an answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest one attempt may take, as in Stripe's own libraries.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(80);
/// How long a caller of the HTTP API is kept waiting for Stripe, all attempts, pauses and the turn at the bucket
/// included. Then it is told that the outcome is not known.
pub const INTERACTIVE_BUDGET: Duration = Duration::from_secs(30);
/// The same for work that nobody waits for: [`MAX_ATTEMPTS`] of the longest attempts, and some time at the bucket.
pub const BACKGROUND_BUDGET: Duration = Duration::from_secs(600);
/// Attempts of one call, the first one included.
pub const MAX_ATTEMPTS: u32 = 5;
/// The longest pause before the second attempt; it doubles with each further one.
pub const BACKOFF_BASE: Duration = Duration::from_millis(500);
/// The longest pause of all.
pub const BACKOFF_CAP: Duration = Duration::from_secs(5);
/// The longest answer. A list of 100 expanded objects stays well below.
pub const MAX_ANSWER_BYTES: u64 = 8 << 20;
/// Calls per second, below Stripe's 25 for a sandbox and for a single endpoint (docs.stripe.com/rate-limits).
pub const CALLS_PER_S: u32 = 20;
/// Calls at once after a rest.
pub const BURST: u32 = 20;
/// How long nobody calls after Stripe has said 429.
pub const RATE_LIMITED_PAUSE: Duration = Duration::from_secs(1);

/// Which of Stripe's two worlds a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real money.
    Live,
    /// Play money.
    Test,
}

impl Mode {
    /// As the configuration writes them.
    pub(crate) const WORDS: [(&str, Self); 2] = [("live", Self::Live), ("test", Self::Test)];
}

/// The secret key of Stripe's API. Its `Debug` hides it.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Keeps the key, which starts with `sk_` or `rk_`.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// The key itself, for the one header that it stands in.
    pub(in crate::stripe) fn expose(&self) -> &str {
        &self.0
    }

    /// The same, for tests of what is read from where.
    #[cfg(test)]
    pub(crate) fn expose_to_tests(&self) -> &str {
        &self.0
    }

    /// The mode it belongs to, by its prefix (docs.stripe.com/keys). None: it does not say, as those of organizations.
    pub(crate) fn mode(&self) -> Option<Mode> {
        let starts_with = |prefixes: [&str; 2]| prefixes.iter().any(|prefix| self.0.starts_with(prefix));
        if starts_with(["sk_live_", "rk_live_"]) {
            Some(Mode::Live)
        } else if starts_with(["sk_test_", "rk_test_"]) {
            Some(Mode::Test)
        } else {
            None
        }
    }

    /// May it do only what it was given (docs.stripe.com/keys/restricted-api-keys)?
    pub(crate) fn is_restricted(&self) -> bool {
        self.0.starts_with("rk_")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

/// The address of a proxy for https, which may have a password in it. Its `Debug` hides it.
#[derive(Clone)]
pub struct ProxyUrl(pub String);

impl ProxyUrl {
    /// Takes `http://` or `https://`, a login if there is one, and a host: proxies of other kinds (SOCKS) are not built in.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
        let host = crate::base::host::of_authority(rest.trim_end_matches('/').rsplit('@').next()?);
        let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_[]:".contains(c));
        is_host.then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct StripeSettings {
    /// The key that every call is made with.
    pub api_key: ApiKey,
    /// `https://api.stripe.com`, or plain http and a loopback host.
    pub api_base: String,
    /// The value of `Stripe-Version`.
    pub api_version: String,
    /// `http://host:port` of a proxy that takes CONNECT. Loopback hosts, and so all plain http, are called past it. The
    /// environment is not read here: `stripe.proxy`, `HTTPS_PROXY` and `NO_PROXY` are the configuration's matter.
    pub proxy: Option<ProxyUrl>,
    /// See [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// See [`READ_TIMEOUT`].
    pub read_timeout: Duration,
    /// See [`TOTAL_TIMEOUT`].
    pub total_timeout: Duration,
    /// See [`INTERACTIVE_BUDGET`].
    pub interactive_budget: Duration,
    /// See [`BACKGROUND_BUDGET`].
    pub background_budget: Duration,
    /// See [`MAX_ATTEMPTS`].
    pub max_attempts: u32,
    /// See [`BACKOFF_BASE`]. Zero in tests, which then do not sleep.
    pub backoff_base: Duration,
    /// See [`BACKOFF_CAP`].
    pub backoff_cap: Duration,
    /// See [`MAX_ANSWER_BYTES`].
    pub max_answer_bytes: u64,
    /// See [`CALLS_PER_S`].
    pub calls_per_s: u32,
    /// See [`BURST`].
    pub burst: u32,
    /// See [`RATE_LIMITED_PAUSE`].
    pub rate_limited_pause: Duration,
}

impl StripeSettings {
    /// The limits of production.
    #[must_use]
    pub fn new(api_key: ApiKey, api_base: &str, api_version: &str) -> Self {
        Self {
            api_key,
            api_base: api_base.to_owned(),
            api_version: api_version.to_owned(),
            proxy: None,
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
            total_timeout: TOTAL_TIMEOUT,
            interactive_budget: INTERACTIVE_BUDGET,
            background_budget: BACKGROUND_BUDGET,
            max_attempts: MAX_ATTEMPTS,
            backoff_base: BACKOFF_BASE,
            backoff_cap: BACKOFF_CAP,
            max_answer_bytes: MAX_ANSWER_BYTES,
            calls_per_s: CALLS_PER_S,
            burst: BURST,
            rate_limited_pause: RATE_LIMITED_PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_key_nor_a_proxys_password_is_shown() {
        let mut settings =
            StripeSettings::new(ApiKey::new("sk_test_hush"), "https://api.stripe.com", "2026-09-30.endive");
        settings.proxy = Some(ProxyUrl("http://user:hush@proxy.example:3128".to_owned()));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hush"), "{shown}");
        assert_eq!(settings.api_key.expose(), "sk_test_hush");
    }

    #[test]
    fn the_background_budget_has_room_for_the_longest_attempts_and_the_interactive_one_is_the_shorter() {
        assert!(TOTAL_TIMEOUT * MAX_ATTEMPTS + BACKOFF_CAP * MAX_ATTEMPTS < BACKGROUND_BUDGET);
        assert!(INTERACTIVE_BUDGET < TOTAL_TIMEOUT && CONNECT_TIMEOUT < INTERACTIVE_BUDGET);
    }
}
