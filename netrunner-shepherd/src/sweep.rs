//! Signals to a whole tree, and to nothing else.
//!
//! Direct children of this process can be signalled by number: only we reap them, so their numbers
//! are ours while they are children. Below them a number may be reaped by its own parent and reused
//! at any instant, so a deeper descendant is taken in these steps:
//!
//! 1. its number is read from the children of `parent`, which is known to be a descendant;
//! 2. a pidfd is opened on it, which from here on means one process, whatever the number does;
//! 3. its own parent is read: if that is not `parent`, it has moved (an orphan comes to us, and is
//!    found there on the next pass) or the number is somebody else's: it is left alone;
//! 4. `parent` must still not be reaped, so that step 3 spoke of it and not of a successor;
//! 5. the signal goes through the pidfd.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use netrunner_core::message::{MAX_NAMED, Pid, Process};

use crate::procfs::{self, Kinship};
use crate::sys::Fd;
use crate::sys::abi::SIGKILL;
use crate::sys::calls::{group_of, kill, open_pidfd, signal_pidfd};

/// Deeper than this a pass does not look; each pass brings orphans up to the top.
const DEPTH: usize = 64;

/// A descendant, held so that its number can't turn into another's.
struct Held {
    pid: Pid,
    /// None for a direct child, whose number only we free.
    pidfd: Option<Fd>,
}

impl Held {
    fn signal(&self, signal: i32) {
        // It may have ended by now, or be a set-uid program that is not ours to signal; what lives
        // after all passes is reported.
        let _ = match &self.pidfd {
            None => kill(self.pid, signal),
            Some(pidfd) => signal_pidfd(pidfd, signal),
        };
    }

    fn is_not_reaped(&self) -> bool {
        self.pidfd.as_ref().is_none_or(|pidfd| signal_pidfd(pidfd, 0).is_ok())
    }
}

/// Calls `visit` for every descendant of this process, but not for the children that `is_other`
/// names, nor for what is below them.
fn walk(is_other: &dyn Fn(Pid) -> bool, visit: &mut dyn FnMut(&Held)) {
    let (kinship, children) = Kinship::of_own_children();
    for pid in children {
        if !is_other(pid) {
            let child = Held { pid, pidfd: None };
            visit(&child);
            descend(&kinship, &child, DEPTH, visit);
        }
    }
}

fn descend(kinship: &Kinship, parent: &Held, depth: usize, visit: &mut dyn FnMut(&Held)) {
    if depth == 0 {
        return;
    }
    for pid in kinship.children(parent.pid) {
        let Ok(pidfd) = open_pidfd(pid) else { continue };
        if procfs::stat(pid).is_none_or(|stat| stat.parent != parent.pid.0) {
            continue;
        }
        if !parent.is_not_reaped() {
            return;
        }
        let child = Held { pid, pidfd: Some(pidfd) };
        visit(&child);
        descend(kinship, &child, depth - 1, visit);
    }
}

/// How often the tree is walked for a signal that is sent once; each pass finds what moved in the last.
const PASSES: usize = 16;

/// Sends a signal to every descendant outside `group`, then to the group by `to_group`, once each.
///
/// What is asked to end begins to end while the tree is walked, and its children move up to us: a
/// walk can miss them in both places. So those outside go first, while their ancestors in the group
/// are still undisturbed, and the walk is repeated, after the group as well, until it finds none that
/// has not had the signal.
pub(crate) fn signal_once(group: Option<Pid>, signal: i32, to_group: impl FnOnce()) {
    let mut had = BTreeSet::new();
    signal_outside(group, signal, &mut had);
    to_group();
    signal_outside(group, signal, &mut had);
}

fn signal_outside(group: Option<Pid>, signal: i32, had: &mut BTreeSet<Pid>) {
    for _ in 0..PASSES {
        let before = had.len();
        walk(&|_| false, &mut |descendant| {
            let outside = group.is_none() || group_of(descendant.pid) != group;
            if outside && had.insert(descendant.pid) {
                descendant.signal(signal);
            }
        });
        if had.len() == before {
            return;
        }
    }
}

/// Kills every descendant, but not the children that `is_other` names and what is below them.
pub(crate) fn kill_all(is_other: &dyn Fn(Pid) -> bool) {
    walk(is_other, &mut |descendant| descendant.signal(SIGKILL));
}

/// The living descendants by number and name, without `leader`.
pub(crate) fn name_all(leader: Option<Pid>) -> Vec<Process> {
    let mut named = Vec::new();
    walk(&|_| false, &mut |descendant| {
        let pid = descendant.pid;
        let lives = procfs::stat(pid).is_some_and(|stat| !stat.zombie);
        if Some(pid) != leader && lives && named.len() < MAX_NAMED {
            named.push(Process { pid, name: procfs::name(pid) });
        }
    });
    named
}
