//! A text that must not be seen, and how much of any other may be quoted. A secret must never show itself in a log, an error
//! or a debugger's output. Used by everything that holds a key, a token or a signing secret, and by messages about values.

use std::fmt;

/// A secret. Its `Debug` and `Display` hide it, so that it cannot slip into a log by accident; it has
/// no `==`, because secrets are compared in constant time.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text without the white space around it, which comes along when secrets are pasted
    /// or read from files.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret itself. Whoever hunts a leak looks at every call of this.
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A value as a message may show it. What may hold a secret is not quoted: a Stripe key, a URL beyond its host, anything
/// with a password's `@` and `:`, or a long run of letters and figures such as tokens are made of.
pub(crate) fn shown(text: &str) -> String {
    const HIDDEN: &str = "the value (not shown: it may hold a secret)";
    if let Some((scheme, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let is_plain = host.len() == rest.len() && !looks_secret(host) && !looks_secret(scheme);
        return match () {
            () if is_plain => format!("{text:?}"),
            () if looks_secret(host) || looks_secret(scheme) || host.is_empty() => HIDDEN.to_owned(),
            () => format!("\"{}://{}/…\"", scheme.escape_debug(), host.escape_debug()),
        };
    }
    let has_login = text.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'));
    if has_login || looks_secret(text) { HIDDEN.to_owned() } else { format!("{text:?}") }
}

/// Beginnings of secrets (docs.stripe.com/keys and webhooks).
const SECRET_PREFIXES: [&str; 6] = ["sk_", "rk_", "whsec_", "tilld_", "sk-", "ek_"];
/// Runs as long as this, of letters and figures both, are taken for a token's; ids of Stripe begin with a word that says so.
const TOKEN_CHARS: usize = 20;

fn looks_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let run = |part: &str| {
        part.len() >= TOKEN_CHARS
            && part.bytes().any(|b| b.is_ascii_digit())
            && part.bytes().any(|b| b.is_ascii_alphabetic())
    };
    let is_id = ["price_", "prod_", "plan_", "acct_"].iter().any(|prefix| lower.starts_with(prefix));
    SECRET_PREFIXES.iter().any(|prefix| lower.contains(prefix))
        || (!is_id && text.split(|c: char| !c.is_ascii_alphanumeric() && !"+=_".contains(c)).any(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_only_when_asked() {
        let secret = Secret::new("whsec_x");
        let shown = format!("{secret} {secret:?} {:?}", Some(&secret));
        assert_eq!(shown, "[redacted] [redacted] Some([redacted])");
        assert_eq!(secret.expose(), "whsec_x");
    }

    #[test]
    fn a_secret_is_trimmed() {
        assert_eq!(Secret::new(" \twhsec_x\r\n").expose(), "whsec_x");
    }

    #[test]
    fn what_may_hold_a_secret_is_not_shown() {
        for text in [
            "smtps://user:hush@mail.example.com",
            "user:hush@mail.example.com",
            "https://hooks.example.com/services/T0/hush",
            "https://app.example.com/?token=hush",
            "sk_live_hush",
            "Rk_live_hush",
            "whsec_hush",
            "a whsec_hush",
            "hush0123456789abcdefgh",
            "hush@whsec_x",
        ] {
            assert!(!shown(text).contains("hush"), "{}", shown(text));
        }
        assert_eq!(shown("https://user:hush@a.example/x"), "\"https://a.example/…\"");
    }

    #[test]
    fn what_is_plainly_not_a_secret_is_shown() {
        for text in
            ["banana", "127.0.0.1", "price_1PQRSTUVWXYZabcdefghij0", "2026 09", "billing@example", "http://stripe.test"]
        {
            assert_eq!(shown(text), format!("{text:?}"));
        }
    }
}
