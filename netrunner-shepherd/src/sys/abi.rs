//! The kernel's numbers and structures, as far as the shepherd uses them.
//!
//! The tests at the end compare each with the `libc` crate's.

// The number on x86-64, then that on 64-bit ARM, where the calls have none that newer ones stand in for
// (`open`, `dup2`, `pipe`, `poll`, `fork` …): so nothing here uses those.
macro_rules! calls {
    ($($name:ident = $x86_64:literal, $aarch64:literal, $libc:ident;)*) => {
        $(pub(crate) const $name: usize =
            if cfg!(target_arch = "aarch64") { $aarch64 } else { $x86_64 };)*
        #[cfg(test)]
        const CALLS: &[(&str, usize, i64)] = &[$((stringify!($name), $name, libc::$libc as i64)),*];
    };
}

calls! {
    NR_READ = 0, 63, SYS_read;
    NR_WRITE = 1, 64, SYS_write;
    NR_CLOSE = 3, 57, SYS_close;
    NR_MMAP = 9, 222, SYS_mmap;
    NR_MUNMAP = 11, 215, SYS_munmap;
    NR_RT_SIGACTION = 13, 134, SYS_rt_sigaction;
    NR_RT_SIGPROCMASK = 14, 135, SYS_rt_sigprocmask;
    NR_IOCTL = 16, 29, SYS_ioctl;
    NR_GETPID = 39, 172, SYS_getpid;
    NR_SENDMSG = 46, 211, SYS_sendmsg;
    NR_RECVMSG = 47, 212, SYS_recvmsg;
    NR_CLONE = 56, 220, SYS_clone;
    NR_EXECVE = 59, 221, SYS_execve;
    NR_WAIT4 = 61, 260, SYS_wait4;
    NR_KILL = 62, 129, SYS_kill;
    NR_FCNTL = 72, 25, SYS_fcntl;
    NR_FLOCK = 73, 32, SYS_flock;
    NR_CHDIR = 80, 49, SYS_chdir;
    NR_FCHDIR = 81, 50, SYS_fchdir;
    NR_UMASK = 95, 166, SYS_umask;
    NR_SETUID = 105, 146, SYS_setuid;
    NR_SETGID = 106, 144, SYS_setgid;
    NR_SETPGID = 109, 154, SYS_setpgid;
    NR_GETPPID = 110, 173, SYS_getppid;
    NR_SETSID = 112, 157, SYS_setsid;
    NR_GETEUID = 107, 175, SYS_geteuid;
    NR_GETEGID = 108, 177, SYS_getegid;
    NR_SETGROUPS = 116, 159, SYS_setgroups;
    NR_GETPGID = 121, 155, SYS_getpgid;
    NR_GETSID = 124, 156, SYS_getsid;
    NR_FSTATFS = 138, 44, SYS_fstatfs;
    NR_GETPRIORITY = 140, 141, SYS_getpriority;
    NR_SETPRIORITY = 141, 140, SYS_setpriority;
    NR_PRCTL = 157, 167, SYS_prctl;
    NR_MOUNT = 165, 40, SYS_mount;
    NR_FGETXATTR = 193, 10, SYS_fgetxattr;
    NR_FUTEX = 202, 98, SYS_futex;
    NR_GETDENTS64 = 217, 61, SYS_getdents64;
    NR_CLOCK_GETTIME = 228, 113, SYS_clock_gettime;
    NR_EXIT_GROUP = 231, 94, SYS_exit_group;
    NR_WAITID = 247, 95, SYS_waitid;
    NR_OPENAT = 257, 56, SYS_openat;
    NR_NEWFSTATAT = 262, 79, SYS_newfstatat;
    NR_UNLINKAT = 263, 35, SYS_unlinkat;
    NR_PPOLL = 271, 73, SYS_ppoll;
    NR_UNSHARE = 272, 97, SYS_unshare;
    NR_SIGNALFD4 = 289, 74, SYS_signalfd4;
    NR_DUP3 = 292, 24, SYS_dup3;
    NR_PIPE2 = 293, 59, SYS_pipe2;
    NR_PRLIMIT64 = 302, 261, SYS_prlimit64;
    NR_PIDFD_SEND_SIGNAL = 424, 424, SYS_pidfd_send_signal;
    NR_PIDFD_OPEN = 434, 434, SYS_pidfd_open;
    NR_CLONE3 = 435, 435, SYS_clone3;
    NR_CLOSE_RANGE = 436, 436, SYS_close_range;
}

