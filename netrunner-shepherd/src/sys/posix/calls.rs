//! One thin, safe function per call: descriptors, processes, time. Signals are in [`signals`](super::signals).

use core::ffi::{CStr, c_int};
use core::ptr::null_mut;
use core::sync::atomic::AtomicU64;
use core::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::{Pid, Usage};

use super::abi::*;
use super::libc;

pub(crate) use super::signals::{
    block_signals, child_signals, fork, fork_without_signals, inherit_signals, reset_signal,
    take_signals,
};

/// The error number of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u16);

impl Errno {
    /// That of the call that has just failed.
    pub(super) fn last() -> Errno {
        // SAFETY: libc's own place for it, always readable.
        Errno(unsafe { *libc::errno_location() } as u16)
    }
}

/// Turns libc's answer into a result.
pub(super) fn check(result: c_int) -> Result<c_int, Errno> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// The same, of a call that counts bytes.
pub(super) fn count(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::last())
}

/// An open descriptor that is closed when it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fd(i32);

impl Fd {
    /// Takes over the descriptor `number`, which must be open and nobody else's.
    pub(crate) fn own(number: i32) -> Fd {
        Fd(number)
    }

    pub(crate) fn number(&self) -> i32 {
        self.0
    }

    /// Takes the descriptor out, in a process that uses `self` no more: a forked copy.
    pub(crate) fn take(&mut self) -> Fd {
        core::mem::replace(self, Fd(-1))
    }

    /// Another descriptor for the same file, at the lowest free number from `at_least`.
    pub(crate) fn duplicate(&self, at_least: i32) -> Result<Fd, Errno> {
        // SAFETY: numbers only.
        check(unsafe { libc::fcntl(self.0, F_DUPFD_CLOEXEC, at_least) }).map(Fd)
    }

    /// Closes it when a program is executed. There is one thread here, so nothing is executed in between.
    pub(super) fn close_on_exec(&self) -> Result<(), Errno> {
        // SAFETY: numbers only.
        check(unsafe { libc::fcntl(self.0, F_SETFD, FD_CLOEXEC) }).map(drop)
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the buffer is writable for its length.
        count(unsafe { libc::read(self.0, buffer.as_mut_ptr(), buffer.len()) })
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close_number(self.0);
    }
}

pub(crate) fn open(path: &CStr, flags: c_int) -> Result<Fd, Errno> {
    // SAFETY: the path ends with a NUL, and nothing is created, so that no mode is read.
    check(unsafe { libc::open(path.as_ptr(), flags | O_CLOEXEC) }).map(Fd)
}

/// `pipe(2)`: the reading end, then the writing end, both closed on exec.
pub(crate) fn pipe() -> Result<(Fd, Fd), Errno> {
    let mut ends = [-1; 2];
    // SAFETY: the array is writable and holds two numbers.
    check(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    let (read, write) = (Fd(ends[0]), Fd(ends[1]));
    read.close_on_exec()?;
    write.close_on_exec()?;
    Ok((read, write))
}

/// `dup2(2)` onto a fixed number that survives an exec.
pub(crate) fn duplicate_onto(from: &Fd, number: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::dup2(from.0, number) }).map(drop)
}

/// Closes a descriptor by number, which nobody else has.
pub(crate) fn close_number(number: i32) {
    // SAFETY: numbers only. There is nobody to tell of an error.
    unsafe { libc::close(number) };
}

/// `poll(2)` for so long; a signal or the end of that time is an empty answer. It may come back a
/// millisecond early or late, which the callers' clocks see.
pub(crate) fn poll(fds: &mut [Pollfd], wait: Option<Duration>) -> Result<(), Errno> {
    let millis = wait.map_or(-1, |wait| {
        c_int::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: the array is writable for its length.
    match check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as Count, millis) }) {
        Ok(_) => Ok(()),
        Err(Errno(EINTR)) => {
            fds.iter_mut().for_each(|fd| fd.revents = 0);
            Ok(())
        }
        Err(errno) => Err(errno),
    }
}

pub(crate) fn now() -> Time {
    let mut time = Timespec::default();
    // SAFETY: the structure is writable. This clock can't fail.
    unsafe { libc::clock_gettime(CLOCK_MONOTONIC, &raw mut time) };
    Time::from_nanos(time.seconds as u64 * 1_000_000_000 + time.nanos as u64)
}

pub(crate) fn own_pid() -> Pid {
    // SAFETY: no arguments, and it can't fail.
    Pid(unsafe { libc::getpid() } as u32)
}

/// Ends the process. Only `u8` of the code reaches whoever waits.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: nothing of libc is to be run at the end.
    unsafe { libc::_exit(code) }
}

pub(crate) fn set_session() -> Result<(), Errno> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// There are no subreapers: an orphan goes to the first process of the system, and what has left its
/// command's group is lost sight of then.
pub(crate) fn become_subreaper() -> Result<(), Errno> {
    Ok(())
}

