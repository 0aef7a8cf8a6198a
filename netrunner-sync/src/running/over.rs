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
    /// Stores the outcome, unless there is one, and lets the shepherd go.
    pub(super) fn finish(&self, mut outcome: Outcome, after: After) {
        if let Some(meter) = self.meter() {
            outcome.complete(meter);
        }
        if let Outcome::Lost(_) = outcome {
            self.kill_child();
            self.take_terminal_back();
        }
        self.end_group(&mut outcome);
        let first = self.outcome.set(outcome).is_ok();
        let mut state = self.lock();
        state.child = None;
        let shepherd = state.shepherd.take();
        self.state.wake(&state);
        drop(state);
        if let Some(shepherd) = shepherd.filter(|_| first) {
            shepherd.serve(Weak::new());
            if after == After::Idle {
                match self.runtime.pool().put(&shepherd) {
                    Surplus::None => {}
                    Surplus::Some => self.runtime.expect_trimming(),
                    Surplus::Burst => self.runtime.tell(Word::Idle),
                }
            }
        }
        if let Some(outcome) = self.outcome.get().filter(|_| first) {
            // Without a lock, and when nothing else is left to do: a logger may take its time.
            record::ends(&self.program, self.pid(), outcome);
        }
    }
}
