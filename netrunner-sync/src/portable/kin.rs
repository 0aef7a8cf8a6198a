//! There are no pidfds, so a peer that passes one passes something else.

use std::os::fd::OwnedFd;

/// What stands behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "what a descriptor could stand for elsewhere")]
pub(crate) enum Kin {
    /// This process, which is not reaped.
    Is {
        /// Its number.
        pid: u32,
        /// Who started it, or adopted it.
        parent: u32,
    },
    /// A process that was reaped.
    Ended,
    /// A process that this one can't see.
    Unknown,
    /// No process at all.
    NoProcess,
}

/// What a peer has passed.
pub(crate) fn of(_: &OwnedFd) -> Kin {
    Kin::NoProcess
}

/// The session of a process behind a pidfd, if there were any.
pub(crate) fn session_of(_: &OwnedFd, _: u32) -> Option<u32> {
    None
}

/// Whether the process of this number has ended: that can't be told from here.
pub(crate) fn has_ended(_: u32) -> bool {
    false
}
