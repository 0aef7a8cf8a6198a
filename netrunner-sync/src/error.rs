//! The one error of this crate: opaque, with a step, an object and a cause in its text, and
//! predicates for what a program may want to tell apart.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::report::{Leftover, Output, Reason};

/// A result whose error is [`Error`].
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
    #[must_use]
    pub fn output(&self) -> Option<&Output> {
        self.0.output.as_ref()
    }

    /// The same, by value.
    #[must_use]
    pub fn into_output(self) -> Option<Output> {
        self.0.output
    }

    /// The program, the directory or another thing that was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// The program, the directory or the step was not allowed.
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
    #[must_use]
    pub fn is_output_limit(&self) -> bool {
        self.judged() == Some(Reason::OutputLimit)
    }

    /// The command ended by itself and not with code 0.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.judged() == Some(Reason::Exited)
    }

    /// The shepherd ended before it could tell how its child ended. The child and what it started
    /// are killed; how far it had come is not known.
    #[must_use]
    pub fn is_shepherd_lost(&self) -> bool {
        matches!(self.0.kind, Kind::ShepherdLost { .. })
    }

    /// The command is over, but some of its processes could not be ended, for instance those of
    /// another user. The text names them.
    #[must_use]
    pub fn is_unkillable(&self) -> bool {
        matches!(self.0.kind, Kind::Unkillable { .. })
    }

    /// The job was not started, because all were [stopped](crate::JobsHandle::stop_all) before, or
    /// another one had failed ([`Jobs::fail_fast`](crate::Jobs::fail_fast)).
    #[must_use]
    pub fn is_not_run(&self) -> bool {
        matches!(self.0.kind, Kind::NotRun { .. })
    }

    /// The [`Daemon`](crate::Daemon) is over, and was not ready: it has ended before that, was not ready in
    /// time, or was ready once and is not any more.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Invalid { message } => f.write_str(message),
            Kind::System { step, cause } | Kind::Uncontained { step, cause } => {
                write!(f, "failed to {step}: {}", Plain(cause))
            }
            Kind::Exec { program, cause } => {
                write!(f, "failed to start `{}`: {}", shown(program), Plain(cause))
            }
            Kind::Outcome { program } => match &self.0.output {
                Some(output) => {
                    write!(f, "`{}` {}", shown(program), Judgement(output))
                }
                None => write!(f, "`{}` failed", shown(program)),
            },
            Kind::ShepherdLost { program, detail } => {
                write!(f, "lost the shepherd of `{}`: {detail}", shown(program))
            }
            Kind::NotRun { program } => {
                write!(f, "`{}` was not started: the jobs were stopped", shown(program))
            }
            Kind::NotReady { program, late } => {
                write!(f, "`{}` is not ready: ", shown(program))?;
                match (late, &self.0.output) {
                    (Some(late), _) => f.write_str(late),
                    (None, Some(output)) => write!(f, "it {}", Judgement(output)),
                    (None, None) => f.write_str("it is over"),
                }
            }
            Kind::Unkillable { program, survivors } => {
                write!(f, "failed to end all processes of `{}`: still alive", shown(program))?;
                for (index, Leftover { pid, name }) in survivors.iter().enumerate() {
                    let before = if index == 0 { " are" } else { "," };
                    write!(f, "{before} `{}` ({pid})", shown(name))?;
                }
                Ok(())
            }
        }
    }
}

/// A name as people read it; what is not UTF-8 is replaced.
pub(crate) fn shown(name: &OsStr) -> impl fmt::Display + '_ {
    Path::new(name).display()
}

/// The text of a system error without std's "(os error 2)".
struct Plain<'a>(&'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split(" (os error ").next().unwrap_or(&text))
    }
}

struct Judgement<'a>(&'a Output);

impl fmt::Display for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Output { status, report, .. } = self.0;
        match report.reason {
            Reason::Timeout => return f.write_str("ran into its timeout and was stopped"),
            Reason::IdleTimeout => {
                return f.write_str("wrote nothing for too long and was stopped");
            }
            Reason::OutputLimit => return f.write_str("wrote too much and was stopped"),
            Reason::Stopped => return f.write_str("was stopped"),
            Reason::Killed => return f.write_str("was killed"),
            Reason::ShepherdLost => return f.write_str("lost its shepherd"),
            Reason::Exited => {}
            Reason::OutOfMemory => f.write_str("ran out of the memory of its cgroup and ")?,
        }
        match (status.code(), status.signal()) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(number)) => {
                match crate::Signal::try_from(number) {
                    Ok(signal) => write!(f, "was ended by {signal}")?,
                    Err(_) => write!(f, "was ended by signal {number}")?,
                }
                if status.core_dumped() { f.write_str(" (core dumped)") } else { Ok(()) }
            }
            (None, None) => write!(f, "ended with {status}"),
        }
    }
}

impl fmt::Debug for Error {
    /// The text, and what a predicate would say: made to be read after `unwrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("message", &format_args!("{self}")).field("kind", &self.kind());
        if let Some(errno) = self.raw_os_error() {
            out.field("errno", &errno);
        }
        if let Some(output) = self.output() {
            out.field("output", output);
        }
        out.finish()
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
