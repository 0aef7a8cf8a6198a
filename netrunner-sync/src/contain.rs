//! Commands in cgroups of their own: the settings of a command, and the group that is made for it before
//! anything is sent. What groups are is netrunner-cgroup's.

use std::io;
use std::sync::{Arc, Once};

use netrunner_cgroup::{Cgroup, Group, Place};

use crate::capabilities::Containment;
use crate::command::Command;
use crate::error::{Error, Result, shown};

impl Command {
    /// Runs it in a cgroup of its own, with these limits: it starts inside, is killed as a whole, and the
    /// group is removed with it. [`Report::cgroup`](crate::Report::cgroup) has what it used.
    ///
    /// Where the group or a limit can't be had the spawn fails and nothing runs, unless the group says
    /// [`if_available`](Cgroup::if_available).
    ///
    /// ```no_run
    /// use netrunner_sync::{Cgroup, Command};
    ///
    /// let group = Cgroup::auto().memory_max(2 << 30).pids_max(256);
    /// let output = Command::new("make").cgroup(group).run()?;
    /// println!("{:?}", output.report.cgroup.and_then(|stats| stats.memory_peak));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn cgroup(&mut self, cgroup: Cgroup) -> &mut Command {
        self.cgroup = Some(cgroup);
        self
    }

    /// How the command and its descendants are held together; [`Containment::Tree`] by default, and
    /// [`Containment::Cgroup`] for a command with a [`cgroup`](Command::cgroup). A tier that can't be had
    /// is an error at the spawn; [`Containment::PidNamespace`] can't be had yet.
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, Containment};
    ///
    /// Command::new("make").contain(Containment::Cgroup).run()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn contain(&mut self, containment: Containment) -> &mut Command {
        self.containment = containment;
        self
    }
}

/// The group that the command asks for.
pub(crate) fn make(command: &Command) -> Result<Option<Arc<Group>>> {
    let wanted = match (command.containment, &command.cgroup) {
        (Containment::PidNamespace, _) => {
            let step = format!("contain `{}` in a PID namespace", shown(&command.program));
            return Err(Error::system(step, io::Error::from(io::ErrorKind::Unsupported)));
        }
        (Containment::Tree, None) => return Ok(None),
        (Containment::Tree | Containment::Cgroup, Some(wanted)) => wanted.clone(),
        (Containment::Cgroup, None) => Cgroup::auto(),
    };
    // Asked for by name, the tier is asked for in earnest.
    let wanted =
        if command.containment == Containment::Cgroup { wanted.required() } else { wanted };
    sweep_once();
    let made = wanted.create().map_err(|cause| {
        let step = format!("make a cgroup for `{}`", shown(&command.program));
        Error::system(step, io::Error::from(cause))
    })?;
    Ok(made.map(Arc::new))
}

/// What clients that were killed together with their shepherds have left is cleared before the first group
/// of this one.
fn sweep_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Ok(place) = Place::detect() {
            // Nothing depends on it, and `netrunner doctor --sweep` tells what could not be cleared.
            let _ = netrunner_cgroup::sweep(&place);
        }
    });
}
