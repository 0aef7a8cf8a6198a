//! The one error of this crate: opaque, with a step, an object and a cause in its text, and
//! predicates for what a program may want to tell apart.

use std::ffi::{OsStr, OsString};
use std::io;

use crate::report::{Leftover, Output, Reason};

mod display;

pub(crate) use display::shown;

/// A result whose error is [`Error`].
///
/// ```
/// use netrunner_sync::{Command, Result};
///
/// fn version(program: &str) -> Result<String> {
///     let output = Command::new(program).arg("--version").run()?;
///     Ok(String::from_utf8_lossy(&output.stdout).into_owned())
/// }
/// assert!(version("no-such-program").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, at which step, with which object.
///
/// The text is made for people: lower case, the step, the object in backticks, then the cause.
/// Programs use the predicates, [`kind`](Error::kind) and
/// [`raw_os_error`](Error::raw_os_error), and find what a command wrote before it failed in
/// [`output`](Error::output). The page [`errors`](crate::errors) lists them all, with what helps.
///
/// ```
/// use netrunner_sync::Command;
///
/// let error = Command::new("no-such-program").output().unwrap_err();
/// assert!(error.is_not_found());
/// assert_eq!(error.to_string(), "failed to start `no-such-program`: No such file or directory");
///
/// let error = Command::new("sh").args(["-c", "echo half; exit 3"]).run().unwrap_err();
/// assert!(error.is_failure());
/// assert_eq!(error.to_string(), "`sh` exited with code 3");
/// assert_eq!(error.output().unwrap().stdout, b"half\n");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    output: Option<Output>,
}

enum Kind {
    /// What the caller asked for cannot be; nothing was started.
    Invalid { message: String },
    /// A system call failed, on our side or in the shepherd.
    System { step: String, cause: io::Error },
    /// It can't be held together in the way that was asked for; nothing was started.
    Uncontained { step: String, cause: io::Error },
    /// The program could not be executed; all before that had gone well.
    Exec { program: OsString, cause: io::Error },
    /// A judgement about how a command ended; the output is always there.
    Outcome { program: OsString },
    /// The shepherd ended, or made no sense, before it told how its child ended.
    ShepherdLost { program: OsString, detail: String },
    /// It was not started, as nothing more was to be.
    NotRun { program: OsString },
    /// A daemon is over and was not ready; why, where it is not how it ended.
    NotReady { program: OsString, late: Option<String> },
    /// Some of the command's processes could not be ended.
    Unkillable { program: OsString, survivors: Vec<Leftover> },
}

