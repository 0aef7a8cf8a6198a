//! Terminals and job control: modes, the foreground group, stops, groups.

use core::ffi::CStr;

use netrunner_core::message::Pid;

use super::abi::*;
use super::calls::{Errno, Fd, check, open};
use super::libc;

/// `tcgetpgrp(3)`: the group in the foreground of the caller's controlling terminal; any other file is
/// an error. Where there is no such group any more, the kernel may still have its number.
pub(crate) fn foreground(terminal: &Fd) -> Result<Pid, Errno> {
    // SAFETY: numbers only.
    let group = check(unsafe { libc::tcgetpgrp(terminal.number()) })?;
    u32::try_from(group).ok().filter(|&group| group > 0).map(Pid).ok_or(Errno(ESRCH))
}

/// `tcsetpgrp(3)`. From the background it needs SIGTTOU blocked, as it always is here.
pub(crate) fn set_foreground(terminal: &Fd, group: Pid) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::tcsetpgrp(terminal.number(), group.0 as i32) }).map(drop)
}

/// `tcgetattr(3)`.
pub(crate) fn modes(terminal: &Fd) -> Result<Termios, Errno> {
    let mut modes = Termios([0; 128]);
    // SAFETY: the structure is writable and has room for the system's.
    check(unsafe { libc::tcgetattr(terminal.number(), &raw mut modes) }).map(|_| modes)
}

/// `tcsetattr(3)`: at once. The forms that wait for output would wait for ever where it is held (Ctrl-S).
pub(crate) fn set_modes(terminal: &Fd, modes: &Termios) -> Result<(), Errno> {
    // SAFETY: the structure was filled in by `modes`.
    check(unsafe { libc::tcsetattr(terminal.number(), TCSANOW, modes) }).map(drop)
}

/// Opens the controlling terminal.
pub(crate) fn open_terminal() -> Result<Fd, Errno> {
    const TERMINAL: &CStr = c"/dev/tty";
    open(TERMINAL, O_RDWR)
}

/// What job control has done to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Stopped(u8),
    Continued,
}

/// Takes the news that this child was stopped or continued. The older of the two is overwritten.
pub(crate) fn change_of(child: Pid) -> Option<Change> {
    let mut info = WaitInfo::EMPTY;
    let options = WSTOPPED | WCONTINUED | WNOHANG;
    // SAFETY: the structure is writable and has room for the system's.
    check(unsafe { libc::waitid(P_PID, child.0, &raw mut info, options) }).ok()?;
    match info.code {
        _ if info.pid == 0 => None,
        CLD_STOPPED | CLD_TRAPPED => u8::try_from(info.status).ok().map(Change::Stopped),
        CLD_CONTINUED => Some(Change::Continued),
        _ => None,
    }
}

/// `setpgid(2)` on ourselves: into this group of the session, or into one of our own.
pub(crate) fn join_group(group: Option<Pid>) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::setpgid(0, group.map_or(0, |group| group.0 as i32)) }).map(drop)
}

/// There are no pidfds, and so none with a group.
pub(crate) fn signal_group_of(_: &Fd, _: i32) -> Result<(), Errno> {
    Err(Errno(ENOSYS))
}

/// Whether there is nobody in a group. Zombies may count.
pub(crate) fn is_empty_group(group: Pid) -> bool {
    super::calls::kill_group(group, 0) == Err(Errno(ESRCH))
}

pub(crate) fn origin() -> Pid {
    // SAFETY: no arguments, and it can't fail.
    Pid(unsafe { libc::getppid() } as u32)
}

/// The session of a living process.
pub(crate) fn session_of(pid: Pid) -> Option<u32> {
    // SAFETY: numbers only.
    check(unsafe { libc::getsid(pid.0 as i32) }).ok().map(|session| session as u32)
}
