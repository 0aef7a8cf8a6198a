//! The system's constants and structures, as far as the shepherd uses them: a column for each system.
//!
//! Each is compared with the `libc` crate's when the tests are compiled, so a type check for another system
//! compares that system's column.

use core::ffi::c_int;

macro_rules! constants {
    ($($name:ident: $type:ty = $linux:expr, $macos:expr, $freebsd:expr;)*) => {
        $(
            #[cfg(target_os = "linux")]
            pub(crate) const $name: $type = $linux;
            #[cfg(target_os = "macos")]
            pub(crate) const $name: $type = $macos;
            #[cfg(target_os = "freebsd")]
            pub(crate) const $name: $type = $freebsd;
            #[cfg(test)]
            const _: () = assert!($name as i64 == libc::$name as i64, stringify!($name));
        )*
    };
}

constants! {
    EPERM: u16 = 1, 1, 1;
    ENOENT: u16 = 2, 2, 2;
    ESRCH: u16 = 3, 3, 3;
    EINTR: u16 = 4, 4, 4;
    ECHILD: u16 = 10, 10, 10;
    EAGAIN: u16 = 11, 35, 35;
    EACCES: u16 = 13, 13, 13;
    ENODEV: u16 = 19, 19, 19;
    ENOTDIR: u16 = 20, 20, 20;
    EINVAL: u16 = 22, 22, 22;
    EMFILE: u16 = 24, 24, 24;
    EPIPE: u16 = 32, 32, 32;
    ENOSYS: u16 = 38, 78, 78;
    EPROTO: u16 = 71, 100, 92;
    ECONNRESET: u16 = 104, 54, 54;
    ETOOMANYREFS: u16 = 109, 59, 59;
    ETIMEDOUT: u16 = 110, 60, 60;
    ESTALE: u16 = 116, 70, 70;
    O_RDWR: c_int = 2, 2, 2;
    O_CLOEXEC: c_int = 0o2_000_000, 0x100_0000, 0x10_0000;
    O_NONBLOCK: c_int = 0o4_000, 4, 4;
    F_SETFD: c_int = 2, 2, 2;
    F_SETFL: c_int = 4, 4, 4;
    FD_CLOEXEC: c_int = 1, 1, 1;
    F_DUPFD_CLOEXEC: c_int = 1030, 67, 17;
    POLLIN: i16 = 1, 1, 1;
    POLLOUT: i16 = 4, 4, 4;
    POLLERR: i16 = 8, 8, 8;
    POLLHUP: i16 = 16, 16, 16;
    P_ALL: u32 = 0, 0, 7;
    P_PID: u32 = 1, 1, 0;
    WNOHANG: c_int = 1, 1, 1;
    WSTOPPED: c_int = 2, 8, 2;
    WEXITED: c_int = 4, 4, 16;
    WCONTINUED: c_int = 8, 0x10, 4;
    WNOWAIT: c_int = 0x0100_0000, 0x20, 8;
    SIGHUP: c_int = 1, 1, 1;
    SIGKILL: c_int = 9, 9, 9;
    SIGPIPE: c_int = 13, 13, 13;
    SIGCHLD: c_int = 17, 20, 20;
    SIGCONT: c_int = 18, 19, 19;
    CLD_TRAPPED: c_int = 4, 4, 4;
    CLD_STOPPED: c_int = 5, 5, 5;
    CLD_CONTINUED: c_int = 6, 6, 6;
    SIG_SETMASK: c_int = 2, 3, 3;
    SA_RESTART: c_int = 0x1000_0000, 2, 2;
    TIOCSCTTY: u64 = 0x540e, 0x2000_7461, 0x2000_7461;
    TCSANOW: c_int = 0, 0, 0;
    RLIMIT_NOFILE: u32 = 7, 8, 8;
    PRIO_PROCESS: u32 = 0, 0, 0;
    CLOCK_MONOTONIC: u32 = 1, 6, 4;
    PROT_READ: c_int = 1, 1, 1;
    PROT_WRITE: c_int = 2, 2, 2;
    MAP_SHARED: c_int = 1, 1, 1;
    MAP_ANON: c_int = 0x20, 0x1000, 0x1000;
    SOL_SOCKET: c_int = 1, 0xffff, 0xffff;
    SCM_RIGHTS: c_int = 1, 1, 1;
    MSG_DONTWAIT: c_int = 0x40, 0x80, 0x80;
}

/// `SIG_DFL` and `SIG_IGN`.
pub(crate) const SIG_DFL: usize = 0;
pub(crate) const SIG_IGN: usize = 1;

/// `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timespec {
    pub(crate) seconds: i64,
    pub(crate) nanos: i64,
}

/// `suseconds_t`.
#[cfg(not(target_os = "macos"))]
pub(crate) type Micros = i64;
#[cfg(target_os = "macos")]
pub(crate) type Micros = i32;

/// `struct timeval`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timeval {
    pub(crate) seconds: i64,
    pub(crate) micros: Micros,
}

/// `struct rusage`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rusage {
    pub(crate) user: Timeval,
    pub(crate) system: Timeval,
    /// In units of [`MAX_RSS_UNIT`].
    pub(crate) max_rss: i64,
    pub(crate) unused: [i64; 3],
    pub(crate) minor_faults: i64,
    pub(crate) major_faults: i64,
    pub(crate) unused_too: [i64; 6],
    pub(crate) voluntary_switches: i64,
    pub(crate) involuntary_switches: i64,
}

/// Of `ru_maxrss`, in bytes.
pub(crate) const MAX_RSS_UNIT: u64 = if cfg!(target_os = "macos") { 1 } else { 1024 };

