//! What only Unix has: the name, the identity and the limits that a command starts with.

use std::ffi::{OsStr, OsString};

use crate::command::Command;

/// What a command does to itself before its program is executed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    pub(crate) umask: Option<u32>,
    pub(crate) nice: Option<i32>,
    pub(crate) limits: Vec<(Resource, u64, u64)>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) gid: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) no_new_privs: bool,
    pub(crate) foreground: Option<bool>,
}

/// What Unix adds to a [`Command`]. Each step that fails fails the spawn, and names itself.
///
/// They are taken in the order umask, niceness, limits, groups, group, user, `no_new_privs`,
/// whatever the order of the calls.
///
/// ```
/// use netrunner_sync::{Command, CommandExt, Resource};
///
/// let output = Command::new("sh")
///     .args(["-c", "umask; ulimit -n; echo $0"])
///     .arg0("another-name")
///     .umask(0o077)
///     .rlimit(Resource::NOFILE, 64, 64)
///     .no_new_privs(true)
///     .output()?;
/// assert_eq!(output.stdout, b"0077\n64\nanother-name\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub trait CommandExt: sealed::Sealed {
    /// The name that the program sees as its own, in place of the one that it was started by.
    ///
    /// ```
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// let output = Command::new("sh").arg0("-sh").args(["-c", "echo $0"]).output()?;
    /// assert_eq!(output.stdout, b"-sh\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn arg0(&mut self, arg0: impl AsRef<OsStr>) -> &mut Command;

    /// The user to run as: real, effective and saved. Without [`groups`](CommandExt::groups) the
    /// supplementary groups are cleared.
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// Command::new("id").uid(65_534).gid(65_534).run()?; // needs the privilege
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn uid(&mut self, uid: u32) -> &mut Command;

    /// The group to run as: real, effective and saved.
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// Command::new("id").gid(65_534).run()?; // needs the privilege
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn gid(&mut self, gid: u32) -> &mut Command;

    /// The supplementary groups.
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// Command::new("id").uid(65_534).gid(65_534).groups(&[20, 44]).run()?; // needs the privilege
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn groups(&mut self, groups: &[u32]) -> &mut Command;

    /// The mask of permissions that new files don't get.
    ///
    /// ```
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// let output = Command::new("sh").args(["-c", "umask"]).umask(0o027).output()?;
    /// assert_eq!(output.stdout, b"0027\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn umask(&mut self, mask: u32) -> &mut Command;

    /// Adds to the niceness: positive is nicer, negative needs a privilege.
    ///
    /// ```
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// Command::new("make").arg("--version").nice(10).output().ok();
    /// ```
    fn nice(&mut self, by: i32) -> &mut Command;

    /// Sets a resource limit; [`Resource::UNLIMITED`] means none.
    ///
    /// ```
    /// use netrunner_sync::{Command, CommandExt, Resource};
    ///
    /// let mut command = Command::new("sh");
    /// let output = command.args(["-c", "ulimit -n"]).rlimit(Resource::NOFILE, 64, 64).output()?;
    /// assert_eq!(output.stdout, b"64\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn rlimit(&mut self, resource: Resource, soft: u64, hard: u64) -> &mut Command;

    /// Whether the command and its descendants can never gain a privilege by an exec.
    ///
    /// ```
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// let mut command = Command::new("grep");
    /// let output = command.args(["NoNewPrivs", "/proc/self/status"]).no_new_privs(true).output()?;
    /// assert_eq!(output.stdout, b"NoNewPrivs:\t1\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn no_new_privs(&mut self, yes: bool) -> &mut Command;

    /// Whether the command is to have the client's terminal: with `true` its process group is in
    /// the foreground from the first instruction on, if the client's is, whatever its streams are.
    ///
    /// Without a call this is so for a command that inherits the terminal as its standard input,
    /// unless its output goes on into a pipe; any other command that has the terminal among its
    /// streams gets it as soon as it touches it. With `false` it never does: a command that reads
    /// the terminal then is stopped, as a background job of a shell is, and
    /// [`Child::stopped`](crate::Child::stopped) tells of it.
    ///
    /// While the command is in the foreground it gets Ctrl-C and the terminal's other signals, and
    /// the client does not. When it is stopped (Ctrl-Z), the client's process group is stopped too,
    /// and goes on with it, as a shell's job does. At the end, whatever that is, the terminal is the
    /// client's again; of a command that did not end by itself also the modes are put right. Of
    /// several commands at once the first has the terminal, and the others get it after it.
    ///
    /// Without a controlling terminal this changes nothing, so that a program need not know where
    /// it runs.
    ///
    /// ```
    /// use netrunner_sync::{Command, CommandExt};
    ///
    /// // A pager of our output, say, that is to read keys from the terminal.
    /// Command::new("cat").input("a page\n").foreground(true).output()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    fn foreground(&mut self, yes: bool) -> &mut Command;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Command {}
}