/// What `ps` shows, where the process can say it. A name that is not set harms nothing.
pub(crate) fn set_name(name: &CStr) {
    #[cfg(target_os = "linux")]
    // SAFETY: the name ends with a NUL; the thread is the caller.
    unsafe {
        libc::pthread_setname_np(libc::pthread_self(), name.as_ptr())
    };
    #[cfg(target_os = "macos")]
    // SAFETY: the name ends with a NUL.
    unsafe {
        libc::pthread_setname_np(name.as_ptr())
    };
    #[cfg(target_os = "freebsd")]
    // SAFETY: the format takes one string, which ends with a NUL.
    unsafe {
        libc::setproctitle(c"-%s".as_ptr(), name.as_ptr())
    };
}

/// Sends a signal to one process. The caller makes sure that the number has not been reaped.
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::kill(pid.0 as c_int, signal) }).map(drop)
}

/// Sends a signal to a process group. The caller makes sure that it is not another's by now.
pub(crate) fn kill_group(leader: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::kill(-(leader.0 as c_int), signal) }).map(drop)
}

/// There are no pidfds.
pub(crate) fn open_pidfd(_: Pid) -> Result<Fd, Errno> {
    Err(Errno(ENOSYS))
}

/// The same, for those who can do without.
pub(crate) fn open_pidfd_if_any(_: Pid) -> Result<Option<Fd>, Errno> {
    Ok(None)
}

/// What there is to reap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    /// This one has ended and is not reaped.
    Ended(Pid),
    /// There are children, and none has ended.
    Alive,
    /// There are none. Of a tree that proves nothing here: orphans do not come to us.
    None,
}

/// Looks for an ended child without reaping it.
pub(crate) fn peek_children() -> Children {
    let mut info = WaitInfo::EMPTY;
    // SAFETY: the structure is writable and has room for the system's.
    let asked = unsafe { libc::waitid(P_ALL, 0, &raw mut info, WEXITED | WNOHANG | WNOWAIT) };
    match check(asked) {
        Ok(_) if info.pid > 0 => Children::Ended(Pid(info.pid as u32)),
        Err(Errno(ECHILD)) => Children::None,
        // With WNOHANG there is no EINTR, and the arguments are right: nothing has ended.
        Ok(_) | Err(_) => Children::Alive,
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) status: i32,
    pub(crate) usage: Usage,
}

/// Reaps this child if it has ended.
pub(crate) fn reap(pid: Pid) -> Option<Reaped> {
    wait(pid, WNOHANG).ok().flatten()
}

/// Reaps a child that is about to end, and waits for that.
pub(crate) fn reap_ending(pid: Pid) {
    while matches!(wait(pid, 0), Err(Errno(EINTR))) {}
}

fn wait(pid: Pid, options: c_int) -> Result<Option<Reaped>, Errno> {
    let (mut status, mut usage) = (0, Rusage::default());
    let pid = pid.0 as c_int;
    // SAFETY: both structures are writable.
    let reaped = check(unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) })?;
    Ok((reaped == pid).then(|| Reaped { status, usage: usage.into() }))
}

impl From<Rusage> for Usage {
    fn from(raw: Rusage) -> Usage {
        let duration = |time: Timeval| {
            Duration::new(time.seconds as u64, (time.micros as u32).saturating_mul(1000))
        };
        Usage {
            user: duration(raw.user),
            system: duration(raw.system),
            max_rss: (raw.max_rss as u64).saturating_mul(MAX_RSS_UNIT),
            minor_faults: raw.minor_faults as u64,
            major_faults: raw.major_faults as u64,
            voluntary_switches: raw.voluntary_switches as u64,
            involuntary_switches: raw.involuntary_switches as u64,
        }
    }
}

/// The process group of a living process.
pub(crate) fn group_of(pid: Pid) -> Option<Pid> {
    // SAFETY: numbers only.
    check(unsafe { libc::getpgid(pid.0 as c_int) }).ok().map(|group| Pid(group as u32))
}

/// Puts a child that has executed nothing into a group of its session.
pub(crate) fn set_group_of(child: Pid, group: Pid) -> Result<(), Errno> {
    // SAFETY: numbers only.
    check(unsafe { libc::setpgid(child.0 as c_int, group.0 as c_int) }).map(drop)
}

/// Memory that forked copies share: `count` words, all zero.
pub(crate) fn shared_words(count: usize) -> Result<&'static [AtomicU64], Errno> {
    let length = count * size_of::<AtomicU64>();
    let (protection, flags) = (PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON);
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing of ours.
    let start = unsafe { libc::mmap(null_mut(), length, protection, flags, -1, 0) };
    // MAP_FAILED.
    if start as isize == -1 {
        return Err(Errno::last());
    }
    // SAFETY: the mapping is page-aligned, zeroed, of that length, and never unmapped.
    Ok(unsafe { core::slice::from_raw_parts(start.cast(), count) })
}
