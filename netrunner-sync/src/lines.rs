//! `Command::lines`: the lines of a command's standard output, as it writes them.

use std::fmt;
use std::io::{self, BufRead};
use std::iter::FusedIterator;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::error::{Error, Result, shown};
use crate::handle::ChildHandle;
use crate::mover::{Mover, PIECE, Step, Stream};
use crate::report::{Output, Report};
use crate::time::deadline_in;

/// The lines of a command's standard output, while it runs; made by [`Command::lines`].
///
/// Nothing is read that nobody asked for: as long as no line is asked for, the command waits once
/// its pipe is full. Dropping this before the end stops the command.
///
/// ```
/// use netrunner_sync::Command;
///
/// // An endless command, which ends with the loop.
/// for line in Command::new("yes").lines()?.take(2) {
///     assert_eq!(line?, "y");
/// }
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Lines {
    mover: Mover,
    buffer: Vec<u8>,
    /// What was read of the standard output and not given out yet: the buffer's range.
    unread: std::ops::Range<usize>,
    /// The line that the last piece ended in.
    line: Vec<u8>,
    /// What the error at the end will have.
    stderr: Vec<u8>,
    limits: Limited,
    stage: Stage,
}

/// Whether the caller said how much of the standard error is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limited {
    ByCaller,
    ByUs,
}

#[derive(Debug)]
enum Stage {
    Running,
    /// The outcome is there; a last line without a line end may come first.
    Ended(Box<Result<Output>>),
    Over(Option<Box<Report>>),
}

/// How much of the standard error is kept if nothing was said about that: the last of it.
const STDERR: usize = 16 << 20;

impl Command {
    /// Starts the command, and iterates over the lines of its standard output, without their ends
    /// (`\n` or `\r\n`).
    ///
    /// The standard output is piped and the input is empty unless set otherwise. The standard error
    /// is kept for the error at the end: as much as [`max_output`](Command::max_output) says, or
    /// else the last 16 MiB.
    ///
    /// A command that does not end by itself with code 0 gives an error as the last item, whose
    /// [`output`](Error::output) has the report and the standard error; its standard output is what
    /// was iterated over. A line that is not UTF-8 is an error too, and the iteration goes on.
    ///
    /// ```
    /// use netrunner_sync::Command;
    ///
    /// let mut command = Command::new("sh");
    /// let mut lines = command.args(["-c", "echo one; echo two; echo oh >&2; exit 3"]).lines()?;
    /// assert_eq!(lines.next().unwrap()?, "one");
    /// assert_eq!(lines.next().unwrap()?, "two");
    /// let error = lines.next().unwrap().unwrap_err();
    /// assert!(error.is_failure());
    /// assert_eq!(error.output().unwrap().stderr, b"oh\n");
    /// assert!(lines.next().is_none());
    /// assert_eq!(lines.report().unwrap().status.code(), Some(3));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn); the items as said, and as with [`run`](Command::run).
    pub fn lines(&mut self) -> Result<Lines> {
        let by_caller = self.limits.max_output.is_some();
        Ok(Lines {
            mover: Mover::start(self)?,
            buffer: vec![0; PIECE],
            unread: 0..0,
            line: Vec::new(),
            stderr: Vec::new(),
            limits: if by_caller { Limited::ByCaller } else { Limited::ByUs },
            stage: Stage::Running,
        })
    }
}

