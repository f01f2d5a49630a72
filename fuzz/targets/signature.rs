//! Feeds arbitrary bytes to `properties/signature.rs`.
#![no_main]

#[path = "../properties/signature.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::check(input));