impl Error {
    fn new(kind: Kind) -> Error {
        Error(Box::new(Inner { kind, output: None }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid { message: message.into() })
    }

    /// `step` goes on after "failed to", and names the object.
    pub(crate) fn system(step: impl Into<String>, cause: impl Into<io::Error>) -> Error {
        Error::new(Kind::System { step: step.into(), cause: cause.into() })
    }

    /// As [`Error::system`], about the way in which a command was to be held together.
    pub(crate) fn uncontained(step: impl Into<String>, cause: impl Into<io::Error>) -> Error {
        Error::new(Kind::Uncontained { step: step.into(), cause: cause.into() })
    }

    pub(crate) fn exec(program: &OsStr, cause: impl Into<io::Error>) -> Error {
        Error::new(Kind::Exec { program: program.to_owned(), cause: cause.into() })
    }

    pub(crate) fn outcome(program: &OsStr, output: Output) -> Error {
        Error::new(Kind::Outcome { program: program.to_owned() }).with_output(output)
    }

    pub(crate) fn shepherd_lost(program: &OsStr, detail: impl Into<String>) -> Error {
        let program = program.to_owned();
        Error::new(Kind::ShepherdLost { program, detail: detail.into() })
    }

    pub(crate) fn not_run(program: &OsStr) -> Error {
        Error::new(Kind::NotRun { program: program.to_owned() })
    }

    /// `late` is what was missing in time.
    pub(crate) fn not_ready(program: &OsStr, late: Option<String>) -> Error {
        Error::new(Kind::NotReady { program: program.to_owned(), late })
    }

    pub(crate) fn unkillable(program: &OsStr, survivors: Vec<Leftover>) -> Error {
        Error::new(Kind::Unkillable { program: program.to_owned(), survivors })
    }

    /// The same for one more who asks.
    pub(crate) fn copy(&self) -> Error {
        let copied = |cause: &io::Error| match cause.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(cause.kind(), cause.to_string()),
        };
        let kind = match &self.0.kind {
            Kind::Invalid { message } => Kind::Invalid { message: message.clone() },
            Kind::System { step, cause } => {
                Kind::System { step: step.clone(), cause: copied(cause) }
            }
            Kind::Uncontained { step, cause } => {
                Kind::Uncontained { step: step.clone(), cause: copied(cause) }
            }
            Kind::Exec { program, cause } => {
                Kind::Exec { program: program.clone(), cause: copied(cause) }
            }
            Kind::Outcome { program } => Kind::Outcome { program: program.clone() },
            Kind::ShepherdLost { program, detail } => {
                Kind::ShepherdLost { program: program.clone(), detail: detail.clone() }
            }
            Kind::NotRun { program } => Kind::NotRun { program: program.clone() },
            Kind::NotReady { program, late } => {
                Kind::NotReady { program: program.clone(), late: late.clone() }
            }
            Kind::Unkillable { program, survivors } => {
                Kind::Unkillable { program: program.clone(), survivors: survivors.clone() }
            }
        };
        Error(Box::new(Inner { kind, output: self.0.output.clone() }))
    }

    pub(crate) fn with_output(mut self, output: Output) -> Error {
        self.0.output = Some(output);
        self
    }

