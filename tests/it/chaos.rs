//! The short forms of `cargo xtask chaos` (P1 to P6, P8, P9): random trees under many clients, and any of
//! them killed, stopped or starved at random instants, by a seed that is always the same; and system calls
//! that fail one by one in what stands beside a client.

use std::process::Command;

use netrunner_tests::lacks::LACKS;

use crate::harness::*;

/// Three of each kind: guardians live, shepherds live, nobody is safe.
const ROUNDS: u64 = 9;

/// One in so many pairs of scene and call. A prime, so that all scenes and all calls are among them.
const ONE_IN: u64 = 41;

#[test]
fn nothing_is_left_after_chaos() {
    arena(|| {
        let seed = std::env::var("NETRUNNER_TEST_SEED").unwrap_or_else(|_| "2026".to_owned());
        chaos(&["--rounds", &rounds(ROUNDS).to_string(), "--seed", &seed]);
    });
}

#[test]
fn nothing_is_left_where_a_call_beside_a_client_fails() {
    arena(|| {
        if std::env::var(LACKS).is_ok_and(|lacks| !lacks.is_empty()) {
            return skip("the kernel allows no sandbox in the one of this arena");
        }
        chaos(&["--faults", &ONE_IN.to_string()]);
    });
}

fn chaos(options: &[&str]) {
    let status = Command::new(CHAOS).args(options).args(["--dir", "."]).status().expect("run it");
    assert!(status.success(), "see above");
}
