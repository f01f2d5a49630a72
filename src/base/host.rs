//! Is this host this machine? The one answer for whoever asks: what is listened on without a token, whether a secret may
//! travel in clear, whose `X-Forwarded-For` is believed. Pure: no name is ever looked up, so a name counts only if no
//! resolver may lead it elsewhere (RFC 6761, section 6.3). Code that connects and must be certain checks the address
//! too, with [`is_loopback`]. Called by configuration, the HTTP servers and whatever sends a secret.

use std::net::IpAddr;

/// Whether `host`, a name or an address as a URL has it, IPv6 with or without brackets, is this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside.unwrap_or(host).parse::<IpAddr>() {
        Ok(address) => is_loopback(address),
        Err(_) => inside.is_none() && is_localhost(host),
    }
}

/// Whether an address is one of this machine's own, an IPv4 one in the form of IPv6 (`::ffff:127.0.0.1`) included.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The host of `host:port`, or of a host alone; IPv6 keeps its brackets.
pub(crate) fn of_authority(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => authority,
    }
}

/// `localhost` and all names below it, a dot at the end or not.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let below = name.strip_suffix("localhost");
    below.is_some_and(|rest| rest.is_empty() || (rest.len() > 1 && rest.ends_with('.') && !rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_addresses_and_by_names_that_lead_nowhere_else() {
        for host in [
            "127.0.0.1",
            "127.8.8.8",
            "127.255.255.255",
            "::1",
            "[::1]",
            "0:0:0:0:0:0:0:1",
            "::ffff:127.0.0.1",
            "[::ffff:127.0.0.1]",
            "[::FFFF:7f00:1]",
            "localhost",
            "localhost.",
            "LocalHost",
            "app.localhost",
            "a.b.LOCALHOST.",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn whatever_may_lead_elsewhere_is_not_this_machine() {
        for host in [
            "",
            ".",
            "0.0.0.0",
            "::",
            "[::]",
            "::2",
            "126.255.255.255",
            "128.0.0.1",
            "10.0.0.1",
            "::ffff:10.0.0.1",
            // An address of this form may be sent on (RFC 4291, section 2.5.5.1).
            "::127.0.0.1",
            // Spellings that only some resolvers take for an address.
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "localhost.example.com",
            "localhost.localdomain",
            "127.0.0.1.example.com",
            "notlocalhost",
            "my-localhost",
            ".localhost",
            "localhost..",
            "[localhost]",
            "[::1",
            "::1]",
            "localhost:80",
            "user@localhost",
            " localhost",
        ] {
            assert!(!is_this_machine(host), "{host:?}");
        }
    }

    #[test]
    fn the_host_of_an_authority_is_what_stands_before_its_port() {
        for (authority, host) in [
            ("localhost:80", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:65536", "127.0.0.1:65536"),
            (":80", ""),
        ] {
            assert_eq!(of_authority(authority), host, "{authority}");
        }
    }

    #[test]
    fn an_address_of_the_system_counts_in_every_form() {
        for (address, local) in [("127.0.0.9", true), ("::ffff:127.0.0.9", true), ("::1", true), ("0.0.0.0", false)] {
            assert_eq!(is_loopback(address.parse().unwrap()), local, "{address}");
        }
    }
}
