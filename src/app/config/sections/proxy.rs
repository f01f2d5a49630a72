//! `stripe.proxy`, and the variables that all programs share for it (curl(1), "ENVIRONMENT"). Its URL may hold a password,
//! so it must never be quoted. Called by `stripe`.

use crate::app::config::reader::{ConfigReader, SET};
use crate::base::host;
use crate::stripe::settings::ProxyUrl;

const KEY: &str = "stripe.proxy";
/// The value for no proxy.
const OFF: &str = "off";
/// The first that is set counts.
const SHARED: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const EXEMPTING: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy for calls to `api_base`. The shared variables count only if there is a key, so that calls are made.
pub(super) fn read(reader: &mut ConfigReader<'_>, api_base: &str, has_key: bool) -> Option<ProxyUrl> {
    let authority = api_base.split_once("://").map_or(api_base, |(_, rest)| rest);
    let called = host::of_authority(authority.split('/').next().unwrap_or_default());
    let own = reader.secret(KEY).map(|url| url.expose().to_owned());
    let around = reader.around();
    let shared = || {
        let exempt = EXEMPTING.iter().find_map(|name| around.variable(name));
        let (name, url) = SHARED.iter().find_map(|name| Some((*name, around.variable(name)?)))?;
        // Without a scheme it is plain http, as for all others that read these variables.
        let url = if url.contains("://") { url.trim().to_owned() } else { format!("http://{}", url.trim()) };
        (!is_exempt(called, exempt.unwrap_or_default())).then_some((url, Some(name)))
    };
    let found = own.map(|url| (url, None)).or_else(|| shared().filter(|_| has_key));
    let (url, variable) = found?;
    if let Some(name) = variable {
        reader.found_in(KEY, name);
        reader.note(KEY, SET);
    }
    if url == OFF || host::is_this_machine(called) {
        return None;
    }
    let proxy = ProxyUrl::parse(&url);
    if proxy.is_none() {
        let message = "is not a valid proxy: write http://host:port or https://host:port, or \"off\" for none";
        reader.fault(KEY, message);
    }
    proxy
}

/// Does a list of hosts, separated by commas, name this one or a domain that it is in?
fn is_exempt(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split([',', ' ']).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = host::of_authority(entry).to_ascii_lowercase();
        let domain = entry.trim_start_matches('*').trim_start_matches('.');
        entry == "*" || host == domain || (!domain.is_empty() && host.ends_with(&format!(".{domain}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_exempt_by_its_name_or_its_domain() {
        for list in
            ["api.stripe.com", "stripe.com", ".stripe.com", "*.stripe.com", "x, API.Stripe.com:443", "*", "a b,*"]
        {
            assert!(is_exempt("api.stripe.com", list), "{list}");
        }
        for list in ["", ",", "ripe.com", "api.stripe.com.example", "x.api.stripe.com", ".", "127.0.0.1"] {
            assert!(!is_exempt("api.stripe.com", list), "{list}");
        }
    }
}
