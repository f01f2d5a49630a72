//! The guard's pure parts, for `fuzz/properties/guard.rs` alone; no part of the program may call it. The properties
//! stand outside the crate, where the fuzz targets and `cargo test` share them.

use std::net::IpAddr;

pub use super::chunks::Chunks;
pub use super::head::{Head, Length, MAX_HEADERS, Refusal, Rules, parse};
use super::upstream::Passed;

/// The bytes that tiny_http gets for a request.
#[must_use]
pub fn written(head: &Head, body: &[u8], peer: Option<IpAddr>) -> Vec<u8> {
    super::upstream::written(&Passed { head, body, peer })
}
