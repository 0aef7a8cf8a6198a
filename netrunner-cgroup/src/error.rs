//! Why something could not be had or done, each with its object, and what would mend it. Who decides
//! whether a missing group is an error or only a remark is [`crate::Cgroup`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The outcome of everything here that can fail.
///
/// ```
/// use netrunner_cgroup::{Cgroup, Result};
///
/// fn build(name: &str) -> Result<Cgroup> {
///     Ok(Cgroup::at(format!("builds/{name}"))?.memory_max(1 << 30))
/// }
/// assert!(build("..").is_err());
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why groups, or a limit, can't be had in this place. [`Unavailable::remedy`] says what would help.
///
/// ```
/// use netrunner_cgroup::{Place, Unavailable};
///
/// match Place::detect() {
///     Ok(_) => println!("groups can be made"),
///     Err(Unavailable::NotMounted) => println!("there is no cgroup v2"),
///     Err(other) => println!("{other}; {}", other.remedy()),
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// No hierarchy of version 2 is mounted.
    NotMounted,
    /// It is mounted, but the own group lies outside of what is mounted there.
    Outside {
        /// Where it is mounted.
        mount: PathBuf,
    },
    /// The own group is a threaded one; processes can't be moved below it.
    Threaded {
        /// The own group.
        group: PathBuf,
    },
    /// The own group has not been given to this user.
    NotWritable {
        /// The own group.
        group: PathBuf,
        /// What the kernel said.
        errno: i32,
    },
    /// The controller that a limit needs is not offered to the group.
    Controller {
        /// `memory`, `pids`, `cpu`, `cpuset`, `io`, …
        controller: String,
        /// Where it is missing.
        group: PathBuf,
        /// Whether version 1 is mounted beside version 2, and so may have it.
        hybrid: bool,
    },
    /// To have the controller, all processes of the own group would have to be moved to a leaf, and
    /// nothing says that the group is ours to arrange: systemd is there and did not delegate it.
    NotDelegated {
        /// The own group.
        group: PathBuf,
    },
    /// It could not be found out, for want of descriptors or memory. To make a group then fails with
    /// [`Error::Io`], also where it need not be had.
    Unread {
        /// What could not be read.
        file: PathBuf,
        /// What the kernel said.
        errno: i32,
    },
}

impl Unavailable {
    /// What would make it available, as advice for a person.
    ///
    /// ```
    /// use netrunner_cgroup::Unavailable;
    ///
    /// assert!(Unavailable::NotMounted.remedy().starts_with("mount it"));
    /// ```
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotMounted => {
                "mount it (`mount -t cgroup2 none /sys/fs/cgroup`), or ask whoever runs the container for it"
            }
            Self::Outside { .. } => "start the container with a cgroup namespace of its own",
            Self::Threaded { .. } => {
                "start the program in a group of its own: `systemd-run --user --scope -p Delegate=yes`"
            }
            Self::NotWritable { .. } => {
                "have it delegated: start the program by `systemd-run --user --scope -p Delegate=yes`, or \
                 give the group's folder, `cgroup.procs` and `cgroup.subtree_control` to this user"
            }
            Self::Controller { hybrid: true, .. } => {
                "boot with `systemd.unified_cgroup_hierarchy=1` or `cgroup_no_v1=all`, so that version 1 \
                 does not have it"
            }
            Self::Controller { hybrid: false, .. } => {
                "have it delegated: `systemd-run --user --scope -p Delegate=yes`, or write it (`+memory`) \
                 into `cgroup.subtree_control` of the groups above"
            }
            Self::NotDelegated { .. } => {
                "start the program by `systemd-run --scope -p Delegate=yes` (with `--user` if not root)"
            }
            Self::Unread { .. } => "try again when there is enough again (`ulimit -n`)",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMounted => write!(f, "cgroup v2 is not mounted"),
            Self::Outside { mount } => {
                write!(f, "the own group is not below what is mounted at `{}`", mount.display())
            }
            Self::Threaded { group } => {
                write!(f, "the own group `{}` is a threaded one", group.display())
            }
            Self::NotWritable { group, errno } => {
                let cause = io::Error::from_raw_os_error(*errno);
                write!(f, "the own group `{}` can't be changed: {cause}", group.display())
            }
            Self::Controller { controller, group, .. } => {
                write!(f, "the controller `{controller}` is missing in `{}`", group.display())
            }
            Self::NotDelegated { group } => {
                write!(f, "the own group `{}` has not been delegated", group.display())
            }
            Self::Unread { file, errno } => {
                let cause = io::Error::from_raw_os_error(*errno);
                write!(f, "`{}` can't be read: {cause}", file.display())
            }
        }
    }
}

