//! A command and its outputs: whether it has been silent for too long, and whether anything can
//! still be written when it is over.

use std::time::Instant;

use netrunner_core::message::Reason;

use super::Running;
use crate::capture::Writers;
use crate::meter::Silence;
use crate::outcome::Outcome;
use crate::report::Leftovers;

impl Running {
    /// When the command will have been silent for too long.
    pub(crate) fn silence_deadline(&self) -> Option<Instant> {
        self.meter()?.deadline()
    }

    /// Stops the command if it has been silent for too long, and says when to look again.
    pub(crate) fn judge_silence(&self) -> Option<Instant> {
        let meter = self.meter()?;
        if self.outcome().is_some() {
            return None;
        }
        let silence = meter.silence(Instant::now());
        match silence {
            Silence::Until(at) => return Some(at),
            Silence::Unknown => meter.stop_clock(),
            Silence::TooLong => {
                meter.stop_clock();
                self.ask_to_stop(Reason::IdleTimeout);
            }
        }
        None
    }

    /// Whether anybody may still write into the pipes of a command that is over.
    pub(crate) fn writers(&self) -> Writers {
        match self.outcome() {
            Some(Outcome::Ended { report, survivors })
                if survivors.is_empty()
                    && (self.leftovers != Leftovers::Keep || report.leftovers.is_empty()) =>
            {
                Writers::Gone
            }
            Some(Outcome::Ended { .. } | Outcome::Detached | Outcome::Lost(_)) => Writers::Perhaps,
            Some(Outcome::Failed(_)) | None => Writers::Gone,
        }
    }
}
