//! Addresses: what to listen on, and the URLs that an application names. Must never resolve a name or open a socket. Called
//! by `app::config`; [`Address`] is used by whoever binds or connects, [`application_url`] by calls that name URLs.

use std::fmt;
use std::path::{Path, PathBuf};

use super::secret::shown;
use crate::base::host::{is_this_machine, of_authority};

/// What to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`, IPv6 in brackets. Port 0: the system chooses.
    Tcp(String),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host:port` or `unix:/path`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path.to_owned()))
            } else {
                Err(format!("{shown}: the path after unix: must start with /", shown = shown(text)))
            };
        }
        let parts = text.rsplit_once(':');
        match parts.filter(|(host, port)| is_host(host) && port.parse::<u16>().is_ok()) {
            Some(_) => Ok(Self::Tcp(text.to_owned())),
            None => Err(format!(
                "{shown} is not a valid address: write host:port as in 127.0.0.1:4242, or unix:/path",
                shown = shown(text)
            )),
        }
    }

    /// Can it be reached from this machine only?
    #[must_use]
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(text) => is_this_machine(of_authority(text)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(text) => out.write_str(text),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

pub(crate) fn is_host(host: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match bracketed(host) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(in_name),
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

/// An absolute URL of the application, whatever its scheme: mobile applications have their own. Also checks those that a
/// request of the application names.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn application_url(text: &str) -> Result<String, String> {
    let absolute = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    if absolute && !text.contains(char::is_whitespace) {
        return Ok(text.to_owned());
    }
    Err(format!("{shown} is not a valid URL: write it whole, as in https://example.com/billing", shown = shown(text)))
}
