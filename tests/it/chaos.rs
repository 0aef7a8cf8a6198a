//! The short form of `cargo xtask chaos` (P1 to P6, P8, P9): random trees under many clients, and any of
//! them killed, stopped or starved at random instants, by a seed that is always the same.

use std::process::Command;

use crate::harness::*;

/// Three of each kind: guardians live, shepherds live, nobody is safe.
const ROUNDS: u64 = 9;

#[test]
fn nothing_is_left_after_chaos() {
    arena(|| {
        let seed = std::env::var("NETRUNNER_TEST_SEED").unwrap_or_else(|_| "2026".to_owned());
        let status = Command::new(CHAOS)
            .args(["--rounds", &rounds(ROUNDS).to_string(), "--seed", &seed, "--dir", "."])
            .status()
            .expect("run it");
        assert!(status.success(), "see above");
    });
}
