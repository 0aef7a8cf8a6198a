//! What the command line needs from the system and rustix has no safe call for: the signal mask,
//! waiting for a signal, and owning a descriptor that came through exec. The `unsafe` of this
//! command is here and nowhere else.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::FdFlags;

/// Every signal that a process can hold back, blocked in this thread and in those it starts.
#[derive(Clone, Copy)]
pub(crate) struct Blocked(libc::sigset_t);

/// A signal that was taken from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Its number.
    pub(crate) number: i32,
    /// Whether a process sent it; otherwise the kernel or the terminal did.
    pub(crate) sent: bool,
    /// Which process sent it.
    pub(crate) sender: Option<u32>,
}

impl Blocked {
    /// pthread_sigmask(3): blocks them all. To be called before there is a second thread, since
    /// a thread that has one unblocked is where the kernel delivers it.
    pub(crate) fn all() -> io::Result<Blocked> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset(3) makes a valid set of the memory that it is given.
        let set: libc::sigset_t = unsafe {
            libc::sigfillset(set.as_mut_ptr());
            set.assume_init()
        };
        // SAFETY: `set` is a valid set for the duration of the call; the old one is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
            0 => Ok(Blocked(set)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// The same for some, by number.
    pub(crate) fn these(numbers: &[i32]) -> io::Result<Blocked> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset(3) makes a valid set of the memory that it is given, to which
        // sigaddset(3) adds; a number that it does not know it refuses.
        let set: libc::sigset_t = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for &number in numbers {
                libc::sigaddset(set.as_mut_ptr(), number);
            }
            set.assume_init()
        };
        // SAFETY: as in `all`.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } {
            0 => Ok(Blocked(set)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// sigwaitinfo(2): takes the next one.
    #[cfg(not(target_vendor = "apple"))]
    pub(crate) fn take(&self) -> io::Result<Taken> {
        let mut info = MaybeUninit::uninit();
        loop {
            // SAFETY: `self.0` was made by sigfillset(3) and `info` has room for one siginfo_t.
            let number = unsafe { libc::sigwaitinfo(&self.0, info.as_mut_ptr()) };
            if number > 0 {
                // SAFETY: sigwaitinfo(2) filled it, since it returned a signal.
                let info: libc::siginfo_t = unsafe { info.assume_init() };
                // 0 and below: kill(2), sigqueue(3) and the like; above: the kernel.
                let sent = info.si_code <= 0;
                // SAFETY: what kill(2) and its like send has this field.
                let sender = sent.then(|| unsafe { info.si_pid() });
                let sender = sender.and_then(|pid| u32::try_from(pid).ok());
                return Ok(Taken { number, sent, sender });
            }
            // EINTR: this process was stopped and goes on.
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// sigwait(3): takes the next one. Who has sent it is not told; that anybody has is taken for granted.
    #[cfg(target_vendor = "apple")]
    pub(crate) fn take(&self) -> io::Result<Taken> {
        let mut number = 0;
        // SAFETY: `self.0` is a valid set, and there is room for the number.
        match unsafe { libc::sigwait(&self.0, &raw mut number) } {
            0 => Ok(Taken { number, sent: true, sender: None }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// sigaction(2): whether a signal is ignored, as under nohup(1).
pub(crate) fn is_ignored(number: i32) -> bool {
    let mut action = MaybeUninit::uninit();
    // SAFETY: no action is given, and there is room for the one that is asked for.
    let asked = unsafe { libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: sigaction(2) has filled it, since it did not fail.
    asked == 0 && unsafe { action.assume_init().sa_sigaction } == libc::SIG_IGN
}

/// Asks something of `number` if it came open through exec. What this process opens itself is
/// close-on-exec, so it is never mistaken for one.
fn ask_inherited<T>(number: RawFd, ask: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
    if number < 0 {
        return None;
    }
    // SAFETY: it is not -1. A number that is not open makes fcntl(F_GETFD) fail with EBADF, and
    // `ask` then does not run; nothing closes it meanwhile, since only `take_inherited` does and
    // no other thread runs yet.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(descriptor).ok()?;
    (!flags.contains(FdFlags::CLOEXEC)).then(|| ask(descriptor))
}

/// Whether `number` came open through exec and is a pipe.
pub(crate) fn is_inherited_pipe(number: RawFd) -> bool {
    let is_pipe = |descriptor: BorrowedFd<'_>| {
        let mode = rustix::fs::fstat(descriptor).map_or(0, |stat| stat.st_mode);
        rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Fifo
    };
    ask_inherited(number, is_pipe) == Some(true)
}

/// Takes `number` over if it came open through exec. Afterwards it is close-on-exec, so that a
/// second take of it gives nothing.
pub(crate) fn take_inherited(number: RawFd) -> Option<OwnedFd> {
    if number <= 2 {
        return None;
    }
    ask_inherited(number, |_| ())?;
    // SAFETY: it is open, and nobody here owns it: it is not one of the standard streams, and all
    // else that this process owns is close-on-exec.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    // It can only fail for a descriptor that is not open.
    rustix::io::fcntl_setfd(&owned, FdFlags::CLOEXEC).ok()?;
    Some(owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn real_time_signals_are_taken_as_often_as_they_were_sent() {
        // In a thread of its own, which alone gets what raise(3) sends.
        let taken = std::thread::spawn(|| {
            let blocked = Blocked::all().unwrap();
            let numbers = [libc::SIGRTMIN() + 5, libc::SIGRTMAX(), libc::SIGRTMIN() + 5];
            for number in numbers {
                // SAFETY: the signal is blocked in this thread, so no handler runs.
                assert_eq!(unsafe { libc::raise(number) }, 0);
            }
            numbers.map(|_| blocked.take().unwrap())
        });
        let sender = Some(std::process::id());
        let sent = |number| Taken { number, sent: true, sender };
        // The lowest first, as signal(7) says.
        let (low, high) = (sent(libc::SIGRTMIN() + 5), sent(libc::SIGRTMAX()));
        assert_eq!(taken.join().unwrap(), [low, low, high]);
    }

    #[test]
    fn a_descriptor_is_taken_once_and_only_if_it_was_inherited() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let own = rustix::io::fcntl_dupfd_cloexec(&read, 3).unwrap();
        assert!(take_inherited(own.as_raw_fd()).is_none());
        assert!(take_inherited(0).is_none() && take_inherited(-1).is_none());

        let number = write.into_raw_fd();
        assert!(is_inherited_pipe(number));
        let taken = take_inherited(number).unwrap();
        assert!(take_inherited(number).is_none());
        drop(taken);
        let mut byte = [0];
        assert_eq!(rustix::io::read(&read, &mut byte), Ok(0), "no copy is left");
    }
}
