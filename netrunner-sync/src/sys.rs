//! The few calls that rustix does not have or not in this form, each behind a safe face. Beside `poll` the only file
//! with `unsafe`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;

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

/// The session on a terminal, asked at its manager; `None` where there is none, or one that this process
/// can't see: that is the number 0, which `rustix` takes for impossible.
/// <https://man7.org/linux/man-pages/man3/tcgetsid.3.html>
pub(crate) fn session_on(manager: BorrowedFd<'_>) -> Option<u32> {
    // SAFETY: the call takes the number of a descriptor that is open.
    let session = unsafe { libc::tcgetsid(manager.as_raw_fd()) };
    u32::try_from(session).ok().filter(|&session| session > 0)
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

/// Runs `work` while this thread takes no signal; a thread that `work` starts never takes one.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set was filled in by an earlier `pthread_sigmask`.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
        }
    }

    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the first set and `pthread_sigmask` the second; both live
    // through the calls, which can't fail with these arguments.
    let before = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    };
    let _restore = Restore(before);
    work()
}

/// A value that all threads see, replaced as a whole and never freed.
///
/// No lock: a lock that another thread held at the moment of a `fork` stays locked for ever in the
/// copy.
pub(crate) struct Published<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync> Published<T> {
    pub(crate) const fn nothing() -> Published<T> {
        Published(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is null or came from `Box::leak` in `replace`, is never freed and
        // never lent mutably; the release there and the acquire here order its initialisation.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Publishes `new` in place of `old`, unless another thread was quicker: then what that one
    /// published is returned, and `new` is dropped.
    pub(crate) fn replace(&self, old: Option<&'static T>, new: T) -> &'static T {
        let old = old.map_or(ptr::null_mut(), |old| ptr::from_ref(old).cast_mut());
        let new = Box::into_raw(Box::new(new));
        match self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it came from `Box::into_raw`, and is leaked by being published.
            Ok(_) => unsafe { &*new },
            Err(published) => {
                // SAFETY: `new` came from `Box::into_raw` above and was not published; what was
                // published is not null, as only `replace` stores here, and see `get`.
                unsafe {
                    drop(Box::from_raw(new));
                    &*published
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_first_stays() {
        static VALUE: Published<String> = Published::nothing();
        assert!(VALUE.get().is_none());
        let first = VALUE.replace(None, "first".to_owned());
        assert_eq!(VALUE.replace(None, "late".to_owned()), first);
        assert_eq!(VALUE.replace(Some(first), "second".to_owned()), "second");
        assert_eq!(VALUE.get().unwrap(), "second");
    }

    #[test]
    fn what_the_peer_has_not_read_is_seen() {
        let (ours, theirs) = crate::lane::pair().unwrap();
        assert!(!is_unread(&ours));
        crate::lane::send(&ours, b"x", &[]).unwrap();
        assert!(is_unread(&ours));
        rustix::io::read(&theirs, &mut [0]).unwrap();
        assert!(!is_unread(&ours));
    }

    #[test]
    fn the_mask_is_as_before() {
        let mask = || {
            let mut now = MaybeUninit::uninit();
            // SAFETY: only reads the mask into a set that lives through the call.
            unsafe {
                libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), now.as_mut_ptr());
                let now = now.assume_init();
                libc::sigismember(&raw const now, libc::SIGTERM)
            }
        };
        assert_eq!(mask(), 0);
        let inside = with_signals_blocked(|| std::thread::spawn(mask).join().unwrap());
        assert_eq!(inside, 1);
        assert_eq!(mask(), 0);
    }
}
