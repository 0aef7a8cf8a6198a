//! What is told about a command that has ended: its output, how it came about and what it used.

use std::ffi::{OsStr, OsString};
use std::process::ExitStatus;
use std::time::Duration;

use netrunner_cgroup::CgroupStats;

use crate::capabilities::Containment;
use crate::error::{Error, Result};
use crate::jobs::OutputFile;

/// Everything a command left: its status, what it wrote, and a [`Report`].
///
/// ```
/// use netrunner_sync::Command;
///
/// let output = Command::new("echo").arg("hello").output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How the child ended.
    pub status: ExitStatus,
    /// What was read from its standard output, empty where that was not piped.
    pub stdout: Vec<u8>,
    /// What was read from its standard error, empty where that was not piped.
    pub stderr: Vec<u8>,
    /// How it came about.
    pub report: Report,
    /// The standard output, all of it, where it was too long to be kept in memory
    /// ([`Jobs::spill`](crate::Jobs::spill)); `stdout` is empty then.
    pub stdout_file: Option<OutputFile>,
    /// The same of the standard error.
    pub stderr_file: Option<OutputFile>,
}

impl Output {
    /// An error, unless the command exited 0 by itself.
    pub(crate) fn judge(self, program: &OsStr) -> Result<Output> {
        if self.report.success() { Ok(self) } else { Err(Error::outcome(program, self)) }
    }
}

/// How a command ended, why, and what it used.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, Reason};
///
/// let output = Command::new("sleep").arg("60").timeout(Duration::from_millis(50)).output()?;
/// assert_eq!(output.report.reason, Reason::Timeout);
/// assert!(output.report.leftovers.is_empty());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The process id that the child had.
    pub pid: u32,
    /// How the child ended: its exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// Why it ended. The first cause wins: a child that exits because of our stop signal was
    /// [`Reason::Stopped`].
    pub reason: Reason,
    /// The time from its start until its end.
    pub wall: Duration,
    /// What it used, its reaped descendants included.
    pub usage: Usage,
    /// How many bytes went through its pipes.
    pub io: IoCounters,
    /// The descendants that were alive after the child had ended and a settling time of 20 ms.
    /// They were stopped, or waited for, or kept, as [`Leftovers`] says.
    pub leftovers: Vec<Leftover>,
    /// What its cgroup has used and met, where it had one.
    pub cgroup: Option<CgroupStats>,
    /// How it was held together.
    pub containment: Containment,
}

impl Report {
    /// Whether the command exited 0, and by itself: what [`Command::run`](crate::Command::run) asks of it.
    /// A child that exits 0 because it was stopped has not succeeded, though its `status` says so.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done"]);
    /// let output = command.timeout(Duration::from_millis(200)).output()?;
    /// assert!(output.status.success());
    /// assert!(!output.report.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn success(&self) -> bool {
        self.reason == Reason::Exited && self.status.success()
    }
}

/// Time and memory that a command used.
///
/// ```
/// let output = netrunner_sync::Command::new("true").output()?;
/// assert!(output.report.usage.max_rss > 0);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time spent in the program itself.
    pub user: Duration,
    /// CPU time that the kernel spent for it.
    pub system: Duration,
    /// The most memory that one of its processes had resident at a time, in bytes.
    pub max_rss: u64,
    /// Page faults that needed no input or output.
    pub minor_faults: u64,
    /// Page faults that needed input or output.
    pub major_faults: u64,
    /// Context switches because it waited for something.
    pub voluntary_switches: u64,
    /// Context switches because another was to run.
    pub involuntary_switches: u64,
}

/// How many bytes the client moved through the pipes of a command.
///
/// What a command reads and writes through anything else, a file or an inherited stream, is not
/// counted. For a [`Child`](crate::Child) whose streams are read by hand, the report has what was read
/// until the command was over.
///
/// ```
/// let output = netrunner_sync::Command::new("tr").args(["a", "b"]).input("aaaa").output()?;
/// assert_eq!((output.report.io.stdin, output.report.io.stdout), (4, 4));
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IoCounters {
    /// Written to its standard input, whether it read them or not.
    pub stdin: u64,
    /// Read from its standard output and handed to the caller.
    pub stdout: u64,
    /// Read from its standard error and handed to the caller.
    pub stderr: u64,
    /// Read from either and thrown away, because they were beyond
    /// [`max_output`](crate::Command::max_output).
    pub discarded: u64,
}

/// A descendant that was still alive when its command had ended.
///
/// ```
/// use netrunner_sync::Command;
///
/// let output = Command::new("sh").args(["-c", "sleep 60 &"]).output()?;
/// let leftover = &output.report.leftovers[0]; // it was stopped
/// assert_eq!(leftover.name, "sleep");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Leftover {
    /// The process id that it had.
    pub pid: u32,
    /// The name of its program, as the kernel knows it: 15 bytes at most.
    pub name: OsString,
}

/// Why a command ended.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, Reason};
///
/// let limit = Duration::from_millis(50);
/// let output = Command::new("sleep").arg("60").timeout(limit).output()?;
/// assert_eq!(output.report.reason, Reason::Timeout);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// By itself, or by a signal that did not come from us.
    Exited,
    /// Its [`timeout`](crate::Command::timeout) ran out and it was stopped.
    Timeout,
    /// It wrote nothing for too long and was stopped.
    IdleTimeout,
    /// It wrote more than was asked for and was stopped.
    OutputLimit,
    /// It was stopped: by `stop`, or because its handle was dropped.
    Stopped,
    /// It was killed by `kill`.
    Killed,
    /// It failed by itself, and the kernel had killed a process of its [cgroup](crate::Command::cgroup)
    /// for want of memory (`oom_kill`; running out alone is no reason).
    OutOfMemory,
    /// Nobody knows: its shepherd was lost. Met only inside an error that says
    /// [`is_shepherd_lost`](crate::Error::is_shepherd_lost).
    ShepherdLost,
}

/// What happens to descendants that live on when the child itself has ended by itself.
///
/// A command that is stopped, killed or runs into its timeout takes all its descendants along,
/// whatever is chosen here.
///
/// ```
/// use netrunner_sync::{Command, Leftovers};
///
/// let output = Command::new("sh")
///     .args(["-c", "sleep 60 > /dev/null 2>&1 &"])
///     .leftovers(Leftovers::Stop)
///     .output()?;
/// assert_eq!(output.report.leftovers.len(), 1);
/// assert_eq!(output.report.leftovers[0].name, "sleep");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Leftovers {
    /// They are stopped: stop signal, grace, SIGKILL. This is the default.
    #[default]
    Stop,
    /// The command is over when the last of them has ended by itself.
    Wait,
    /// They live on, also without the client, and are listed in [`Report::leftovers`].
    Keep,
}
