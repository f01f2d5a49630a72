//! What is wrong with a configuration, in words for the person who wrote it. Must never contain a
//! secret. Made by the reader, printed by the command line.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key, as `stripe.webhook[0].path`; blocks count from 0.
    pub key: String,
    /// Where the value came from: `config.toml:12`, an environment variable, a flag, a file. None:
    /// the value is missing.
    pub origin: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.key, self.message)?;
        match &self.origin {
            Some(origin) => write!(out, " ({origin})"),
            None => Ok(()),
        }
    }
}

/// A value as a message may show it. What may hold a secret is not quoted: a key of Stripe's, a URL beyond its host, anything
/// with a password's `@` and `:`, or a long run of letters and figures such as tokens are made of.
pub(super) fn shown(text: &str) -> String {
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

/// Everything that is wrong, so that it can be put right in one go. Prints one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_plainly_none_is_shown() {
        for text in
            ["banana", "127.0.0.1", "price_1PQRSTUVWXYZabcdefghij0", "2026 09", "billing@example", "http://stripe.test"]
        {
            assert_eq!(shown(text), format!("{text:?}"));
        }
    }
}
