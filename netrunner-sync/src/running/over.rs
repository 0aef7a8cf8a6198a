//! What is done once, when a command is over.

use std::sync::Weak;

use super::Running;
use crate::outcome::Outcome;
use crate::pool::Surplus;
use crate::record;
use crate::watcher::Word;

/// What becomes of the shepherd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It takes another command.
    Idle,
    /// It goes its way.
    Gone,
}

impl Running {
    /// Lets the shepherd go, and stores the outcome, unless there is one.
    ///
    /// In this order: who hears of the end and starts the next command at once is to find an idle shepherd,
    /// and not to have another one born.
    pub(super) fn finish(&self, mut outcome: Outcome, after: After) {
        if let Some(meter) = self.meter() {
            outcome.complete(meter);
        }
        if let Outcome::Lost(_) = outcome {
            self.kill_child();
            self.take_terminal_back();
        }
        self.end_group(&mut outcome);
        let surplus = self.let_go(after);
        let first = self.outcome.set(outcome).is_ok();
        self.state.wake(&self.lock());
        match surplus {
            Surplus::None => {}
            Surplus::Some => self.runtime.expect_trimming(),
            Surplus::Burst => self.runtime.tell(Word::Idle),
        }
        if let Some(outcome) = self.outcome.get().filter(|_| first) {
            // Without a lock, and when nothing else is left to do: a logger may take its time.
            record::ends(&self.program, self.pid(), outcome);
        }
    }

    /// Nothing is asked of the shepherd from here on. Done once, by whoever gets it.
    fn let_go(&self, after: After) -> Surplus {
        let mut state = self.lock();
        state.child = None;
        let shepherd = state.shepherd.take();
        drop(state);
        let Some(shepherd) = shepherd else { return Surplus::None };
        shepherd.serve(Weak::new());
        match after {
            After::Idle => self.runtime.pool().put(&shepherd),
            After::Gone => Surplus::None,
        }
    }
}
