//! Runs a command that may not take the machine down: bounded in memory, processes, CPU, time and output.
//!
//! `cargo run --example limited_job -- COMMAND…` uses a cgroup where one can be had, and says what is weaker
//! where not (`netrunner doctor` tells why, and what to change). The limits of each single process hold in
//! any case.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use netrunner_sync::{Cgroup, Command, CommandExt, Report, Resource};

const MIB: u64 = 1 << 20;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().ok_or("usage: limited_job COMMAND…")?;

    // Of all its processes together.
    let group = Cgroup::auto().memory_max(256 * MIB).swap_max(0).pids_max(64).cpu_max(50);
    let mut command = Command::new(program);
    command
        .args(args)
        .cgroup(group.if_available())
        // Of each of them.
        .rlimit(Resource::AS, 1024 * MIB, 1024 * MIB)
        .rlimit(Resource::FSIZE, 64 * MIB, 64 * MIB)
        .rlimit(Resource::CORE, 0, 0)
        .no_new_privs(true)
        .nice(10)
        // Of the command.
        .timeout(Duration::from_secs(60))
        .max_output(MIB);
    let output = command.output()?;

    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    eprintln!("== {:?}, {}", output.report.reason, output.status);
    eprintln!("== {}", held_by(&output.report));
    Ok(if output.report.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// By what it was held together, and what is known of its use.
fn held_by(report: &Report) -> String {
    let Some(stats) = &report.cgroup else {
        return "no cgroup: each process was limited, but not all together".to_owned();
    };
    let number = |known: Option<u64>| known.map_or("?".to_owned(), |number| number.to_string());
    let memory = number(stats.memory_peak.map(|bytes| bytes / MIB));
    // A controller that is not there neither limits nor counts.
    format!("a cgroup: {memory} MiB and {} processes at most", number(stats.pids_peak))
}
