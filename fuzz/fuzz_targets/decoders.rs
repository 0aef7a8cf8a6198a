//! Any bytes at all into both decoders.

#![no_main]
// The tests need more of these files than this does.
#![allow(dead_code)]

#[path = "../../netrunner-core/tests/protocol/decoders.rs"]
mod decoders;
#[path = "../../netrunner-core/tests/protocol/samples.rs"]
mod samples;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decoders::check(data));
