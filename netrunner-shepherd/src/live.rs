//! What a shepherd knows of the command that it is there for. Its end is seen by the event loop.

use alloc::vec::Vec;

use netrunner_core::Time;
use netrunner_core::message::{CommandId, Pid, Process, Usage};

use crate::child::Started;
use crate::namespace::Init;
use crate::sweep::Remains;
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
    /// The first process of its PID namespace, until that is reaped.
    pub(crate) init: Option<Init>,
    /// Whether it has had such a namespace.
    pub(crate) namespaced: bool,
    /// What is known of what lives beside the leader.
    pub(crate) remains: Remains,
}

/// The child itself, the leader of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leader {
    Alive,
    /// Ended and not reaped: its number, and its group's, can't be reused.
    #[cfg_attr(netrunner_portable, expect(dead_code, reason = "it is reaped at once there"))]
    Zombie,
    Reaped(i32),
}

impl Live {
    pub(crate) fn new(now: Time, id: CommandId, started: Started) -> Live {
        let Started { pid, terminal, init } = started;
        Live {
            id,
            pid,
            leader: Leader::Alive,
            started: now,
            usage: Usage::default(),
            terminal,
            leftovers: Vec::new(),
            namespaced: init.is_some(),
            init,
            remains: Remains::default(),
        }
    }

    /// Whether this is one of the two that are not left over.
    #[cfg(not(netrunner_portable))]
    pub(crate) fn is_leader_or_init(&self, pid: Pid) -> bool {
        pid == self.pid || self.init.as_ref().is_some_and(|init| init.pid() == pid)
    }
}
