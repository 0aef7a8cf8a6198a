//! `netrunner-bench`: NetRunner beside its peers, measured in turn in one run. `cargo xtask bench` builds
//! and starts it. This file is the command line; [`driver`] runs the scenarios, [`scenarios`] lists them.
//!
//! No figure ever fails anything. A wrong result (exit code, output, a process left over) does.

mod driver;
mod floor;
mod goals;
mod machine;
mod measured;
mod process_table;
mod programs;
mod report;
mod rounds;
mod scenarios;
mod stats;
mod sys;
mod ways;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The message is for people.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures NetRunner and its peers in turn, checks every result, and names the machine.
///
/// Writes results.json, plot.svg and goals.md into its folder.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// A tenth of the rounds: a minute or two
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// At least 500 rounds for what takes microseconds, 20 for what takes seconds (the default)
    #[arg(long)]
    full: bool,
    /// Print the table of goals as Markdown instead of all figures
    #[arg(long)]
    markdown: bool,
    /// Name the scenarios and end
    #[arg(long)]
    list: bool,
    /// Where results and the small programs that are run go
    #[arg(long, hide = true, default_value = "target/bench")]
    dir: PathBuf,
    /// What a process of the benchmark's own is to do
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    worker: Vec<String>,
    /// Only scenarios whose name contains one of these
    filter: Vec<String>,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// A tenth.
    Quick,
    Full,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let extent = if arguments.quick { Extent::Quick } else { Extent::Full };
    if !arguments.worker.is_empty() {
        return worker::main(&arguments.worker, arguments.dir, extent);
    }
    if arguments.list {
        for scenario in scenarios::ALL {
            println!("{:<18} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    match driver::run(arguments.dir, extent, &arguments.filter, arguments.markdown) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
