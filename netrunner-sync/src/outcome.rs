//! How a command came out, and what the caller is told of it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use netrunner_core::message::{self, End, Exited, Process, SpawnFailed, Step};

use crate::capabilities::Containment;
use crate::contain;
use crate::error::{Error, Result, shown};
use crate::meter::Meter;
use crate::report::{IoCounters, Leftover, Output, Reason, Report, Usage};

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one of a command; a box would be in its users' way")]
pub(crate) enum Outcome {
    /// The child has ended. What is still alive, in spite of SIGKILL, survived.
    Ended { report: Report, survivors: Vec<Leftover> },
    /// The program was not executed.
    Failed(SpawnFailed),
    /// It lives on without us.
    Detached,
    /// The shepherd is gone or makes no sense.
    Lost(String),
}

/// What was read of a command.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Counted after the end; without it the report has what was counted until then.
    pub(crate) io: Option<IoCounters>,
}

impl Outcome {
    pub(crate) fn ended(exited: Exited) -> Outcome {
        let status = match exited.end {
            End::Status(raw) => ExitStatus::from_raw(raw),
            // Met only beside survivors, inside an error.
            End::Unkillable => ExitStatus::from_raw(libc::SIGKILL),
        };
        let report = Report {
            pid: exited.pid.0,
            status,
            reason: reason(exited.reason),
            wall: exited.wall,
            usage: usage(exited.usage),
            io: IoCounters::default(),
            leftovers: exited.leftovers.into_iter().map(leftover).collect(),
            cgroup: None,
            containment: match exited.namespaced {
                true => Containment::PidNamespace,
                false => Containment::Tree,
            },
        };
        let mut survivors: Vec<_> = exited.survivors.into_iter().map(leftover).collect();
        if exited.end == End::Unkillable && survivors.is_empty() {
            survivors.push(Leftover { pid: exited.pid.0, name: OsString::new() });
        }
        Outcome::Ended { report, survivors }
    }

    /// Adds what only the client knows.
    pub(crate) fn complete(&mut self, meter: &Meter) {
        match self {
            Outcome::Ended { report, .. } => meter.complete(report),
            Outcome::Failed(_) | Outcome::Detached | Outcome::Lost(_) => {}
        }
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Outcome::Ended { report, .. } => Some(report),
            Outcome::Failed(_) | Outcome::Detached | Outcome::Lost(_) => None,
        }
    }

    /// The status, or why there is none. `pid` is 0 where it is not known.
    pub(crate) fn status(&self, program: &OsStr, pid: u32) -> Result<ExitStatus> {
        match self {
            Outcome::Ended { report, survivors } if survivors.is_empty() => Ok(report.status),
            Outcome::Ended { .. } | Outcome::Failed(_) | Outcome::Detached | Outcome::Lost(_) => {
                self.output(program, pid, Captured::default()).map(|output| output.status)
            }
        }
    }

    /// The whole, with what was read.
    pub(crate) fn output(&self, program: &OsStr, pid: u32, captured: Captured) -> Result<Output> {
        let Captured { stdout, stderr, io } = captured;
        match self {
            Outcome::Ended { report, survivors } => {
                let (status, mut report) = (report.status, report.clone());
                report.io = io.unwrap_or(report.io);
                let output =
                    Output { status, stdout, stderr, report, stdout_file: None, stderr_file: None };
                if survivors.is_empty() {
                    Ok(output)
                } else {
                    Err(Error::unkillable(program, survivors.clone()).with_output(output))
                }
            }
            Outcome::Failed(failed) => Err(spawn_error(program, failed)),
            Outcome::Detached => {
                let step = format!("wait for `{}`, which was detached", shown(program));
                Err(Error::system(step, io::Error::from_raw_os_error(libc::ECHILD)))
            }
            Outcome::Lost(detail) => {
                let status = ExitStatus::from_raw(libc::SIGKILL);
                let report = Report {
                    pid,
                    status,
                    reason: Reason::ShepherdLost,
                    wall: Duration::ZERO,
                    usage: Usage::default(),
                    io: io.unwrap_or_default(),
                    leftovers: Vec::new(),
                    cgroup: None,
                    containment: Containment::Tree,
                };
                let output =
                    Output { status, stdout, stderr, report, stdout_file: None, stderr_file: None };
                Err(Error::shepherd_lost(program, detail.clone()).with_output(output))
            }
        }
    }
}

fn reason(reason: message::Reason) -> Reason {
    match reason {
        message::Reason::Exited => Reason::Exited,
        message::Reason::Timeout => Reason::Timeout,
        message::Reason::IdleTimeout => Reason::IdleTimeout,
        message::Reason::OutputLimit => Reason::OutputLimit,
        message::Reason::Stopped => Reason::Stopped,
        message::Reason::Killed => Reason::Killed,
    }
}

fn usage(usage: message::Usage) -> Usage {
    Usage {
        user: usage.user,
        system: usage.system,
        max_rss: usage.max_rss,
        minor_faults: usage.minor_faults,
        major_faults: usage.major_faults,
        voluntary_switches: usage.voluntary_switches,
        involuntary_switches: usage.involuntary_switches,
    }
}

fn leftover(process: Process) -> Leftover {
    Leftover { pid: process.pid.0, name: OsString::from_vec(process.name) }
}

/// A spawn that failed, by the step that did.
pub(crate) fn spawn_error(program: &OsStr, failed: &SpawnFailed) -> Error {
    let cause = io::Error::from_raw_os_error(i32::try_from(failed.errno).unwrap_or(libc::EIO));
    let name = program;
    let program = shown(name);
    let object = String::from_utf8_lossy(&failed.object);
    let step = match failed.step {
        Step::Shepherd => format!("start a shepherd for `{program}`"),
        Step::Request => format!("hand `{program}` to its shepherd"),
        Step::Clone => format!("make a process for `{program}`"),
        Step::ParentDeath => format!("tie `{program}` to its shepherd"),
        Step::ProcessGroup => format!("make a process group for `{program}`"),
        Step::Terminal => format!("make a session on a terminal for `{program}`"),
        Step::Descriptors => format!("pass the descriptors of `{program}`"),
        Step::Directory if object.is_empty() => {
            format!("change to the current directory for `{program}`")
        }
        Step::Directory => format!("change directory to `{object}`"),
        Step::Limit => format!("set the limits of `{program}`"),
        Step::Nice => format!("set the niceness of `{program}`"),
        Step::Groups => format!("set the supplementary groups of `{program}`"),
        Step::Gid => format!("set the group of `{program}`"),
        Step::Uid => format!("set the user of `{program}`"),
        Step::NoNewPrivileges => format!("set `no_new_privs` for `{program}`"),
        Step::Cgroup => format!("move `{program}` into its cgroup"),
        Step::Namespace => return contain::refused(&program, &object, cause),
        Step::Exec => return Error::exec(name, cause),
    };
    let is_containment = failed.step == Step::Cgroup;
    if is_containment { Error::uncontained(step, cause) } else { Error::system(step, cause) }
}
