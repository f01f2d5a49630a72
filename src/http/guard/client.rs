//! Who asks? `X-Forwarded-For` is written by anyone who likes to, so it is believed only from this machine, and there
//! only back to the last hop that this machine did not add itself. Pure, and never fatal: garbage is ignored.

use std::net::{IpAddr, SocketAddr};

use crate::host::is_loopback;

/// The client's address: `peer` is the other end of the socket (`None` on a Unix socket), `forwarded` what
/// [`last_hop`] found.
#[must_use]
pub(super) fn address(peer: Option<IpAddr>, forwarded: Option<IpAddr>) -> Option<IpAddr> {
    match peer {
        Some(peer) if !is_loopback(peer) => Some(peer),
        local => forwarded.or(local),
    }
}

/// The last hop named by `X-Forwarded-For` that is not this machine. `values` are the headers of that name in the order
/// sent; several count as one, joined by commas (RFC 9110 §5.3).
#[must_use]
pub(super) fn last_hop<'a>(values: impl DoubleEndedIterator<Item = &'a [u8]>) -> Option<IpAddr> {
    let hops = values.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    // What stands before a hop that cannot be read was written by one who cannot be known.
    hops.map_while(hop).find(|address| !is_loopback(*address))
}

/// An address, bare or with its port, as proxies write it.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn found(values: &[&str]) -> Option<String> {
        last_hop(values.iter().map(|value| value.as_bytes())).map(|address| address.to_string())
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_last_hop_that_is_not_this_machine_counts() {
        assert_eq!(found(&["203.0.113.7"]).unwrap(), "203.0.113.7");
        assert_eq!(found(&["6.6.6.6, 203.0.113.7, 127.0.0.1, ::1"]).unwrap(), "203.0.113.7");
        assert_eq!(found(&["6.6.6.6", "203.0.113.7:443", "127.0.0.1"]).unwrap(), "203.0.113.7");
        assert_eq!(found(&["[2001:db8::1]:9"]).unwrap(), "2001:db8::1");
        assert_eq!(found(&["[2001:db8::1]"]).unwrap(), "2001:db8::1");
        assert_eq!(found(&["::ffff:203.0.113.7"]).unwrap(), "203.0.113.7");
    }

    #[test]
    fn garbage_and_what_stands_before_it_are_ignored() {
        for value in ["", ",", "unknown", "6.6.6.6, _hidden", "6.6.6.6,", "1.2.3", "\u{fc}", "a\"b", "127.0.0.1"] {
            assert_eq!(found(&[value]), None, "{value}");
        }
        assert_eq!(found(&[]), None);
        assert_eq!(last_hop([&b"\xff"[..]].into_iter()), None);
    }

    #[test]
    fn only_this_machine_is_believed() {
        let told = ip("203.0.113.7");
        assert_eq!(address(ip("127.0.0.1"), told), told);
        assert_eq!(address(ip("::1"), told), told);
        assert_eq!(address(ip("::ffff:127.0.0.1"), told), told);
        assert_eq!(address(None, told), told);
        assert_eq!(address(ip("198.51.100.2"), told), ip("198.51.100.2"));
        assert_eq!(address(ip("10.0.0.1"), told), ip("10.0.0.1"));
        assert_eq!(address(ip("127.0.0.1"), None), ip("127.0.0.1"));
        assert_eq!(address(None, None), None);
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = last_hop([value.as_slice()].into_iter());
        }
    }
}
