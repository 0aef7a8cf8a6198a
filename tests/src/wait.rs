//! Waiting for a state, never for a time; and how patient that is.
//!
//! `NETRUNNER_TEST_SLOWNESS` (default 1) stretches every deadline of the tests, for emulators and
//! for machines that do other work at the same time.

use std::time::{Duration, Instant};

/// How long a test waits for what should come at once.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The factor by which deadlines are stretched.
pub fn slowness() -> f64 {
    std::env::var("NETRUNNER_TEST_SLOWNESS")
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|factor| *factor >= 1.0)
        .unwrap_or(1.0)
}

/// A deadline, stretched.
pub fn scaled(limit: Duration) -> Duration {
    limit.mul_f64(slowness())
}

/// True as soon as `reached` is, false when the stretched limit is over first.
pub fn reached_within(limit: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + scaled(limit);
    let mut pause = Duration::from_micros(200);
    loop {
        if reached() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Returns as soon as `reached` is true; panics, naming `what`, when the limit is over first.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, reached: impl FnMut() -> bool) {
    assert!(reached_within(limit, reached), "waited {:?} in vain: {what}", scaled(limit));
}
