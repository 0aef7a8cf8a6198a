//! Drives an interactive program as a person would: waits for its prompt, types, reads the answer.
//!
//! `cargo run --example repl -- '6 * 7' '2 ** 100'` has Python's own prompt evaluate these, in one session.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use netrunner_sync::{ChildPty, Command, Expected, WinSize};

/// Nothing that is asked here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut python = Command::new("python3");
    // The plain prompt, without colours and without repainting the line.
    python.args(["-q", "-i"]).env("PYTHON_BASIC_REPL", "1").env("TERM", "dumb");
    let mut child = python.pty(WinSize::new(24, 80)).spawn()?;
    let mut pty = child.pty.as_ref().ok_or("no terminal")?;

    prompt(pty)?;
    for expression in std::env::args().skip(1) {
        writeln!(pty, "{expression}")?;
        // First the terminal shows what was typed, then comes the answer.
        let shown = prompt(pty)?;
        let shown = String::from_utf8_lossy(&shown.before);
        let answer = shown.strip_prefix(&expression).unwrap_or(&shown);
        println!("{expression} = {}", answer.trim());
    }
    pty.send_eof()?; // Ctrl-D
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("python3 ended with {status}").into()) }
}

/// Waits for the prompt. The error has all that was shown in its place.
fn prompt(pty: &ChildPty) -> Result<Expected, Box<dyn Error>> {
    Ok(pty.expect(">>> ", PATIENCE)?)
}
