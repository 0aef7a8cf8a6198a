//! What a child does between its birth and its program, so that the terminal is its own.

use std::io;
use std::os::fd::AsFd;

use rustix::process::{ioctl_tiocsctty, setsid};

/// Makes the caller the leader of a new session whose terminal this is: then Ctrl-C and its like
/// reach the session's foreground, `/dev/tty` is this terminal, and the end of the manager hangs
/// the session up.
///
/// Allocates nothing and takes no lock, so it can be called in a forked child.
///
/// # Errors
///
/// EPERM where the caller leads a process group already, or the terminal is another session's.
pub fn lead_session(terminal: impl AsFd) -> io::Result<()> {
    setsid()?;
    Ok(ioctl_tiocsctty(terminal)?)
}

/// As [`lead_session`], and makes the terminal the standard input, output and error.
///
/// For a `pre_exec` of [`std::process::Command`], for one.
///
/// # Errors
///
/// As [`lead_session`].
pub fn attach(terminal: impl AsFd) -> io::Result<()> {
    let terminal = terminal.as_fd();
    lead_session(terminal)?;
    rustix::stdio::dup2_stdin(terminal)?;
    rustix::stdio::dup2_stdout(terminal)?;
    Ok(rustix::stdio::dup2_stderr(terminal)?)
}
