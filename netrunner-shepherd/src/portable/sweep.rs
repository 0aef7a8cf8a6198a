//! Signals to what a child has left in its group, and to nothing else.
//!
//! There is no subreaper and no list of processes, so all that can be reached of a tree is the child's group,
//! by its number. Who has left the group, with `setsid(2)` for one, can't be found.
//!
//! While the child lives or its zombie is held the number is its own. But whether anybody else is in the group
//! can't be seen before the zombie is gone, as it counts; so it is reaped first. Then the number is used by the
//! group as long as somebody is in it, and may be anybody's afterwards. So it is pinned for each signal:
//!
//! 1. a process of ours, the anchor, is put into the group. That works only if there is a group of this number
//!    in our session, where nobody makes groups but this command;
//! 2. the anchor is in the group, which can't vanish under the signal;
//! 3. the anchor ends.
//!
//! Where no anchor can be put there (no process can be made, or the child leads a session of its own) the number
//! is signalled right after it was seen to be in use.

use alloc::vec::Vec;
use core::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::{Pid, Process};

use crate::standing::Slot;
use crate::sys::abi::{EPERM, ESRCH, SIGKILL};
use crate::sys::calls::{self, kill_group};
use crate::sys::{Errno, tty};

/// The pause between two looks at the group: nobody tells when it has become empty.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a command may have left.
#[derive(Default)]
pub(crate) struct Remains {
    /// When to look again, and the pause after that.
    next: Option<(Time, Duration)>,
}

impl Remains {
    /// When to look again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.next.map(|(at, _)| at)
    }

    /// Whether it is time to.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// The group was not empty just now.
    pub(crate) fn look_again(&mut self, now: Time) {
        let pause = self.next.map_or(PAUSE, |(_, pause)| (pause * 2).min(PAUSE_MAX));
        self.next = Some((now.after(pause), pause));
    }
}

/// Sends a signal to the group of a child that is reaped. Its last member may have ended; then it hits nobody.
pub(crate) fn signal_group(group: Pid, signal: i32) {
    match with_anchor(group, || kill_group(group, signal)) {
        // Somebody may not be ours to signal; what lives at the end is reported.
        Ok(_) => {}
        // There is no such group in our session any more.
        Err(Errno(EPERM | ESRCH)) => {}
        Err(_) => signal_seen_group(group, signal),
    }
}

/// The same without an anchor.
pub(crate) fn signal_seen_group(group: Pid, signal: i32) {
    if !tty::is_empty_group(group) {
        let _ = kill_group(group, signal); // as above
    }
}

/// Does `work` while a process of ours is in the group, or says why it could not be put there.
fn with_anchor<T>(group: Pid, work: impl FnOnce() -> T) -> Result<T, Errno> {
    let (read, write) = calls::pipe()?;
    let Some(anchor) = calls::fork_without_signals()? else {
        // It ends when nobody holds the other end any more: should we be killed in between.
        drop(write);
        let _ = read.read(&mut [0]);
        calls::exit(0)
    };
    let done = calls::set_group_of(anchor, group).map(|()| work());
    // Our child, not reaped. It may have been stopped by the signal, so it is not merely let go.
    let _ = calls::kill(anchor, SIGKILL);
    calls::reap_ending(anchor);
    done
}

/// What is alive in a group, which can be counted by nobody, by one word.
pub(crate) fn unknown(group: Pid) -> Vec<Process> {
    alloc::vec![Process { pid: group, name: b"unknown, in group".to_vec() }]
}

/// The shepherd has ended, and is not reaped: what it has told of is killed.
///
/// Its child's number may be another's by now, since init reaps an orphan whenever it likes. But a session has
/// the number of whoever made it, and the shepherd's is still pinned by its zombie: who is in that session has
/// come from there. Shepherds that stayed in our session are believed to have left what is in it.
pub(crate) fn take_over(shepherd: Pid, slot: Slot) {
    let Some(told) = slot.group() else { return };
    let is_its = match tty::session_of(told.group) {
        // Its leader is reaped. While anybody is in the group the number is no other process's.
        None => true,
        Some(session) if told.leads_session => session == told.group.0,
        Some(session) => {
            session == shepherd.0 || Some(session) == tty::session_of(calls::own_pid())
        }
    };
    if is_its {
        let _ = kill_group(told.group, SIGKILL); // It has ended, too.
    }
    slot.forget_group();
}

/// Nothing comes to the guardian that is no shepherd.
pub(crate) fn kill_all(_: &dyn Fn(Pid) -> bool) {}

/// So there are no others among its children.
pub(crate) fn has_others(_: &dyn Fn(Pid) -> bool, _: usize) -> bool {
    false
}
