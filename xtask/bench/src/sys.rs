//! The one call that neither std nor rustix has, getrusage(2). This file and [`crate::floor`] are the
//! only ones of the benchmark with `unsafe`.

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
