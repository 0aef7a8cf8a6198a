//! Wraps one step of a CI job: its output as it comes, an end if it hangs, and a summary.
//!
//! `cargo run --example ci_step -- SECONDS COMMAND…` stops the command after so many seconds, or a third of
//! them without any output, and says what it used and what it left running. The exit code is the command's
//! own, 124 if it was stopped, and 125 if it could not be started.

use std::error::Error;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::Duration;

use netrunner_sync::{Command, Event, Reason, Report};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(seconds), Some(program)) = (args.next(), args.next()) else {
        return Err("usage: ci_step SECONDS COMMAND…".into());
    };
    let limit = seconds.to_str().ok_or("SECONDS is no number")?.parse()?;
    let limit = Duration::try_from_secs_f64(limit)?;

    let mut command = Command::new(program);
    command.args(args).timeout(limit).idle_timeout(limit / 3);
    match follow(&mut command) {
        Ok(report) => {
            summarize(&report);
            Ok(code(&report))
        }
        Err(error) => {
            eprintln!("== {error}");
            Ok(ExitCode::from(125))
        }
    }
}

/// Passes on what it writes, until it is over.
fn follow(command: &mut Command) -> Result<Report, Box<dyn Error>> {
    for event in command.events()? {
        match event? {
            Event::Stdout(bytes) => io::stdout().write_all(&bytes)?,
            Event::Stderr(bytes) => io::stderr().write_all(&bytes)?,
            Event::Exited(report) => return Ok(report),
            _ => {}
        }
    }
    Err("the command has no end".into())
}

fn summarize(report: &Report) {
    let usage = report.usage;
    let (cpu, memory) = (usage.user + usage.system, usage.max_rss >> 20);
    eprintln!("== {:?}, {}", report.reason, report.status);
    eprintln!("== {:.1?}, CPU {cpu:.1?}, {memory} MiB at most", report.wall);
    for leftover in &report.leftovers {
        eprintln!("== left running and stopped: {}", leftover.name.to_string_lossy());
    }
}

/// As a shell would say it.
fn code(report: &Report) -> ExitCode {
    let stopped = report.reason != Reason::Exited;
    let code = match (report.status.code(), report.status.signal()) {
        _ if stopped => 124,
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
