//! When a daemon counts as ready, as its user says it. Looking is the work of `check`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Command;
use crate::expect::Pattern;

/// When a [`Daemon`](crate::Daemon) counts as ready: how it is seen, and by when it has to be.
///
/// A run that is not ready in time is stopped, and has failed. By default the time is 30 seconds from its
/// start.
///
/// ```
/// use std::net::Ipv4Addr;
/// use std::time::Duration;
/// use netrunner_sync::Ready;
///
/// let ready = Ready::port((Ipv4Addr::LOCALHOST, 6379)).within(Duration::from_secs(5));
/// ```
pub struct Ready {
    pub(super) sign: Sign,
    pub(super) within: Duration,
}

/// What is looked for.
pub(super) enum Sign {
    Line(Pattern),
    Port(SocketAddr),
    File(PathBuf),
    Probe(Box<Command>),
}

/// The time, unless another is said.
const WITHIN: Duration = Duration::from_secs(30);

impl Ready {
    fn by(sign: Sign) -> Ready {
        Ready { sign, within: WITHIN }
    }

    /// When it has written a line with this in it, on either output: a text, or with the feature `regex` a
    /// regular expression. Outputs that do not go to the client have no lines.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo warming up; echo ready to serve >&2; sleep 60"]);
    /// let daemon = Daemon::builder(command).ready(Ready::line("ready to serve")).start()?;
    /// daemon.wait_ready()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn line(pattern: impl Into<Pattern>) -> Ready {
        Ready::by(Sign::Line(pattern.into()))
    }

    /// When somebody accepts TCP connections there. Each is closed at once; who accepts is not looked at,
    /// so an earlier server that still has the port is taken for this one.
    ///
    /// ```
    /// use std::net::{Ipv4Addr, TcpListener};
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// // In the place of a server's own socket.
    /// let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let ready = Ready::port(listener.local_addr().unwrap());
    /// Daemon::builder(command).ready(ready).start()?.wait_ready()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn port(address: impl Into<SocketAddr>) -> Ready {
        Ready::by(Sign::Port(address.into()))
    }

    /// When this file exists: a pid file, a socket. One that was there before the start does not count
    /// until it is written or made anew. A relative path is seen from the client's directory.
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("netrunner-ready-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory).unwrap();
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo $$ > server.pid; sleep 60"]).current_dir(&directory);
    /// let ready = Ready::file(directory.join("server.pid"));
    /// Daemon::builder(command).ready(ready).start()?.wait_ready()?;
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn file(path: impl AsRef<Path>) -> Ready {
        Ready::by(Sign::File(path.as_ref().to_owned()))
    }

    /// When this command ends by itself with code 0. It is run again and again until then, one at a time,
    /// with a pause between; its outputs are thrown away, and its input is empty unless it has one. Give
    /// it a [`timeout`](Command::timeout) if it may hang.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let probe = Command::new("true"); // redis-cli ping, pg_isready, …
    /// Daemon::builder(command).ready(Ready::probe(probe)).start()?.wait_ready()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn probe(command: Command) -> Ready {
        Ready::by(Sign::Probe(Box::new(command)))
    }

    /// How long it may take from the start of each run; 30 seconds by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let ready = Ready::line("never").within(Duration::from_millis(10));
    /// let daemon = Daemon::builder(command).ready(ready).start()?;
    /// assert!(daemon.wait_ready().unwrap_err().is_not_ready());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn within(self, time: Duration) -> Ready {
        Ready { within: time, ..self }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Line(pattern) => write!(f, "it wrote no line with {pattern}"),
            Sign::Port(address) => write!(f, "{address} did not accept"),
            Sign::File(path) => write!(f, "there was no new `{}`", path.display()),
            Sign::Probe(command) => {
                write!(f, "`{}` did not succeed", crate::error::shown(command.get_program()))
            }
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Ready");
        match &self.sign {
            Sign::Line(pattern) => shown.field("line", pattern),
            Sign::Port(address) => shown.field("port", address),
            Sign::File(path) => shown.field("file", path),
            Sign::Probe(command) => shown.field("probe", command),
        };
        shown.field("within", &self.within).finish()
    }
}
