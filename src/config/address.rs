//! Addresses: what to listen on, and the URLs of Stripe and of the application. Must never resolve
//! a name or open a socket. Called by `sections`; [`Address`] is used by whoever binds or connects.

use std::fmt;
use std::path::{Path, PathBuf};

use super::secret::shown;
use crate::host::{is_this_machine, of_authority};

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
    pub(super) fn parse(text: &str) -> Result<Self, String> {
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
                "{shown} is no address: write host:port as in 127.0.0.1:4242, or unix:/path",
                shown = shown(text)
            )),
        }
    }

    /// Can it be reached from this machine only?
    #[must_use]
    pub fn is_local(&self) -> bool {
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

pub(super) fn is_host(host: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match bracketed(host) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(in_name),
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

/// Where events are sent. Plain http only to this machine, or where the operator has a private network of his own.
pub(super) fn endpoint_url(text: &str, allow_private: bool) -> Result<String, String> {
    let wrong =
        || format!("{shown} is no URL: write it whole, as in https://app.example.com/hooks/tilld", shown = shown(text));
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        // Not quoted: there may be a password in it.
        return Err("must not have a user or password before its host".to_owned());
    }
    let host = of_authority(authority);
    if !is_host(host) || text.contains(|c: char| c == '#' || !c.is_ascii_graphic()) {
        return Err(wrong());
    }
    match scheme {
        "https" => Ok(text.to_owned()),
        "http" if allow_private || is_this_machine(host) => Ok(text.to_owned()),
        "http" => Err(format!(
            "{shown}: events go over https, over plain http only to a loopback host or with allow_private = true",
            shown = shown(text)
        )),
        _ => Err(wrong()),
    }
}

/// The base of Stripe's API, without a slash at its end. Plain http only to this machine: the API
/// key goes over it.
pub(super) fn api_base(text: &str) -> Result<String, String> {
    let wrong = || {
        Err(format!("{shown} is no base URL: write https://host, or http:// and a loopback host", shown = shown(text)))
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong();
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        // Not quoted: there may be a password in it.
        return Err("must not have a user or password before its host".to_owned());
    }
    let host = of_authority(authority);
    let has_query = rest.contains(|c: char| c == '?' || c == '#' || c.is_whitespace());
    if !is_host(host) || has_query {
        return wrong();
    }
    match scheme {
        "https" => {}
        "http" if is_this_machine(host) => {}
        "http" => {
            return Err(format!("{shown}: plain http only to a loopback host; use https", shown = shown(text)));
        }
        _ => return wrong(),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// An absolute URL of the application, whatever its scheme: mobile applications have their own. Also checks those that a
/// request of the application's names.
///
/// # Errors
/// In words, when it is none.
pub fn application_url(text: &str) -> Result<String, String> {
    let absolute = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    if absolute && !text.contains(char::is_whitespace) {
        return Ok(text.to_owned());
    }
    Err(format!("{shown} is no URL: write it whole, as in https://example.com/billing", shown = shown(text)))
}

/// The path of a webhook endpoint, from a path or from the URL that Stripe's dashboard shows.
pub(super) fn webhook_path(text: &str) -> Result<String, String> {
    let path = match text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        Some(rest) => rest.find(['/', '?', '#']).map_or("/", |at| &rest[at..]),
        None => text,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = if path.is_empty() && text.contains("://") { "/" } else { path };
    if path == "/healthz" {
        return Err("\"/healthz\" is taken by the health check: choose another path".to_owned());
    }
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(path.to_owned());
    }
    Err(format!("{shown} is no path: it must start with / and have no spaces", shown = shown(text)))
}
