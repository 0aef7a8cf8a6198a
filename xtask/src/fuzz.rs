//! What needs a nightly toolchain, and so is part of `ci --full` alone: each target of `fuzz/` for a minute, and
//! the pure machines under Miri. Where a tool is not there this says so, and goes on.

use std::path::Path;

use crate::step::{self, Result, cargo_of};

/// Each a file in `fuzz/fuzz_targets`, with a folder in `fuzz/corpus`.
const TARGETS: [&str; 3] = ["decoders", "pair", "lane"];

/// How long each is run.
const SECONDS: u32 = 60;

/// The tests of `netrunner-core` that Miri gets through in minutes.
const UNDER_MIRI: [&str; 4] = ["--lib", "--test=client", "--test=supervise", "--test=terminal"];

/// Runs every target from its corpus. What is new in it stays below the target dir.
pub(crate) fn run(root: &Path, target: &Path) -> Result<()> {
    if let Some(why) = lacks("fuzz") {
        eprintln!("xtask: SKIPPED: no fuzzing, {why};");
        eprintln!("xtask: to have it: rustup toolchain install nightly; cargo install cargo-fuzz");
        return Ok(());
    }
    let target = target.join("fuzz");
    for name in TARGETS {
        let found = target.join("corpus").join(name);
        std::fs::create_dir_all(&found)?;
        let mut fuzz = cargo_of("nightly", &root.join("fuzz"));
        fuzz.args(["fuzz", "run", "--fuzz-dir", "."]);
        fuzz.arg("--target-dir").arg(&target).arg(name).arg(&found);
        fuzz.arg(Path::new("corpus").join(name)).arg("--");
        step::run(fuzz.arg(format!("-max_total_time={SECONDS}")).arg("-print_final_stats=1"))?;
    }
    Ok(())
}

/// Runs the tests of the pure machines in an interpreter that sees undefined behaviour.
pub(crate) fn miri(root: &Path, target: &Path) -> Result<()> {
    if let Some(why) = lacks("miri") {
        eprintln!("xtask: SKIPPED: nothing under Miri, {why};");
        eprintln!("xtask: to have it: rustup component add --toolchain nightly miri rust-src");
        return Ok(());
    }
    let mut miri = cargo_of("nightly", root);
    miri.args(["miri", "test", "--package", "netrunner-core"]).args(UNDER_MIRI);
    step::run(miri.arg("--target-dir").arg(target.join("miri")))
}

/// Why there is no such subcommand of the nightly cargo.
fn lacks(subcommand: &str) -> Option<String> {
    match cargo_of("nightly", Path::new(".")).args([subcommand, "--version"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Some(told.lines().next().unwrap_or("without a word why").to_owned())
        }
        Err(error) => Some(error.to_string()),
    }
}
