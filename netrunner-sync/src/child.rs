//! `Child`, which owns a running command. What stands behind it is `running`.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netrunner_pty::WinSize;

use crate::engine::Started;
use crate::error::Result;
use crate::handle::ChildHandle;
use crate::pty::ChildPty;
use crate::reader_feed::ReaderFeed;
use crate::report::{Output, Report};
use crate::running::Running;
use crate::signal::Signal;
use crate::streams::{ChildStderr, ChildStdin, ChildStdout};
use crate::time::deadline_in;

/// A running command, and the ownership of it.
///
/// Dropping it stops the command with all its descendants, without blocking
/// (promise P2): the crate's background thread sees to it that all of it ends and is reaped. To let
/// it live on there is [`detach`](Child::detach).
///
/// ```
/// use netrunner_sync::{Command, Stdio};
///
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
/// assert_eq!(child.try_wait()?, None);
/// assert!(child.wait()?.success()); // `wait` closes the standard input, and cat ends
/// assert_eq!(child.report().unwrap().pid, child.id());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Child {
    /// The standard input, if it is a pipe.
    pub stdin: Option<ChildStdin>,
    /// The standard output, if it is a pipe.
    pub stdout: Option<ChildStdout>,
    /// The standard error, if it is a pipe.
    pub stderr: Option<ChildStderr>,
    /// The other end of its terminal, if it has one of its own: see [`Command::pty`](crate::Command::pty).
    pub pty: Option<ChildPty>,
    /// What feeds the standard input, if that is a reader.
    reader: Option<ReaderFeed>,
    /// Stops the command when it is dropped; a field of its own, so that the streams can be moved
    /// out of a `Child`.
    life: Life,
    /// How many stops `wait_stopped` has told.
    stops_told: u64,
}

/// Stops a command when it is dropped, unless that is over.
pub(crate) struct Life(pub(crate) Arc<Running>);

impl Life {
    pub(crate) fn of(running: &Arc<Running>) -> Life {
        Life(Arc::clone(running))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        Running::abandon(&self.0);
    }
}

