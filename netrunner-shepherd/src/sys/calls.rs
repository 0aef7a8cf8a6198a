//! One thin, safe function per system call: descriptors, processes, signals, time.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::{Pid, Usage};

use super::abi::*;
use super::arch::syscall;

/// The error number of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u16);

/// Turns the kernel's answer into a result.
pub(super) fn check(result: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) { Err(Errno(-result as u16)) } else { Ok(result as usize) }
}

/// A call whose arguments are numbers: it reads and writes no memory of ours.
pub(super) fn plain(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: every caller in this folder passes numbers, no pointers.
    check(unsafe { syscall(number, arguments) })
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
        let arguments = [self.0 as usize, F_DUPFD_CLOEXEC as usize, at_least as usize, 0, 0, 0];
        plain(NR_FCNTL, arguments).map(|number| Fd(number as i32))
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let arguments = [self.0 as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
        // SAFETY: the buffer is writable for its length.
        check(unsafe { syscall(NR_READ, arguments) })
    }

    /// The entries of a directory, in the kernel's packing.
    pub(crate) fn read_directory(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let arguments = [self.0 as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
        // SAFETY: the buffer is writable for its length.
        check(unsafe { syscall(NR_GETDENTS64, arguments) })
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // close(2) on Linux frees the number whatever it returns; there is nobody to tell.
        let _ = plain(NR_CLOSE, [self.0 as usize, 0, 0, 0, 0, 0]);
    }
}

pub(crate) fn open(path: &CStr, flags: i32) -> Result<Fd, Errno> {
    let flags = (flags | O_CLOEXEC) as usize;
    // SAFETY: the path ends with a NUL.
    let result =
        unsafe { syscall(NR_OPENAT, [AT_FDCWD as usize, path.as_ptr() as usize, flags, 0, 0, 0]) };
    check(result).map(|number| Fd(number as i32))
}

/// `pipe2(2)`: the reading end, then the writing end.
pub(crate) fn pipe() -> Result<(Fd, Fd), Errno> {
    let mut ends = [-1_i32; 2];
    let arguments = [&raw mut ends as usize, O_CLOEXEC as usize, 0, 0, 0, 0];
    // SAFETY: the array is writable and holds two numbers.
    check(unsafe { syscall(NR_PIPE2, arguments) })?;
    Ok((Fd(ends[0]), Fd(ends[1])))
}

/// `dup3(2)` onto a fixed number that survives an exec.
pub(crate) fn duplicate_onto(from: &Fd, number: i32) -> Result<(), Errno> {
    plain(NR_DUP3, [from.0 as usize, number as usize, 0, 0, 0, 0]).map(drop)
}

/// Closes every descriptor from `first` to `last` (Linux 5.9).
pub(crate) fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    plain(NR_CLOSE_RANGE, [first as usize, last as usize, 0, 0, 0, 0]).map(drop)
}

/// Closes a descriptor by number, which nobody else has.
pub(crate) fn close_number(number: i32) {
    drop(Fd(number));
}

/// `poll(2)` for so long; a signal or the end of that time is an empty answer.
pub(crate) fn poll(fds: &mut [Pollfd], wait: Option<Duration>) -> Result<(), Errno> {
    let wait = wait.map(Timespec::from);
    let wait = wait.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let arguments = [fds.as_mut_ptr() as usize, fds.len(), wait as usize, 0, 0, 0];
    // SAFETY: the array is writable for its length, the time is readable or null.
    match check(unsafe { syscall(NR_PPOLL, arguments) }) {
        Ok(_) => Ok(()),
        Err(Errno(EINTR)) => {
            fds.iter_mut().for_each(|fd| fd.revents = 0);
            Ok(())
        }
        Err(errno) => Err(errno),
    }
}

/// Sleeps while the word has this value, for so long at most; false if that can't be (`futex(2)`). What wakes is
/// `CLONE_CHILD_CLEARTID`, by the address alone: so the word is not told to be private.
pub(crate) fn sleep_while(word: &AtomicU32, value: u32, time: Duration) -> bool {
    let time = Timespec::from(time);
    let (time, wait) = (core::ptr::from_ref(&time) as usize, FUTEX_WAIT as usize);
    // SAFETY: the word and the time are readable.
    let slept = check(unsafe {
        syscall(NR_FUTEX, [word.as_ptr() as usize, wait, value as usize, time, 0, 0])
    });
    matches!(slept, Ok(_) | Err(Errno(EAGAIN | EINTR | ETIMEDOUT)))
}

