//! Pidfds, and what there is to do where the kernel has none (before Linux 5.3) or a sandbox denies
//! them: the lane's end tells of a death, and the guardian, whose children the shepherds are, is
//! asked to kill one that does not react.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

/// A pidfd; none where there are no such things.
pub(crate) fn open(pid: Pid) -> io::Result<Option<OwnedFd>> {
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
