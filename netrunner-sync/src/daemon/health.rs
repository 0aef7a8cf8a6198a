//! How a daemon is: what its user is told at any time.

use crate::report::Report;

/// Where a [`Daemon`](crate::Daemon) stands.
///
/// ```
/// use netrunner_sync::{Command, Daemon, DaemonState};
///
/// let daemon = Daemon::builder(Command::new("true")).start()?;
/// daemon.wait()?;
/// assert_eq!(daemon.health().state, DaemonState::Over);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DaemonState {
    /// It runs, and is not ready yet.
    Starting,
    /// It runs and is ready; without a [`Ready`](crate::Ready) that is from its start on.
    Ready,
    /// It has ended, and is started again after a pause.
    Pausing,
    /// It was asked to end, and has not yet.
    Stopping,
    /// It has ended for good.
    Over,
}

/// How a [`Daemon`](crate::Daemon) is; from [`Daemon::health`](crate::Daemon::health).
///
/// ```
/// use netrunner_sync::{Command, Daemon, DaemonState};
///
/// let mut command = Command::new("sleep");
/// command.arg("60");
/// let daemon = Daemon::builder(command).start()?;
/// daemon.wait_ready()?;
/// let health = daemon.health();
/// assert_eq!((health.state, health.run), (DaemonState::Ready, 1));
/// assert!(health.pid.is_some() && health.last.is_none());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Where it stands.
    pub state: DaemonState,
    /// The process id of the run that is alive.
    pub pid: Option<u32>,
    /// Which run this is, counted from 1: one more than it was started again.
    pub run: u32,
    /// How many restarts in a row there were before this run, the last that was
    /// [steady](crate::Restart::steady) aside.
    pub restarts_in_a_row: u32,
    /// How the last run that is over has ended.
    pub last: Option<Report>,
    /// Why the last try to start it again has failed.
    pub start_error: Option<String>,
    /// How many bytes of its outputs did not get into the log file or to the callback.
    pub lost: u64,
    /// The last trouble with the log file, or with the callback.
    pub log_error: Option<String>,
    /// How many bytes wait to be written to its standard input.
    pub stdin_waiting: usize,
    /// How many bytes of its standard input were thrown away: the rest of messages that a process got
    /// only the beginning of, and what waited when the daemon was over.
    pub stdin_lost: u64,
}

impl Health {
    /// In a forked copy of the client, where nothing is known.
    pub(super) fn of_nobody() -> Health {
        Health {
            state: DaemonState::Over,
            pid: None,
            run: 0,
            restarts_in_a_row: 0,
            last: None,
            start_error: None,
            lost: 0,
            log_error: None,
            stdin_waiting: 0,
            stdin_lost: 0,
        }
    }
}
