//! What can fail: each system call of the processes beside a client, with each error number that the kernel
//! may plausibly answer; and the scenes in which that is tried.

use libc::c_long;
use netrunner_tests::seccomp::{Only, Rule, SYS_EPOLL_WAIT};

/// A call, and with what it fails.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    pub(crate) errnos: &'static [i32],
}

const fn fault(name: &'static str, call: c_long, errnos: &'static [i32]) -> Fault {
    Fault { name, rule: Rule { call, only: None }, errnos }
}

/// Only with this as its argument of that place can it fail in these ways.
const fn with(mut fault: Fault, argument: usize, value: i32) -> Fault {
    fault.rule.only = Some(Only { argument, mask: u32::MAX, value: value as u32 });
    fault
}

const EACCES: i32 = libc::EACCES;
const EAGAIN: i32 = libc::EAGAIN;
const EBUSY: i32 = libc::EBUSY;
const EINTR: i32 = libc::EINTR;
const EINVAL: i32 = libc::EINVAL;
const EIO: i32 = libc::EIO;
const EMFILE: i32 = libc::EMFILE;
const ENFILE: i32 = libc::ENFILE;
const ENOBUFS: i32 = libc::ENOBUFS;
const ENOENT: i32 = libc::ENOENT;
const ENOMEM: i32 = libc::ENOMEM;
const ENOSPC: i32 = libc::ENOSPC;
const ENOSYS: i32 = libc::ENOSYS;
const EPERM: i32 = libc::EPERM;
const ESRCH: i32 = libc::ESRCH;

/// Every call of guardian, shepherd, starter, child before its exec, first process of a namespace, and watcher, but for those that cannot
/// fail (`getpid`, `clock_gettime`, `umask`, `exit_group` …, and `waitid` and `wait4`, which never wait here),
/// and for `close`, which closes whatever it says.
/// ENOSYS and EPERM are what a sandbox says.
pub(crate) const FAULTS: &[Fault] = &[
    fault("chdir", libc::SYS_chdir, &[EACCES, ENOENT, ENOMEM]),
    fault("clone", libc::SYS_clone, &[EAGAIN, ENOMEM, EPERM]),
    fault("close_range", libc::SYS_close_range, &[ENOMEM, ENOSYS, EPERM]),
    fault("dup3", libc::SYS_dup3, &[EBUSY, EINTR, EMFILE]),
    with(fault("epoll_ctl", libc::SYS_epoll_ctl, &[ENOMEM, ENOSPC]), 1, libc::EPOLL_CTL_ADD),
    fault("epoll_wait", SYS_EPOLL_WAIT, &[EINTR, ENOMEM]),
    fault("execve", libc::SYS_execve, &[EACCES, EAGAIN, EIO, ENOMEM, ENOENT]),
    fault("fchdir", libc::SYS_fchdir, &[EACCES, ENOMEM]),
    fault("fcntl", libc::SYS_fcntl, &[EMFILE, EPERM]),
    fault("fgetxattr", libc::SYS_fgetxattr, &[EIO, ENOMEM, libc::ENODATA]),
    fault("flock", libc::SYS_flock, &[EINTR, ENOMEM, EAGAIN]),
    fault("fstatfs", libc::SYS_fstatfs, &[EINTR, EIO, ENOSYS]),
    // Not those of the standard library's locks, in the watcher.
    with(fault("futex", libc::SYS_futex, &[EAGAIN, EINTR, ENOMEM, ENOSYS]), 1, libc::FUTEX_WAIT),
    fault("getdents64", libc::SYS_getdents64, &[EIO, ENOENT, ENOMEM]),
    fault("getpgid", libc::SYS_getpgid, &[EPERM, ESRCH]),
    fault("ioctl", libc::SYS_ioctl, &[EINTR, EIO, EPERM]),
    fault("kill", libc::SYS_kill, &[EPERM, ESRCH]),
    fault("mmap", libc::SYS_mmap, &[EAGAIN, ENOMEM]),
    fault("mount", libc::SYS_mount, &[EACCES, ENOMEM, EPERM]),
    fault("munmap", libc::SYS_munmap, &[ENOMEM]),
    fault("newfstatat", libc::SYS_newfstatat, &[EACCES, ENOMEM]),
    fault("openat", libc::SYS_openat, &[EACCES, EMFILE, ENFILE, ENOENT, ENOMEM]),
    fault("pidfd_open", libc::SYS_pidfd_open, &[EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM, ESRCH]),
    fault("pidfd_send_signal", libc::SYS_pidfd_send_signal, &[EPERM, ESRCH]),
    fault("pipe2", libc::SYS_pipe2, &[EMFILE, ENFILE]),
    fault("ppoll", libc::SYS_ppoll, &[EINTR, ENOMEM]),
    fault("prctl", libc::SYS_prctl, &[EINVAL, EPERM]),
    fault("read", libc::SYS_read, &[EAGAIN, EINTR, EIO, ENOMEM]),
    fault("recvmsg", libc::SYS_recvmsg, &[EINTR, ENOBUFS, ENOMEM]),
    fault("rt_sigaction", libc::SYS_rt_sigaction, &[EPERM]),
    fault("rt_sigprocmask", libc::SYS_rt_sigprocmask, &[EPERM]),
    fault("sendmsg", libc::SYS_sendmsg, &[EINTR, ENOBUFS, ENOMEM, libc::ETOOMANYREFS]),
    fault("setpgid", libc::SYS_setpgid, &[EACCES, EPERM, ESRCH]),
    fault("setsid", libc::SYS_setsid, &[EPERM]),
    fault("shutdown", libc::SYS_shutdown, &[libc::ENOTCONN]),
    fault("signalfd4", libc::SYS_signalfd4, &[EMFILE, ENFILE, ENOMEM]),
    fault("unlinkat", libc::SYS_unlinkat, &[EACCES, EBUSY, ENOENT]),
    fault("unshare", libc::SYS_unshare, &[EINVAL, ENOMEM, ENOSPC, ENOSYS, EPERM]),
    fault("write", libc::SYS_write, &[EBUSY, EINTR, EIO, ENOMEM]),
];

