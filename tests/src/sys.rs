//! System calls that std has no form of. The one file of the tests with `unsafe`.
//!
//! The puppet is single-threaded wherever it forks, so that its copies may run ordinary Rust code.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{PidfdFlags, getpid, pidfd_open};

// What musl's header and glibc's call differently.
#[cfg(not(target_env = "musl"))]
use libc::{__rlimit_resource_t as LimitNumber, c_uint as TraceRequest};
#[cfg(target_env = "musl")]
use libc::{c_int as LimitNumber, c_int as TraceRequest};

/// Which side of a fork goes on here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The new process.
    Copy,
    /// The process that forked, with the number of the new one.
    Origin(u32),
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// fork(2), without any handler of a library. The copy keeps what is left of the alarm.
pub fn fork() -> io::Result<Forked> {
    // A fork clears the alarm, and nothing may outlive the self-destruct.
    let left = alarm(0);
    // SAFETY: fork has no precondition on memory. The copy of a single-threaded process is a
    // normal process; the client, which has threads, relies on glibc's own care for malloc.
    let forked = check(unsafe { libc::fork() });
    alarm(left);
    match forked? {
        0 => Ok(Forked::Copy),
        pid => Ok(Forked::Origin(pid as u32)),
    }
}

/// alarm(2): SIGALRM after so many seconds, 0 for none; returns what was left of the last one.
pub fn alarm(seconds: u32) -> u32 {
    // SAFETY: alarm takes a plain number.
    unsafe { libc::alarm(seconds) }
}

/// Ends the process without running anything at exit.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes a plain number and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends only the calling thread, without unwinding, also when it is the first one.
pub fn end_this_thread() -> ! {
    // SAFETY: the exit system call ends this thread alone and touches no memory. Nothing joins it.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("a thread that has ended")
}

/// Waits for signals for ever.
pub fn pause_for_ever() -> ! {
    loop {
        // SAFETY: pause has no arguments.
        unsafe { libc::pause() };
    }
}

/// What to do on a signal.
#[derive(Debug, Clone, Copy)]
pub enum OnSignal {
    /// As at exec.
    Default,
    /// Nothing.
    Ignore,
    /// End with this exit code.
    Exit(i32),
    /// Append its number and a line feed to this descriptor.
    Note(RawFd),
}

static EXIT_CODES: [AtomicI32; 65] = [const { AtomicI32::new(0) }; 65];
static NOTES: [AtomicI32; 65] = [const { AtomicI32::new(-1) }; 65];

extern "C" fn exit_on_signal(signal: libc::c_int) {
    exit_now(EXIT_CODES[signal as usize].load(Ordering::Relaxed));
}

extern "C" fn note_signal(signal: libc::c_int) {
    let line = [b'0' + (signal / 10) as u8, b'0' + (signal % 10) as u8, b'\n'];
    let file = NOTES[signal as usize].load(Ordering::Relaxed);
    // SAFETY: write is async-signal-safe and the buffer outlives the call.
    unsafe { libc::write(file, line.as_ptr().cast(), line.len()) };
}

/// Sets what happens on `signal`.
pub fn on_signal(signal: i32, what: OnSignal) {
    let handler = match what {
        OnSignal::Default => libc::SIG_DFL,
        OnSignal::Ignore => libc::SIG_IGN,
        OnSignal::Exit(code) => {
            EXIT_CODES[signal as usize].store(code, Ordering::Relaxed);
            exit_on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t
        }
        OnSignal::Note(file) => {
            NOTES[signal as usize].store(file, Ordering::Relaxed);
            note_signal as extern "C" fn(libc::c_int) as libc::sighandler_t
        }
    };
    // SAFETY: the handlers above are async-signal-safe: they load an atomic and make one call.
    unsafe { libc::signal(signal, handler) };
}

