//! Who is whose, as far as it can be seen without a list of all processes: job control needs it.
//!
//! What can't be known is answered so that a stopped client can be continued by somebody.

use netrunner_core::message::Pid;
use netrunner_core::terminal::Overseer;

use crate::sys::Errno;
use crate::sys::calls::{group_of, own_pid};
use crate::sys::tty;

/// Nobody is looked up by a number in a file that may be about others.
pub(crate) fn check_numbers() -> Result<(), Errno> {
    Ok(())
}

/// Which process the guardian is, of those that have lived, can't be told.
pub(crate) fn guardian() -> Option<Pid> {
    None
}

/// Whether a process descends from another: that is known of children alone, and the callers know theirs.
pub(crate) fn is_below(_: Pid, _: Pid) -> bool {
    false
}

/// Whether somebody would continue the group if it were stopped: the leader of its session, unless that has
/// ended or is in the group itself.
pub(crate) fn overseer(group: Pid) -> Overseer {
    let session = tty::session_of(own_pid()).map(Pid);
    let leads = session.and_then(group_of);
    match leads {
        Some(leads) if leads != group => Overseer::Shell,
        Some(_) | None => Overseer::Nobody,
    }
}
