//! Long-lived commands: looked after by one thread for all of them, until they are stopped.
//!
//! This file is the handle. `builder` is what its user says beforehand, `supervisor` the thread, `unit` one
//! daemon in its hands and `run` one process of it; `shared` is what both sides have in common. What is
//! decided by what: `restart` (again, and when), `check` (ready or not), `log` and its `callback` and
//! `log_file` (where the output goes), `inbox` (what is written to it), `several` (who ends before whom).

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::error::Result;
use crate::running::End;
use crate::signal::Signal;
use crate::time::deadline_in;

mod attempt;
mod builder;
mod callback;
mod check;
mod health;
mod inbox;
mod log;
mod log_file;
mod readiness;
mod restart;
mod ring;
mod run;
mod several;
mod shared;
mod sources;
mod supervisor;
mod unit;

pub use builder::DaemonBuilder;
pub use health::{DaemonState, Health};
pub use log_file::LogFile;
pub use readiness::Ready;
pub use restart::Restart;
pub use several::Daemons;
pub(crate) use supervisor::Supervisor;

use shared::Shared;

/// A long-lived command: a server, a watcher, a tunnel. Its outputs are always read, it can be waited for
/// until it is [ready](Ready), [started again](Restart) when it crashes, and
/// [stopped in order](Daemons) with others.
///
/// Dropping it stops it with all its descendants, without blocking, as with a
/// [`Child`](crate::Child); so does the death of the client. It is for programs that stay in the
/// foreground: one that goes into the background by itself has ended, and what it leaves is
/// stopped, unless [`Leftovers::Wait`](crate::Leftovers::Wait) makes it count.
///
/// All daemons of a process are looked after by one thread of this crate, `netrunner-daemons`, which
/// starts with the first of them; one with a [callback](DaemonBuilder::on_line) has a thread more. A restart
/// takes environment and directory as they are then, and is made only if that thread may do exactly what
/// the one might that started the daemon: after a change of the process's user, say, it is a failure
/// ([`Health::start_error`]).
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, Daemon, Ready};
///
/// let mut server = Command::new("sh");
/// server.args(["-c", "echo accepting; while read line; do echo got $line; done"]);
/// let daemon = Daemon::builder(server)
///     .ready(Ready::line("accepting").within(Duration::from_secs(10)))
///     .stdin_queue(1 << 10)
///     .start()?;
/// daemon.wait_ready()?;
/// daemon.send("a line\n")?;
/// daemon.close_stdin();
/// assert!(daemon.wait()?.success());
/// assert_eq!(daemon.recent(), b"accepting\ngot a line\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Daemon {
    shared: Arc<Shared>,
    drop: Drops,
}

/// What a drop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drops {
    Stop,
    /// Somebody else stops it.
    Nothing,
}