/// Every signal does what it does by default.
pub fn default_signals() {
    // KILL, STOP and the two that belong to libc refuse, and need nothing.
    (1..=64).for_each(|signal| on_signal(signal, OnSignal::Default));
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain data that sigemptyset initialises; sigaddset checks the number.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Blocks signals in this thread.
pub fn block(signals: &[i32]) {
    let set = signal_set(signals);
    // SAFETY: both pointers are to valid sets or null.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}

/// Unblocks signals in this thread.
pub fn unblock(signals: &[i32]) {
    let set = signal_set(signals);
    // SAFETY: both pointers are to valid sets or null.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
}

/// Waits for one of `signals`, which must be blocked.
pub fn wait_signal(signals: &[i32], limit: Duration) -> Option<i32> {
    let set = signal_set(signals);
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: limit.subsec_nanos() as libc::c_long,
    };
    // SAFETY: set and limit are valid for the call; no information is asked for.
    check(unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &limit) }).ok()
}

/// kill(2). A negative number is a group.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Becomes the tracer of a process (`PTRACE_SEIZE`), which goes on meanwhile.
pub fn trace(pid: u32) -> io::Result<()> {
    ptrace(libc::PTRACE_SEIZE, pid)
}

/// Stops a process that this thread traces.
pub fn trace_stop(pid: u32) -> io::Result<()> {
    ptrace(libc::PTRACE_INTERRUPT, pid)
}

/// Lets go of a process that this thread traces.
pub fn trace_no_more(pid: u32) -> io::Result<()> {
    trace_stop(pid)?;
    // SAFETY: no status is asked for. It comes back when the process has stopped, as only then it can be let go.
    check(unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), libc::__WALL) })?;
    ptrace(libc::PTRACE_DETACH, pid)
}

fn ptrace(request: TraceRequest, pid: u32) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the requests above take no address and no data.
    let done = unsafe { libc::ptrace(request, pid as libc::pid_t, none, none) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// getppid(2).
pub fn ppid() -> u32 {
    // SAFETY: getppid has no arguments and cannot fail.
    unsafe { libc::getppid() as u32 }
}

/// setsid(2).
pub fn setsid() -> io::Result<()> {
    // SAFETY: setsid has no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// A process group of one's own.
pub fn own_group() -> io::Result<()> {
    // SAFETY: setpgid takes plain numbers.
    check(unsafe { libc::setpgid(0, 0) }).map(drop)
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// What wait(-1) had to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// A child was reaped.
    Reaped(u32, Ended),
    /// There are children, none has ended.
    NoneEnded,
    /// There is no child at all.
    NoChild,
}

/// waitpid(-1), blocking or not.
pub fn wait_any(block: bool) -> Waited {
    let mut status = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: status is valid for the call.
        match check(unsafe { libc::waitpid(-1, &mut status, flags | libc::__WALL) }) {
            Ok(0) => return Waited::NoneEnded,
            Ok(pid) if libc::WIFSIGNALED(status) => {
                return Waited::Reaped(pid as u32, Ended::Signal(libc::WTERMSIG(status)));
            }
            Ok(pid) => return Waited::Reaped(pid as u32, Ended::Code(libc::WEXITSTATUS(status))),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(_no_child) => return Waited::NoChild,
        }
    }
}

/// Takes the whole file as a POSIX record lock; it belongs to this process until that is gone.
pub fn lock(file: &File) -> io::Result<()> {
    let request = whole_file();
    // SAFETY: the descriptor is open and the structure valid for the call.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &request) }).map(drop)
}

/// How many bytes the peer of a socket has not read yet (`SIOCOUTQ`, unix(7)).
pub fn unread_by_peer(socket: impl std::os::fd::AsRawFd) -> io::Result<i32> {
    let mut unread = 0;
    // SAFETY: the request writes one `int`, which lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) })
        .map(|_| unread)
}

/// Waits for the lock of a directory (`flock(2)`), shared or ours alone. It ends with the descriptor.
pub fn lock_directory(directory: &File, alone: bool) -> io::Result<()> {
    let how = if alone { libc::LOCK_EX } else { libc::LOCK_SH };
    // SAFETY: numbers only.
    check(unsafe { libc::flock(directory.as_raw_fd(), how) }).map(drop)
}

/// Who else holds a lock on the file.
pub fn lock_holder(file: &File) -> io::Result<Option<u32>> {
    let mut request = whole_file();
    // SAFETY: the descriptor is open and the structure valid for the call.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut request) })?;
    Ok((i32::from(request.l_type) != libc::F_UNLCK).then_some(request.l_pid as u32))
}

fn whole_file() -> libc::flock {
    // SAFETY: flock is plain data, and all zeros is a valid value of it.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = libc::F_WRLCK as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request
}

/// A counter that all later copies of this process share.
pub fn shared_counter() -> &'static AtomicU64 {
    // SAFETY: a fresh shared page, zeroed, aligned and never unmapped, is an AtomicU64 for ever, in every copy.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(page != libc::MAP_FAILED, "a shared page: {}", io::Error::last_os_error());
        &*page.cast::<AtomicU64>()
    }
}