impl Child {
    pub(crate) fn new(started: Started) -> Child {
        Child {
            stdin: started.stdin.map(Into::into),
            stdout: started.stdout.map(Into::into),
            stderr: started.stderr.map(Into::into),
            pty: started.pty,
            reader: started.reader,
            life: started.life,
            stops_told: 0,
        }
    }

    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.life.0
    }

    /// The process id of the child.
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let child = Command::new("sh").args(["-c", "echo $$"]).stdout(Stdio::piped()).spawn()?;
    /// let id = child.id();
    /// assert_eq!(child.wait_with_output()?.stdout, format!("{id}\n").into_bytes());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        self.life.0.pid()
    }

    /// Closes the standard input and waits until the command is over: when this returns, nothing
    /// of it is left, except what [`Leftovers::Keep`](crate::Leftovers::Keep) kept.
    ///
    /// Once it is over, every wait returns the same status.
    ///
    /// ```
    /// let mut child = netrunner_sync::Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// assert_eq!(child.wait()?.code(), Some(3));
    /// assert_eq!(child.wait()?.code(), Some(3)); // the same again
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_shepherd_lost`](crate::Error::is_shepherd_lost) where nobody knows how it ended, and
    /// [`is_unkillable`](crate::Error::is_unkillable) where some of it could not be ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.life.0.wait()
    }

    /// The status, if the command is over. Does not block, and leaves the standard input open.
    ///
    /// ```
    /// use netrunner_sync::Command;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// assert!(child.try_wait()?.is_none()); // it runs
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.life.0.try_wait()
    }

    /// Closes the standard input and waits for at most so long; `None` if the command is not over
    /// by then.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut child = netrunner_sync::Command::new("sleep").arg("60").spawn()?;
    /// assert_eq!(child.wait_timeout(Duration::from_millis(10))?, None);
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        self.life.0.wait_until(deadline_in(timeout))
    }

    /// As [`wait_timeout`](Child::wait_timeout), until a point in time.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_millis(10); // for all of them
    /// let mut child = netrunner_sync::Command::new("sleep").arg("60").spawn()?;
    /// assert_eq!(child.wait_deadline(deadline)?, None);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    pub fn wait_deadline(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        self.life.0.wait_until(Some(deadline))
    }

    /// Closes the standard input, reads what is left in both outputs, and waits.
    ///
    /// Returns when the command is over, also where something that was kept still holds an output
    /// open.
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// assert_eq!(child.wait_with_output()?.stdout, b"hello\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait), and the failure of a reader that was the
    /// [`input`](crate::Command::input); the error carries what was read.
    pub fn wait_with_output(self) -> Result<Output> {
        let Child { stdin, stdout, stderr, pty, reader, life, stops_told: _ } = self;
        drop(stdin);
        let (shown, parts) = pty.map(ChildPty::into_parts).unzip();
        let (stdout, stderr) = (stdout.map(Into::into).or(shown), stderr.map(Into::into));
        let (encore, read) = parts.unwrap_or_default();
        let output = crate::capture::to_end(&life.0, (stdout, read), stderr, encore)?;
        crate::engine::check_reader(reader.as_ref(), &life.0, output)
    }

    /// Kills the child and all its descendants by SIGKILL, and returns at once. Fine also when it
    /// is over.
    ///
    /// ```
    /// use netrunner_sync::Command;
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_shepherd_lost`](crate::Error::is_shepherd_lost) where there is nobody left to ask; they
    /// are being killed already then.
    pub fn kill(&mut self) -> Result<()> {
        self.life.0.kill()
    }

    /// Stops the child and all its descendants: the stop signal, SIGCONT, SIGKILL once the grace
    /// has passed. Waits until it is over. Fine also when it was over before.
    ///
    /// ```
    /// use netrunner_sync::{Command, Reason};
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// let status = child.stop()?;
    /// assert!(!status.success());
    /// assert_eq!(child.report().unwrap().reason, Reason::Stopped);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.life.0.stop()
    }

    /// Sends a signal to the child's process group.
    ///
    /// ```
    /// use netrunner_sync::{Command, Signal};
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.signal(Signal::USR1)?;
    /// assert_eq!(child.wait()?.signal(), Some(Signal::USR1.as_raw()));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ESRCH when the command is over.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.life.0.signal(signal)
    }

    /// Gives the command's own terminal another size; its foreground gets SIGWINCH.
    ///
    /// Wherever [`pty`](Child::pty) has gone to, as long as it has not become a plain descriptor.
    ///
    /// ```
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "read go; stty size"]);
    /// let child = command.pty(WinSize::new(24, 80)).spawn()?;
    /// child.resize(WinSize::new(50, 132))?;
    /// child.pty.as_ref().unwrap().send_eof().unwrap();
    /// assert_eq!(child.wait_with_output()?.stdout, b"50 132\r\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_invalid_input`](crate::Error::is_invalid_input) for a size without room, ENOTTY for a
    /// command without a terminal of its own, EIO where that is hung up.
    pub fn resize(&self, size: WinSize) -> Result<()> {
        self.life.0.resize(size)
    }

    /// The signal that has stopped the child, while it is stopped. Does not block.
    ///
    /// Told is of commands that have the client's terminal among their streams, or asked for it by
    /// [`foreground`](crate::CommandExt::foreground): those that can be stopped by it. SIGTTIN and
    /// SIGTTOU mean that the child waits for a terminal that it does not have. It goes on when it is
    /// [sent](Child::signal) SIGCONT, and a stop or a kill ends it as any other.
    ///
    /// ```
    /// use netrunner_sync::Command;
    ///
    /// let mut child = Command::new("sleep").arg("0.01").spawn()?;
    /// assert_eq!(child.stopped(), None);
    /// child.wait()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn stopped(&self) -> Option<Signal> {
        self.life.0.stopped()
    }

    /// Waits until the child is stopped, or the command is over: then `None`. Each stop is told
    /// once, also one that has passed. What can be told is that of [`stopped`](Child::stopped).
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, Signal};
    ///
    /// // A command on the terminal of this process, which the user stops by Ctrl-Z.
    /// let mut child = Command::new("vi").spawn()?;
    /// while let Some(by) = child.wait_stopped()? {
    ///     eprintln!("stopped by {by}");
    ///     child.signal(Signal::CONT)?;
    /// }
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// In a forked copy of the client, as [`wait`](Child::wait).
    pub fn wait_stopped(&mut self) -> Result<Option<Signal>> {
        self.life.0.wait_stopped(&mut self.stops_told)
    }

    /// A handle for other threads, which does not own the command.
    ///
    /// ```
    /// use netrunner_sync::Command;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// let handle = child.handle();
    /// std::thread::spawn(move || handle.kill());
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn handle(&self) -> ChildHandle {
        ChildHandle(Arc::clone(&self.life.0))
    }

    /// How the command ended, once a wait has seen it.
    ///
    /// ```
    /// let mut child = netrunner_sync::Command::new("true").spawn()?;
    /// child.wait()?;
    /// assert!(child.report().is_some_and(|report| report.leftovers.is_empty()));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.life.0.report()
    }

    /// The cgroup of the command, if it has one: its live numbers, changes of its limits, freeze and thaw.
    ///
    /// ```no_run
    /// use netrunner_sync::{Cgroup, Command};
    ///
    /// let child = Command::new("make").cgroup(Cgroup::auto().memory_max(1 << 30)).spawn()?;
    /// if let Some(group) = child.cgroup() {
    ///     group.set("memory.max", "max")?;
    ///     println!("{:?}", group.stats().memory_peak);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cgroup(&self) -> Option<&netrunner_cgroup::Group> {
        self.life.0.group()
    }

    /// Lets the command live on without the client, and returns the child's process id.
    ///
    /// Its shepherd stays beside it as its reaper. A [`timeout`](crate::Command::timeout) no longer
    /// holds. Pipes are closed, unless they were taken out before.
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("0.01").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    /// let id = command.spawn()?.detach(); // it ends by itself
    /// assert!(id > 0);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn detach(self) -> u32 {
        self.life.0.detach()
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("pty", &self.pty)
            .field("running", &self.life.0)
            .finish()
    }
}
