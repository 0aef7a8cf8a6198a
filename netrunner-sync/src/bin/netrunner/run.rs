//! `netrunner run`: from the options to a command of the library, and from its outcome to an exit
//! code and a report.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use netrunner_sync::{Child, Command, CommandExt, Error, Report};

use crate::args::{Format, Run};
use crate::complain;
use crate::descriptors::{JOBSERVER_VARIABLES, Passed};
use crate::outer::{self, Outer};
use crate::passthrough::{self, Passthrough};
use crate::report::{FAILED, Facts, NOT_EXECUTABLE, NOT_FOUND, exit_code};
use crate::signals::{Held, Reports};

/// Runs it and returns the exit code.
pub(crate) fn run(options: Run) -> u8 {
    match start(&options) {
        Ok(running) => finish(running),
        Err(failure) => {
            complain(failure.message);
            failure.code
        }
    }
}

/// The command, and who looks after it meanwhile.
struct Running {
    child: Child,
    reports: Arc<Reports>,
    passthrough: Passthrough,
    reporter: Reporter,
    outer: Option<Borrowed>,
}

/// The terminal that we are on, for as long as the command's terminal takes its place; then it is as
/// it was, also where a bug of ours ends us.
pub(crate) struct Borrowed(pub(crate) Arc<Outer>);

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Why nothing runs, and the exit code that says so.
struct Failure {
    message: String,
    code: u8,
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure { message, code: FAILED }
    }
}

fn start(options: &Run) -> Result<Running, Failure> {
    // First of all, while the numbers from 3 on are open only if they were when we began.
    let passed = passed(options)?;
    // A file may be a pipe that nobody has opened on the other side: this can take forever, and a
    // signal must be able to end it, so signals are not held back yet.
    let outer = options.pty.map(|size| Borrowed(Arc::new(Outer::new(size))));
    let shared = outer.as_ref().map(|outer| Arc::clone(&outer.0));
    let mut command = command(options, shared.as_deref())?;
    let reporter = Reporter::new(options)?;
    for (number, descriptor) in passed {
        command.fd(number, descriptor);
    }
    let signals = Held::new().map_err(|error| format!("failed to hold signals back: {error}"))?;
    // Before anything is shown, so that its line ends are not translated twice.
    if let Some(outer) = &outer {
        outer.0.take();
    }
    let mut child = command.spawn().map_err(|error| Failure {
        code: spawn_failure_code(&error),
        message: error.to_string(),
    })?;
    let reports = Arc::new(Reports::new(command.get_program()));
    signals.pass_to(child.handle(), Arc::clone(&reports), shared.clone());
    let passthrough = Passthrough::start(&mut child, shared.as_ref())
        .map_err(|error| format!("failed to pass on what the command writes: {error}"))?;
    Ok(Running { child, reports, passthrough, reporter, outer })
}

/// Waits for the end. `command` is gone by now, and with it our copies of the descriptors that the
/// child was given: whoever waits for their end does not wait for us.
fn finish(running: Running) -> u8 {
    let Running { mut child, reports, passthrough, reporter, outer } = running;
    // A command that waits for a terminal which it does not have must not hang unseen. An error is
    // told by the wait that follows.
    while let Ok(Some(signal)) = child.wait_stopped() {
        reports.stopped(signal);
    }
    let ended = child.wait();
    let passed_on = passthrough.finish();
    // Whatever is said from here on is said on a terminal that is as it was.
    drop(outer);
    let (code, reported) = match &ended {
        Ok(status) => {
            let report = child.report();
            let code = report.map_or(FAILED, |report| exit_code(report.reason, *status));
            (code, report.map(|report| reporter.print(report)))
        }
        Err(error) => {
            complain(error);
            (FAILED, error.output().map(|output| reporter.print(&output.report)))
        }
    };
    match reported.unwrap_or(Ok(())).and(passed_on) {
        Ok(()) => code,
        Err(message) => {
            complain(message);
            FAILED
        }
    }
}

