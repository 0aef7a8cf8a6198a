//! What a command says of itself: its parts one by one, and all of it as a line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use crate::command::Command;
use crate::environment::CommandEnvs;

impl Command {
    /// The program, as it was given to [`new`](Command::new).
    ///
    /// ```
    /// assert_eq!(netrunner_sync::Command::new("cc").get_program(), "cc");
    /// ```
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, without the program's own name.
    ///
    /// ```
    /// let mut command = netrunner_sync::Command::new("cc");
    /// assert!(command.args(["-c", "a.c"]).get_args().eq(["-c", "a.c"]));
    /// ```
    pub fn get_args(&self) -> CommandArgs<'_> {
        CommandArgs(self.args.iter())
    }

    /// The variables that were set here, and with `None` those that were removed.
    ///
    /// ```
    /// use std::ffi::OsStr;
    ///
    /// let mut command = netrunner_sync::Command::new("cc");
    /// command.env("LANG", "C").env_remove("CFLAGS");
    /// let changes: Vec<_> = command.get_envs().collect();
    /// assert_eq!(changes[0], (OsStr::new("CFLAGS"), None));
    /// assert_eq!(changes[1], (OsStr::new("LANG"), Some(OsStr::new("C"))));
    /// ```
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.environment.iter()
    }

    /// The directory that was set here.
    ///
    /// ```
    /// let mut command = netrunner_sync::Command::new("make");
    /// assert_eq!(command.get_current_dir(), None);
    /// assert_eq!(command.current_dir("/src").get_current_dir().unwrap(), "/src");
    /// ```
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

impl fmt::Debug for Command {
    /// As std's, a line that looks like a shell's, but without the values of the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(directory) = &self.directory {
            write!(f, "cd {directory:?} && ")?;
        }
        write!(f, "{:?}", self.environment)?;
        match &self.arg0 {
            Some(arg0) if *arg0 != self.program => write!(f, "[{:?}] {arg0:?}", self.program)?,
            Some(_) | None => write!(f, "{:?}", self.program)?,
        }
        self.args.iter().try_for_each(|arg| write!(f, " {arg:?}"))
    }
}

/// The arguments of a command; made by [`Command::get_args`].
///
/// ```
/// let mut command = netrunner_sync::Command::new("cc");
/// let args = command.arg("-c").get_args();
/// assert_eq!(args.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct CommandArgs<'a>(std::slice::Iter<'a, OsString>);

impl<'a> Iterator for CommandArgs<'a> {
    type Item = &'a OsStr;

    fn next(&mut self) -> Option<&'a OsStr> {
        self.0.next().map(OsString::as_os_str)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for CommandArgs<'_> {}
