//! All that the daemons of a process wait for, on one poller.

use super::supervisor::Id;
use crate::mover::Stream;

/// Which of a daemon's sources it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Its shepherd has said something, or has ended.
    Lane,
    /// It takes input.
    Stdin,
    /// It has written something.
    Output(Stream),
    /// A connection is made, or refused.
    Port,
    /// The shepherd of its probe has said something, or has ended.
    Probe,
}

pub(super) type Sources = crate::sources::Sources<Id, What>;
