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
//!
//! Without pidfds only direct children get signals. That is enough to end a tree: as each level ends,
//! the next comes up. What has left the group and still has an ancestor below us is asked to end only
//! when it has come up ([`Asked`]).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use netrunner_core::Time;
use netrunner_core::message::{MAX_NAMED, Pid, Process};

use crate::procfs::{self, Kinship};
use crate::standing::Slot;
use crate::sys::Fd;
use crate::sys::abi::SIGKILL;
use crate::sys::calls::{self, Children, group_of, kill, open_pidfd_if_any, signal_pidfd};

/// Deeper than this a pass does not look; each pass brings orphans up to the top.
const DEPTH: usize = 64;

/// A descendant.
struct Held {
    pid: Pid,
    by: Hold,
}

/// What keeps its number from turning into another's.
enum Hold {
    /// It is a direct child, whose number only we free.
    Child,
    Pidfd(Fd),
    /// Nothing: there are no pidfds. It can be named, and no more.
    Nothing,
}

impl Held {
    /// False if it can't be signalled without the risk of hitting another.
    fn signal(&self, signal: i32) -> bool {
        // It may have ended by now, or be a set-uid program that is not ours to signal; what lives
        // after all passes is reported.
        let _ = match &self.by {
            Hold::Child => kill(self.pid, signal),
            Hold::Pidfd(pidfd) => signal_pidfd(pidfd, signal),
            Hold::Nothing => return false,
        };
        true
    }

    fn is_not_reaped(&self) -> bool {
        match &self.by {
            Hold::Child | Hold::Nothing => true,
            Hold::Pidfd(pidfd) => signal_pidfd(pidfd, 0).is_ok(),
        }
    }
}

/// What is known of what lives beside a child.
#[derive(Default)]
pub(crate) struct Remains {
    /// Signals that some descendants could not be sent so far.
    pub(crate) asked: Vec<Asked>,
}

impl Remains {
    /// Never: whoever comes up is heard of.
    pub(crate) fn deadline(&self) -> Option<Time> {
        None
    }

    /// So no look is ever due.
    pub(crate) fn is_due(&self, _: Time) -> bool {
        false
    }
}

/// Calls `visit` for every descendant of this process, but not for the children that `is_other`
/// names, nor for what is below them.
fn walk(is_other: &dyn Fn(Pid) -> bool, visit: &mut dyn FnMut(&Held)) {
    let (kinship, children) = Kinship::of_own_children();
    for pid in children {
        if !is_other(pid) {
            let child = Held { pid, by: Hold::Child };
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
        let by = match open_pidfd_if_any(pid) {
            Ok(Some(pidfd)) => Hold::Pidfd(pidfd),
            Ok(None) => Hold::Nothing,
            Err(_) => continue,
        };
        if procfs::stat(pid).is_none_or(|stat| stat.parent != parent.pid.0) {
            continue;
        }
        if !parent.is_not_reaped() {
            return;
        }
        let child = Held { pid, by };
        visit(&child);
        descend(kinship, &child, depth - 1, visit);
    }
}

/// How often the tree is walked for a signal that is sent once; each pass finds what moved in the last.
const PASSES: usize = 16;

/// A signal for every descendant, each once, and who has had it.
pub(crate) struct Asked {
    signal: i32,
    /// These have had it as a group.
    group: Option<Pid>,
    had: BTreeSet<Pid>,
    /// There was one that could not be reached from here. A later walk that finds none proves
    /// nothing, since it can miss one that is coming up.
    missed: bool,
}

/// What another look has shown.
pub(crate) enum Look {
    /// There is nobody to wait for.
    Done,
    /// Nobody has come up since the last one.
    Quiet,
    /// Somebody has, and has been asked. What ends by that is to be buried before the next look.
    New,
}

impl Asked {
    /// Asks those who have come up meanwhile.
    pub(crate) fn go_on(&mut self) -> Look {
        if !self.missed {
            Look::Done
        } else if self.walk() {
            Look::New
        } else {
            Look::Quiet
        }
    }
}

/// Sends a signal to every descendant outside `group`, then to the group by `to_group`, once each.
///
/// What is asked to end begins to end while the tree is walked, and its children move up to us: a
/// walk can miss them in both places. So those outside go first, while their ancestors in the group
/// are still undisturbed, and the walk is repeated, after the group as well, until it finds none that
/// has not had the signal. In a storm of forks it always finds some, so that after `until`, when something else
/// is due, there is no other pass.
pub(crate) fn signal_once(
    group: Option<Pid>,
    signal: i32,
    until: Option<Time>,
    to_group: impl FnOnce(),
) -> Asked {
    let mut asked = Asked { signal, group, had: BTreeSet::new(), missed: false };
    asked.ask(until);
    to_group();
    asked.ask(until);
    asked
}

impl Asked {
    fn ask(&mut self, until: Option<Time>) {
        for _ in 0..PASSES {
            if !self.walk() || until.is_some_and(|until| until <= calls::now()) {
                return;
            }
        }
    }

    /// One pass; whether it found somebody who had not been asked.
    fn walk(&mut self) -> bool {
        let before = self.had.len();
        walk(&|_| false, &mut |descendant| {
            let outside = self.group.is_none() || group_of(descendant.pid) != self.group;
            if outside && !self.had.contains(&descendant.pid) {
                if descendant.signal(self.signal) {
                    self.had.insert(descendant.pid);
                } else {
                    self.missed = true;
                }
            }
        });
        self.had.len() > before
    }
}

/// How far down a sweep has found somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Children,
    Deeper,
}

