//! There are no pidfds: the lane's end tells of a death, and the guardian, whose children the shepherds are, is
//! asked to kill one that does not react.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use rustix::process::Pid;

/// None.
pub(crate) fn open(_: Pid) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// So this is never asked for.
pub(crate) fn reap(_: &OwnedFd, _: Pid, _: &OwnedFd) -> io::Result<()> {
    Ok(())
}

/// Nor this.
pub(crate) fn kill(_: &OwnedFd) {}

/// Nor this.
pub(crate) fn kill_group(_: &OwnedFd) {}

/// Nor this.
pub(crate) fn wait(_: &OwnedFd) -> io::Result<Option<ExitStatus>> {
    Ok(None)
}
