//! The public handle on the small processes beside the commands: where their program comes from,
//! how many idle ones are kept, and when to start over.

use std::path::Path;

use crate::error::{Error, Result};
use crate::runtime::Runtime;

/// The shepherds of this process: the small processes that stand beside its commands.
///
/// A program need not know them. It may say where their program is, how many idle ones are kept
/// for the next command, and that they are to start over with the limits and the sandbox that the
/// process has now.
///
/// # Which are kept
///
/// A shepherd whose command has left nothing behind waits for the next one, which then starts without
/// the price of a new process. The one that was used last is taken first. How long the others wait
/// depends on how many they are:
///
/// | idle shepherds | wait for |
/// |---|---|
/// | the last one | as long as the process lives |
/// | up to 32 | 10 seconds |
/// | up to 8192, or [`max_idle`](Shepherds::max_idle) | 2 seconds: a burst is often followed by another |
/// | more | not at all |
///
/// So a program that runs one command an hour keeps one process of some 100 KiB, a build tool finds
/// as many as it has jobs, and what a burst has brought is gone soon after it. A command that inherits
/// a terminal needs a shepherd of another kind, in the session of this process; of these the last one
/// goes too.
///
/// ```
/// use netrunner_sync::{Command, Shepherds};
///
/// Command::new("true").run()?;
/// // … the process puts itself into a sandbox …
/// Shepherds::refresh();
/// Command::new("true").run()?; // runs in it too
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
pub enum Shepherds {}

impl Shepherds {
    /// Uses the shepherd program at `path` from the next start of a guardian on, which this causes.
    ///
    /// Without it the program is taken from the variable `NETRUNNER_SHEPHERD` (not in a set-uid
    /// program), or else from the copy inside this crate, which never touches the disk.
    ///
    /// ```
    /// let error = netrunner_sync::Shepherds::binary("/no/such/shepherd").unwrap_err();
    /// assert!(error.is_not_found());
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found) and the like where there is no such program.
    pub fn binary(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let checked = std::path::absolute(path).and_then(|absolute| {
            rustix::fs::access(&absolute, rustix::fs::Access::EXEC_OK)?;
            Ok(absolute)
        });
        let step = || format!("use the shepherds' program `{}`", path.display());
        let absolute = checked.map_err(|cause| Error::system(step(), cause))?;
        Runtime::current().pool().refresh(Some(absolute));
        Ok(())
    }

    /// Lets go of the guardian and of all idle shepherds: the next command starts new ones, with
    /// the umask, limits, niceness, cgroup, namespaces, root directory, seccomp filters and
    /// Landlock rules that the process has then. Running commands are not touched.
    ///
    /// ```
    /// use netrunner_sync::{Command, Shepherds};
    ///
    /// Command::new("true").run()?;
    /// Shepherds::refresh();
    /// assert_eq!(Shepherds::idle(), 0);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn refresh() {
        Runtime::current().pool().refresh(None);
    }

    /// Keeps at most `n` idle shepherds for the next commands at any time; by default 8192, most of
    /// which go after 2 seconds (see [above](Shepherds#which-are-kept)). 0 means that each command
    /// starts one.
    ///
    /// ```
    /// use netrunner_sync::{Command, Shepherds};
    ///
    /// Shepherds::max_idle(0);
    /// Command::new("true").run()?;
    /// assert_eq!(Shepherds::idle(), 0);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn max_idle(n: usize) {
        Runtime::current().pool().set_max_idle(n);
    }

    /// How many idle shepherds there are now.
    ///
    /// ```
    /// use netrunner_sync::Shepherds;
    ///
    /// println!("{} shepherds wait for a command", Shepherds::idle());
    /// ```
    #[must_use]
    pub fn idle() -> usize {
        Runtime::current().pool().idle()
    }
}