/// `siginfo_t`: the part that `waitid(2)` fills in, and room for the rest.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitInfo {
    pub(crate) signal: c_int,
    pub(crate) errno: c_int,
    pub(crate) code: c_int,
    /// Aligned for a pointer that it could be as well.
    #[cfg(target_os = "linux")]
    pub(crate) padding: c_int,
    pub(crate) pid: c_int,
    pub(crate) user: u32,
    pub(crate) status: c_int,
    pub(crate) rest: [u64; 13],
}

impl WaitInfo {
    pub(crate) const EMPTY: WaitInfo = WaitInfo {
        signal: 0,
        errno: 0,
        code: 0,
        #[cfg(target_os = "linux")]
        padding: 0,
        pid: 0,
        user: 0,
        status: 0,
        rest: [0; 13],
    };
}

/// `struct termios`, of which nothing is looked at, and room for the largest.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Termios(pub(crate) [u8; 128]);

/// `nfds_t`.
#[cfg(target_os = "linux")]
pub(crate) type Count = u64;
#[cfg(not(target_os = "linux"))]
pub(crate) type Count = u32;

/// `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pollfd {
    pub(crate) fd: c_int,
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

/// What `struct msghdr` and `struct cmsghdr` count in: POSIX says int and socklen_t, Linux size_t.
#[cfg(target_os = "linux")]
pub(crate) type VectorCount = usize;
#[cfg(not(target_os = "linux"))]
pub(crate) type VectorCount = c_int;
#[cfg(target_os = "linux")]
pub(crate) type ControlLength = usize;
#[cfg(not(target_os = "linux"))]
pub(crate) type ControlLength = u32;

/// `struct msghdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Msghdr {
    pub(crate) name: *mut u8,
    pub(crate) name_length: u32,
    pub(crate) iov: *mut Iovec,
    pub(crate) iov_count: VectorCount,
    pub(crate) control: *mut u8,
    pub(crate) control_length: ControlLength,
    pub(crate) flags: c_int,
}

/// `struct cmsghdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cmsghdr {
    pub(crate) length: ControlLength,
    pub(crate) level: c_int,
    pub(crate) kind: c_int,
}

/// To what headers and data of control messages are aligned.
pub(crate) const CONTROL_ALIGN: usize = if cfg!(target_os = "macos") { 4 } else { 8 };

/// `sigset_t`.
#[cfg(target_os = "linux")]
pub(crate) type Sigset = [u64; 16];
#[cfg(target_os = "macos")]
pub(crate) type Sigset = u32;
#[cfg(target_os = "freebsd")]
pub(crate) type Sigset = [u32; 4];

/// libc's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sigaction {
    pub(crate) action: usize,
    #[cfg(target_os = "freebsd")]
    pub(crate) flags: c_int,
    pub(crate) mask: Sigset,
    #[cfg(not(target_os = "freebsd"))]
    pub(crate) flags: c_int,
    #[cfg(target_os = "linux")]
    pub(crate) restorer: usize,
}

impl Sigaction {
    pub(crate) const fn new(action: usize, flags: c_int) -> Sigaction {
        // SAFETY: plain integers, an empty set and a null pointer are all-zero bytes.
        let zero: Sigaction = unsafe { core::mem::zeroed() };
        Sigaction { action, flags, ..zero }
    }
}

/// `struct rlimit`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rlimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

#[cfg(test)]
mod layouts {
    use super::*;
    use core::mem::offset_of;

    macro_rules! same {
        ($($ours:expr, $theirs:expr;)*) => { $(const _: () = assert!($ours == $theirs);)* };
    }

    same! {
        size_of::<Timespec>(), size_of::<libc::timespec>();
        size_of::<Timeval>(), size_of::<libc::timeval>();
        size_of::<Rusage>(), size_of::<libc::rusage>();
        offset_of!(Rusage, max_rss), offset_of!(libc::rusage, ru_maxrss);
        offset_of!(Rusage, minor_faults), offset_of!(libc::rusage, ru_minflt);
        offset_of!(Rusage, involuntary_switches), offset_of!(libc::rusage, ru_nivcsw);
        (size_of::<WaitInfo>() >= size_of::<libc::siginfo_t>()), true;
        offset_of!(WaitInfo, code), offset_of!(libc::siginfo_t, si_code);
        (size_of::<Termios>() >= size_of::<libc::termios>()), true;
        size_of::<Count>(), size_of::<libc::nfds_t>();
        size_of::<Pollfd>(), size_of::<libc::pollfd>();
        offset_of!(Pollfd, revents), offset_of!(libc::pollfd, revents);
        size_of::<Iovec>(), size_of::<libc::iovec>();
        size_of::<Msghdr>(), size_of::<libc::msghdr>();
        offset_of!(Msghdr, control), offset_of!(libc::msghdr, msg_control);
        offset_of!(Msghdr, flags), offset_of!(libc::msghdr, msg_flags);
        size_of::<Cmsghdr>(), size_of::<libc::cmsghdr>();
        offset_of!(Cmsghdr, kind), offset_of!(libc::cmsghdr, cmsg_type);
        size_of::<Sigset>(), size_of::<libc::sigset_t>();
        size_of::<Sigaction>(), size_of::<libc::sigaction>();
        offset_of!(Sigaction, mask), offset_of!(libc::sigaction, sa_mask);
        offset_of!(Sigaction, flags), offset_of!(libc::sigaction, sa_flags);
        size_of::<Rlimit>(), size_of::<libc::rlimit>();
    }

    #[cfg(any(target_os = "macos", target_os = "freebsd"))]
    same! {
        offset_of!(WaitInfo, pid), offset_of!(libc::siginfo_t, si_pid);
        offset_of!(WaitInfo, status), offset_of!(libc::siginfo_t, si_status);
    }
}
