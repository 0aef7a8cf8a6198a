//! In place of [`kernel`](self) on systems that have no cgroups: there no place is ever found, so nobody asks.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::Pid;

pub(crate) fn mark(_: impl AsFd, _: &str, _: &mut [u8]) -> Result<usize, Errno> {
    Err(Errno::NOSYS)
}

pub(crate) fn mark_at(_: &Path, _: &str, _: &mut [u8]) -> Result<usize, Errno> {
    Err(Errno::NOSYS)
}

pub(crate) fn set_mark(_: impl AsFd, _: &str, _: &[u8]) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

pub(crate) fn kill(_: Pid, _: impl FnOnce() -> Result<bool, Errno>) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}
