//! Feeds arbitrary bytes to `properties/form.rs`.
#![no_main]

#[path = "../properties/form.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::check(input));
