//! The ladder of a command, from its start to its end. Each rung is reached by the shepherd's own clock:
//!
//! ```text
//!           child ends, others live           20 ms over
//!   Calm ───────────────────────▶ Settling ───────────────┐
//!    │ stop, timeout, client gone                         ▼
//!    ├──────────────────────────────────────────────▶  Asked  stop signal + CONT to the tree
//!    │ kill                                               │ grace over, or kill
//!    └───────────────────────────────────────────────▶ Killing  sweep after sweep until nothing
//!                                                             lives, or the client is told what does
//! ```

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Time;
use crate::delays::{FEWEST_SWEEPS, HANDLE_AFTER, HANGING_UP, SWEEP_PAUSE, SWEEPING};
use crate::message::{CommandId, Reason};
use crate::spawn::Terms;
use crate::supervise::Action;

/// Those that have the same number on every system that NetRunner runs on, and SIGCONT.
const SIGKILL: u8 = 9;
pub(crate) const SIGWINCH: u8 = 28;
const SIGCONT: u8 = if cfg!(target_os = "linux") { 18 } else { 19 };

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Command {
    pub(crate) id: CommandId,
    pub(crate) terms: Terms,
    pub(crate) timeout_at: Option<Time>,
    pub(crate) child: Child,
    pub(crate) reason: Option<Reason>,
    pub(crate) ladder: Ladder,
    /// When the client gets the child's pidfd, unless the ladder has begun by then.
    pub(crate) handle_at: Option<Time>,
    /// When what is waited for counts as left over.
    pub(crate) note_at: Option<Time>,
    leftovers: Noted,
}

/// Whether what outlived the child is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Noted {
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Child {
    Lives,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ladder {
    Calm,
    Settling { until: Time },
    Asked { kill_at: Time, again_at: Option<Time> },
    Killing { again_at: Time, pause: Duration, tell_at: Option<Time>, swept: u8 },
}

impl Command {
    /// One that was started now.
    pub(crate) fn new(now: Time, id: CommandId, terms: Terms) -> Command {
        Command {
            id,
            terms,
            timeout_at: terms.timeout.map(|timeout| now.after(timeout)),
            child: Child::Lives,
            reason: None,
            ladder: Ladder::Calm,
            handle_at: Some(now.after(HANDLE_AFTER)),
            note_at: None,
            leftovers: Noted::No,
        }
    }

    /// When there is something to do, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.ladder {
            Ladder::Calm => earlier(self.timeout_at, earlier(self.note_at, self.handle_at)),
            Ladder::Settling { until } => Some(until),
            Ladder::Asked { kill_at, again_at } => earlier(Some(kill_at), again_at),
            Ladder::Killing { again_at, tell_at, swept, .. } => {
                earlier(Some(again_at), tell_at.filter(|_| swept >= FEWEST_SWEEPS))
            }
        }
    }

    /// Begins the stop ladder, unless it has begun.
    pub(crate) fn ask(&mut self, now: Time, reason: Reason, actions: &mut VecDeque<Action>) {
        match self.ladder {
            Ladder::Calm | Ladder::Settling { .. } => {}
            Ladder::Asked { .. } | Ladder::Killing { .. } => return,
        }
        self.reason.get_or_insert(reason);
        if self.signal() == SIGKILL {
            return self.kill(now, reason, actions);
        }
        self.note_leftovers(actions);
        self.signal_tree(actions);
        let again = self.child == Child::Lives && self.terms.leftover_signal.is_some();
        let again_at = again.then(|| now.after(HANGING_UP));
        self.ladder = Ladder::Asked { kill_at: now.after(self.terms.grace), again_at };
    }

    /// What asks those to end that live now.
    fn signal(&self) -> u8 {
        match self.child {
            Child::Lives => self.terms.stop_signal,
            Child::Ended => self.terms.leftover_signal.unwrap_or(self.terms.stop_signal),
        }
    }

    pub(crate) fn signal_tree(&self, actions: &mut VecDeque<Action>) {
        actions.push_back(Action::SignalTree(self.signal()));
        // A stopped process acts on the signal when it goes on.
        actions.push_back(Action::SignalTree(SIGCONT));
    }

    /// Begins to sweep, unless that has begun.
    pub(crate) fn kill(&mut self, now: Time, reason: Reason, actions: &mut VecDeque<Action>) {
        match self.ladder {
            Ladder::Calm | Ladder::Settling { .. } | Ladder::Asked { .. } => {}
            Ladder::Killing { .. } => return,
        }
        self.reason.get_or_insert(reason);
        self.note_leftovers(actions);
        // A command that is one process, or one group, ends by the one call, and its end is heard of. To
        // look for others first would take longer than it does. The first sweep comes as soon as the
        // child has ended beside others, and very soon in any case.
        actions.push_back(match self.child {
            Child::Lives => Action::Strike,
            Child::Ended => Action::Sweep,
        });
        self.ladder = Ladder::Killing {
            again_at: now.after(SWEEP_PAUSE),
            pause: SWEEP_PAUSE,
            tell_at: Some(now.after(SWEEPING)),
            swept: 0,
        };
    }

    /// Has what outlived the child written down, ahead of the first signal that it gets from here.
    pub(crate) fn note_leftovers(&mut self, actions: &mut VecDeque<Action>) {
        if (self.child, self.leftovers) == (Child::Ended, Noted::No) {
            self.leftovers = Noted::Yes;
            actions.push_back(Action::NoteLeftovers);
        }
    }
}

/// The earlier of two times; none is never.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
