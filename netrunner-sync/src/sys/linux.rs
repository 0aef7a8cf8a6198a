//! Calls that only Linux has, or has in this form.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::fs::{AtFlags, CWD, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::pipe::{PipeFlags, pipe_with};

/// Real, effective and saved number.
pub(crate) type Three = (u32, u32, u32);

/// `getresuid(2)`.
pub(crate) fn user_ids() -> Three {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: the call writes to three integers that live through it. It fails only with EFAULT.
    unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) };
    (real, effective, saved)
}

/// `getresgid(2)`.
pub(crate) fn group_ids() -> Three {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: as in `user_ids`.
    unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) };
    (real, effective, saved)
}

/// Whether the program runs with privileges that its caller does not have (`AT_SECURE`).
pub(crate) fn is_privileged_by_exec() -> bool {
    // SAFETY: reads one number from the auxiliary vector, which libc holds.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// SIGKILL to the whole group of the process behind a pidfd, or, before Linux 6.9, to the process.
/// <https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html>
pub(crate) fn kill_group_of(pidfd: BorrowedFd<'_>) {
    const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
    for flags in [PIDFD_SIGNAL_PROCESS_GROUP, 0] {
        let no_info = ptr::null::<libc::siginfo_t>();
        // SAFETY: the call takes a descriptor that is borrowed through it, three plain values, and
        // no pointer to read from.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                pidfd.as_raw_fd(),
                libc::SIGKILL,
                no_info,
                flags,
            )
        };
        let unknown = sent == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL);
        if !unknown {
            return;
        }
    }
}

fn answer(result: libc::c_long) -> rustix::io::Result<()> {
    let failed = || rustix::io::Errno::from_io_error(&io::Error::last_os_error());
    if result == -1 { Err(failed().unwrap_or(rustix::io::Errno::IO)) } else { Ok(()) }
}

/// `pidfd_send_signal(2)` with no signal: only asks.
pub(crate) fn ask_pidfd(pidfd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a descriptor that is borrowed through the call, plain values, no pointer to read from.
    answer(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, no_info, 0) })
}

/// `close_range(2)` of a number that no descriptor has.
pub(crate) fn try_close_range() -> rustix::io::Result<()> {
    let (none, no_flags): (libc::c_uint, libc::c_uint) = (libc::c_uint::MAX, 0);
    // SAFETY: plain numbers, and nothing is open in this range: descriptors are below `INT_MAX`.
    answer(unsafe { libc::syscall(libc::SYS_close_range, none, none, no_flags) })
}

/// `clone3(2)` with arguments of no length, which it refuses before it does anything (`EINVAL`).
pub(crate) fn try_clone3() -> rustix::io::Result<()> {
    let no_arguments = ptr::null::<u64>();
    // SAFETY: the size is 0, so nothing is read, and no process is made.
    match answer(unsafe { libc::syscall(libc::SYS_clone3, no_arguments, 0_usize) }) {
        Err(rustix::io::Errno::INVAL) => Ok(()),
        result => result,
    }
}

/// `unshare(2)` with a flag beside this one that it never takes, so that it does nothing (`EINVAL`).
pub(crate) fn try_unshare(flag: libc::c_int) -> rustix::io::Result<()> {
    // SAFETY: plain numbers. Linux looks at the flags before anything else, and knows this one as
    // one of `clone` alone.
    answer(unsafe { libc::unshare(flag | libc::CLONE_VFORK) }.into())
}

/// The numbers of the process behind a pidfd and of its parent (`PIDFD_GET_INFO`, Linux 6.13).
/// <https://man7.org/linux/man-pages/man2/PIDFD_GET_INFO.2const.html>
pub(crate) fn pidfd_kin(pidfd: BorrowedFd<'_>) -> Result<(u32, u32), Errno> {
    /// The first 64 bytes of `struct pidfd_info`, which is what the size in the request stands for.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        pid: u32,
        group: u32,
        parent: u32,
        rest: [u32; 9],
    }
    const { assert!(size_of::<Info>() == 64) };
    const PIDFD_INFO_PID: u64 = 1;
    const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;
    let mut info = Info { mask: PIDFD_INFO_PID, ..Info::default() };
    // SAFETY: the request reads and writes the 64 bytes that its number says, which live through the
    // call.
    let asked = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    answer(asked.into())?;
    let known = info.mask & PIDFD_INFO_PID != 0;
    if known { Ok((info.group, info.parent)) } else { Err(Errno::NOSYS) }
}

/// Whether the peer of a socket has left something unread that was sent to it (`SIOCOUTQ`,
/// `unix(7)`).
pub(crate) fn is_unread(socket: &OwnedFd) -> bool {
    let mut unread: libc::c_int = 0;
    // SAFETY: this request writes one `int`, which lives through the call.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
    asked == 0 && unread > 0
}

/// Both ends of a new pipe, the reading one first.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// Gives a pipe room for so many bytes. A user without privileges has a limit for the sum of all pipes: then
/// it stays as it is.
pub(crate) fn widen(pipe: &OwnedFd, room: usize) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, room);
}

/// Both ends of a new socket: at the first the kernel names every sender.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before the other end is anybody else's.
    sockopt::set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

/// How words are sent: without waiting, and without a SIGPIPE, with which the client may do as it likes.
pub(crate) const SILENT: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// A socket of the network whose calls do not wait.
pub(crate) fn stream_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

/// How a directory is opened to be passed on: it need not be readable.
pub(crate) const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What the current directory is, for the descriptor's own sake: `stat(".")` fails in a directory that can't be
/// searched.
pub(crate) fn current_directory() -> rustix::io::Result<Stat> {
    rustix::fs::statat(CWD, "", AtFlags::EMPTY_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_peer_has_not_read_is_seen() {
        let (ours, theirs) = crate::lane::pair().unwrap();
        assert!(!is_unread(&ours));
        crate::lane::send(&ours, b"x", &[]).unwrap();
        assert!(is_unread(&ours));
        rustix::io::read(&theirs, &mut [0]).unwrap();
        assert!(!is_unread(&ours));
    }
}
