//! The cgroup of a command at its end: what it has used goes into the report, and it is removed before
//! anybody hears that the command is over. Without us the shepherd removes it.

use std::time::Duration;

use netrunner_cgroup::Group;

use super::Running;
use crate::capabilities::Containment;
use crate::outcome::Outcome;
use crate::report::{Leftovers, Reason};

/// How long those in it may take to die when the shepherd did not see to it.
const PATIENCE: Duration = Duration::from_secs(2);

impl Running {
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_deref()
    }

    /// Removes it, unless something in it is to live on.
    pub(super) fn end_group(&self, outcome: &mut Outcome) {
        let Some(group) = self.group() else { return };
        match outcome {
            Outcome::Ended { report, survivors } => {
                if report.containment == Containment::Tree {
                    report.containment = Containment::Cgroup;
                }
                let stats = group.stats();
                if report.reason == Reason::Exited
                    && !report.status.success()
                    && stats.killed_for_memory()
                {
                    report.reason = Reason::OutOfMemory;
                }
                report.cgroup = Some(stats);
                let kept = self.leftovers == Leftovers::Keep && !report.leftovers.is_empty();
                if kept {
                    return group.release();
                }
                // Whom SIGKILL has not ended within the shepherd's patience it will not end in ours.
                let patience = if survivors.is_empty() { PATIENCE } else { Duration::ZERO };
                // What stays is told as a survivor, or swept as stale.
                let _ = group.end(patience);
            }
            Outcome::Detached => group.release(),
            Outcome::Failed(_) | Outcome::Lost(_) => {
                let _ = group.end(PATIENCE); // as above
            }
        }
    }
}
