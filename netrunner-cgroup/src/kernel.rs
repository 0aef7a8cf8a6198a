//! What only Linux can be asked: the marks of groups, and a kill that can't hit a stranger.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// The value of a group's extended attribute, and how long that is.
pub(crate) fn mark(dir: impl AsFd, name: &str, value: &mut [u8]) -> Result<usize, Errno> {
    rustix::fs::fgetxattr(dir, name, value)
}

/// The same by the group's path.
pub(crate) fn mark_at(path: &Path, name: &str, value: &mut [u8]) -> Result<usize, Errno> {
    rustix::fs::getxattr(path, name, value)
}

pub(crate) fn set_mark(dir: impl AsFd, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(dir, name, value, XattrFlags::empty())
}

/// Kills the process if `is_meant` says so once the number can't become another's any more. One that is gone is
/// no error.
pub(crate) fn kill(pid: Pid, is_meant: impl FnOnce() -> Result<bool, Errno>) -> Result<(), Errno> {
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    if !is_meant()? {
        return Ok(());
    }
    match rustix::process::pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}
