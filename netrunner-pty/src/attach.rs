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
/// ```no_run
/// use netrunner_pty::{Modes, WinSize, lead_session, open};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// // In a child that leads no process group yet:
/// lead_session(&pair.subsidiary)?;
/// # Ok::<(), std::io::Error>(())
/// ```
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
/// ```
/// use std::io::Read;
/// use std::os::unix::process::CommandExt;
/// use netrunner_pty::{Modes, WinSize, attach, open};
///
/// let mut pair = open(WinSize::new(24, 80), &Modes::new())?;
/// let mut command = std::process::Command::new("tty");
/// let subsidiary = pair.subsidiary;
/// // SAFETY: `attach` may be called in a forked child.
/// unsafe { command.pre_exec(move || attach(&subsidiary)) };
/// let mut child = command.spawn()?;
/// drop(command); // and with it our end of what is a terminal to the child
/// let mut shown = String::new();
/// pair.manager.read_to_string(&mut shown)?;
/// assert!(shown.starts_with("/dev/pts/"));
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
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
