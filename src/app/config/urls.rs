//! The URLs of the configuration: where events are sent, where Stripe is, where its webhooks come in. Secrets go in
//! clear to this machine only. Must never resolve a name, nor quote a password. Called by `sections`.

use crate::base::address::is_host;
use crate::base::host::{is_this_machine, of_authority};
use crate::base::secret::shown;

/// Where events are sent. Plain http only to this machine, or where the operator has a private network of his own.
pub(super) fn endpoint_url(text: &str, allow_private: bool) -> Result<String, String> {
    let wrong = || {
        format!(
            "{shown} is not a valid URL: write it in full, as in https://app.example.com/hooks/tilld",
            shown = shown(text)
        )
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        // Not quoted: there may be a password in it.
        return Err("has a user or password before its host: remove it".to_owned());
    }
    let host = of_authority(authority);
    if !is_host(host) || text.contains(|c: char| c == '#' || !c.is_ascii_graphic()) {
        return Err(wrong());
    }
    match scheme {
        "https" => Ok(text.to_owned()),
        "http" if allow_private || is_this_machine(host) => Ok(text.to_owned()),
        "http" => Err(format!(
            "{shown}: use https; plain http is allowed only to a loopback host or with allow_private = true",
            shown = shown(text)
        )),
        _ => Err(wrong()),
    }
}

/// The base of Stripe's API, without a slash at its end. Plain http only to this machine: the API
/// key goes over it.
pub(super) fn api_base(text: &str) -> Result<String, String> {
    let wrong = || {
        Err(format!(
            "{shown} is not a valid base URL: write https://host, or http:// and a loopback host",
            shown = shown(text)
        ))
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong();
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        // Not quoted: there may be a password in it.
        return Err("has a user or password before its host: remove it".to_owned());
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
            return Err(format!(
                "{shown}: use https; plain http is allowed only to a loopback host",
                shown = shown(text)
            ));
        }
        _ => return wrong(),
    }
    Ok(text.trim_end_matches('/').to_owned())
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
        return Err("\"/healthz\" is the path of the health check: choose another path".to_owned());
    }
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(path.to_owned());
    }
    Err(format!("{shown} is not a valid path: begin it with / and write no spaces", shown = shown(text)))
}
