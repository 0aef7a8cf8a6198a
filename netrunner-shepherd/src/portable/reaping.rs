//! When the child has ended, and what is left of its group then. See `sweep` for how that is known.

use alloc::vec::Vec;

use netrunner_core::message::{Pid, Process};
use netrunner_core::supervise::Standing;

use super::{Leader, Shepherd};
use crate::namespace::Init;
use crate::sweep;
use crate::sys::{calls, tty};

impl Shepherd {
    /// Asks the child's group to end, or to go on.
    pub(super) fn ask_tree(&mut self, signal: i32) {
        self.signal_group(signal);
    }

    /// The group was struck just now: looks whether that has ended it.
    pub(super) fn sweep(&mut self) {
        self.look_at_group();
    }

    /// Writes down that somebody lives beside the child. Nobody knows who, or how many.
    pub(super) fn note_leftovers(&mut self) {
        let left = self.survivors();
        if let Some(live) = &mut self.live {
            live.leftovers = left;
        }
    }

    /// What is still alive at the end.
    pub(super) fn survivors(&self) -> Vec<Process> {
        match &self.live {
            Some(live) if !tty::is_empty_group(live.pid) => sweep::unknown(live.pid),
            Some(_) | None => Vec::new(),
        }
    }

    /// Nobody comes up later to be asked.
    pub(super) fn ask_on(&mut self) {}

    pub(super) fn signal_group(&self, signal: i32) {
        let Some(live) = &self.live else { return };
        match live.leader {
            Leader::Alive | Leader::Zombie => {
                // A child that was just forked may not have made its group yet: then it is alone in ours,
                // and gets the signal by its own number.
                if calls::kill_group(live.pid, signal).is_err() {
                    // It is gone, or it is not ours to signal; what lives at the end is reported.
                    let _ = calls::kill(live.pid, signal);
                }
            }
            // Nobody is left, for all that was seen.
            Leader::Reaped(_) if live.remains.deadline().is_none() => {}
            // No anchor can be put into another session.
            Leader::Reaped(_) if live.terminal.is_some() => {
                sweep::signal_seen_group(live.pid, signal);
            }
            Leader::Reaped(_) => sweep::signal_group(live.pid, signal),
        }
    }

    /// Looks whether the child has ended, or else at what it has left.
    pub(super) fn see_children(&mut self) {
        self.unseen = false;
        let Some(live) = &self.live else { return };
        match live.leader {
            Leader::Alive | Leader::Zombie => {
                if self.reap(live.pid) {
                    self.look_at_group();
                }
            }
            Leader::Reaped(_) => self.look_at_group(),
        }
    }

    /// Tells the machine whether anything is left, if the child has ended. What was to be kept is not watched:
    /// there is nothing to reap of it.
    fn look_at_group(&mut self) {
        let Some(live) = &mut self.live else { return };
        if !matches!(live.leader, Leader::Reaped(_)) {
            return;
        }
        let first_time = live.remains.deadline().is_none();
        if tty::is_empty_group(live.pid) || self.machine.standing() == Standing::Kept {
            live.remains = sweep::Remains::default();
            self.slot.forget_group();
            self.machine.handle_empty();
            return self.perform();
        }
        live.remains.look_again(calls::now());
        if first_time {
            self.machine.handle_child_ended(calls::now());
            self.perform();
        }
    }

    /// The first process of the command's namespace, if there were any.
    pub(super) fn init(&self) -> Option<&Init> {
        self.live.as_ref().and_then(|live| live.init.as_ref())
    }

    pub(super) fn see_namespace_end(&mut self) {}

    /// Reaps the child if it has ended.
    pub(super) fn reap(&mut self, pid: Pid) -> bool {
        let Some(reaped) = calls::reap(pid) else { return false };
        if let Some(live) = &mut self.live {
            live.usage = live.usage.and(reaped.usage);
            live.leader = Leader::Reaped(reaped.status);
        }
        true
    }
}
