//! An xtask: the tasks of a project, of which no step hangs, and none leaves anything running unseen.
//!
//! As `cargo xtask` it is the `main.rs` of a package `xtask` in your workspace, with
//! `xtask = "run --quiet --package xtask --"` below `[alias]` in `.cargo/config.toml`. Here:
//! `cargo run --example xtask -- test` tests the cargo project of the current directory, and
//! `cargo run --example xtask -- e2e SERVER TEST` runs TEST beside SERVER as soon as that has written `ready`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use netrunner_sync::{Command, Daemon, Ready};

type Result = std::result::Result<(), Box<dyn Error>>;

/// Whatever takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => step(cargo().args(["test", "--workspace"])),
        ["e2e", server, test] => e2e(server, test),
        _ => Err("usage: xtask test | e2e SERVER TEST".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The cargo that runs this xtask.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A server for as long as the test takes: gone with its handle, however that goes.
fn e2e(server: &str, test: &str) -> Result {
    let server = Daemon::builder(Command::new(server))
        .ready(Ready::line("ready").within(Duration::from_secs(60)))
        .start()?;
    let ready = server.wait_ready().map_err(Into::into);
    if let Err(error) = ready.and_then(|()| step(&mut Command::new(test))) {
        eprintln!("xtask: the server wrote: {}", String::from_utf8_lossy(&server.recent()));
        return Err(error);
    }
    server.stop()?;
    Ok(())
}

/// Runs the command on this program's own streams. To leave something running is a failure as well; it has
/// been stopped by then.
fn step(command: &mut Command) -> Result {
    let program = Path::new(command.get_program()).display().to_string();
    eprintln!("xtask: {program}");
    let mut child = command.timeout(LIMIT).spawn()?;
    let status = child.wait()?;
    let report = child.report().ok_or("a command that is over has a report")?;
    if !report.success() {
        return Err(format!("{program}: {status} ({:?})", report.reason).into());
    }
    match report.leftovers.first() {
        Some(left) => Err(format!("{program} left {} running", left.name.to_string_lossy()).into()),
        None => Ok(()),
    }
}