    /// The kind that `std::process` would have given.
    ///
    /// A timeout is [`TimedOut`](io::ErrorKind::TimedOut), a lost shepherd
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), any other judgement of
    /// [`run`](crate::Command::run) [`Other`](io::ErrorKind::Other).
    ///
    /// ```
    /// let error = netrunner_sync::Command::new("no-such-program").status().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match &self.0.kind {
            Kind::Invalid { .. } => io::ErrorKind::InvalidInput,
            Kind::System { cause, .. }
            | Kind::Uncontained { cause, .. }
            | Kind::Exec { cause, .. } => cause.kind(),
            Kind::Outcome { .. } if self.is_timeout() => io::ErrorKind::TimedOut,
            Kind::NotReady { late: Some(_), .. } => io::ErrorKind::TimedOut,
            Kind::Outcome { .. }
            | Kind::NotRun { .. }
            | Kind::NotReady { .. }
            | Kind::Unkillable { .. } => io::ErrorKind::Other,
            Kind::ShepherdLost { .. } => io::ErrorKind::ConnectionAborted,
        }
    }

    /// The error number of the system call that failed, if one did.
    ///
    /// ```
    /// let error = netrunner_sync::Command::new("/").status().unwrap_err();
    /// assert_eq!(error.raw_os_error(), Some(13)); // EACCES
    /// assert!(error.is_permission_denied());
    /// ```
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.kind {
            Kind::System { cause, .. }
            | Kind::Uncontained { cause, .. }
            | Kind::Exec { cause, .. } => cause.raw_os_error(),
            Kind::Invalid { .. }
            | Kind::Outcome { .. }
            | Kind::ShepherdLost { .. }
            | Kind::NotRun { .. }
            | Kind::NotReady { .. }
            | Kind::Unkillable { .. } => None,
        }
    }

    /// What the command had written, and its report, where it had run at all.
    ///
    /// After a lost shepherd ([`is_shepherd_lost`](Error::is_shepherd_lost)) nobody knows how the
    /// child ended: what was read is true, but the reason is [`Reason::ShepherdLost`] and the
    /// status is only what the death of a shepherd does to its child, SIGKILL.
    ///
    /// ```
    /// let error = netrunner_sync::Command::new("sh").args(["-c", "echo half; exit 3"]).run().unwrap_err();
    /// assert_eq!(error.output().unwrap().stdout, b"half\n");
    /// ```
    #[must_use]
    pub fn output(&self) -> Option<&Output> {
        self.0.output.as_ref()
    }

    /// The same, by value.
    ///
    /// ```
    /// let error = netrunner_sync::Command::new("sh").args(["-c", "echo half; exit 3"]).run().unwrap_err();
    /// assert_eq!(error.into_output().unwrap().stdout, b"half\n");
    /// ```
    #[must_use]
    pub fn into_output(self) -> Option<Output> {
        self.0.output
    }

    /// The program, the directory or another thing that was asked for does not exist.
    ///
    /// ```
    /// let error = netrunner_sync::Command::new("no-such-program").run().unwrap_err();
    /// assert!(error.is_not_found());
    /// ```
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// The program, the directory or the step was not allowed.
    ///
    /// ```
    /// let error = netrunner_sync::Command::new("/etc/passwd").run().unwrap_err();
    /// assert!(error.is_permission_denied()); // it is no program
    /// ```
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.kind() == io::ErrorKind::PermissionDenied
    }

    /// The program itself is what could not be executed: it does not exist, may not be executed,
    /// is no program, or its arguments are too long (`execve(2)`). A missing directory, a limit or a
    /// user that could not be set are other steps, and false here.
    ///
    /// ```
    /// use netrunner_sync::Command;
    ///
    /// let error = Command::new("no-such-program").status().unwrap_err();
    /// assert!(error.is_exec() && error.is_not_found());
    /// let error = Command::new("true").current_dir("/no/such/directory").status().unwrap_err();
    /// assert!(!error.is_exec() && error.is_not_found());
    /// ```
    #[must_use]
    pub fn is_exec(&self) -> bool {
        matches!(self.0.kind, Kind::Exec { .. })
    }

    /// The command was not started because it can't be held together in the way that it asks for: in a
    /// PID namespace, or in a cgroup with these limits. The text says why, and
    /// [`capabilities`](crate::capabilities()) what to change.
    ///
    /// ```
    /// use netrunner_sync::{Command, Containment};
    ///
    /// match Command::new("true").contain(Containment::PidNamespace).run() {
    ///     Err(error) if error.is_uncontained() => eprintln!("{error}"),
    ///     other => drop(other?),
    /// }
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn is_uncontained(&self) -> bool {
        matches!(self.0.kind, Kind::Uncontained { .. })
    }

    /// What was asked for cannot be, whatever the state of the system; nothing was started.
    ///
    /// ```
    /// let error = netrunner_sync::Command::new("true").arg("a\0b").status().unwrap_err();
    /// assert!(error.is_invalid_input());
    /// ```
    #[must_use]
    pub fn is_invalid_input(&self) -> bool {
        self.kind() == io::ErrorKind::InvalidInput
    }

    /// The command ran into its [`timeout`](crate::Command::timeout), or wrote nothing for too
    /// long, and was stopped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::Command;
    ///
    /// let error = Command::new("sleep").arg("60").timeout(Duration::from_millis(20)).run();
    /// assert!(error.unwrap_err().is_timeout());
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.judged(), Some(Reason::Timeout | Reason::IdleTimeout))
    }

    /// The command wrote more than it was allowed to and was stopped.
    ///
    /// ```
    /// use netrunner_sync::{Command, Excess};
    ///
    /// let mut endless = Command::new("yes");
    /// assert!(endless.max_output(1 << 10).excess(Excess::Stop).run().unwrap_err().is_output_limit());
    /// ```
    #[must_use]
    pub fn is_output_limit(&self) -> bool {
        self.judged() == Some(Reason::OutputLimit)
    }

    /// The command ended by itself and not with code 0.
    ///
    /// ```
    /// assert!(netrunner_sync::Command::new("false").run().unwrap_err().is_failure());
    /// ```
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.judged() == Some(Reason::Exited)
    }

    /// The shepherd ended before it could tell how its child ended. The child and what it started
    /// are killed; how far it had come is not known.
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "read line; kill -9 $PPID"]).stdin(Stdio::piped()); // its shepherd
    /// assert!(command.spawn()?.wait().unwrap_err().is_shepherd_lost());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn is_shepherd_lost(&self) -> bool {
        matches!(self.0.kind, Kind::ShepherdLost { .. })
    }

    /// The command is over, but some of its processes could not be ended, for instance those of
    /// another user. The text names them.
    ///
    /// ```no_run
    /// use netrunner_sync::Command;
    ///
    /// if let Err(error) = Command::new("sh").args(["-c", "sudo sleep 60 & exit"]).status() {
    ///     assert!(error.is_unkillable(), "{error}"); // `sleep` is another user's
    /// }
    /// ```
    #[must_use]
    pub fn is_unkillable(&self) -> bool {
        matches!(self.0.kind, Kind::Unkillable { .. })
    }

    /// The job was not started, because all were [stopped](crate::JobsHandle::stop_all) before, or
    /// another one had failed ([`Jobs::fail_fast`](crate::Jobs::fail_fast)).
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.fail_fast(true);
    /// jobs.push(Command::new("false"));
    /// jobs.push(Command::new("true"));
    /// let ends: Vec<_> = jobs.collect();
    /// assert!(ends[1].result.as_ref().unwrap_err().is_not_run());
    /// ```
    #[must_use]
    pub fn is_not_run(&self) -> bool {
        matches!(self.0.kind, Kind::NotRun { .. })
    }

    /// The [`Daemon`](crate::Daemon) is over, and was not ready: it has ended before that, was not ready in
    /// time, or was ready once and is not any more.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let daemon = Daemon::builder(Command::new("true")).ready(Ready::line("serving")).start()?;
    /// assert!(daemon.wait_ready().unwrap_err().is_not_ready());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn is_not_ready(&self) -> bool {
        matches!(self.0.kind, Kind::NotReady { .. })
    }

    fn judged(&self) -> Option<Reason> {
        match (&self.0.kind, &self.0.output) {
            (Kind::Outcome { .. }, Some(output)) => Some(output.report.reason),
            (
                Kind::Outcome { .. }
                | Kind::Invalid { .. }
                | Kind::System { .. }
                | Kind::Uncontained { .. }
                | Kind::Exec { .. }
                | Kind::ShepherdLost { .. }
                | Kind::NotRun { .. }
                | Kind::NotReady { .. }
                | Kind::Unkillable { .. },
                _,
            ) => None,
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            Kind::System { cause, .. }
            | Kind::Uncontained { cause, .. }
            | Kind::Exec { cause, .. } => Some(cause),
            Kind::Invalid { .. }
            | Kind::Outcome { .. }
            | Kind::ShepherdLost { .. }
            | Kind::NotRun { .. }
            | Kind::NotReady { .. }
            | Kind::Unkillable { .. } => None,
        }
    }
}

/// Keeps the kind, and the error number where there is one; that leaves no room for the text, as
/// `io::Error` holds the one or the other.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(error.kind(), error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn io_error_keeps_kind_and_number() {
        let error = Error::system("start `x`", io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.to_string(), "failed to start `x`: No such file or directory");
        assert!(std::error::Error::source(&error).is_some());
        let io = io::Error::from(error);
        assert_eq!(io.kind(), io::ErrorKind::NotFound);
        assert_eq!(io.raw_os_error(), Some(libc::ENOENT));

        let io = io::Error::from(Error::invalid("no such thing"));
        assert_eq!(io.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(io.to_string(), "no such thing");
    }
}
