//! A text that must not be seen, and how much of any other may be quoted. A secret must never show itself in a log, an error
//! or a debugger's output. Used by everything that holds a key, a token or a signing secret, and by messages about values.

use std::fmt;

use sha2::{Digest, Sha256};

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

/// Digits that tell URLs apart of which the same is shown.
const TAG_DIGITS: usize = 8;

/// The URL of an endpoint as pages and answers show it: without login, query and fragment, which may hold a secret. Where
/// something is left out, a tag stands for it, so that this is a name of the endpoint, too.
pub(crate) fn without_query(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let place = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let shown = format!("{scheme}://{host}{path}");
    if shown == url {
        return shown;
    }
    let hash = hex::encode(Sha256::digest(url));
    format!("{shown}{LEFT_OUT}{}", hash.get(..TAG_DIGITS).unwrap_or(&hash))
}

/// What stands where the query was.
pub(crate) const LEFT_OUT: &str = "?…";

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
    fn an_endpoint_is_shown_without_login_and_query_and_still_told_from_others() {
        for url in
            ["https://a.example/hooks?key=hush", "https://u:hush@a.example/hooks", "https://a.example/hooks#hush"]
        {
            let shown = without_query(url);
            assert!(shown.starts_with("https://a.example/hooks?…") && !shown.contains("hush"), "{shown}");
        }
        assert_ne!(without_query("https://a.example/?key=1"), without_query("https://a.example/?key=2"));
        for plain in ["https://a.example:8443/hooks", "https://a.example", "mail"] {
            assert_eq!(without_query(plain), plain);
        }
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
