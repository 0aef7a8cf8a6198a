//! Daemons that need each other: they are ended in the reverse order of their starts.

use std::collections::VecDeque;
use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;

use super::Daemon;
use super::shared::Shared;
use super::supervisor::Word;
use crate::error::Result;
use crate::runtime::Runtime;

/// Daemons of which each needs those before it: a database, a server that uses it, a proxy before that.
/// They are stopped in the reverse order, each only when the one after it is over with all of its
/// descendants.
///
/// That holds for [`stop`](Daemons::stop) and for a drop, which does not block: the thread that looks
/// after daemons goes on with it. When the client dies all are stopped at once, as nobody is left to keep
/// an order.
///
/// ```
/// use netrunner_sync::{Command, Daemon, Daemons};
///
/// let mut daemons = Daemons::new();
/// for _ in ["database", "server"] {
///     let mut command = Command::new("sleep");
///     command.arg("60");
///     let daemon = daemons.push(Daemon::builder(command).start()?);
///     daemon.wait_ready()?;
/// }
/// for status in daemons.stop() {
///     assert!(!status?.success()); // each ended by SIGTERM
/// }
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Default)]
pub struct Daemons {
    daemons: Vec<Daemon>,
}

impl Daemons {
    /// None so far.
    ///
    /// ```
    /// assert_eq!(netrunner_sync::Daemons::new().iter().count(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Daemons {
        Daemons::default()
    }

    /// Adds one that is to be stopped before all that were added so far.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Daemons};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let mut daemons = Daemons::new();
    /// daemons.push(Daemon::builder(command).start()?).wait_ready()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn push(&mut self, daemon: Daemon) -> &Daemon {
        let at = self.daemons.len();
        self.daemons.push(daemon);
        &self.daemons[at]
    }

    /// All of them, in the order in which they were added.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Daemons};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let mut daemons = Daemons::new();
    /// daemons.push(Daemon::builder(command).start()?);
    /// for daemon in daemons.iter() {
    ///     daemon.wait_ready()?;
    /// }
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn iter(&self) -> std::slice::Iter<'_, Daemon> {
        self.daemons.iter()
    }

    /// Stops all of them, the last first, and waits for their ends. Gives the status of each, in the order
    /// in which they were added.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Daemons};
    ///
    /// let mut daemons = Daemons::new();
    /// daemons.push(Daemon::builder(Command::new("cat")).stdin_queue(1).start()?);
    /// assert_eq!(daemons.stop().len(), 1);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stop(mut self) -> Vec<Result<ExitStatus>> {
        let daemons = std::mem::take(&mut self.daemons);
        let mut ended: Vec<_> = daemons.iter().rev().map(Daemon::stop).collect();
        ended.reverse();
        ended
    }
}

impl<'a> IntoIterator for &'a Daemons {
    type Item = &'a Daemon;
    type IntoIter = std::slice::Iter<'a, Daemon>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        let shared = |daemon: &Daemon| Arc::clone(&daemon.shared);
        let order: VecDeque<Arc<Shared>> = self.daemons.iter().rev().map(shared).collect();
        let Some(first) = order.front() else { return };
        // In a forked copy of the client they are not ours.
        let here = first.ensure_here().is_ok();
        if let Some(supervisor) = Runtime::current().supervisor().filter(|_| here) {
            self.daemons.drain(..).for_each(Daemon::let_go);
            supervisor.tell(Word::InOrder(order));
        }
    }
}

impl fmt::Debug for Daemons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.daemons).finish()
    }
}
