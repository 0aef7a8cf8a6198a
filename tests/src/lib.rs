//! What the test programs and the test binary share: signal names, script words, the view
//! through `/proc`, the lock-file oracle, waiting.
//!
//! * `puppet` is the one scriptable child.
//! * `client` is a scriptable program that uses `netrunner-sync`, to be killed from outside.
//! * `rogue` plays guardian and shepherds by a script, and badly.
//! * `arena` is the subreaper that runs one test and counts what outlives it.
//! * `chaos` kills and starves random trees, round after round, and counts what is left.
//!
//! What needs `unsafe` is in [`sys`] and [`seccomp`] alone. The library under test is not used here.

#![deny(unsafe_code)]

pub mod attack;
pub mod canary;
pub mod failed;
pub mod hostile;
pub mod lacks;
pub mod lane;
pub mod lock;
pub mod pattern;
pub mod procs;
pub mod random;
pub mod script;
pub mod seccomp;
pub mod sys;
pub mod wait;
