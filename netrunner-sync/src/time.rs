//! Deadlines as the poll calls want them.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

/// How long it is until `deadline`, for poll; nothing means for ever.
pub(crate) fn until(deadline: Option<Instant>) -> Option<Timespec> {
    deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())))
}

/// A duration too long for the kernel is as good as its longest.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

/// The instant `after` from now; nothing, which is never, where the clock does not reach so far.
pub(crate) fn deadline_in(after: Duration) -> Option<Instant> {
    Instant::now().checked_add(after)
}
