//! What may happen in an exploration, and how often; and the flaws that it must find.

use std::time::Duration;

use netrunner_core::spawn::{Leftovers, Notify, Terms};

/// The bounds of an exploration. Within them everything happens in every order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) terms: Terms,
    pub(crate) notify: Notify,
    /// So many commands, one after the other.
    pub(crate) commands: u32,
    /// So many requests about them.
    pub(crate) requests: u8,
    /// The client may let go of a command on purpose.
    pub(crate) detach: bool,
    /// The handle of a command may be dropped.
    pub(crate) drop: bool,
    /// The client may let go of its guardian (`Shepherds::refresh`).
    pub(crate) refresh: bool,
    /// How the client may end.
    pub(crate) ends: &'static [ClientEnd],
    /// So often shepherd or guardian is killed, or the shepherd stopped.
    pub(crate) blows: u8,
    /// So often a process of the command forks.
    pub(crate) forks: u8,
    /// So often the list of the shepherd's children misses one that lives, or the guardian has none.
    pub(crate) misses: u8,
    /// So often time passes though somebody has something to do.
    pub(crate) lags: u8,
    pub(crate) flaw: Flaw,
}

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientEnd {
    /// Its pidfd fires, and its lanes close.
    Killed,
    /// A raw fork of it holds the lanes open: only the pidfd tells.
    Forked,
    /// It executes another program: only the lanes tell.
    Executed,
}

/// One thing that a broken machine, or the shell around it, would do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The child does not arm its parent-death signal.
    Unarmed,
    /// `Sweep` is not performed.
    SweepLost,
    /// The shepherd's machine is not told the time.
    TimeLost,
    /// It is told that nothing is left when the child has ended.
    EmptyTooSoon,
    /// It is not told that the client is gone.
    HangUpLost,
    /// It takes every request to be about the command of the moment.
    StaleHeeded,
    /// The group is signalled by the number of a reaped leader.
    NumberKept,
    /// `Report` is performed twice.
    ToldTwice,
    /// `Quit` is not performed.
    QuitLost,
    /// What has ended beside the child is not reaped.
    ZombieLeft,
    /// The status is made up.
    StatusInvented,
    /// The guardian does nothing about a late shepherd.
    VerdictLost,
    /// It does not sweep what a dead shepherd leaves.
    StraysLeft,
    /// It takes a list that it could not read for an empty one.
    EmptyListTrusted,
    /// It is told that every shepherd stays beside what was kept on purpose.
    StandingWrong,
    /// A guardian that was let go of is not told that its lane has ended.
    RetiredIsDeaf,
    /// The watcher has endless patience with a shepherd.
    PatienceEndless,
}

/// A second of grace, so that grace and the allowance beyond it are told apart from all other times.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// One command that is spawned, and asked for nothing; nobody is killed.
pub(crate) const CALM: Rules = Rules {
    terms: Terms { grace: GRACE, ..Terms::DEFAULT },
    notify: Notify::Start,
    commands: 1,
    requests: 0,
    detach: false,
    drop: false,
    refresh: false,
    ends: &[],
    blows: 0,
    forks: 2,
    misses: 0,
    lags: 0,
    flaw: Flaw::None,
};

impl Rules {
    pub(crate) fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    pub(crate) const fn leaving(self, leftovers: Leftovers) -> Rules {
        Rules { terms: Terms { leftovers, ..self.terms }, ..self }
    }
}