pub(crate) fn now() -> Time {
    let mut time = Timespec::default();
    let arguments = [CLOCK_MONOTONIC as usize, &raw mut time as usize, 0, 0, 0, 0];
    // SAFETY: the structure is writable. This clock can't fail.
    let _ = unsafe { syscall(NR_CLOCK_GETTIME, arguments) };
    Time::from_nanos(time.seconds as u64 * 1_000_000_000 + time.nanos as u64)
}

pub(crate) fn own_pid() -> Pid {
    Pid(plain(NR_GETPID, [0; 6]).unwrap_or(0) as u32)
}

/// Ends the process. Only `u8` of the code reaches whoever waits.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        let _ = plain(NR_EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]);
    }
}

/// `fork(2)`: true in the child.
///
/// The shepherd's processes have one thread, so a fork is a whole copy.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    match plain(NR_CLONE, [SIGCHLD as usize, 0, 0, 0, 0, 0])? {
        0 => Ok(None),
        pid => Ok(Some(Pid(pid as u32))),
    }
}

/// A fork whose parent is the caller's own (`CLONE_PARENT`). It lives in the PID namespace that the caller has
/// made for its children, if it has made one. True in the child. Its number, as the caller's namespace has it, is
/// in the word before it runs (`CLONE_PARENT_SETTID`): a caller that is killed meanwhile leaves nobody unknown.
pub(crate) fn fork_sibling(number: &'static AtomicU64) -> Result<bool, Errno> {
    let flags = SIGCHLD as usize | CLONE_PARENT | CLONE_PARENT_SETTID;
    let arguments = [flags, 0, number.as_ptr() as usize, 0, 0, 0];
    // SAFETY: the kernel writes 32 bits there, the lower half of the word on both architectures, and the word
    // lives for ever. Without a stack of its own the child goes on with a copy of ours, as after a fork.
    check(unsafe { syscall(NR_CLONE, arguments) }).map(|pid| pid == 0)
}

/// `unshare(2)`.
pub(crate) fn unshare(flags: usize) -> Result<(), Errno> {
    plain(NR_UNSHARE, [flags, 0, 0, 0, 0, 0]).map(drop)
}

/// `mount(2)` without options of the file system.
pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: usize) -> Result<(), Errno> {
    let [source, target, kind] = [source, target, kind].map(|text| text.as_ptr() as usize);
    // SAFETY: the strings end with a NUL, and no options are read.
    check(unsafe { syscall(NR_MOUNT, [source, target, kind, flags, 0, 0]) }).map(drop)
}

/// `geteuid(2)` and `getegid(2)`, which can't fail.
pub(crate) fn effective_ids() -> (u32, u32) {
    let ask = |call| plain(call, [0; 6]).unwrap_or(0) as u32;
    (ask(NR_GETEUID), ask(NR_GETEGID))
}

/// `PR_SET_PDEATHSIG`: this process is killed when its parent ends.
pub(crate) fn arm_parent_death() -> Result<(), Errno> {
    plain(NR_PRCTL, [PR_SET_PDEATHSIG as usize, SIGKILL as usize, 0, 0, 0, 0]).map(drop)
}

pub(crate) fn set_session() -> Result<(), Errno> {
    plain(NR_SETSID, [0; 6]).map(drop)
}

/// `PR_SET_CHILD_SUBREAPER` (Linux 3.4): orphaned descendants become children of this process.
pub(crate) fn become_subreaper() -> Result<(), Errno> {
    plain(NR_PRCTL, [PR_SET_CHILD_SUBREAPER as usize, 1, 0, 0, 0, 0]).map(drop)
}

/// `PR_SET_NAME`: what `ps` shows, at most 15 bytes.
pub(crate) fn set_name(name: &CStr) {
    let arguments = [PR_SET_NAME as usize, name.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the name ends with a NUL. A name that is not set harms nothing.
    let _ = unsafe { syscall(NR_PRCTL, arguments) };
}

/// Sends a signal to one process. The caller makes sure that the number has not been reaped.
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    plain(NR_KILL, [pid.0 as usize, signal as usize, 0, 0, 0, 0]).map(drop)
}

/// Sends a signal to a process group. The caller makes sure that its leader has not been reaped.
pub(crate) fn kill_group(leader: Pid, signal: i32) -> Result<(), Errno> {
    let group = (-(leader.0 as i32)) as usize;
    plain(NR_KILL, [group, signal as usize, 0, 0, 0, 0]).map(drop)
}

/// Sends a signal to everybody in the caller's PID namespace but itself and its first process (`kill(2)`, -1).
/// It is for that first process alone.
pub(crate) fn kill_everybody(signal: i32) {
    // It fails where there is nobody.
    let _ = plain(NR_KILL, [usize::MAX, signal as usize, 0, 0, 0, 0]);
}

