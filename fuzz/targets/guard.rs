//! Feeds arbitrary bytes to `properties/guard.rs`.
#![no_main]

#[path = "../properties/guard.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::check(input));
