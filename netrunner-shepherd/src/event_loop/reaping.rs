//! Which children have ended, and when each is reaped: the leader last, as its zombie pins its number.

use alloc::vec::Vec;

use netrunner_core::message::{Pid, Process};
use netrunner_core::supervise::Standing;

use super::{Leader, Shepherd};
use crate::namespace::Init;
use crate::procfs::Kinship;
use crate::sweep::{self, Look, Reached};
use crate::sys::calls::{self, Children};

/// In a fork storm children end faster than they are reaped. After so many the lane is heard, or a kill
/// would wait for the storm's end.
const AT_ONCE: u32 = 64;

/// So many are reaped before a walk through the tree: each zombie costs a walk more than its reaping does.
const BEFORE_A_WALK: u32 = 10_000;

impl Shepherd {
    /// Reaps the zombies that a walk through the tree would meet, but not the leader's. What it means that
    /// they have ended is seen in the next turn.
    pub(super) fn bury(&mut self) {
        for _ in 0..BEFORE_A_WALK {
            match calls::peek_children() {
                Children::Ended(pid) if self.group() != Some(pid) && self.reap(pid) => {
                    self.unseen = true;
                }
                Children::Ended(_) | Children::Alive | Children::None => return,
            }
        }
    }

    /// Asks everybody below to end, or to go on.
    pub(super) fn ask_tree(&mut self, signal: i32) {
        self.bury();
        let group = self.group();
        let due = self.machine.deadline();
        let asked = sweep::signal_once(group, signal, due, || self.signal_group(signal));
        if let Some(live) = &mut self.live {
            live.remains.asked.push(asked);
        }
        self.ask_on();
    }

    /// Kills everybody below, but for what comes up meanwhile.
    pub(super) fn sweep(&mut self) {
        self.bury();
        if sweep::kill_all(&|_| false) == Reached::Children {
            self.machine.handle_shallow_sweep(calls::now());
        }
    }

    /// Writes down what lives beside the child.
    pub(super) fn note_leftovers(&mut self) {
        if let Some(live) = &mut self.live {
            live.leftovers = sweep::name_all(&|pid| live.is_leader_or_init(pid));
        }
    }

    /// What is still alive at the end.
    pub(super) fn survivors(&self) -> Vec<Process> {
        sweep::survivors(self.init().map(Init::pid))
    }

    /// Asks descendants that could not be reached when the others were, and have come up now.
    ///
    /// Not before the dead are buried, and then with one look at a time: to walk past one of the dead costs
    /// more than to reap it, and a storm makes thousands of them, out of those who are asked, too.
    pub(super) fn ask_on(&mut self) {
        if self.unseen {
            return;
        }
        let Some(live) = &mut self.live else { return };
        let mut new = false;
        live.remains.asked.retain_mut(|asked| match asked.go_on() {
            Look::Done => false,
            Look::Quiet => true,
            Look::New => {
                new = true;
                true
            }
        });
        self.unseen = new;
    }

    pub(super) fn signal_group(&self, signal: i32) {
        let Some(group) = self.group() else { return };
        // A child that was just cloned may not have made its group yet: then it is alone in ours,
        // and gets the signal by its own number.
        if calls::kill_group(group, signal).is_err() {
            // It is gone, or it is not ours to signal; what lives at the end is reported.
            let _ = calls::kill(group, signal);
        }
    }

    /// Looks at the children that have ended; at some of them, if there are many.
    pub(super) fn see_children(&mut self) {
        self.unseen = false;
        let mut there = calls::peek_children();
        for _ in 0..AT_ONCE {
            match there {
                Children::Alive => return,
                Children::None => {
                    self.machine.handle_empty();
                    return self.perform();
                }
                Children::Ended(pid) => {
                    let is_leader = self.group() == Some(pid);
                    let next = if is_leader && self.machine.standing() != Standing::Kept {
                        self.see_leader()
                    } else {
                        self.reap(pid).then(calls::peek_children)
                    };
                    match next {
                        Some(next) => there = next,
                        None => return,
                    }
                }
            }
        }
        self.unseen = true;
    }

    /// The child has ended. Where it was the last to live, it is reaped at once, and any zombies beside
    /// it in the next turns. Else its zombie is first in line and hides the others from `waitid`, so
    /// they are looked for one by one; it is reaped itself only when nothing else lives. Returns what there
    /// is then, if it was.
    ///
    /// The list of the others may miss one (its reader can, when others end meanwhile): then the
    /// leader is gone too early, and the rest is dealt with one by one, without its group.
    fn see_leader(&mut self) -> Option<Children> {
        let leader = self.group()?;
        let first_time = self.live.as_ref().is_some_and(|live| live.leader == Leader::Alive);
        if let Some(live) = &mut self.live {
            live.leader = Leader::Zombie;
            live.init.iter().filter(|_| first_time).for_each(Init::end_when_alone);
        }
        let mut others = false;
        if calls::some_child_lives() {
            let ending = self.init().filter(|init| init.is_ending()).map(Init::pid);
            for pid in Kinship::of_own_children().1 {
                others |= pid != leader && Some(pid) != ending && !self.reap(pid);
            }
        }
        let next = (!others && self.reap(leader)).then(calls::peek_children);
        // The proof that nothing is left, or that something is, comes from the kernel.
        if first_time && next != Some(Children::None) {
            self.machine.handle_child_ended(calls::now());
            self.perform();
        }
        next
    }

    /// The first process of the command's namespace.
    pub(super) fn init(&self) -> Option<&Init> {
        self.live.as_ref().and_then(|live| live.init.as_ref())
    }

    /// The namespace has begun to end, and everybody in it with it. That is complete when all are reaped
    /// (`pid_namespaces(7)`), so the leader's zombie pins nothing any more, and must not be waited with.
    pub(super) fn see_namespace_end(&mut self) {
        if let Some(init) = self.live.as_mut().and_then(|live| live.init.as_mut()) {
            init.see_end();
            self.unseen = true;
        }
    }

    /// Reaps this child if it has ended.
    pub(super) fn reap(&mut self, pid: Pid) -> bool {
        let Some(reaped) = calls::reap(pid) else { return false };
        if let Some(live) = &mut self.live {
            live.usage = live.usage.and(reaped.usage);
            if live.pid == pid && !matches!(live.leader, Leader::Reaped(_)) {
                live.leader = Leader::Reaped(reaped.status);
                live.init.iter().for_each(Init::end_when_alone);
            }
            live.init.take_if(|init| init.pid() == pid);
        }
        true
    }
}
