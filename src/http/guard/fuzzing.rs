//! The guard's pure parts, for `fuzz/properties/guard.rs` alone; no part of the program may call it. The properties
//! stand outside the crate, where the fuzz targets and `cargo test` share them.

use std::io::{self, Write};
use std::net::IpAddr;

pub use super::chunks::Chunks;
use super::client;
pub use super::head::{Head, Length, MAX_HEADERS, Refusal, Rules, parse};
use super::upstream::{ended, write_request};

/// Writes a request as tiny_http gets it; who asks is told as for a connection from `peer`.
///
/// # Errors
/// When `stream` does not take it.
pub fn pass_on(stream: &mut impl Write, head: &Head, body: &[u8], peer: Option<IpAddr>) -> io::Result<()> {
    let client = client::address(peer, head.forwarded);
    write_request(stream, &ended(head.forward.clone(), body.len(), client)?, body)
}
