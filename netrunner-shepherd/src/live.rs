//! What a shepherd knows of the command that it is there for. Its end is seen by the event loop.

use alloc::vec::Vec;

use netrunner_core::Time;
use netrunner_core::message::{CommandId, Pid, Process, Usage};

use crate::sweep;
use crate::sys::Fd;

/// The command of the moment.
pub(crate) struct Live {
    pub(crate) id: CommandId,
    pub(crate) pid: Pid,
    pub(crate) leader: Leader,
    pub(crate) started: Time,
    pub(crate) usage: Usage,
    /// The terminal of the child's session. It stays open until the end is told, so that its reader
    /// meets an end no sooner, whatever the child's processes close and open again meanwhile.
    pub(crate) terminal: Option<Fd>,
    pub(crate) leftovers: Vec<Process>,
    /// Signals that some descendants could not be sent so far.
    pub(crate) asked: Vec<sweep::Asked>,
}

/// The child itself, the leader of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leader {
    Alive,
    /// Ended and not reaped: its number, and its group's, can't be reused.
    Zombie,
    Reaped(i32),
}

impl Live {
    pub(crate) fn new(started: Time, id: CommandId, pid: Pid, terminal: Option<Fd>) -> Live {
        Live {
            id,
            pid,
            leader: Leader::Alive,
            started,
            usage: Usage::default(),
            terminal,
            leftovers: Vec::new(),
            asked: Vec::new(),
        }
    }
}
