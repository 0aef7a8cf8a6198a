//! The contenders: each way of running one command, and the check that it ran as it should.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::floor::Floor;
use crate::programs::find;

/// Who runs the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Std,
    NetRunner,
    Floor,
    Duct,
    Subprocess,
    Tokio,
    /// std, with `tini -s` before the program: the field's supervisor for one command.
    Tini,
}

impl Way {
    pub(crate) const ALL: [Way; 7] =
        [Way::Std, Way::NetRunner, Way::Floor, Way::Duct, Way::Subprocess, Way::Tokio, Way::Tini];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Way::Std => "std",
            Way::NetRunner => "NetRunner",
            Way::Floor => "vfork+exec",
            Way::Duct => "duct",
            Way::Subprocess => "subprocess",
            Way::Tokio => "tokio",
            Way::Tini => "tini",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Way> {
        let found = Way::ALL.into_iter().find(|way| way.name() == name);
        found.ok_or_else(|| format!("no contender `{name}`").into())
    }

    /// Only a way through a program can be missing.
    pub(crate) fn is_there(self) -> bool {
        self != Way::Tini || find("tini").is_ok()
    }
}

/// Which call of the library is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Empty input, both outputs captured.
    Output,
    /// Streams inherited.
    Status,
    /// As `Status`, in two calls, the first of which knows whether the program was executed.
    SpawnWait,
}

/// A command, and what must come of it.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) act: Act,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) code: i32,
    pub(crate) stdout: &'static [u8],
    /// A file that it makes; taken away again, so that the next one proves itself too.
    pub(crate) makes: Option<PathBuf>,
}

/// How it went: exit code (none: a signal) and the captured output.
type Ended = (Option<i32>, Vec<u8>);

/// One way, made ready for one task. For one thread.
pub(crate) struct Runner {
    way: Way,
    task: Task,
    ready: Ready,
}

/// What a way makes once and not for each command.
enum Ready {
    Nothing,
    Floor(Floor),
    Tokio(tokio::runtime::Runtime),
    Tini(PathBuf),
}

impl Runner {
    pub(crate) fn new(way: Way, task: Task) -> Result<Runner> {
        let ready = match way {
            Way::Floor => Ready::Floor(Floor::new(&task.program, &task.args)?),
            Way::Tokio => {
                Ready::Tokio(tokio::runtime::Builder::new_current_thread().enable_io().build()?)
            }
            Way::Tini => Ready::Tini(find("tini")?),
            Way::Std | Way::NetRunner | Way::Duct | Way::Subprocess => Ready::Nothing,
        };
        Ok(Runner { way, task, ready })
    }

    /// Runs it once and says how long that took. A wrong result is an error.
    pub(crate) fn run(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let ended = self.perform();
        let took = began.elapsed();
        self.check(ended?)?;
        Ok(took)
    }

    fn check(&self, (code, stdout): Ended) -> Result<()> {
        let (task, way) = (&self.task, self.way.name());
        if code != Some(task.code) {
            return Err(format!("{way}: exit code {code:?} instead of {}", task.code).into());
        }
        if task.act == Act::Output && stdout != task.stdout {
            let shown = String::from_utf8_lossy(&stdout);
            return Err(
                format!("{way}: {} bytes of output, wrong ones: `{shown}`", stdout.len()).into()
            );
        }
        if let Some(file) = &task.makes {
            let made = fs::metadata(file)
                .map_err(|error| format!("{way}: no `{}`: {error}", file.display()))?;
            if made.len() == 0 {
                return Err(format!("{way}: `{}` is empty", file.display()).into());
            }
            fs::remove_file(file)?;
        }
        Ok(())
    }

    fn perform(&mut self) -> Result<Ended> {
        let Task { act, program, args, .. } = &self.task;
        match (&mut self.ready, self.way) {
            (Ready::Floor(floor), _) => match act {
                Act::Output => {
                    let (status, stdout, _stderr) = floor.output()?;
                    Ok((status.code(), stdout))
                }
                Act::Status | Act::SpawnWait => no_output(floor.status()?),
            },
            (Ready::Tokio(runtime), _) => runtime.block_on(async {
                let mut command = tokio::process::Command::new(program);
                command.args(args);
                match act {
                    Act::Output => {
                        let output = command.output().await?;
                        Ok((output.status.code(), output.stdout))
                    }
                    Act::Status => no_output(command.status().await?),
                    Act::SpawnWait => no_output(command.spawn()?.wait().await?),
                }
            }),
            (Ready::Tini(tini), _) => {
                let mut command = std::process::Command::new(tini);
                command.arg("-s").arg("--").arg(program).args(args);
                std_way(*act, command)
            }
            (Ready::Nothing, Way::NetRunner) => {
                let mut command = netrunner_sync::Command::new(program);
                command.args(args);
                match act {
                    Act::Output => {
                        let output = command.output()?;
                        Ok((output.status.code(), output.stdout))
                    }
                    Act::Status => no_output(command.status()?),
                    Act::SpawnWait => no_output(command.spawn()?.wait()?),
                }
            }
            (Ready::Nothing, Way::Duct) => duct_way(*act, program.as_os_str(), args),
            (Ready::Nothing, Way::Subprocess) => subprocess_way(*act, program.as_os_str(), args),
            (Ready::Nothing, Way::Std | Way::Floor | Way::Tokio | Way::Tini) => {
                let mut command = std::process::Command::new(program);
                command.args(args);
                std_way(*act, command)
            }
        }
    }
}

