//! Feeds arbitrary bytes to `properties/envelope.rs`.
#![no_main]

#[path = "../properties/envelope.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::check(input));
