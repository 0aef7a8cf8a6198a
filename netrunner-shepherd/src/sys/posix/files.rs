//! What is done with open files beside reading them.

use core::time::Duration;

use super::abi::*;
use super::calls::{self, Errno, Fd, check, close_number, count};
use super::libc;

/// Writes by one call.
pub(crate) fn write(file: &Fd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the bytes are readable for their length.
    count(unsafe { libc::write(file.number(), bytes.as_ptr(), bytes.len()) })
}

/// More descriptors than any program has open.
const MOST: u64 = 1 << 20;

/// Closes every descriptor from `first` on that the limit allows to be open. One that was opened before the
/// limit was lowered, soft and hard, can't be found.
pub(crate) fn close_from(first: i32) {
    let mut limit = Rlimit { soft: 0, hard: 0 };
    // SAFETY: the structure is writable.
    unsafe { libc::getrlimit(RLIMIT_NOFILE as i32, &raw mut limit) };
    let end = limit.hard.max(limit.soft).min(MOST) as i32;
    (first..end).for_each(close_number);
}

/// There are no cgroups.
pub(crate) fn is_cgroup(_: &Fd) -> bool {
    false
}

/// Of what is lent the guardian takes pipes alone, and here it is lent nothing: `splice(2)` is Linux's.
pub(crate) fn is_pipe(_: &Fd) -> bool {
    false
}

/// Whether there is something to read in a pipe.
pub(crate) fn has_unread(pipe: &Fd) -> bool {
    let mut fds = [Pollfd { fd: pipe.number(), events: POLLIN, revents: 0 }];
    calls::poll(&mut fds, Some(Duration::ZERO)).is_ok() && fds[0].revents & POLLIN != 0
}

/// Lets no call on this file wait, whoever else has it.
pub(crate) fn never_wait(file: &Fd) -> bool {
    // SAFETY: numbers only.
    check(unsafe { libc::fcntl(file.number(), F_SETFL, O_NONBLOCK) }).is_ok()
}
