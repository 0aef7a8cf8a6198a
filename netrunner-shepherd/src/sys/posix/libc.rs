//! What is called of the system's libc, as POSIX declares it.
//!
//! Declared here and not by the `libc` crate, which a direct call of the compiler has not at hand
//! (`ARCHITECTURE.md`).

use core::ffi::{c_char, c_int, c_long, c_void};

use super::abi::*;

/// `size_t` of `setgroups(2)`, which is an `int` elsewhere.
#[cfg(target_os = "linux")]
pub(super) type GroupCount = usize;
#[cfg(not(target_os = "linux"))]
pub(super) type GroupCount = c_int;

#[cfg_attr(target_os = "macos", link(name = "System"))]
#[cfg_attr(not(target_os = "macos"), link(name = "c"))]
unsafe extern "C" {
    #[cfg_attr(target_os = "linux", link_name = "__errno_location")]
    #[cfg_attr(any(target_os = "macos", target_os = "freebsd"), link_name = "__error")]
    pub(super) fn errno_location() -> *mut c_int;

    pub(super) fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    pub(super) fn close(fd: c_int) -> c_int;
    pub(super) fn read(fd: c_int, to: *mut u8, count: usize) -> isize;
    pub(super) fn write(fd: c_int, from: *const u8, count: usize) -> isize;
    pub(super) fn pipe(ends: *mut c_int) -> c_int;
    pub(super) fn dup2(from: c_int, to: c_int) -> c_int;
    pub(super) fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    pub(super) fn ioctl(fd: c_int, request: u64, ...) -> c_int;
    pub(super) fn poll(fds: *mut Pollfd, count: Count, millis: c_int) -> c_int;
    pub(super) fn recvmsg(fd: c_int, message: *mut Msghdr, flags: c_int) -> isize;
    pub(super) fn sendmsg(fd: c_int, message: *const Msghdr, flags: c_int) -> isize;
    pub(super) fn chdir(path: *const c_char) -> c_int;
    pub(super) fn fchdir(fd: c_int) -> c_int;

    pub(super) fn fork() -> c_int;
    pub(super) fn execve(
        path: *const c_char,
        arguments: *const *const c_char,
        environment: *const *const c_char,
    ) -> c_int;
    pub(super) fn _exit(code: c_int) -> !;
    pub(super) fn waitid(kind: u32, id: u32, info: *mut WaitInfo, options: c_int) -> c_int;
    pub(super) fn wait4(
        pid: c_int,
        status: *mut c_int,
        options: c_int,
        usage: *mut Rusage,
    ) -> c_int;
    pub(super) fn getpid() -> c_int;
    pub(super) fn getppid() -> c_int;
    pub(super) fn getpgid(pid: c_int) -> c_int;
    pub(super) fn setpgid(pid: c_int, group: c_int) -> c_int;
    pub(super) fn getsid(pid: c_int) -> c_int;
    pub(super) fn setsid() -> c_int;
    pub(super) fn tcgetpgrp(terminal: c_int) -> c_int;
    pub(super) fn tcsetpgrp(terminal: c_int, group: c_int) -> c_int;
    pub(super) fn tcgetattr(terminal: c_int, modes: *mut Termios) -> c_int;
    pub(super) fn tcsetattr(terminal: c_int, when: c_int, modes: *const Termios) -> c_int;

    pub(super) fn kill(pid: c_int, signal: c_int) -> c_int;
    pub(super) fn sigaction(signal: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int;
    pub(super) fn sigprocmask(how: c_int, new: *const Sigset, old: *mut Sigset) -> c_int;
    pub(super) fn sigfillset(set: *mut Sigset) -> c_int;
    pub(super) fn sigemptyset(set: *mut Sigset) -> c_int;
    pub(super) fn sigdelset(set: *mut Sigset, signal: c_int) -> c_int;

    pub(super) fn umask(mask: u32) -> u32;
    pub(super) fn getrlimit(resource: c_int, limit: *mut Rlimit) -> c_int;
    pub(super) fn setrlimit(resource: c_int, limit: *const Rlimit) -> c_int;
    pub(super) fn getpriority(which: c_int, who: u32) -> c_int;
    pub(super) fn setpriority(which: c_int, who: u32, nice: c_int) -> c_int;
    pub(super) fn setgroups(count: GroupCount, list: *const u32) -> c_int;
    pub(super) fn setgid(gid: u32) -> c_int;
    pub(super) fn setuid(uid: u32) -> c_int;

    pub(super) fn clock_gettime(clock: u32, time: *mut Timespec) -> c_int;
    pub(super) fn mmap(
        at: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: c_long,
    ) -> *mut c_void;
    pub(super) fn malloc(size: usize) -> *mut c_void;
    pub(super) fn posix_memalign(to: *mut *mut c_void, align: usize, size: usize) -> c_int;
    pub(super) fn free(block: *mut c_void);

    #[cfg(target_os = "linux")]
    pub(super) fn pthread_self() -> usize;
    #[cfg(target_os = "linux")]
    pub(super) fn pthread_setname_np(thread: usize, name: *const c_char) -> c_int;
    #[cfg(target_os = "macos")]
    pub(super) fn pthread_setname_np(name: *const c_char) -> c_int;
    #[cfg(target_os = "freebsd")]
    pub(super) fn setproctitle(format: *const c_char, ...);
}
