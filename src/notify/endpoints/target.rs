//! Which addresses an endpoint may have. A host name may resolve to any address, and to another one the next time, so the
//! addresses are checked right before each connection. It must never connect. Called by `webhook`, through `ureq`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::base::host::{is_loopback, is_this_machine};

/// How far events may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedTargets {
    /// To public addresses.
    Public,
    /// To this machine alone.
    Loopback,
    /// Anywhere: the operator has said so.
    Everywhere,
}

impl AllowedTargets {
    /// What a URL may reach: if its host names this machine, this machine and nothing else; with `allow_private` everything.
    #[must_use]
    pub fn of(url: &str, allow_private: bool) -> Self {
        if allow_private {
            return Self::Everywhere;
        }
        let uri = url.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        if is_this_machine(host) { Self::Loopback } else { Self::Public }
    }

    /// Whether it may be connected to.
    #[must_use]
    pub(crate) fn permits(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Loopback => is_loopback(address),
            Self::Everywhere => true,
        }
    }
}

/// Whether an address is one of the public internet (IANA's special-purpose registries): neither
/// private, local, shared, multicast, reserved nor for documentation, in whichever form it is written.
#[must_use]
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127, ..] => true,
        [100, b, ..] => (64..128).contains(&b),
        [169, 254, ..] | [192, 168, ..] => true,
        [172, b, ..] => (16..32).contains(&b),
        // Protocol assignments, documentation, and the anycast of 6to4 relays.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] => true,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Multicast, reserved, broadcast.
        [a, ..] => a >= 224,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let inside = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // IPv4 within IPv6: mapped, translated, NAT64, 6to4. The IPv4 address counts.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) || (c, d, e, f) == (0, 0, 0xffff, 0) => inside(g, h),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => inside(g, h),
        (0x2002, _) => inside(b, c),
        // Teredo and other assignments, documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // All others outside of 2000::/3: unspecified, loopback, unique-local, link-local, multicast, unassigned.
        _ => a & 0xe000 == 0x2000,
    }
}

/// None of the addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its host leads to a private or local address, which allow_private = true would permit; not connected")]
pub struct TargetRefused;

/// Looks names up and lets only permitted addresses through.
#[derive(Debug)]
pub struct TargetGuard<R = DefaultResolver> {
    lookup: R,
    allowed: AllowedTargets,
}

impl TargetGuard {
    /// Looks names up as the system does.
    #[must_use]
    pub fn new(allowed: AllowedTargets) -> Self {
        Self::over(DefaultResolver::default(), allowed)
    }
}

impl<R: Resolver> TargetGuard<R> {
    /// Looks names up by `lookup`.
    #[must_use]
    pub fn over(lookup: R, allowed: AllowedTargets) -> Self {
        Self { lookup, allowed }
    }
}

impl<R: Resolver> Resolver for TargetGuard<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.lookup.resolve(uri, config, timeout)?;
        let mut permitted = self.empty();
        found.iter().filter(|address| self.allowed.permits(address.ip())).for_each(|address| permitted.push(*address));
        if permitted.is_empty() { Err(ureq::Error::Other(Box::new(TargetRefused))) } else { Ok(permitted) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn private_and_local_addresses_are_told_from_public_ones_in_every_form() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:101::",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ];
        for text in refused {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ];
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn only_a_host_that_says_so_is_this_machine() {
        let table = [
            ("http://127.0.0.1:3000/x", AllowedTargets::Loopback),
            ("http://localhost/x", AllowedTargets::Loopback),
            ("https://[::1]:8443/", AllowedTargets::Loopback),
            ("https://localhost.example.com/", AllowedTargets::Public),
            ("https://10.0.0.1/", AllowedTargets::Public),
            ("https://[::ffff:127.0.0.1]/", AllowedTargets::Loopback),
            ("http://app.localhost:3000/", AllowedTargets::Loopback),
        ];
        for (url, allowed) in table {
            assert_eq!(AllowedTargets::of(url, false), allowed, "{url}");
            assert_eq!(AllowedTargets::of(url, true), AllowedTargets::Everywhere, "{url}");
        }
        assert!(!AllowedTargets::Loopback.permits("10.0.0.1".parse().unwrap()));
    }
}
