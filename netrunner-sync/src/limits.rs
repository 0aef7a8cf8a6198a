//! What a command may write, and for how long it may be silent: the builder's side. The client
//! measures both where it reads (`meter`), as the shepherd never sees the bytes.

use std::time::Duration;

use crate::command::{Command, Stderr};
use crate::error::{Error, Result};
use crate::stdio::{Source, Stdio};
use crate::wiring::Streams;

/// What the client measures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_output: Option<u64>,
    pub(crate) excess: Excess,
}

/// What happens when a command writes more than its [`max_output`](Command::max_output).
///
/// ```
/// use netrunner_sync::{Command, Excess, Reason};
///
/// let output = Command::new("sh")
///     .args(["-c", "echo 1234567; exit 3"])
///     .max_output(4)
///     .excess(Excess::Discard)
///     .output()?;
/// assert_eq!(output.stdout, b"1234");
/// assert_eq!(output.report.io.discarded, 4);
/// assert_eq!(output.report.reason, Reason::Exited);
/// assert_eq!(output.status.code(), Some(3));
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Excess {
    /// The command is stopped, with [`Reason::OutputLimit`](crate::Reason::OutputLimit). This is the
    /// default.
    #[default]
    Stop,
    /// The command goes on; what is beyond is read and thrown away, and counted in
    /// [`IoCounters::discarded`](crate::IoCounters::discarded).
    Discard,
}

impl Command {
    /// Stops the command when it has written nothing for so long, on neither output. What it wrote
    /// before is kept. By default there is no such limit.
    ///
    /// Silence is what counts: a command that waits because its client reads slowly, or in
    /// [`lines`](Command::lines) and [`events`](Command::events) does not ask for the next item, is
    /// not idle.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Reason};
    ///
    /// let output = Command::new("sh")
    ///     .args(["-c", "echo early; sleep 60; echo late"])
    ///     .idle_timeout(Duration::from_millis(100))
    ///     .output()?;
    /// assert_eq!(output.report.reason, Reason::IdleTimeout);
    /// assert_eq!(output.stdout, b"early\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// With [`spawn`](Command::spawn) the streams of the `Child` have to be read through it: once one
    /// of them has been turned into a plain descriptor nobody can tell any more whether the command
    /// is silent, and the limit no longer holds. It ends with [`Child::detach`](crate::Child::detach).
    ///
    /// # Errors
    ///
    /// The spawn fails with [`is_invalid_input`](Error::is_invalid_input) where neither output is a
    /// pipe.
    pub fn idle_timeout(&mut self, limit: Duration) -> &mut Command {
        self.limits.idle_timeout = Some(limit);
        self
    }

    /// Keeps at most so many bytes of each output. Exactly so many are fine; when the command
    /// writes one more it is stopped, unless [`excess`](Command::excess) says otherwise.
    /// By default there is no limit.
    ///
    /// ```
    /// use netrunner_sync::{Command, Reason};
    ///
    /// let output = Command::new("yes").max_output(5).output()?;
    /// assert_eq!(output.stdout, b"y\ny\ny");
    /// assert_eq!(output.report.reason, Reason::OutputLimit);
    ///
    /// let output = Command::new("echo").arg("four").max_output(5).output()?;
    /// assert_eq!(output.report.reason, Reason::Exited);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// The streams of a `Child` end after so many bytes; what comes then is read by the crate's
    /// background thread. One that nobody reads holds the command back, as without a limit. A
    /// stream that is turned into a plain descriptor has no limit any more.
    ///
    /// # Errors
    ///
    /// The spawn fails with [`is_invalid_input`](Error::is_invalid_input) where neither output is a
    /// pipe, or where one was explicitly connected to something else than a pipe or
    /// [`Stdio::null`]. (A stream that nothing was said about and that is inherited is not limited.)
    pub fn max_output(&mut self, bytes: u64) -> &mut Command {
        self.limits.max_output = Some(bytes);
        self
    }

    /// What happens when the command writes more than its [`max_output`](Command::max_output):
    /// it is stopped, unless another choice is made here.
    ///
    /// ```
    /// use netrunner_sync::{Command, Excess};
    ///
    /// let mut command = Command::new("seq");
    /// let output = command.arg("1000").max_output(4).excess(Excess::Discard).output()?;
    /// assert_eq!(output.stdout, b"1\n2\n");
    /// assert!(output.status.success()); // it was not stopped
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn excess(&mut self, excess: Excess) -> &mut Command {
        self.limits.excess = excess;
        self
    }
}

impl Limits {
    /// Whether there is anything to measure.
    pub(crate) fn are_set(&self) -> bool {
        self.idle_timeout.is_some() || self.max_output.is_some()
    }
}

/// Finds limits that could not be held.
pub(crate) fn check(command: &Command, default: Streams) -> Result<()> {
    let limits = &command.limits;
    if !limits.are_set() {
        return Ok(());
    }
    // What a terminal shows is piped as well.
    let by_default = if command.pty.is_some() { Stdio::piped() } else { default.output() };
    let is_pipe = |stdio: &Stdio| matches!(stdio.0, Source::Piped);
    let stderr = match &command.stderr {
        Some(Stderr::Stdio(stdio)) => Some(stdio),
        Some(Stderr::Merged) | None => None,
    };
    let stdout = command.stdout.as_ref();
    let merged = matches!(command.stderr, Some(Stderr::Merged));
    let some = is_pipe(stdout.unwrap_or(&by_default))
        || (!merged && is_pipe(stderr.unwrap_or(&by_default)));
    if !some {
        let what = if limits.max_output.is_some() { "`max_output`" } else { "`idle_timeout`" };
        return Err(Error::invalid(format!("{what} needs an output that is a pipe")));
    }
    let limitless = |stdio: &&Stdio| !matches!(stdio.0, Source::Piped | Source::Null);
    let elsewhere = [("standard output", stdout), ("standard error", stderr)]
        .into_iter()
        .find(|(_, stdio)| stdio.as_ref().is_some_and(limitless));
    match elsewhere {
        Some((name, _)) if limits.max_output.is_some() => {
            Err(Error::invalid(format!("`max_output` can't be held on a {name} that is no pipe")))
        }
        Some(_) | None => Ok(()),
    }
}