/// Closes a descriptor by its number, whoever owned it.
pub fn close(fd: RawFd) {
    // SAFETY: the scripts close numbers that no owner in this program uses afterwards: 0 to 2, and
    // what was inherited.
    unsafe { libc::close(fd) };
}

/// Another descriptor for the same file that stays open across exec.
pub fn leak_copy(file: &File) -> io::Result<RawFd> {
    // SAFETY: the descriptor is open; F_DUPFD takes a plain number.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 3) })
}

/// Makes a descriptor survive exec.
pub fn keep_across_exec(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; F_SETFD takes a plain number.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) }).map(drop)
}

/// Raises the soft limit of open descriptors to at least `count`, as far as the hard one lets.
pub fn allow_descriptors(count: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for both calls.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        limit.rlim_cur = limit.rlim_cur.max(count).min(limit.rlim_max);
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit)).map(drop)
    }
}

/// Sets the soft limit of a resource, as far as the hard one lets.
pub fn set_soft_limit(resource: LimitNumber, soft: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for both calls.
    unsafe {
        check(libc::getrlimit(resource, &mut limit))?;
        limit.rlim_cur = soft.min(limit.rlim_max);
        check(libc::setrlimit(resource, &limit)).map(drop)
    }
}

/// Sets the soft limit of another process's descriptors.
pub fn limit_descriptors_of(pid: u32, soft: u64) -> io::Result<()> {
    set_soft_limit_of(pid, libc::RLIMIT_NOFILE, soft)
}

/// Sets the soft limit of a resource of another process, as far as the hard one lets.
pub fn set_soft_limit_of(pid: u32, resource: LimitNumber, soft: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for both calls, and a null pointer asks for nothing.
    unsafe {
        check(libc::prlimit(pid as i32, resource, std::ptr::null(), &mut limit))?;
        limit.rlim_cur = soft.min(limit.rlim_max);
        check(libc::prlimit(pid as i32, resource, &limit, std::ptr::null_mut())).map(drop)
    }
}

/// Mounts a file system of 64 KiB over `dir`, which only this thread and what it starts will see.
pub fn mount_small(dir: &str) -> io::Result<()> {
    let dir = std::ffi::CString::new(dir)?;
    own_mounts()?;
    let (kind, size) = (c"tmpfs".as_ptr(), c"size=64k".as_ptr().cast());
    // SAFETY: each string ends with a NUL and lives through its call.
    check(unsafe { libc::mount(kind, dir.as_ptr(), kind, 0, size) }).map(drop)
}

/// Gives this thread, and what it starts, terminals that nobody else has or sees.
pub fn own_terminals() -> io::Result<()> {
    own_mounts()?;
    let (kind, dir) = (c"devpts".as_ptr(), c"/dev/pts".as_ptr());
    let options = c"newinstance,ptmxmode=0666,mode=0620".as_ptr().cast();
    let (made, usual) = (c"/dev/pts/ptmx".as_ptr(), c"/dev/ptmx".as_ptr());
    let none = std::ptr::null();
    // SAFETY: each string ends with a NUL and lives through its call; the others are null, which
    // a bind mount allows.
    unsafe {
        check(libc::mount(kind, dir, kind, 0, options))?;
        check(libc::mount(made, usual, none, libc::MS_BIND, none.cast())).map(drop)
    }
}

