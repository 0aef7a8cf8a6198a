//! What this system lets NetRunner do, and what to change where it does not: the public types. How
//! each is found out is in `probe`, the cgroup hierarchy in `cgroups`.

use std::path::PathBuf;

use netrunner_cgroup::Place;

#[cfg(not(netrunner_portable))]
mod cgroups;
#[cfg_attr(netrunner_portable, path = "portable/probe.rs")]
pub(crate) mod probe;

/// What this system offers, as [`capabilities`] found it.
///
/// What is missing is missing for this process, now: a sandbox counts as much as an old kernel.
///
/// ```
/// let here = netrunner_sync::capabilities();
/// println!("Linux {}, at best {:?}", here.kernel, here.containments.last());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// The kernel's release, such as `6.12.41`.
    pub kernel: String,
    /// Where the shepherds' program comes from.
    pub shepherd: ShepherdSource,
    /// It can be executed: needed.
    pub program: Capability,
    /// `/proc` is mounted: needed.
    pub proc_mount: Capability,
    /// Orphans can be adopted (`PR_SET_CHILD_SUBREAPER`): needed.
    pub subreaper: Capability,
    /// A child can be made to die with its shepherd (`PR_SET_PDEATHSIG`): needed.
    pub parent_death_signal: Capability,
    /// Programs can be executed from memory (`memfd_create`, `vm.memfd_noexec`).
    pub memfd: Capability,
    /// Processes can be held by a descriptor (`pidfd_open` and what belongs to it).
    pub pidfd: Capability,
    /// `close_range`.
    pub close_range: Capability,
    /// The children of a process can be listed (`CONFIG_PROC_CHILDREN`).
    pub children_files: Capability,
    /// `clone3`.
    pub clone3: Capability,
    /// A child can be born in a cgroup (`CLONE_INTO_CGROUP`).
    pub clone_into_cgroup: Capability,
    /// Pseudo-terminals can be opened.
    pub pty: Capability,
    /// The process may make user namespaces.
    pub user_namespace: Capability,
    /// The process may make PID namespaces, by itself or inside of a user namespace.
    pub pid_namespace: Capability,
    /// The process may make cgroups below its own (cgroup v2, delegated).
    pub cgroup: Capability,
    /// Such groups can limit memory, processes and CPU time.
    pub cgroup_limits: Capability,
    /// Its own place in the hierarchy of cgroup v2, where there is one.
    pub cgroup_place: Option<Place>,
    /// The kinds of containment that would be possible here, weakest first. So far NetRunner offers
    /// [`Containment::Tree`] and [`Containment::Cgroup`].
    pub containments: Vec<Containment>,
}

/// Whether something is there.
///
/// ```
/// use netrunner_sync::{Capability, capabilities};
///
/// match capabilities().cgroup {
///     Capability::Available => println!("commands can have limits"),
///     Capability::Missing(missing) => println!("{}: {}", missing.reason, missing.remedy),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// It is.
    Available,
    /// It is not.
    Missing(Missing),
}

/// Why something is not there, in words for people.
///
/// ```
/// use netrunner_sync::Capability;
///
/// if let Capability::Missing(missing) = netrunner_sync::capabilities().pid_namespace {
///     assert!(!missing.reason.is_empty() && !missing.remedy.is_empty());
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// What was tried, and what the system said.
    pub reason: String,
    /// What that means for commands.
    pub effect: String,
    /// What to change.
    pub remedy: String,
}

/// How much depends on something.
///
/// ```
/// use netrunner_sync::{Need, capabilities};
///
/// let weaker: Vec<_> = capabilities().lacking(Need::Better).map(str::to_owned).collect();
/// println!("without {}", weaker.join(", "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Without it no command can be run safely.
    Required,
    /// Without it there is another way, which is weaker or slower.
    Better,
    /// Only what is explicitly asked for rests on it.
    Extra,
}

/// Where the shepherds' program comes from.
///
/// ```
/// use netrunner_sync::ShepherdSource;
///
/// match netrunner_sync::capabilities().shepherd {
///     ShepherdSource::Embedded => println!("from this program"),
///     other => println!("{other:?}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShepherdSource {
    /// From this crate itself.
    Embedded,
    /// From the file named by [`Shepherds::binary`](crate::Shepherds::binary).
    Explicit(PathBuf),
    /// From the file named by the variable `NETRUNNER_SHEPHERD`.
    Variable(PathBuf),
    /// From the file named when this crate was built.
    Installed(PathBuf),
}