pub(crate) fn open_pidfd(pid: Pid) -> Result<Fd, Errno> {
    plain(NR_PIDFD_OPEN, [pid.0 as usize, 0, 0, 0, 0, 0]).map(|number| Fd(number as i32))
}

/// Whether `pidfd_open` was refused for good: it is not asked again for each of the thousands that the walks
/// through a storm meet.
static NO_PIDFDS: AtomicBool = AtomicBool::new(false);

/// The same, if the kernel has pidfds (Linux 5.3) and no filter denies them.
pub(crate) fn open_pidfd_if_any(pid: Pid) -> Result<Option<Fd>, Errno> {
    if NO_PIDFDS.load(Ordering::Relaxed) {
        return Ok(None);
    }
    match open_pidfd(pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno(ENOSYS | EPERM)) => {
            NO_PIDFDS.store(true, Ordering::Relaxed);
            Ok(None)
        }
        Err(errno) => Err(errno),
    }
}

/// `pidfd_send_signal(2)`; signal 0 asks whether the process has been reaped.
pub(crate) fn signal_pidfd(pidfd: &Fd, signal: i32) -> Result<(), Errno> {
    let arguments = [pidfd.0 as usize, signal as usize, 0, 0, 0, 0];
    plain(NR_PIDFD_SEND_SIGNAL, arguments).map(drop)
}

/// What there is to reap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    /// This one has ended and is not reaped.
    Ended(Pid),
    /// There are children, and none has ended.
    Alive,
    /// There are none: the proof that nothing of a tree is left, since every orphan below comes here.
    None,
}

/// Looks for an ended child without reaping it.
pub(crate) fn peek_children() -> Children {
    let mut info = WaitInfo { signal: 0, errno: 0, code: 0, padding: 0, pid: 0, rest: [0; 27] };
    let flags = (WEXITED | WNOHANG | WNOWAIT) as usize;
    let arguments = [P_ALL as usize, 0, &raw mut info as usize, flags, 0, 0];
    // SAFETY: the structure is writable and of the kernel's size.
    match check(unsafe { syscall(NR_WAITID, arguments) }) {
        Ok(_) if info.pid > 0 => Children::Ended(Pid(info.pid as u32)),
        Err(Errno(ECHILD)) => Children::None,
        // With WNOHANG there is no EINTR, and the arguments are right: nothing has ended.
        Ok(_) | Err(_) => Children::Alive,
    }
}

/// Whether there is a child that has not ended.
///
/// Asked for stopped children alone, `waitid(2)` answers `ECHILD` where there is nobody who could
/// still stop, so zombies don't count. A kernel that answered otherwise would only cost a longer look.
pub(crate) fn some_child_lives() -> bool {
    let flags = (WSTOPPED | WNOHANG | WNOWAIT) as usize;
    plain(NR_WAITID, [P_ALL as usize, 0, 0, flags, 0, 0]) != Err(Errno(ECHILD))
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) status: i32,
    pub(crate) usage: Usage,
}

/// Reaps this child if it has ended.
pub(crate) fn reap(pid: Pid) -> Option<Reaped> {
    let (mut status, mut usage) = (0_i32, Rusage::default());
    let arguments =
        [pid.0 as usize, &raw mut status as usize, WNOHANG as usize, &raw mut usage as usize, 0, 0];
    // SAFETY: both structures are writable.
    match check(unsafe { syscall(NR_WAIT4, arguments) }) {
        Ok(reaped) if reaped == pid.0 as usize => Some(Reaped { status, usage: usage.into() }),
        // Not ended, or no child of ours.
        Ok(_) | Err(_) => None,
    }
}

/// Reaps a child that is about to end, and waits for that.
pub(crate) fn reap_ending(pid: Pid) {
    let arguments = [pid.0 as usize, 0, 0, 0, 0, 0];
    while plain(NR_WAIT4, arguments) == Err(Errno(EINTR)) {}
}

impl From<Duration> for Timespec {
    fn from(time: Duration) -> Timespec {
        Timespec { seconds: time.as_secs() as i64, nanos: i64::from(time.subsec_nanos()) }
    }
}

impl From<Rusage> for Usage {
    fn from(raw: Rusage) -> Usage {
        let duration = |time: Timeval| {
            Duration::new(time.seconds as u64, (time.micros as u32).saturating_mul(1000))
        };
        Usage {
            user: duration(raw.user),
            system: duration(raw.system),
            max_rss: (raw.max_rss as u64).saturating_mul(1024),
            minor_faults: raw.minor_faults as u64,
            major_faults: raw.major_faults as u64,
            voluntary_switches: raw.voluntary_switches as u64,
            involuntary_switches: raw.involuntary_switches as u64,
        }
    }
}