macro_rules! constants {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $(pub(crate) const $name: $type = $value;)*
        #[cfg(test)]
        const CONSTANTS: &[(&str, i64, i64)] =
            &[$((stringify!($name), $name as i64, libc::$name as i64)),*];
    };
}

constants! {
    EPERM: u16 = 1;
    ENOENT: u16 = 2;
    ESRCH: u16 = 3;
    E2BIG: u16 = 7;
    EINTR: u16 = 4;
    ECHILD: u16 = 10;
    EAGAIN: u16 = 11;
    EACCES: u16 = 13;
    ENOMEM: u16 = 12;
    EBUSY: u16 = 16;
    EXDEV: u16 = 18;
    ENODEV: u16 = 19;
    ENOTDIR: u16 = 20;
    EINVAL: u16 = 22;
    ENFILE: u16 = 23;
    EMFILE: u16 = 24;
    EPIPE: u16 = 32;
    ENOSYS: u16 = 38;
    EPROTO: u16 = 71;
    ECONNRESET: u16 = 104;
    ETOOMANYREFS: u16 = 109;
    ETIMEDOUT: u16 = 110;
    ESTALE: u16 = 116;
    AT_FDCWD: i32 = -100;
    O_RDONLY: i32 = 0;
    O_WRONLY: i32 = 1;
    AT_REMOVEDIR: i32 = 0x200;
    AT_SYMLINK_NOFOLLOW: i32 = 0x100;
    AT_EMPTY_PATH: i32 = 0x1000;
    LOCK_EX: i32 = 2;
    LOCK_NB: i32 = 4;
    CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    DT_DIR: u8 = 4;
    O_RDWR: i32 = 2;
    O_DIRECTORY: i32 = if cfg!(target_arch = "aarch64") { 0o40_000 } else { 0o200_000 };
    O_NOFOLLOW: i32 = if cfg!(target_arch = "aarch64") { 0o100_000 } else { 0o400_000 };
    O_CLOEXEC: i32 = 0o2_000_000;
    O_NONBLOCK: i32 = 0o4_000;
    F_SETFL: i32 = 4;
    F_DUPFD_CLOEXEC: i32 = 1030;
    S_IFMT: u32 = 0o170_000;
    S_IFIFO: u32 = 0o10_000;
    POLLIN: i16 = 1;
    POLLOUT: i16 = 4;
    POLLERR: i16 = 8;
    POLLHUP: i16 = 16;
    FUTEX_WAIT: i32 = 0;
    P_ALL: u32 = 0;
    P_PID: u32 = 1;
    WNOHANG: i32 = 1;
    WSTOPPED: i32 = 2;
    WEXITED: i32 = 4;
    WCONTINUED: i32 = 8;
    WNOWAIT: i32 = 0x0100_0000;
    SIGKILL: i32 = 9;
    SIGPIPE: i32 = 13;
    SIGCHLD: i32 = 17;
    SIGHUP: i32 = 1;
    SIGCONT: i32 = 18;
    CLD_TRAPPED: i32 = 4;
    CLD_STOPPED: i32 = 5;
    CLD_CONTINUED: i32 = 6;
    TIOCSCTTY: usize = 0x540e;
    TIOCGPGRP: usize = 0x540f;
    TIOCSPGRP: usize = 0x5410;
    TCGETS2: usize = 0x802c_542a;
    TCSETS2: usize = 0x402c_542b;
    SIG_SETMASK: i32 = 2;
    SIG_IGN: usize = 1;
    SFD_CLOEXEC: i32 = 0o2_000_000;
    SFD_NONBLOCK: i32 = 0o4_000;
    CLONE_VM: usize = 0x100;
    CLONE_CHILD_CLEARTID: usize = 0x20_0000;
    CLONE_PARENT: usize = 0x8000;
    CLONE_PARENT_SETTID: usize = 0x10_0000;
    CLONE_NEWNS: usize = 0x2_0000;
    CLONE_NEWUSER: usize = 0x1000_0000;
    CLONE_NEWPID: usize = 0x2000_0000;
    MS_NOSUID: usize = 2;
    MS_NODEV: usize = 4;
    MS_NOEXEC: usize = 8;
    MS_REC: usize = 0x4000;
    MS_PRIVATE: usize = 0x4_0000;
    PR_SET_PDEATHSIG: i32 = 1;
    PR_SET_NAME: i32 = 15;
    PR_SET_CHILD_SUBREAPER: i32 = 36;
    PR_SET_NO_NEW_PRIVS: i32 = 38;
    PRIO_PROCESS: u32 = 0;
    CLOCK_MONOTONIC: i32 = 1;
    PROT_READ: i32 = 1;
    PROT_WRITE: i32 = 2;
    MAP_SHARED: i32 = 1;
    MAP_PRIVATE: i32 = 2;
    MAP_ANONYMOUS: i32 = 0x20;
    SOL_SOCKET: i32 = 1;
    SCM_RIGHTS: i32 = 1;
    MSG_DONTWAIT: i32 = 0x40;
    MSG_NOSIGNAL: i32 = 0x4000;
    MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;
    CLOSE_RANGE_CLOEXEC: u32 = 4;
}