/// How a command and its descendants are held together.
///
/// ```
/// use netrunner_sync::{Command, Containment};
///
/// let output = Command::new("true").output()?;
/// assert_eq!(output.report.containment, Containment::Tree);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Containment {
    /// By process group and subreaper; needs no privilege.
    #[default]
    Tree,
    /// By a cgroup, which is killed as a whole.
    Cgroup,
    /// By a PID namespace, which ends with its first process: and that ends with the shepherd, by the kernel's
    /// hand. So nothing is left even when client, guardian and shepherd are killed in one instant
    /// (`pid_namespaces(7)`). The command is that process's neighbour, not itself: numbers, statuses, signals
    /// and the terminal are for the client what they are otherwise.
    ///
    /// Without `CAP_SYS_ADMIN` a user namespace goes around it (`user_namespaces(7)`), in which the user and
    /// the group of the command are the only ones: its files keep their owner, those of others seem to be
    /// nobody's, set-uid programs of others get no rights, and groups can't be set. The command sees other
    /// process numbers inside than the client does outside, and `getppid()` is 0 for it;
    /// [`mount_proc`](crate::Command::mount_proc) gives it a `/proc` to match.
    PidNamespace,
}

/// Finds out what this system lets NetRunner do.
///
/// Each capability is tried wherever trying leaves no trace; nothing is started, and nothing stays
/// open. It takes about a millisecond.
///
/// ```
/// use netrunner_sync::{Capability, capabilities};
///
/// let here = capabilities();
/// if let Capability::Missing(missing) = &here.pidfd {
///     println!("{}; {}", missing.effect, missing.remedy);
/// }
/// assert!(here.is_sufficient());
/// ```
#[must_use]
pub fn capabilities() -> Capabilities {
    probe::all()
}

impl Capability {
    /// Whether it is there.
    ///
    /// ```
    /// if netrunner_sync::capabilities().pty.is_available() {
    ///     println!("commands can have terminals");
    /// }
    /// ```
    #[must_use]
    pub fn is_available(&self) -> bool {
        *self == Capability::Available
    }

    fn missing(
        reason: impl Into<String>,
        effect: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Capability {
        let (reason, effect, remedy) = (reason.into(), effect.into(), remedy.into());
        Capability::Missing(Missing { reason, effect, remedy })
    }
}

/// How much depends on what only Linux has: the portable form does without, and promises less.
const LINUX: Need = if cfg!(netrunner_portable) { Need::Better } else { Need::Required };

impl Capabilities {
    /// Every capability with its name and the need for it, the most needed first.
    ///
    /// ```
    /// for (name, need, capability) in netrunner_sync::capabilities().iter() {
    ///     println!("{name} ({need:?}): {}", capability.is_available());
    /// }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Need, &Capability)> {
        [
            ("program", Need::Required, &self.program),
            ("proc_mount", LINUX, &self.proc_mount),
            ("subreaper", LINUX, &self.subreaper),
            ("parent_death_signal", LINUX, &self.parent_death_signal),
            ("memfd", Need::Better, &self.memfd),
            ("pidfd", Need::Better, &self.pidfd),
            ("close_range", Need::Better, &self.close_range),
            ("children_files", Need::Better, &self.children_files),
            ("clone3", Need::Extra, &self.clone3),
            ("clone_into_cgroup", Need::Extra, &self.clone_into_cgroup),
            ("pty", Need::Extra, &self.pty),
            ("user_namespace", Need::Extra, &self.user_namespace),
            ("pid_namespace", Need::Extra, &self.pid_namespace),
            ("cgroup", Need::Extra, &self.cgroup),
            ("cgroup_limits", Need::Extra, &self.cgroup_limits),
        ]
        .into_iter()
    }

    /// Whether all is there that commands need.
    ///
    /// ```
    /// assert!(netrunner_sync::capabilities().is_sufficient());
    /// ```
    #[must_use]
    pub fn is_sufficient(&self) -> bool {
        self.lacking(Need::Required).next().is_none()
    }

    /// The names of what is needed in this way and missing.
    ///
    /// ```
    /// use netrunner_sync::{Need, capabilities};
    ///
    /// assert_eq!(capabilities().lacking(Need::Required).next(), None);
    /// ```
    pub fn lacking(&self, need: Need) -> impl Iterator<Item = &'static str> {
        self.iter()
            .filter(move |(_, of, capability)| *of == need && !capability.is_available())
            .map(|(name, _, _)| name)
    }
}
