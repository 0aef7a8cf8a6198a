//! Runs test programs side by side, each with a time limit, and reports what they leave running.
//!
//! `cargo run --example test_runner -- SECONDS PROGRAM…` says `ok`, `FAILED`, `TIMED OUT` or `LEAKED` about
//! each, with all that it wrote unless it is `ok`. A leaked process is stopped, so that it can't disturb the
//! next test.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use netrunner_sync::{Command, Jobs, Output, Reason};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().ok_or("usage: test_runner SECONDS PROGRAM…")?;
    let limit = Duration::try_from_secs_f64(seconds.parse()?)?;
    let programs: Vec<String> = args.collect();

    let mut jobs = Jobs::new(0);
    jobs.timeout(limit).in_order(true); // results in the order of the list
    for program in &programs {
        let mut test = Command::new(program);
        // Past its limit it has half a second to clean up.
        test.stderr_to_stdout().grace(Duration::from_millis(500)).max_output(1 << 20);
        jobs.push(test);
    }

    let mut bad = 0;
    for finished in jobs {
        let program = &programs[finished.id.index()];
        match finished.result {
            Ok(output) => bad += u32::from(!report(program, &output)),
            Err(error) => {
                println!("FAILED     {program}: {error}");
                bad += 1;
            }
        }
    }
    println!("{} tests, {bad} bad", programs.len());
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says how a test went, and whether that was well.
fn report(program: &str, output: &Output) -> bool {
    let wall = output.report.wall;
    let verdict = if output.report.reason == Reason::Timeout {
        "TIMED OUT"
    } else if !output.report.success() {
        "FAILED"
    } else if !output.report.leftovers.is_empty() {
        "LEAKED"
    } else {
        "ok"
    };
    println!("{verdict:<10} {program} ({wall:.1?}, {})", output.status);
    if verdict == "ok" {
        return true;
    }
    for leftover in &output.report.leftovers {
        println!("    left running: {} ({})", leftover.name.to_string_lossy(), leftover.pid);
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("    | {line}");
    }
    false
}