/// `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timespec {
    pub(crate) seconds: i64,
    pub(crate) nanos: i64,
}

/// `struct timeval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timeval {
    pub(crate) seconds: i64,
    pub(crate) micros: i64,
}

/// `struct rusage`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rusage {
    pub(crate) user: Timeval,
    pub(crate) system: Timeval,
    /// In KiB.
    pub(crate) max_rss: i64,
    pub(crate) unused: [i64; 3],
    pub(crate) minor_faults: i64,
    pub(crate) major_faults: i64,
    pub(crate) unused_too: [i64; 6],
    pub(crate) voluntary_switches: i64,
    pub(crate) involuntary_switches: i64,
}

/// The part of `siginfo_t` that `waitid(2)` fills in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitInfo {
    pub(crate) signal: i32,
    pub(crate) errno: i32,
    pub(crate) code: i32,
    pub(crate) padding: i32,
    pub(crate) pid: i32,
    pub(crate) rest: [i32; 27],
}

impl WaitInfo {
    /// `si_status`, which follows `si_uid`.
    pub(crate) fn status(&self) -> i32 {
        self.rest[1]
    }
}

/// `CLONE_INTO_CGROUP`, which the libc crate has as a number that is too small for it.
pub(crate) const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// `PIDFD_SIGNAL_PROCESS_GROUP`, which the libc crate does not have.
pub(crate) const PIDFD_SIGNAL_PROCESS_GROUP: usize = 1 << 2;

/// The kernel's `struct termios2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Termios {
    pub(crate) flags: [u32; 4],
    pub(crate) line: u8,
    pub(crate) characters: [u8; 19],
    pub(crate) speeds: [u32; 2],
}

/// The part of `struct stat` that tells a file from all others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// `struct stat`.
#[cfg(target_arch = "aarch64")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stat {
    pub(crate) identity: Identity,
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) rest: [u64; 12],
}

/// `struct stat`.
#[cfg(target_arch = "x86_64")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stat {
    pub(crate) identity: Identity,
    pub(crate) links: u64,
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) rest: [u64; 14],
}

/// `struct statfs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Statfs {
    pub(crate) kind: i64,
    pub(crate) rest: [u64; 14],
}

/// `struct clone_args`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

/// `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pollfd {
    pub(crate) fd: i32,
    pub(crate) events: i16,
    pub(crate) revents: i16,
}

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Iovec {
    pub(crate) base: *mut u8,
    pub(crate) length: usize,
}

/// `struct msghdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Msghdr {
    pub(crate) name: *mut u8,
    pub(crate) name_length: u32,
    pub(crate) iov: *mut Iovec,
    pub(crate) iov_count: usize,
    pub(crate) control: *mut u8,
    pub(crate) control_length: usize,
    pub(crate) flags: i32,
}

/// `struct cmsghdr`; its data follows, aligned to 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cmsghdr {
    pub(crate) length: usize,
    pub(crate) level: i32,
    pub(crate) kind: i32,
}