fn command(options: &Run, outer: Option<&Outer>) -> Result<Command, String> {
    // The parser does not let an empty one through.
    let mut command = Command::new(options.command.first().map_or(OsStr::new(""), |word| word));
    command.args(options.command.iter().skip(1));
    if options.env_clear {
        command.env_clear();
    }
    for variable in &options.env {
        command.env(&variable.name, &variable.value);
    }
    if let Some(directory) = &options.cwd {
        command.current_dir(directory);
    }
    if let Some(path) = &options.stdin {
        let file = File::open(path)
            .map_err(|error| format!("failed to open `{}`: {error}", path.display()))?;
        match outer {
            Some(_) => command.input(file),
            None => command.stdin(file),
        };
    } else if outer.is_some_and(|outer| !outer.has_keyboard()) {
        let stdin = outer::standard_input()
            .map_err(|error| format!("failed to duplicate the standard input: {error}"))?;
        command.input(stdin);
    }
    if let Some(outer) = outer {
        command.pty(outer.size());
    }
    if options.merge_stderr {
        command.stderr_to_stdout();
    }
    if let Some(timeout) = options.timeout {
        command.timeout(timeout);
    }
    passthrough::limit(&mut command, options);
    command.grace(options.grace).leftovers(options.leftovers.into());
    if let Some(signal) = options.signal {
        command.stop_signal(signal);
    }
    if let Some(mask) = options.umask {
        command.umask(mask);
    }
    if let Some(by) = options.nice {
        command.nice(by);
    }
    for limit in &options.rlimit {
        command.rlimit(limit.resource, limit.soft, limit.hard);
    }
    options.group.apply(&mut command)?;
    Ok(command)
}

fn passed(options: &Run) -> Result<Passed, String> {
    let mut passed = Passed::default();
    // Before those that are named: what was taken over no longer counts as inherited.
    for name in JOBSERVER_VARIABLES {
        // As the command will see it; of an option that is repeated the last one counts.
        let set = options.env.iter().rev().find(|variable| variable.name == name);
        let flags = match set {
            Some(variable) => Some(variable.value.clone()),
            None if options.env_clear => None,
            None => std::env::var_os(name),
        };
        if let Some(flags) = flags {
            passed.add_jobserver(&flags);
        }
    }
    for &number in &options.fd {
        if !passed.add(number) {
            return Err(format!("descriptor {number} of `--fd` is not open"));
        }
    }
    if options.inherit_fds {
        passed.add_all().map_err(|error| format!("failed to list open descriptors: {error}"))?;
    }
    Ok(passed)
}

/// 126 and 127 are about the program alone: a directory that is not there, or a limit that is not
/// allowed, fails with the same error numbers.
fn spawn_failure_code(error: &Error) -> u8 {
    match (error.is_exec(), error.is_not_found()) {
        (false, _) => FAILED,
        (true, true) => NOT_FOUND,
        (true, false) => NOT_EXECUTABLE,
    }
}

/// Prints the report where it was asked for.
struct Reporter {
    program: OsString,
    leftovers: netrunner_sync::Leftovers,
    format: Option<Format>,
    file: Option<(String, File)>,
}

impl Reporter {
    /// Opens the file, so that a bad path is known before there is something to report.
    fn new(options: &Run) -> Result<Reporter, String> {
        let file = match &options.report_file {
            Some(path) => {
                let file = File::create(path)
                    .map_err(|error| format!("failed to create `{}`: {error}", path.display()))?;
                Some((path.display().to_string(), file))
            }
            None => None,
        };
        Ok(Reporter {
            program: options.command.first().cloned().unwrap_or_default(),
            leftovers: options.leftovers.into(),
            format: options.report.or(file.as_ref().map(|_| Format::Text)),
            file,
        })
    }

    fn print(&self, report: &Report) -> Result<(), String> {
        let Some(format) = self.format else {
            return Ok(());
        };
        let facts = Facts::new(self.program.clone(), report, self.leftovers);
        match (&self.file, format) {
            (Some((path, file)), format) => {
                let text = match format {
                    Format::Text => facts.text(""),
                    Format::Json => facts.json(),
                };
                let mut file: &File = file;
                file.write_all(text.as_bytes())
                    .map_err(|error| format!("failed to write the report to `{path}`: {error}"))
            }
            (None, format) => {
                let text = match format {
                    Format::Text => facts.text("netrunner: "),
                    Format::Json => facts.json(),
                };
                // Where stderr is closed nobody wants it, and the exit code stays the command's.
                let _ = std::io::stderr().write_all(text.as_bytes());
                Ok(())
            }
        }
    }
}