fn no_output(status: ExitStatus) -> Result<Ended> {
    Ok((status.code(), Vec::new()))
}

fn std_way(act: Act, mut command: std::process::Command) -> Result<Ended> {
    match act {
        Act::Output => {
            let output = command.output()?;
            Ok((output.status.code(), output.stdout))
        }
        Act::Status => no_output(command.status()?),
        Act::SpawnWait => no_output(command.spawn()?.wait()?),
    }
}

fn duct_way(act: Act, program: &OsStr, args: &[String]) -> Result<Ended> {
    let command = duct::cmd(program, args).unchecked();
    match act {
        Act::Output => {
            let output = command.stdin_null().stdout_capture().stderr_capture().run()?;
            Ok((output.status.code(), output.stdout))
        }
        Act::Status => no_output(command.run()?.status),
        Act::SpawnWait => no_output(command.start()?.wait()?.status),
    }
}

fn subprocess_way(act: Act, program: &OsStr, args: &[String]) -> Result<Ended> {
    use subprocess::{Exec, Redirection};
    let command = Exec::cmd(program).args(args);
    let code =
        |status: subprocess::ExitStatus| status.code().and_then(|code| i32::try_from(code).ok());
    match act {
        Act::Output => {
            let command = command.stdin(Redirection::Null).stderr(Redirection::Pipe);
            let output = command.stdout(Redirection::Pipe).capture()?;
            Ok((code(output.exit_status), output.stdout))
        }
        Act::Status => Ok((code(command.join()?), Vec::new())),
        Act::SpawnWait => Ok((code(command.start()?.wait()?), Vec::new())),
    }
}

/// A child that stays until it is ended, of std or of NetRunner.
pub(crate) enum Staying {
    Std(std::process::Child),
    NetRunner(netrunner_sync::Child),
}

/// How to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL, to the child by std, to all of the command by NetRunner.
    Kill,
    /// SIGTERM.
    Term,
}

impl Staying {
    /// Starts `program` without any stream.
    pub(crate) fn start(way: Way, program: &OsStr, arg: &str) -> Result<Staying> {
        match way {
            Way::NetRunner => {
                use netrunner_sync::{Command, Stdio};
                let mut command = Command::new(program);
                command.arg(arg).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                Ok(Staying::NetRunner(command.spawn()?))
            }
            Way::Std | Way::Floor | Way::Duct | Way::Subprocess | Way::Tokio | Way::Tini => {
                let mut command = std::process::Command::new(program);
                command.arg(arg).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                Ok(Staying::Std(command.spawn()?))
            }
        }
    }

    /// Says that it has to end.
    pub(crate) fn end(&mut self, how: End) -> Result<()> {
        use rustix::process::{Pid, Signal, kill_process};
        match (self, how) {
            (Staying::Std(child), End::Kill) => child.kill()?,
            (Staying::Std(child), End::Term) => kill_process(Pid::from_child(child), Signal::TERM)?,
            (Staying::NetRunner(child), End::Kill) => child.kill()?,
            (Staying::NetRunner(child), End::Term) => child.signal(netrunner_sync::Signal::TERM)?,
        }
        Ok(())
    }

    /// Waits until it has ended, and checks that it ended by this.
    pub(crate) fn wait(&mut self, how: End) -> Result<()> {
        how.check(match self {
            Staying::Std(child) => child.wait()?,
            Staying::NetRunner(child) => child.wait()?,
        })
    }
}

impl End {
    /// Checks that a child has ended by it.
    pub(crate) fn check(self, status: ExitStatus) -> Result<()> {
        use std::os::unix::process::ExitStatusExt as _;
        let signal = match self {
            End::Kill => libc::SIGKILL,
            End::Term => libc::SIGTERM,
        };
        if status.signal() == Some(signal) {
            return Ok(());
        }
        Err(format!("a child ended by {status} instead of signal {signal}").into())
    }
}