/// Whatever is mounted from here on, only this thread and what it starts will see.
fn own_mounts() -> io::Result<()> {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let none = std::ptr::null();
    // SAFETY: the strings end with a NUL and live through the call; the others are null, which it
    // allows.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        check(libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, private, none.cast())).map(drop)
    }
}

/// Changes this process's environment.
pub fn set_var(name: &str, value: &str) {
    // SAFETY: called by tests in a process of their own, whose other threads (libtest's, and the
    // watcher) read no variable.
    unsafe { std::env::set_var(name, value) };
}

/// No core files from processes that die on purpose; what is inherited stays so.
pub fn no_core_files() {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for the call. A failure only leaves a core file.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) };
}

/// Gives up root for good: no groups, this gid, this uid, in all threads.
pub fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: plain numbers; an empty list needs no pointer.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(id, id, id))?;
        check(libc::setresuid(id, id, id)).map(drop)
    }
}

/// The effective user.
pub fn euid() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// umask(2).
pub fn umask(mask: u32) -> u32 {
    // SAFETY: umask takes a plain number and cannot fail.
    unsafe { libc::umask(mask) }
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: every option used here takes plain numbers.
    check(unsafe { libc::prctl(option, value, zero, zero, zero) }).map(drop)
}

/// Orphans below this process become its children.
pub fn become_subreaper() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// The signal that this process gets when the thread that made it ends; 0 for none.
pub fn signal_on_origins_death(signal: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong)
}

/// No new privileges from here on.
pub fn no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// A new terminal: the manager's end, and the subsidiary one.
pub fn open_terminal() -> io::Result<(File, File)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the first call takes a plain number, and its result is owned by nobody else; the
    // others take this open descriptor and plain numbers. TIOCGPTPEER returns a new descriptor.
    unsafe {
        let manager = File::from_raw_fd(check(libc::posix_openpt(flags))?);
        check(libc::grantpt(manager.as_raw_fd()))?;
        check(libc::unlockpt(manager.as_raw_fd()))?;
        let end = check(libc::ioctl(manager.as_raw_fd(), libc::TIOCGPTPEER, flags))?;
        Ok((manager, File::from_raw_fd(end)))
    }
}

/// The process group in the foreground of a terminal, asked of the manager's end.
pub fn foreground(manager: &File) -> io::Result<u32> {
    // SAFETY: the descriptor is open.
    check(unsafe { libc::tcgetpgrp(manager.as_raw_fd()) }).map(|group| group as u32)
}

/// Whether a signal through a pidfd can go to the whole group (`PIDFD_SIGNAL_PROCESS_GROUP`, Linux 6.9).
pub fn pidfds_reach_groups() -> bool {
    const PROCESS_GROUP: libc::c_uint = 1 << 2;
    let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) else { return false };
    let (call, asks) = (libc::SYS_pidfd_send_signal, 0);
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and nothing is read through the pointer.
    let asked = unsafe { libc::syscall(call, own.as_raw_fd(), asks, no_info, PROCESS_GROUP) };
    // A process that leads no group has none: that is another error.
    asked == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
}

/// The status of a process that has ended and was reaped, whoever's child it was (`PIDFD_GET_INFO` with
/// `PIDFD_INFO_EXIT`, Linux 6.15). None if it is not to be had, or not yet.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    // struct pidfd_info as in Linux 6.13: 64 bytes, the mask first, the exit code last.
    const SIZE: usize = 64;
    const GET_INFO: u64 = 3 << 30 | (SIZE as u64) << 16 | 0xff << 8 | 11;
    const EXIT: u64 = 1 << 3;
    let mut info = [0_u64; SIZE / 8];
    info[0] = EXIT;
    // SAFETY: the request names the size of the structure, which is writable for as long as the call.
    let asked = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as libc::Ioctl, &raw mut info) };
    let told = asked == 0 && info[0] & EXIT != 0;
    told.then_some((info[SIZE / 8 - 1] >> 32) as i32)
}
