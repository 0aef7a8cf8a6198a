//! What signals do to a child short of ending it: sending one, and what the shepherd tells of the
//! child's stops and continuations.

use netrunner_core::message::Request;
use rustix::io::Errno;

use super::{Progress, Running};
use crate::error::{Error, Result, shown};
use crate::signal::Signal;

/// What the shepherd has told of the child's stops.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// The signal that has stopped it, while it is stopped.
    now: Option<Signal>,
    /// How often it was stopped so far, and the last signal.
    count: u64,
    last: Option<Signal>,
}

impl Running {
    /// Sends a signal to the child's group.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let failed = |errno: Errno| {
            Error::system(format!("send {signal} to `{}`", shown(&self.program)), errno)
        };
        // So that a command that has just ended is known to have.
        let over = self.try_wait();
        if self.outcome.get().is_some() {
            return over.and_then(|_| Err(failed(Errno::SRCH)));
        }
        let shepherd = self.shepherd().ok_or_else(|| failed(Errno::SRCH))?;
        // Signals are numbered from 1 to 64.
        let number = u8::try_from(signal.as_raw()).map_err(|_| failed(Errno::INVAL))?;
        match shepherd.request(&Request::Signal(self.id, number)) {
            Ok(()) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(failed(Errno::SRCH)),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The shepherd has told that this signal has stopped the child.
    pub(super) fn note_stop(&self, signal: u8) {
        let mut state = self.lock();
        let signal = Signal::try_from(i32::from(signal)).ok();
        state.stops.now = signal;
        state.stops.last = signal;
        state.stops.count += 1;
        self.state.wake(&state);
    }

    pub(super) fn note_continuation(&self) {
        self.lock().stops.now = None;
    }

    /// The signal that has stopped the child, while it is stopped.
    pub(crate) fn stopped(&self) -> Option<Signal> {
        self.look();
        if self.outcome().is_some() { None } else { self.lock().stops.now }
    }

    /// Waits for a stop that `seen` does not count, or for the outcome.
    pub(crate) fn wait_stopped(&self, seen: &mut u64) -> Result<Option<Signal>> {
        self.ensure_here()?;
        loop {
            let state = self.lock();
            if state.stops.count > *seen {
                *seen = state.stops.count;
                return Ok(state.stops.last);
            }
            drop(state);
            if self.outcome().is_some() {
                return Ok(None);
            }
            match self.try_role() {
                Some((role, shepherd)) => {
                    if role.wait(&shepherd, None) == Progress::NeverRan {
                        role.lose("it ended before the command was started");
                    }
                }
                None => self.wait_for_change(None),
            }
        }
    }
}