/// The process group of a living process.
pub(crate) fn group_of(pid: Pid) -> Option<Pid> {
    plain(NR_GETPGID, [pid.0 as usize, 0, 0, 0, 0, 0]).ok().map(|group| Pid(group as u32))
}

/// Blocks every signal that can be blocked, for good: the shepherd reads `SIGCHLD` from a
/// descriptor, and a stray `SIGTERM` must not end the one process that cleans up.
pub(crate) fn block_signals() -> Result<(), Errno> {
    let all = u64::MAX;
    let arguments = [SIG_SETMASK as usize, &raw const all as usize, 0, 8, 0, 0];
    // SAFETY: the set is readable, eight bytes as the kernel wants it.
    check(unsafe { syscall(NR_RT_SIGPROCMASK, arguments) }).map(drop)
}

/// Gives a signal its default disposition and says whether it was ignored.
pub(crate) fn reset_signal(signal: i32) -> bool {
    let (new, mut old) = (Sigaction::default(), Sigaction::default());
    let arguments = [signal as usize, &raw const new as usize, &raw mut old as usize, 8, 0, 0];
    // SAFETY: both structures are the kernel's; SIG_DFL needs no restorer.
    let result = unsafe { syscall(NR_RT_SIGACTION, arguments) };
    result == 0 && old.action == SIG_IGN
}

/// A descriptor from which `SIGCHLD` and `SIGCONT` are read. After a fork it serves the copy that
/// reads it.
pub(crate) fn child_signals() -> Result<Fd, Errno> {
    let mask: u64 = 1 << (SIGCHLD - 1) | 1 << (SIGCONT - 1);
    let flags = (SFD_CLOEXEC | SFD_NONBLOCK) as usize;
    let arguments = [usize::MAX, &raw const mask as usize, 8, flags, 0, 0];
    // SAFETY: the set is readable, eight bytes as the kernel wants it.
    check(unsafe { syscall(NR_SIGNALFD4, arguments) }).map(|number| Fd(number as i32))
}

/// What a forked copy reads its signals from: the same.
pub(crate) fn inherit_signals(origins: Fd) -> Result<Fd, Errno> {
    Ok(origins)
}

/// Takes the signals that have come, and says whether `SIGCONT` was among them. There are at most two, as a
/// pending one swallows the next of its kind: 128 bytes for each, its number first (`signalfd(2)`).
pub(crate) fn take_signals(signals: &Fd) -> bool {
    let mut taken = [0; 256];
    let length = signals.read(&mut taken).unwrap_or(0);
    taken[..length].chunks(128).any(|info| i32::from(info[0]) == SIGCONT)
}

/// What one page table of the lowest level covers.
const SPAN: usize = 2 << 20;

/// Stands among the program's data.
static NEAR_DATA: AtomicU64 = AtomicU64::new(0);

/// Memory that forked copies share: `count` words, all zero.
pub(crate) fn shared_words(count: usize) -> Result<&'static [AtomicU64], Errno> {
    let length = count * size_of::<AtomicU64>();
    let protection = (PROT_READ | PROT_WRITE) as usize;
    let flags = (MAP_SHARED | MAP_ANONYMOUS) as usize;
    // Near the program's data where there is room, for the sake of the page tables, which every forked
    // copy has for itself: one of the lowest level covers 2 MiB.
    let hint = (&raw const NEAR_DATA as usize & !(SPAN - 1)) + SPAN / 2;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing of ours.
    let start =
        check(unsafe { syscall(NR_MMAP, [hint, length, protection, flags, usize::MAX, 0]) })?;
    // SAFETY: the mapping is page-aligned, zeroed, of that length, and never unmapped.
    Ok(unsafe { core::slice::from_raw_parts(start as *const AtomicU64, count) })
}

/// The whole of a small file, up to the buffer's length.
pub(crate) fn read_file<'b>(path: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let file = open(path, O_RDONLY)?;
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno(EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(&buffer[..length])
}

/// The whole of a file of any length, which must not be a link.
///
/// Beside the files of cgroups only `children` files are opened in this way, which is how the tests'
/// filter tells them from the many others without looking at each (`tests/src/lacks.rs`).
pub(crate) fn read_long_file(path: &CStr) -> Result<Vec<u8>, Errno> {
    read_all(&open(path, O_RDONLY | O_NOFOLLOW)?)
}

/// What an open file still has.
pub(crate) fn read_all(file: &Fd) -> Result<Vec<u8>, Errno> {
    let mut content = alloc::vec![0; 1024];
    let mut length = 0;
    loop {
        if length == content.len() {
            content.resize(length * 2, 0);
        }
        match file.read(&mut content[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno(EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
    content.truncate(length);
    Ok(content)
}