/// The kernel's own `struct sigaction`, which is not libc's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sigaction {
    pub(crate) action: usize,
    pub(crate) flags: usize,
    pub(crate) restorer: usize,
    pub(crate) mask: u64,
}

/// `struct rlimit64`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rlimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn numbers_are_those_of_the_libc_crate() {
        for (name, ours, theirs) in CALLS {
            assert_eq!(*ours as i64, *theirs, "{name}");
        }
        for (name, ours, theirs) in CONSTANTS {
            assert_eq!(ours, theirs, "{name}");
        }
    }

    #[test]
    fn layouts_are_those_of_the_libc_crate() {
        assert_eq!(size_of::<Timespec>(), size_of::<libc::timespec>());
        assert_eq!(size_of::<Timeval>(), size_of::<libc::timeval>());
        assert_eq!(size_of::<Rusage>(), size_of::<libc::rusage>());
        assert_eq!(offset_of!(Rusage, max_rss), offset_of!(libc::rusage, ru_maxrss));
        assert_eq!(offset_of!(Rusage, minor_faults), offset_of!(libc::rusage, ru_minflt));
        assert_eq!(offset_of!(Rusage, major_faults), offset_of!(libc::rusage, ru_majflt));
        assert_eq!(offset_of!(Rusage, voluntary_switches), offset_of!(libc::rusage, ru_nvcsw));
        assert_eq!(offset_of!(Rusage, involuntary_switches), offset_of!(libc::rusage, ru_nivcsw));
        assert_eq!(size_of::<WaitInfo>(), size_of::<libc::siginfo_t>());
        assert_eq!(size_of::<Stat>(), size_of::<libc::stat>());
        assert_eq!(offset_of!(Identity, device), offset_of!(libc::stat, st_dev));
        assert_eq!(offset_of!(Identity, inode), offset_of!(libc::stat, st_ino));
        assert_eq!(offset_of!(Stat, mode), offset_of!(libc::stat, st_mode));
        assert_eq!(size_of::<CloneArgs>(), size_of::<libc::clone_args>());
        assert_eq!(offset_of!(CloneArgs, stack), offset_of!(libc::clone_args, stack));
        assert_eq!(offset_of!(CloneArgs, cgroup), offset_of!(libc::clone_args, cgroup));
        assert_eq!(size_of::<Statfs>(), size_of::<libc::statfs>());
        assert_eq!(offset_of!(Statfs, kind), offset_of!(libc::statfs, f_type));
        assert_eq!(size_of::<Termios>(), size_of::<libc::termios2>());
        assert_eq!(offset_of!(Termios, characters), offset_of!(libc::termios2, c_cc));
        assert_eq!(offset_of!(Termios, speeds), offset_of!(libc::termios2, c_ispeed));
        assert_eq!(size_of::<Pollfd>(), size_of::<libc::pollfd>());
        assert_eq!(offset_of!(Pollfd, revents), offset_of!(libc::pollfd, revents));
        assert_eq!(size_of::<Iovec>(), size_of::<libc::iovec>());
        assert_eq!(size_of::<Msghdr>(), size_of::<libc::msghdr>());
        assert_eq!(offset_of!(Msghdr, control), offset_of!(libc::msghdr, msg_control));
        assert_eq!(offset_of!(Msghdr, flags), offset_of!(libc::msghdr, msg_flags));
        assert_eq!(size_of::<Cmsghdr>(), size_of::<libc::cmsghdr>());
        assert_eq!(offset_of!(Cmsghdr, kind), offset_of!(libc::cmsghdr, cmsg_type));
        assert_eq!(size_of::<Rlimit>(), size_of::<libc::rlimit64>());
    }

    /// `siginfo_t` hides its fields: a real `waitid` must put the pid where we read it.
    #[test]
    fn waitid_puts_the_pid_where_it_is_read() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        // SAFETY: all-zero bytes are a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: `info` is a siginfo_t of our own.
        let result = unsafe { libc::waitid(libc::P_PID, child.id(), &raw mut info, flags) };
        assert_eq!(result, 0);
        // SAFETY: WaitInfo is plain integers and has siginfo_t's size (tested above).
        let read = unsafe { core::mem::transmute::<libc::siginfo_t, WaitInfo>(info) };
        assert_eq!(read.pid, child.id() as i32);
        child.wait().unwrap();
    }
}