impl CommandExt for Command {
    fn arg0(&mut self, arg0: impl AsRef<OsStr>) -> &mut Command {
        self.arg0 = Some(OsString::from(arg0.as_ref()));
        self
    }

    fn uid(&mut self, uid: u32) -> &mut Command {
        self.setup.uid = Some(uid);
        self
    }

    fn gid(&mut self, gid: u32) -> &mut Command {
        self.setup.gid = Some(gid);
        self
    }

    fn groups(&mut self, groups: &[u32]) -> &mut Command {
        self.setup.groups = Some(groups.to_vec());
        self
    }

    fn umask(&mut self, mask: u32) -> &mut Command {
        self.setup.umask = Some(mask);
        self
    }

    fn nice(&mut self, by: i32) -> &mut Command {
        self.setup.nice = Some(by);
        self
    }

    fn rlimit(&mut self, resource: Resource, soft: u64, hard: u64) -> &mut Command {
        self.setup.limits.retain(|(known, _, _)| *known != resource);
        self.setup.limits.push((resource, soft, hard));
        self
    }

    fn no_new_privs(&mut self, yes: bool) -> &mut Command {
        self.setup.no_new_privs = yes;
        self
    }

    fn foreground(&mut self, yes: bool) -> &mut Command {
        self.setup.foreground = Some(yes);
        self
    }
}

/// A resource whose use [`CommandExt::rlimit`] can limit.
///
/// ```
/// use netrunner_sync::{Command, CommandExt, Resource};
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "ulimit -c"]).rlimit(Resource::CORE, 0, Resource::UNLIMITED);
/// assert_eq!(command.output()?.stdout, b"0\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource(u32);

macro_rules! resources {
    ($($(#[$when:meta])? $name:ident $constant:ident $about:literal)*) => {
        impl Resource {
            $(
                $(#[$when])?
                #[doc = concat!(
                    $about, "\n\n```\nuse netrunner_sync::Resource;\nassert_eq!(Resource::from_name(\"",
                    stringify!($name), "\"), Some(Resource::", stringify!($name), "));\n```",
                )]
                pub const $name: Resource = Resource(libc::$constant as u32);
            )*

            /// The resource of this name, without `RLIMIT_`, in either case.
            ///
            /// ```
            /// use netrunner_sync::Resource;
            /// assert_eq!(Resource::from_name("nofile"), Some(Resource::NOFILE));
            /// assert_eq!(Resource::from_name("nonsense"), None);
            /// ```
            #[must_use]
            pub fn from_name(name: &str) -> Option<Resource> {
                match name.to_ascii_uppercase().as_str() {
                    $($(#[$when])? stringify!($name) => Some(Resource::$name),)*
                    _ => None,
                }
            }
        }
    };
}

resources! {
    AS RLIMIT_AS "Address space, in bytes."
    CORE RLIMIT_CORE "Size of a core file, in bytes."
    CPU RLIMIT_CPU "CPU time, in seconds."
    DATA RLIMIT_DATA "Data segment, in bytes."
    FSIZE RLIMIT_FSIZE "Size of a file that is written, in bytes."
    #[cfg(target_os = "linux")] LOCKS RLIMIT_LOCKS "File locks."
    MEMLOCK RLIMIT_MEMLOCK "Locked memory, in bytes."
    #[cfg(target_os = "linux")] MSGQUEUE RLIMIT_MSGQUEUE "POSIX message queues, in bytes."
    #[cfg(target_os = "linux")] NICE RLIMIT_NICE "The ceiling of the niceness: 20 minus this."
    NOFILE RLIMIT_NOFILE "One more than the highest descriptor."
    NPROC RLIMIT_NPROC "Processes of the user."
    RSS RLIMIT_RSS "Resident memory, in bytes; Linux does not enforce it."
    #[cfg(target_os = "linux")] RTPRIO RLIMIT_RTPRIO "The ceiling of the real-time priority."
    #[cfg(target_os = "linux")] RTTIME RLIMIT_RTTIME "Real-time CPU time between two blocking calls, in microseconds."
    #[cfg(target_os = "linux")] SIGPENDING RLIMIT_SIGPENDING "Queued signals."
    STACK RLIMIT_STACK "Stack, in bytes."
}

impl Resource {
    /// No limit.
    ///
    /// ```
    /// use netrunner_sync::{Command, CommandExt, Resource};
    ///
    /// let mut command = Command::new("make");
    /// command.rlimit(Resource::CORE, Resource::UNLIMITED, Resource::UNLIMITED);
    /// ```
    pub const UNLIMITED: u64 = u64::MAX;

    pub(crate) fn as_raw(self) -> u32 {
        self.0
    }
}