impl std::error::Error for Unavailable {}

/// What went wrong.
///
/// ```
/// use netrunner_cgroup::{Cgroup, Error};
///
/// assert!(matches!(Cgroup::at("../elsewhere"), Err(Error::Path { .. })));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Groups, or a limit, can't be had here.
    Unavailable(Unavailable),
    /// A path that may not be used for a group.
    Path {
        /// As it was given.
        path: PathBuf,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A limit that can't be written.
    Limit {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The group is there already, and somebody has it: it is locked, has processes, or has groups.
    InUse {
        /// The group.
        group: PathBuf,
    },
    /// The group's processes could not be ended in time.
    Alive {
        /// The group.
        group: PathBuf,
    },
    /// A call failed.
    Io {
        /// What was tried.
        step: &'static str,
        /// With what.
        object: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        step: &'static str,
        object: impl AsRef<Path>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io { step, object: object.as_ref().to_owned(), source: source.into() }
    }

    /// As what kind of I/O error this may be passed on.
    ///
    /// ```
    /// let error = netrunner_cgroup::Cgroup::at("../elsewhere").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Unavailable(_) => io::ErrorKind::Unsupported,
            Self::Path { .. } | Self::Limit { .. } => io::ErrorKind::InvalidInput,
            Self::InUse { .. } => io::ErrorKind::ResourceBusy,
            Self::Alive { .. } => io::ErrorKind::TimedOut,
            Self::Io { source, .. } => source.kind(),
        }
    }

    /// Why groups or a limit can't be had, if that is what went wrong.
    ///
    /// ```
    /// use netrunner_cgroup::Cgroup;
    ///
    /// if let Err(error) = Cgroup::auto().memory_max(1 << 30).create() {
    ///     println!("{error}; {}", error.unavailable().map_or("", |missing| missing.remedy()));
    /// }
    /// ```
    #[must_use]
    pub fn unavailable(&self) -> Option<&Unavailable> {
        match self {
            Self::Unavailable(reason) => Some(reason),
            Self::Path { .. }
            | Self::Limit { .. }
            | Self::InUse { .. }
            | Self::Alive { .. }
            | Self::Io { .. } => None,
        }
    }
}

impl From<Unavailable> for Error {
    fn from(reason: Unavailable) -> Self {
        if let Unavailable::Unread { file, errno } = reason {
            return Self::io("read", file, io::Error::from_raw_os_error(errno));
        }
        Self::Unavailable(reason)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "{reason} ({})", reason.remedy()),
            Self::Path { path, why } => write!(f, "`{}` can't be a cgroup: {why}", path.display()),
            Self::Limit { file, why } => write!(f, "failed to limit `{file}`: {why}"),
            Self::InUse { group } => write!(f, "the cgroup `{}` is in use", group.display()),
            Self::Alive { group } => {
                write!(f, "failed to end the processes of the cgroup `{}` in time", group.display())
            }
            Self::Io { step, object, source } => {
                write!(f, "failed to {step} `{}`: {source}", object.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Unavailable(_)
            | Self::Path { .. }
            | Self::Limit { .. }
            | Self::InUse { .. }
            | Self::Alive { .. } => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}