impl Lines {
    /// The next line, if there is one until `deadline`: [`Poll::Pending`] says that there was not,
    /// and `Ready(None)` that it is over. A deadline in the past does not wait.
    ///
    /// ```
    /// use std::task::Poll;
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::Command;
    ///
    /// let mut lines = Command::new("sh").args(["-c", "echo one; sleep 60"]).lines()?;
    /// assert_eq!(lines.next().unwrap()?, "one");
    /// let soon = Instant::now() + Duration::from_millis(10);
    /// assert!(matches!(lines.next_deadline(soon), Poll::Pending));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn next_deadline(&mut self, deadline: Instant) -> Poll<Option<Result<String>>> {
        self.step(Some(deadline))
    }

    /// As [`next_deadline`](Lines::next_deadline), for at most so long.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut lines = netrunner_sync::Command::new("sleep").arg("60").lines()?;
    /// assert!(lines.next_timeout(Duration::from_millis(10)).is_pending());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Result<String>>> {
        self.step(deadline_in(timeout))
    }

    /// How the command ended; something only once the iteration has come to its end.
    ///
    /// ```
    /// let mut lines = netrunner_sync::Command::new("echo").lines()?;
    /// assert!(lines.report().is_none()); // not over yet
    /// assert_eq!(lines.by_ref().count(), 1);
    /// assert!(lines.report().unwrap().status.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &self.stage {
            Stage::Over(report) => report.as_deref(),
            Stage::Running | Stage::Ended(_) => None,
        }
    }

    /// A handle, to signal or stop the command from anywhere. It does not keep the command alive.
    ///
    /// ```
    /// let mut lines = netrunner_sync::Command::new("yes").lines()?;
    /// assert_eq!(lines.next().unwrap()?, "y");
    /// lines.handle().kill()?;
    /// assert!(lines.last().unwrap().is_err()); // it was killed
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn handle(&self) -> ChildHandle {
        self.mover.handle().clone()
    }

    fn step(&mut self, deadline: Option<Instant>) -> Poll<Option<Result<String>>> {
        loop {
            if let Some(line) = self.take_line() {
                return Poll::Ready(Some(self.text(line)));
            }
            match std::mem::replace(&mut self.stage, Stage::Over(None)) {
                Stage::Running => {}
                Stage::Ended(outcome) => return Poll::Ready(self.end(*outcome)),
                Stage::Over(report) => {
                    self.stage = Stage::Over(report);
                    return Poll::Ready(None);
                }
            }
            match self.mover.step(&mut self.buffer, deadline) {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(Step::Over) => {
                    let stderr = std::mem::take(&mut self.stderr);
                    let outcome = self.mover.output(self.last_of(stderr));
                    let outcome = outcome.and_then(|output| self.mover.check_input(output));
                    self.stage = Stage::Ended(Box::new(outcome));
                    if !self.line.is_empty() {
                        let line = std::mem::take(&mut self.line);
                        return Poll::Ready(Some(self.text(line)));
                    }
                    continue;
                }
                Ok(Step::Piece(Stream::Stdout, count)) => self.unread = 0..count,
                Ok(Step::Piece(Stream::Stderr, count)) => self.keep_error(count),
                Ok(Step::Late) => {
                    self.stage = Stage::Running;
                    return Poll::Pending;
                }
            }
            self.stage = Stage::Running;
        }
    }

    /// The next line, if the whole of it was read.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let mut unread = &self.buffer[self.unread.clone()];
        // A slice is read without error.
        let count = unread.read_until(b'\n', &mut self.line).unwrap_or(0);
        self.unread.start += count;
        if self.line.last() != Some(&b'\n') {
            return None;
        }
        self.line.pop();
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Some(std::mem::take(&mut self.line))
    }

    fn text(&self, line: Vec<u8>) -> Result<String> {
        String::from_utf8(line).map_err(|error| {
            let program = shown(self.mover.handle().0.program());
            let cause = io::Error::new(io::ErrorKind::InvalidData, error);
            Error::system(format!("read a line of `{program}` as UTF-8"), cause)
        })
    }

    fn keep_error(&mut self, count: usize) {
        self.stderr.extend_from_slice(&self.buffer[..count]);
        // Rarely, as it moves all that is kept.
        if self.limits == Limited::ByUs && self.stderr.len() >= 2 * STDERR {
            let stderr = std::mem::take(&mut self.stderr);
            self.stderr = self.last_of(stderr);
        }
    }

    fn last_of(&self, mut stderr: Vec<u8>) -> Vec<u8> {
        if self.limits == Limited::ByUs {
            stderr.drain(..stderr.len().saturating_sub(STDERR));
        }
        stderr
    }

    /// The last item, if there is still one to give.
    fn end(&mut self, outcome: Result<Output>) -> Option<Result<String>> {
        let program = self.mover.handle().0.program();
        let judged = outcome.and_then(|output| {
            let report = Box::new(output.report.clone());
            output.judge(program).map(|_| report)
        });
        match judged {
            Ok(report) => {
                self.stage = Stage::Over(Some(report));
                None
            }
            Err(error) => {
                let report = error.output().map(|output| Box::new(output.report.clone()));
                self.stage = Stage::Over(report);
                Some(Err(error))
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        loop {
            // Without a deadline nothing is ever late.
            if let Poll::Ready(item) = self.step(None) {
                return item;
            }
        }
    }
}

impl FusedIterator for Lines {}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("handle", self.mover.handle())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
