//! What is told of a job: its name, its result and its lines.

use crate::error::Result;
use crate::mover::Stream;
use crate::report::Output;

/// The name of a job; made by [`Jobs::push`](crate::Jobs::push).
///
/// ```
/// use netrunner_sync::{Command, Jobs};
///
/// let mut jobs = Jobs::new(2);
/// let (first, second) = (jobs.push(Command::new("true")), jobs.push(Command::new("true")));
/// assert_ne!(first, second);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(super) u64);

impl JobId {
    /// How many were pushed before it.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(2);
    /// assert_eq!(jobs.push(Command::new("true")).index(), 0);
    /// assert_eq!(jobs.push(Command::new("true")).index(), 1);
    /// ```
    #[must_use]
    pub fn index(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A job that is over; an item of [`Jobs`](crate::Jobs).
///
/// ```
/// use netrunner_sync::{Command, Jobs};
///
/// let mut jobs = Jobs::new(2);
/// let id = jobs.push(Command::new("false"));
/// for finished in jobs {
///     assert_eq!(finished.id, id);
///     assert!(!finished.result?.status.success());
/// }
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
pub struct Finished {
    /// Which one.
    pub id: JobId,
    /// What it came to, as [`Command::output`](crate::Command::output) gives it: a failure of the command is no error here. One
    /// that was stopped before it could start has an error that says
    /// [`is_not_run`](crate::Error::is_not_run).
    pub result: Result<Output>,
}

impl Finished {
    /// Whether the command ended by itself with code 0.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(2);
    /// jobs.push(Command::new("false"));
    /// assert!(!jobs.next().unwrap().is_success());
    /// ```
    #[must_use]
    pub fn is_success(&self) -> bool {
        is_success(&self.result)
    }
}

pub(super) fn is_success(result: &Result<Output>) -> bool {
    result.as_ref().is_ok_and(|output| output.report.success())
}

/// A line that a job has written; see [`Jobs::on_line`](crate::Jobs::on_line).
///
/// ```
/// use netrunner_sync::{Command, Jobs, Stream};
///
/// let mut jobs = Jobs::new(2);
/// jobs.on_line(|line| {
///     assert_eq!((line.id.index(), line.stream, line.line), (0, Stream::Stdout, &b"hello\n"[..]));
/// });
/// let mut command = Command::new("echo");
/// command.arg("hello");
/// jobs.push(command);
/// assert!(jobs.next().unwrap().is_success());
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct JobLine<'a> {
    /// Who wrote it.
    pub id: JobId,
    /// To which of its outputs.
    pub stream: Stream,
    /// The line, with its end.
    pub line: &'a [u8],
}
