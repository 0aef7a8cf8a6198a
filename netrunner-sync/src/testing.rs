//! Helpers for tests of commands: assertions that panic with what a person wants to read then.
//!
//! They are plain functions for `#[test]`, under any harness. Under libtest see [`shown`]; cargo-nextest
//! captures descriptors and needs nothing.
//!
//! An expected text may leave open what differs from run to run:
//!
//! - a line `...` stands for any number of lines, none too;
//! - `[..]` within a line stands for any text in it.
//!
//! Everything else has to be there as it stands, the line ending of the last line too. Bytes that are not
//! UTF-8 are written `\xff`, in both texts.
//!
//! ```
//! use netrunner_sync::{Command, testing};
//!
//! let output = Command::new("sh").args(["-c", "echo pid $$; seq 100; echo done"]).output()?;
//! testing::assert_success(&output);
//! testing::assert_no_leftovers(&output);
//! testing::assert_stdout(&output, "pid [..]\n1\n2\n...\ndone\n");
//! # Ok::<(), netrunner_sync::Error>(())
//! ```

use std::io::Write as _;

use crate::command::Command;
use crate::error::Result;
use crate::events::Event;
use crate::report::Output;

mod diff;

/// Asserts that the command ended by itself with code 0.
///
/// ```should_panic
/// # use netrunner_sync::{Command, testing};
/// let output = Command::new("sh").args(["-c", "echo why >&2; exit 3"]).output()?;
/// testing::assert_success(&output); // panics with the status and both outputs
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Panics
///
/// If it did not.
#[track_caller]
pub fn assert_success(output: &Output) {
    assert!(output.report.success(), "the command has failed\n{}", told(output));
}

/// Asserts that nothing of the command was still running when it had ended by itself: that it has no need
/// of being cleaned up after. What was left over is stopped by now, unless it was to be kept.
///
/// ```should_panic
/// # use netrunner_sync::{Command, testing};
/// let output = Command::new("sh").args(["-c", "sleep 100 > /dev/null 2>&1 &"]).output()?;
/// testing::assert_no_leftovers(&output); // panics with the number and the name of each
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Panics
///
/// If there was something.
#[track_caller]
pub fn assert_no_leftovers(output: &Output) {
    let leftovers = &output.report.leftovers;
    let list = leftovers
        .iter()
        .map(|left| format!("    {} `{}`\n", left.pid, left.name.to_string_lossy()))
        .collect::<String>();
    assert!(leftovers.is_empty(), "left running:\n{list}{}", told(output));
}

/// Asserts what the command wrote to its standard output; the [module](self) says what an expected text
/// may leave open.
///
/// ```should_panic
/// # use netrunner_sync::{Command, testing};
/// let output = Command::new("printf").arg("one\ntwo\n").output()?;
/// testing::assert_stdout(&output, "one\ntwo\nthree\n"); // panics, and shows that `three` is missing
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Panics
///
/// If it wrote something else: with the lines that differ, and how the command ended.
#[track_caller]
pub fn assert_stdout(output: &Output, expected: &str) {
    if let Some(difference) = diff::difference(expected, &output.stdout) {
        panic!("standard output is not as expected\n{difference}{}", told(output));
    }
}

/// As [`assert_stdout`], for the standard error.
///
/// ```
/// # use netrunner_sync::{Command, testing};
/// let output = Command::new("sh").args(["-c", "no-such-program"]).output()?;
/// testing::assert_stderr(&output, "sh: [..]no-such-program: not found\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Panics
///
/// As [`assert_stdout`].
#[track_caller]
pub fn assert_stderr(output: &Output, expected: &str) {
    if let Some(difference) = diff::difference(expected, &output.stderr) {
        panic!("standard error is not as expected\n{difference}{}", told(output));
    }
}

/// As [`assert_stdout`], for any text: a log file, the screen of a terminal, a line.
///
/// ```
/// use netrunner_sync::testing;
///
/// testing::assert_text("ready on port 4711\n", "ready on port [..]\n");
/// ```
///
/// # Panics
///
/// If it is another text: with the lines that differ.
#[track_caller]
pub fn assert_text(found: impl AsRef<[u8]>, expected: &str) {
    if let Some(difference) = diff::difference(expected, found.as_ref()) {
        panic!("the text is not as expected\n{difference}");
    }
}

/// As [`Command::output`], and prints what the command writes, line by line, while it runs.
///
/// libtest shows the output of failed tests only, but knows nothing of what a child writes to an inherited
/// stream. What is printed here goes through `print!` and `eprint!` of the calling thread, so it belongs to
/// the test: silent where that passes, and there to be read where it fails, hangs or is run with
/// `--nocapture`.
///
/// ```
/// use netrunner_sync::{Command, testing};
///
/// let output = testing::shown(Command::new("echo").arg("hello"))?;
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Errors
///
/// As [`Command::events`] and its items.
///
/// # Panics
///
/// As `print!`, if the own output can't be written to.
pub fn shown(command: &mut Command) -> Result<Output> {
    let (mut stdout, mut stderr) = (Printed::default(), Printed::default());
    let mut report = None;
    for event in command.events()? {
        match event? {
            Event::Stdout(bytes) => stdout.take(&bytes, |text| print!("{text}")),
            Event::Stderr(bytes) => stderr.take(&bytes, |text| eprint!("{text}")),
            Event::Exited(end) => report = Some(end),
        }
    }
    stdout.rest(|text| print!("{text}"));
    stderr.rest(|text| eprint!("{text}"));
    // Nobody cares whether the last line is out yet, if it can't be.
    let _ = std::io::stdout().flush();
    let report = report.expect("events end with the end of the command");
    Ok(Output {
        status: report.status,
        stdout: stdout.all,
        stderr: stderr.all,
        report,
        stdout_file: None,
        stderr_file: None,
    })
}

/// An output so far, and how much of it was printed.
#[derive(Default)]
struct Printed {
    all: Vec<u8>,
    printed: usize,
}

impl Printed {
    /// Prints up to the last line ending, so that no character is cut.
    fn take(&mut self, bytes: &[u8], print: impl Fn(&str)) {
        self.all.extend_from_slice(bytes);
        if let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') {
            let end = self.all.len() - bytes.len() + end + 1;
            print(&String::from_utf8_lossy(&self.all[self.printed..end]));
            self.printed = end;
        }
    }

    fn rest(&self, print: impl Fn(&str)) {
        print(&String::from_utf8_lossy(&self.all[self.printed..]));
    }
}

/// How a command ended and what it wrote, for the end of a panic's message.
fn told(output: &Output) -> String {
    let mut told = format!("it ended by {:?}: {}\n", output.report.reason, output.status);
    for (name, bytes) in [("standard output", &output.stdout), ("standard error", &output.stderr)] {
        if !bytes.is_empty() {
            told.push_str(&format!("its {name}:\n"));
            for line in diff::lines(&diff::text(bytes)) {
                told.push_str(&format!("    {line}\n"));
            }
        }
    }
    told
}
