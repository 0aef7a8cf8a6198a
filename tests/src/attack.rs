//! What one process may try against another, and what of it works. Nothing here does harm by itself but
//! [`scribble`] and [`seize`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};
use rustix::process::{pidfd_send_signal, test_kill_process};

use crate::sys;

/// The descriptors that are tried, by number.
const NUMBERS: std::ops::Range<i32> = 0..64;

/// All that works against this process, in words.
pub fn works_on(pid: u32) -> Vec<&'static str> {
    let raw = Pid::from_raw(pid as i32).expect("a process number");
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let pidfd = pidfd_open(raw, PidfdFlags::empty());
    let tries = [
        ("a signal", test_kill_process(raw).is_ok()),
        // Nobody minds it. SIGCONT would be allowed to everybody in the session.
        (
            "a signal through a pidfd",
            pidfd.as_ref().is_ok_and(|it| pidfd_send_signal(it, Signal::URG).is_ok()),
        ),
        (
            "taking a descriptor",
            pidfd.as_ref().is_ok_and(|it| {
                NUMBERS.into_iter().any(|fd| pidfd_getfd(it, fd, PidfdGetfdFlags::empty()).is_ok())
            }),
        ),
        ("listing its descriptors", fs::read_dir(file("fd")).is_ok()),
        (
            "opening a descriptor again",
            NUMBERS.into_iter().any(|fd| File::open(file(&format!("fd/{fd}"))).is_ok()),
        ),
        ("reading its environment", fs::read(file("environ")).is_ok()),
        ("reading its memory map", fs::read(file("maps")).is_ok_and(|maps| !maps.is_empty())),
        ("opening its memory", File::open(file("mem")).is_ok()),
        ("opening its program", File::open(file("exe")).is_ok()),
        ("its limits", sys::set_soft_limit_of(pid, libc::RLIMIT_CORE, 0).is_ok()),
        ("tracing it", sys::trace(pid).and_then(|()| sys::trace_no_more(pid)).is_ok()),
    ];
    tries.into_iter().filter(|(_, works)| *works).map(|(name, _)| name).collect()
}

/// Overwrites the code of another process with nonsense.
pub fn scribble(pid: u32) -> io::Result<()> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line = maps.lines().find(|line| line.contains(" r-xp ") && !line.contains("[v"));
    let ends = line.and_then(|line| line.split_once(' ')?.0.split_once('-'));
    let ends = ends.and_then(|(from, to)| {
        Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
    });
    let (from, to) = ends.ok_or(io::ErrorKind::NotFound)?;
    let memory = OpenOptions::new().write(true).open(format!("/proc/{pid}/mem"))?;
    // The same in every byte: an instruction that is none on x86-64 and on aarch64.
    memory.write_all_at(&vec![0x06; (to - from) as usize], from)
}

/// Stops another process as a debugger does, for as long as the calling thread lives.
pub fn seize(pid: u32) -> io::Result<()> {
    sys::trace(pid)?;
    sys::trace_stop(pid)
}

/// Sends every signal but the two that nobody can block; what stops by default is followed by SIGCONT.
pub fn strafe(pid: u32) -> io::Result<()> {
    let unblockable = [libc::SIGKILL, libc::SIGSTOP];
    let all = (1..=64).filter(|signal| !unblockable.contains(signal));
    all.into_iter().try_for_each(|signal| sys::kill(pid as i32, signal))?;
    sys::kill(pid as i32, libc::SIGCONT)
}
