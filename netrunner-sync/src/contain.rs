//! Commands in cgroups and PID namespaces of their own: the settings of a command, and the group that is made
//! for it before anything is sent. What groups are is netrunner-cgroup's; namespaces are made by the shepherd.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Once};

use netrunner_cgroup::{Cgroup, Group, Place};
use netrunner_core::namespace::{Namespace, Need, Proc};

use crate::capabilities::{Capability, Containment, probe};
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
    /// [`Containment::Cgroup`] for a command with a [`cgroup`](Command::cgroup). Where it can't be had the
    /// spawn fails ([`is_uncontained`](Error::is_uncontained)) and nothing runs;
    /// [`contain_if_available`](Command::contain_if_available) does without.
    ///
    /// In [`Containment::PidNamespace`] the kernel itself ends all that the command started, even when
    /// client, guardian and shepherd are killed in one instant. What is different for the command is listed
    /// [there](Containment::PidNamespace). A [`cgroup`](Command::cgroup) may be set beside it.
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, Containment};
    ///
    /// let output = Command::new("make").contain(Containment::PidNamespace).run()?;
    /// assert_eq!(output.report.containment, Containment::PidNamespace);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn contain(&mut self, containment: Containment) -> &mut Command {
        self.containment = containment;
        self.need = Need::Required;
        self
    }

    /// The same where the system allows it; elsewhere the command runs without.
    /// [`Report::containment`](crate::Report::containment) says what it was.
    ///
    /// ```
    /// use netrunner_sync::{Command, Containment};
    ///
    /// let output = Command::new("true").contain_if_available(Containment::PidNamespace).run()?;
    /// println!("{:?}", output.report.containment);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn contain_if_available(&mut self, containment: Containment) -> &mut Command {
        self.containment = containment;
        self.need = Need::IfAvailable;
        self
    }

    /// Gives a command in a [PID namespace](Containment::PidNamespace) a `/proc` of its own, in a mount
    /// namespace: with the numbers that its processes have inside, and no others. Off by default, when it
    /// sees everybody's `/proc`, where its processes have other numbers than `getpid(2)` tells them. Programs
    /// that look themselves or each other up there need it: `ps`, debuggers, NetRunner.
    ///
    /// What the command mounts itself shows nowhere else. `InvalidInput` at the spawn for a command that is
    /// in no PID namespace.
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, Containment};
    ///
    /// let output = Command::new("ps").contain(Containment::PidNamespace).mount_proc(true).run()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn mount_proc(&mut self, mount: bool) -> &mut Command {
        self.proc = if mount { Proc::Own } else { Proc::Shared };
        self
    }
}

/// The namespace that the command asks for.
pub(crate) fn namespace(command: &Command) -> Result<Option<Namespace>> {
    let (need, proc) = (command.need, command.proc);
    match command.containment {
        Containment::PidNamespace => Ok(Some(Namespace { need, proc })),
        Containment::Tree | Containment::Cgroup if proc == Proc::Own => {
            let message = "`mount_proc` is for commands in a PID namespace (`contain`)";
            Err(Error::invalid(message))
        }
        Containment::Tree | Containment::Cgroup => Ok(None),
    }
}

/// The namespace could not be made. What forbids it is looked for now, as the number alone says little.
pub(crate) fn refused(program: &dyn Display, object: &str, cause: io::Error) -> Error {
    let at = if object.is_empty() { String::new() } else { format!(" at `{object}`") };
    let why = match probe::pid_namespace_here() {
        Capability::Missing(missing) => format!(" ({}; {})", missing.reason, missing.remedy),
        Capability::Available => String::new(),
    };
    Error::uncontained(format!("make a PID namespace for `{program}`{at}{why}"), cause)
}

/// The group that the command asks for.
pub(crate) fn make(command: &Command) -> Result<Option<Arc<Group>>> {
    let wanted = match (command.containment, &command.cgroup) {
        (Containment::Tree | Containment::PidNamespace, None) => return Ok(None),
        (_, Some(wanted)) => wanted.clone(),
        (Containment::Cgroup, None) => Cgroup::auto(),
    };
    // Asked for by name, the tier is asked for in earnest, or not.
    let wanted = match (command.containment, command.need) {
        (Containment::Cgroup, Need::Required) => wanted.required(),
        (Containment::Cgroup, Need::IfAvailable) => wanted.if_available(),
        (Containment::Tree | Containment::PidNamespace, _) => wanted,
    };
    if cfg!(netrunner_portable) {
        let step = format!("make a cgroup for `{}`", shown(&command.program));
        let refused = || Error::uncontained(step, io::Error::from(io::ErrorKind::Unsupported));
        return if wanted.is_required() { Err(refused()) } else { Ok(None) };
    }
    sweep_once();
    let made = wanted.create().map_err(|error| {
        let step = format!("make a cgroup for `{}`", shown(&command.program));
        if let netrunner_cgroup::Error::Io { step: part, object, source } = error {
            // With the kernel's own number, as everywhere.
            return Error::uncontained(format!("{step} ({part} `{}`)", object.display()), source);
        }
        Error::uncontained(step, io::Error::from(error))
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
