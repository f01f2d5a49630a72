//! A text that must not be seen. Must never show itself in a log, an error or a debugger's output.
//! Used by everything that holds a key, a token or a signing secret.

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

    /// The secret itself. Every call is a place to look at when a leak is hunted.
    #[must_use]
    pub fn expose(&self) -> &str {
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
}