/// What an error number is called.
pub(crate) fn name_of(errno: i32) -> &'static str {
    let names = [
        (EACCES, "EACCES"),
        (EAGAIN, "EAGAIN"),
        (EBUSY, "EBUSY"),
        (EINTR, "EINTR"),
        (EINVAL, "EINVAL"),
        (EIO, "EIO"),
        (EMFILE, "EMFILE"),
        (ENFILE, "ENFILE"),
        (ENOBUFS, "ENOBUFS"),
        (libc::ENODATA, "ENODATA"),
        (ENOENT, "ENOENT"),
        (ENOMEM, "ENOMEM"),
        (ENOSPC, "ENOSPC"),
        (ENOSYS, "ENOSYS"),
        (libc::ENOTCONN, "ENOTCONN"),
        (EPERM, "EPERM"),
        (ESRCH, "ESRCH"),
        (libc::ETOOMANYREFS, "ETOOMANYREFS"),
    ];
    names.into_iter().find(|(number, _)| *number == errno).expect("a name").1
}

/// Something that a client does, every step of which is made to fail once.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What is said before: about the commands to come.
    pub(crate) settings: &'static str,
    pub(crate) action: &'static [&'static str],
    /// Whether its commands are in cgroups.
    pub(crate) cgroups: bool,
}

const fn scene(
    name: &'static str,
    settings: &'static str,
    action: &'static [&'static str],
) -> Scene {
    Scene { name, settings, action, cgroups: false }
}

const fn in_cgroup(mut scene: Scene) -> Scene {
    scene.cgroups = true;
    scene
}

/// The folders of the scenes' locks.
pub(crate) const FOLDERS: [&str; 2] = ["locks/c0s0.0", "locks/c0s0.1"];

const OUTPUT: &str = "may-output 3 10 [ lock-in locks/c0s0.0 spew 10 exit 3 ]";

/// A command that leaves a process which has left its group.
const LEFTOVERS: &str = "may-output 3 10 [ lock-in locks/c0s0.0 daemon [ setsid ignore TERM lock-in locks/c0s0.1 \
     touch below sleep forever ] await below spew 10 exit 3 ]";

/// A command that goes on, with one process in its group and one in a session of its own.
const TREE: &str = "may-spawn [ lock-in locks/c0s0.0 fork [ lock-in locks/c0s0.1 sleep forever ] \
     daemon [ setsid ignore TERM lock-in locks/c0s0.1 sleep forever ] sleep forever ] sleep 0.05";

const KEPT: &str = "may-keep may-spawn [ lock-in locks/c0s0.0 fork [ await end ] await end exit 0 ] \
     touch kept/c0s0 may-detach";

pub(crate) const SCENES: &[Scene] = &[
    scene("output", "", &[OUTPUT]),
    scene("leftovers", "", &[LEFTOVERS]),
    scene("stop", "quiet", &[TREE, "may-stop"]),
    scene("kill", "quiet", &[TREE, "may-kill"]),
    scene("drop", "quiet", &[TREE, "may-drop"]),
    scene("timeout", "quiet timeout 80", &[TREE, "may-wait 0"]),
    scene("detach", "quiet", &[KEPT]),
    scene("a killed shepherd", "quiet", &[TREE, "may-shoot-shepherd may-wait 0"]),
    // The client ends beside it.
    scene("the client's end", "quiet", &[TREE]),
    scene("a terminal", "terminal", &[OUTPUT]),
    scene("leftovers in a namespace", "namespace mount-proc", &[LEFTOVERS]),
    scene("stop in a namespace", "namespace mount-proc quiet", &[TREE, "may-stop"]),
    scene("the client's end beside a namespace", "namespace mount-proc quiet", &[TREE]),
    in_cgroup(scene("leftovers in a cgroup", "", &[LEFTOVERS])),
    in_cgroup(scene("the client's end beside a cgroup", "quiet", &[TREE])),
];