/// Kills every descendant, but not the children that `is_other` names and what is below them.
pub(crate) fn kill_all(is_other: &dyn Fn(Pid) -> bool) -> Reached {
    let mut reached = Reached::Children;
    walk(is_other, &mut |descendant| {
        descendant.signal(SIGKILL);
        if !matches!(descendant.by, Hold::Child) {
            reached = Reached::Deeper;
        }
    });
    reached
}

/// The living descendants by number and name, but for those that `is_ours` names.
pub(crate) fn name_all(is_ours: &dyn Fn(Pid) -> bool) -> Vec<Process> {
    let mut named = Vec::new();
    walk(&|_| false, &mut |descendant| {
        let pid = descendant.pid;
        let lives = procfs::stat(pid).is_some_and(|stat| !stat.zombie);
        if !is_ours(pid) && lives && named.len() < MAX_NAMED {
            named.push(Process { pid, name: procfs::name(pid) });
        }
    });
    named
}

/// What is still alive at the end. Where nothing can be listed (no descriptor is left, `/proc` is
/// hidden) the kernel still says that something is, and that must not pass for nothing. The first process of
/// the command's namespace waits for the others, and is none of them.
pub(crate) fn survivors(init: Option<Pid>) -> Vec<Process> {
    let mut survivors = name_all(&|pid| Some(pid) == init);
    if survivors.is_empty() && calls::peek_children() == Children::Alive {
        survivors.push(Process { pid: calls::own_pid(), name: b"unknown, below".to_vec() });
    }
    survivors
}

/// A shepherd has ended, and is not reaped. What it has left comes to the guardian by itself.
pub(crate) fn take_over(_: Pid, _: Slot) {}

/// Whether there is a child that `is_known` does not know, or may be; of those that it knows there are so many.
/// One that has ended counts until it is reaped: it may have left children of its own.
pub(crate) fn has_others(is_known: &dyn Fn(Pid) -> bool, known: usize) -> bool {
    let children = Kinship::of_own_children().1;
    // Out of descriptors there is no list, which is then shorter than what is known to be there.
    let is_whole = children.len() >= known
        && (!children.is_empty() || calls::peek_children() == Children::None);
    !is_whole || children.iter().any(|&pid| !is_known(pid))
}
