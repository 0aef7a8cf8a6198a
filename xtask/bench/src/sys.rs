//! The calls that neither std nor rustix has: getrusage(2), and a seccomp(2) filter. This file and
//! [`crate::floor`] are the only ones of the benchmark with `unsafe`.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// What reaped children, and the children they had reaped, have used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// Voluntary and not.
    pub(crate) switches: u64,
}

impl Usage {
    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage { cpu: self.cpu - before.cpu, switches: self.switches - before.switches }
    }
}

fn time(value: libc::timeval) -> Duration {
    Duration::from_secs(value.tv_sec.unsigned_abs())
        + Duration::from_micros(value.tv_usec.unsigned_abs())
}

/// Of all children that this process has reaped.
pub(crate) fn usage_of_children() -> io::Result<Usage> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage fills the whole structure when it returns 0.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        usage.assume_init()
    };
    Ok(Usage {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        switches: (usage.ru_nvcsw + usage.ru_nivcsw).unsigned_abs(),
    })
}

/// From here on `clone3` answers this thread, and all that it starts, as a kernel that lacks it does.
pub(crate) fn refuse_clone3() -> io::Result<()> {
    let take = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number of the call comes first in `seccomp_data`. Of other architectures there are no programs here.
    let mut filter = [
        take(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        take(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_clone3 as u32, 0, 1),
        take(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0, 0),
        take(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: prctl takes plain numbers here; seccomp reads the program, whose length is that of the array
    // it points to, and keeps a copy.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            ) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
