//! Terminals and job control: modes, the foreground group, stops, groups.

use core::ffi::CStr;

use netrunner_core::message::Pid;

use super::abi::*;
use super::arch::syscall;
use super::calls::{Errno, Fd, check, open, plain};

/// `TIOCGPGRP`: the group in the foreground of the caller's controlling terminal; any other file is
/// an error. Where there is no such group any more, the kernel still has its number.
pub(crate) fn foreground(terminal: &Fd) -> Result<Pid, Errno> {
    let mut group = 0_i32;
    let arguments = [terminal.number() as usize, TIOCGPGRP, &raw mut group as usize, 0, 0, 0];
    // SAFETY: the number is writable.
    check(unsafe { syscall(NR_IOCTL, arguments) })?;
    // 0 is a terminal without one, or one of another pid namespace.
    u32::try_from(group).ok().filter(|&group| group > 0).map(Pid).ok_or(Errno(ESRCH))
}

/// `TIOCSPGRP`. From the background it needs SIGTTOU blocked, as it always is here.
pub(crate) fn set_foreground(terminal: &Fd, group: Pid) -> Result<(), Errno> {
    let group = group.0 as i32;
    let arguments = [terminal.number() as usize, TIOCSPGRP, &raw const group as usize, 0, 0, 0];
    // SAFETY: the number is readable.
    check(unsafe { syscall(NR_IOCTL, arguments) }).map(drop)
}

/// `TCGETS2` (Linux 2.6.20): the modes, with speeds of any number.
pub(crate) fn modes(terminal: &Fd) -> Result<Termios, Errno> {
    let mut modes = Termios::default();
    let arguments = [terminal.number() as usize, TCGETS2, &raw mut modes as usize, 0, 0, 0];
    // SAFETY: the structure is the kernel's, and writable.
    check(unsafe { syscall(NR_IOCTL, arguments) }).map(|_| modes)
}

/// `TCSETS2`: at once. The forms that wait for output would wait for ever where it is held (Ctrl-S).
pub(crate) fn set_modes(terminal: &Fd, modes: &Termios) -> Result<(), Errno> {
    let arguments =
        [terminal.number() as usize, TCSETS2, core::ptr::from_ref(modes) as usize, 0, 0, 0];
    // SAFETY: the structure is the kernel's, and readable.
    check(unsafe { syscall(NR_IOCTL, arguments) }).map(drop)
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
    let mut info = WaitInfo { signal: 0, errno: 0, code: 0, padding: 0, pid: 0, rest: [0; 27] };
    let flags = (WSTOPPED | WCONTINUED | WNOHANG) as usize;
    let arguments = [P_PID as usize, child.0 as usize, &raw mut info as usize, flags, 0, 0];
    // SAFETY: the structure is writable and of the kernel's size.
    check(unsafe { syscall(NR_WAITID, arguments) }).ok()?;
    match info.code {
        _ if info.pid == 0 => None,
        CLD_STOPPED | CLD_TRAPPED => u8::try_from(info.status()).ok().map(Change::Stopped),
        CLD_CONTINUED => Some(Change::Continued),
        _ => None,
    }
}

/// `setpgid(2)` on ourselves: into this group of the session, or into one of our own.
pub(crate) fn join_group(group: Option<Pid>) -> Result<(), Errno> {
    plain(NR_SETPGID, [0, group.map_or(0, |group| group.0 as usize), 0, 0, 0, 0]).map(drop)
}

/// Sends a signal to the group of the process behind a pidfd (`PIDFD_SIGNAL_PROCESS_GROUP`, Linux
/// 6.9), whatever has become of the group's number.
pub(crate) fn signal_group_of(pidfd: &Fd, signal: i32) -> Result<(), Errno> {
    let flags = PIDFD_SIGNAL_PROCESS_GROUP;
    plain(NR_PIDFD_SEND_SIGNAL, [pidfd.number() as usize, signal as usize, 0, flags, 0, 0])
        .map(drop)
}

/// Whether there is nobody in a group.
pub(crate) fn is_empty_group(group: Pid) -> bool {
    super::calls::kill_group(group, 0) == Err(Errno(ESRCH))
}

pub(crate) fn origin() -> Pid {
    // It can't fail; 0 is one outside our pid namespace.
    Pid(plain(NR_GETPPID, [0; 6]).unwrap_or(0) as u32)
}

/// The session of a living process.
pub(crate) fn session_of(pid: Pid) -> Option<u32> {
    plain(NR_GETSID, [pid.0 as usize, 0, 0, 0, 0, 0]).ok().map(|session| session as u32)
}
