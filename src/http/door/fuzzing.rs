//! The door's pure parts, for `fuzz/properties/guard.rs` alone; no part of the program may call it. The properties are outside
//! the crate, where the fuzz targets and `cargo test` share them.

use std::io;
use std::net::IpAddr;

use super::bodies::Bodies;
pub use super::chunks::Chunks;
use super::head;
pub use super::head::{Head, HeadRules, Length, MAX_HEADERS, RequestRefusal, parse};
use super::upstream::complete_head;

/// What tiny_http gets of a request whose body is put into `bodies`, on a connection from `peer`.
///
/// # Errors
/// None that a client could cause.
pub fn passed_on(bodies: &Bodies, head: &Head, body: &[u8], peer: Option<IpAddr>) -> io::Result<Vec<u8>> {
    let ticket = (!body.is_empty()).then(|| bodies.put(0, body.to_vec()));
    complete_head(head.forward.clone(), ticket.as_deref(), head::client(peer, head.forwarded))
}
