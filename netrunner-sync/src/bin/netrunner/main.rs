//! The command `netrunner`: what the library does, for shells and scripts.
//!
//! `args` reads the command line, each subcommand has a file of its own. This one calls the right
//! one and sees to it that whatever fails here fails with 125.

mod args;
mod descriptors;
mod doctor;
mod generate;
mod group;
mod jobs;
mod keyboard;
mod orphans;
mod outer;
mod passthrough;
mod ps;
mod report;
mod run;
mod signals;
mod sys;
mod units;

use std::fmt::Display;
use std::io::Write;
use std::panic;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Subcommands};
use report::FAILED;

fn main() -> ExitCode {
    // A bug of ours is a failure of ours: 125, where the runtime has 101, which a command may
    // use itself. Its handles are dropped on the way, so nothing is left running.
    panic::set_hook(Box::new(|bug| complain(format_args!("internal error: {bug}"))));
    let code = panic::catch_unwind(|| match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Subcommands::Run(options) => run::run(*options),
            Subcommands::Jobs(options) => jobs::jobs(*options),
            Subcommands::Doctor(options) => doctor::doctor(&options),
            Subcommands::Ps(options) => ps::ps(&options),
            Subcommands::Completions(options) => generate::completions(&options),
            Subcommands::Man(options) => generate::man(&options),
        },
        Err(answer) if !answer.use_stderr() => {
            // --help and --version. Whoever closed the pipe has seen enough.
            let _ = answer.print();
            0
        }
        Err(error) => {
            complain(args::complaint(&error));
            FAILED
        }
    });
    ExitCode::from(code.unwrap_or(FAILED))
}

/// Tells the user what went wrong, in one write, so that it is not torn apart by what the command
/// writes at the same time.
pub(crate) fn complain(message: impl Display) {
    // Where stderr is closed there is nobody to tell. (SIGPIPE is ignored by Rust's runtime.)
    let _ = std::io::stderr().write_all(format!("netrunner: {message}\n").as_bytes());
}
