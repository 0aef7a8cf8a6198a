//! Lists of operations against the pair of machines, around a simulated kernel.

#![no_main]
// The tests need more of these files than this does.
#![allow(dead_code)]

#[path = "../../netrunner-core/tests/pair/client.rs"]
mod client;
#[path = "../../netrunner-core/tests/pair/kernel.rs"]
mod kernel;
#[path = "../../netrunner-core/tests/pair/operations.rs"]
mod operations;
#[path = "../../netrunner-core/tests/pair/shepherd.rs"]
mod shepherd;
#[path = "../../netrunner-core/tests/pair/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|data: &[u8]| operations::check(data));