impl Daemon {
    /// What this command is to be as a daemon. Its outputs are read and its input is empty, unless the
    /// command says otherwise.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let daemon = Daemon::builder(command).start()?;
    /// assert!(daemon.id().is_some());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn builder(command: Command) -> DaemonBuilder {
        DaemonBuilder::new(command)
    }

    fn new(shared: Arc<Shared>) -> Daemon {
        Daemon { shared, drop: Drops::Stop }
    }

    /// Gives it up without asking it to end: somebody else does.
    fn let_go(mut self) {
        self.drop = Drops::Nothing;
    }

    /// Waits until it is ready: the run that is alive, or a later one. How long that may take is said by
    /// its [`Ready`]; without restarts it is never longer.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo no such database; exit 3"]);
    /// let daemon = Daemon::builder(command).ready(Ready::line("serving")).start()?;
    /// let error = daemon.wait_ready().unwrap_err();
    /// assert!(error.is_not_ready());
    /// assert_eq!(error.output().unwrap().stdout, b"no such database\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_ready`](crate::Error::is_not_ready) where it is over; the error's
    /// [`output`](crate::Error::output) has what it wrote last, in `stdout`, and how it ended. The error of
    /// the start where it could not be started again.
    pub fn wait_ready(&self) -> Result<()> {
        self.shared.wait_ready(0, None).map(|_| ())
    }

    /// As [`wait_ready`](Daemon::wait_ready), for at most so long; false if it is not ready by then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let daemon = Daemon::builder(command).ready(Ready::line("never")).start()?;
    /// assert!(!daemon.wait_ready_timeout(Duration::from_millis(10))?);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait_ready`](Daemon::wait_ready).
    pub fn wait_ready_timeout(&self, timeout: Duration) -> Result<bool> {
        self.shared.wait_ready(0, deadline_in(timeout))
    }

    /// Waits until a run of this number ([`Health::run`]) or a later one is ready, for at most so long;
    /// false if there is none by then: to see a crash through.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Daemon, Restart, Signal};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let restart = Restart::on_failure().pause(Duration::from_millis(10));
    /// let daemon = Daemon::builder(command).restart(restart).start()?;
    /// daemon.signal(Signal::KILL)?;
    /// assert!(daemon.wait_run(2, Duration::from_secs(30))?);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait_ready`](Daemon::wait_ready).
    pub fn wait_run(&self, run: u32, timeout: Duration) -> Result<bool> {
        self.shared.wait_ready(run, deadline_in(timeout))
    }

    /// How it is now. In a forked copy of the client nobody knows: [`DaemonState::Over`], and no more.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, DaemonState};
    ///
    /// let daemon = Daemon::builder(Command::new("true")).start()?;
    /// daemon.wait()?;
    /// assert_eq!(daemon.health().state, DaemonState::Over);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// The process id of the run that is alive, if one is.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let daemon = Daemon::builder(Command::new("true")).start()?;
    /// daemon.wait()?;
    /// assert_eq!(daemon.id(), None);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.health().pid
    }

    /// What it has written last ([`DaemonBuilder::keep_last`]), that of earlier runs included.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let mut command = Command::new("echo");
    /// command.arg("the last words");
    /// let daemon = Daemon::builder(command).start()?;
    /// daemon.wait()?;
    /// assert_eq!(daemon.recent(), b"the last words\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn recent(&self) -> Vec<u8> {
        self.shared.recent()
    }

    /// Puts a message into the queue of its standard input, and returns at once.
    ///
    /// A message goes to one process, whole: when that has ended before it got all of it the rest is
    /// thrown away ([`Health::stdin_lost`]), and the messages after it wait for the next process. (What
    /// a process did not read of what it got nobody knows.)
    ///
    /// # Errors
    ///
    /// Of kind [`WouldBlock`](std::io::ErrorKind::WouldBlock) where there is no room for it now, as with a
    /// daemon that does not read; [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) where the input was closed,
    /// there is none or the daemon is over; [`is_invalid_input`](crate::Error::is_invalid_input) for a
    /// message that is longer than the queue.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let mut stuck = Command::new("sleep");
    /// stuck.arg("60");
    /// let daemon = Daemon::builder(stuck).stdin_queue(1 << 20).start()?;
    /// let full = loop {
    ///     if let Err(error) = daemon.send([b'x'; 10_000]) {
    ///         break error;
    ///     }
    /// };
    /// assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn send(&self, message: impl AsRef<[u8]>) -> Result<()> {
        self.shared.send(message.as_ref(), Some(Instant::now()))
    }

    /// As [`send`](Daemon::send), but waits for room, until a point in time.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let daemon = Daemon::builder(Command::new("cat")).stdin_queue(4).start()?;
    /// for word in ["one\n", "two\n"] {
    ///     daemon.send_deadline(word, Instant::now() + Duration::from_secs(30))?;
    /// }
    /// daemon.close_stdin();
    /// daemon.wait()?;
    /// assert_eq!(daemon.recent(), b"one\ntwo\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Daemon::send).
    pub fn send_deadline(&self, message: impl AsRef<[u8]>, deadline: Instant) -> Result<()> {
        self.shared.send(message.as_ref(), Some(deadline))
    }

    /// Closes its standard input once all that waits is written. A later run gets an empty one.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let daemon = Daemon::builder(Command::new("cat")).stdin_queue(1 << 10).start()?;
    /// daemon.send("all of it")?;
    /// daemon.close_stdin();
    /// assert!(daemon.wait()?.success());
    /// assert_eq!(daemon.recent(), b"all of it");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn close_stdin(&self) {
        self.shared.close_inbox();
    }

    /// Sends a signal to the process group of the run that is alive.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Ready, Signal};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "trap 'echo read again; exit 0' USR1; echo up; while :; do sleep 0.01; done"]);
    /// let daemon = Daemon::builder(command).ready(Ready::line("up")).start()?;
    /// daemon.wait_ready()?;
    /// daemon.signal(Signal::USR1)?;
    /// assert!(daemon.wait()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// ESRCH when none is.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.shared.signal(signal)
    }

    /// Stops it with all its descendants, as [`Child::stop`](crate::Child::stop) does, also in the pause
    /// before a restart, and waits until it is over. Its output is read to the end meanwhile. Fine also
    /// when it is over already.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, DaemonState, Reason, Restart};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let daemon = Daemon::builder(command).restart(Restart::always()).start()?;
    /// assert!(!daemon.stop()?.success());
    /// let health = daemon.health();
    /// assert_eq!(health.state, DaemonState::Over);
    /// assert_eq!(health.last.unwrap().reason, Reason::Stopped);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Daemon::wait).
    pub fn stop(&self) -> Result<ExitStatus> {
        self.shared.ensure_here()?;
        self.shared.ask(End::Stop);
        self.wait()
    }

    /// Kills it with all its descendants by SIGKILL, and returns at once. It is not started again.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Restart};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let daemon = Daemon::builder(command).restart(Restart::always()).start()?;
    /// daemon.kill()?;
    /// assert_eq!(daemon.wait()?.code(), None); // SIGKILL
    /// assert_eq!(daemon.health().run, 1);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// In a forked copy of the client, whose it is not.
    pub fn kill(&self) -> Result<()> {
        self.shared.ensure_here()?;
        self.shared.ask(End::Kill);
        Ok(())
    }

    /// Waits until it is over: it has ended, and is not started again. Gives the status of the last run.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let daemon = Daemon::builder(Command::new("false")).start()?;
    /// assert_eq!(daemon.wait()?.code(), Some(1));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait), of the last run; that of the start where it could not be
    /// started again.
    pub fn wait(&self) -> Result<ExitStatus> {
        loop {
            // Without a deadline nothing is ever late.
            if let Some(status) = self.shared.wait(None)? {
                return Ok(status);
            }
        }
    }

    /// As [`wait`](Daemon::wait), for at most so long; `None` if it is not over by then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let daemon = Daemon::builder(command).start()?;
    /// assert_eq!(daemon.wait_timeout(Duration::from_millis(10))?, None);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Daemon::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.shared.wait(deadline_in(timeout))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // In a forked copy of the client it is not ours.
        if self.drop == Drops::Stop && self.shared.ensure_here().is_ok() {
            self.shared.ask(End::Stop);
        }
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("program", &self.shared.program)
            .field("health", &self.health())
            .finish()
    }
}
