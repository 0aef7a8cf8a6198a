//! `Command::events`: what a command writes, as it writes it, and how it ends.

use std::fmt;
use std::iter::FusedIterator;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::error::Result;
use crate::handle::ChildHandle;
use crate::mover::{Mover, PIECE, Step, Stream};
use crate::report::Report;
use crate::time::deadline_in;

/// Something that a command did; an item of [`Events`].
///
/// ```
/// use netrunner_sync::{Command, Event};
///
/// let mut command = Command::new("printf");
/// let mut events = command.arg("out").events()?;
/// assert_eq!(events.next().unwrap()?, Event::Stdout(b"out".to_vec()));
/// assert!(matches!(events.next().unwrap()?, Event::Exited(report) if report.status.success()));
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "one of a command; a box would be in its users' way")]
pub enum Event {
    /// It wrote this to its standard output. Where one piece ends and the next begins says nothing.
    Stdout(Vec<u8>),
    /// It wrote this to its standard error.
    Stderr(Vec<u8>),
    /// It is over, and nothing of it is left: the last item.
    Exited(Report),
}

/// What a command writes, while it runs, and how it ends; made by [`Command::events`].
///
/// Nothing is read that nobody asked for: as long as no item is asked for, the command waits once
/// its pipes are full. Dropping this before the end stops the command.
///
/// ```
/// use netrunner_sync::{Command, Event};
///
/// let mut command = Command::new("sh");
/// for event in command.args(["-c", "echo out; echo err >&2"]).events()? {
///     match event? {
///         Event::Stdout(bytes) => assert_eq!(bytes, b"out\n"),
///         Event::Stderr(bytes) => assert_eq!(bytes, b"err\n"),
///         Event::Exited(report) => assert!(report.status.success()),
///         _ => {}
///     }
/// }
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Events {
    mover: Mover,
    buffer: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Running,
    /// An error was the last item, and this is the next.
    Exited(Box<Report>),
    Over,
}

impl Command {
    /// Starts the command, and iterates over what it writes and how it ends.
    ///
    /// Both outputs are piped and the input is empty unless set otherwise. The status is never an
    /// error here: the last item is [`Event::Exited`] with the report. How the two outputs follow
    /// each other is known only where [`stderr_to_stdout`](Command::stderr_to_stdout) makes one of
    /// them.
    ///
    /// ```
    /// use netrunner_sync::{Command, Event};
    ///
    /// let mut out = Vec::new();
    /// for event in Command::new("sh").args(["-c", "echo one; exit 3"]).events()? {
    ///     match event? {
    ///         Event::Stdout(bytes) => out.extend(bytes),
    ///         Event::Exited(report) => assert_eq!(report.status.code(), Some(3)),
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(out, b"one\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn). An item is an error where [`Child::wait`](crate::Child::wait)
    /// would give one, and then the last; or where a reader that was the
    /// [`input`](Command::input) failed, and then followed by the end.
    pub fn events(&mut self) -> Result<Events> {
        let mover = Mover::start(self)?;
        Ok(Events { mover, buffer: vec![0; PIECE], stage: Stage::Running })
    }
}

impl Events {
    /// The next item, if there is one until `deadline`: [`Poll::Pending`] says that there was not,
    /// and `Ready(None)` that it is over. A deadline in the past does not wait.
    ///
    /// ```
    /// use std::task::Poll;
    /// use std::time::Instant;
    /// use netrunner_sync::Command;
    ///
    /// let mut events = Command::new("sleep").arg("60").events()?;
    /// assert!(events.next_deadline(Instant::now()).is_pending());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn next_deadline(&mut self, deadline: Instant) -> Poll<Option<Result<Event>>> {
        self.step(Some(deadline))
    }

    /// As [`next_deadline`](Events::next_deadline), for at most so long.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut events = netrunner_sync::Command::new("sleep").arg("60").events()?;
    /// assert!(events.next_timeout(Duration::from_millis(10)).is_pending());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Result<Event>>> {
        self.step(deadline_in(timeout))
    }

    /// A handle, to signal or stop the command from anywhere. It does not keep the command alive.
    ///
    /// ```
    /// use netrunner_sync::{Command, Event};
    ///
    /// let mut events = Command::new("sleep").arg("60").events()?;
    /// events.handle().kill()?;
    /// let Some(Ok(Event::Exited(report))) = events.next() else { panic!("no end") };
    /// assert!(!report.status.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn handle(&self) -> ChildHandle {
        self.mover.handle().clone()
    }

    fn step(&mut self, deadline: Option<Instant>) -> Poll<Option<Result<Event>>> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => return Poll::Ready(None),
            Stage::Exited(report) => return Poll::Ready(Some(Ok(Event::Exited(*report)))),
            Stage::Running => {}
        }
        let item = match self.mover.step(&mut self.buffer, deadline) {
            Ok(Step::Late) => {
                self.stage = Stage::Running;
                return Poll::Pending;
            }
            Ok(Step::Piece(stream, count)) => {
                self.stage = Stage::Running;
                let bytes = self.buffer[..count].to_vec();
                Ok(match stream {
                    Stream::Stdout => Event::Stdout(bytes),
                    Stream::Stderr => Event::Stderr(bytes),
                })
            }
            Ok(Step::Over) => self.end(),
            Err(error) => Err(error),
        };
        Poll::Ready(Some(item))
    }

    fn end(&mut self) -> Result<Event> {
        let output = self.mover.output(Vec::new())?;
        let checked = self.mover.check_input(output).inspect_err(|error| {
            // The command itself has come to its end all the same.
            if let Some(output) = error.output() {
                self.stage = Stage::Exited(Box::new(output.report.clone()));
            }
        });
        checked.map(|output| Event::Exited(output.report))
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        loop {
            // Without a deadline nothing is ever late.
            if let Poll::Ready(item) = self.step(None) {
                return item;
            }
        }
    }
}

impl FusedIterator for Events {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("handle", self.mover.handle())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
