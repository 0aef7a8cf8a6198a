//! What a daemon is to be, before it is started.

use std::fmt;
use std::sync::Arc;

use super::Daemon;
use super::callback::{Callback, OnLine};
use super::check::Before;
use super::inbox::Inbox;
use super::log::Log;
use super::log_file::{LogFile, Writer};
use super::readiness::{Ready, Sign};
use super::restart::Restart;
use super::ring::Ring;
use super::shared::Shared;
use super::supervisor::{Id, Word};
use super::unit::{Terms, Unit};
use crate::command::{Command, Stderr, Stdin};
use crate::engine;
use crate::error::{Error, Result, shown};
use crate::input::Feed;
use crate::mover::Stream;
use crate::report::Leftovers;
use crate::rights::Rights;
use crate::runtime::Runtime;
use crate::stdio::{Source, Stdio};
use crate::wiring::Streams;

/// How much of the last output is kept, unless another size is said.
const RECENT: usize = 8 << 10;

/// What a [`Daemon`] is to be; made by [`Daemon::builder`].
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, Daemon, Ready, Restart};
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo serving; sleep 60"]);
/// let daemon = Daemon::builder(command)
///     .ready(Ready::line("serving").within(Duration::from_secs(10)))
///     .restart(Restart::on_failure())
///     .keep_last(1 << 10)
///     .start()?;
/// daemon.wait_ready()?;
/// assert_eq!(daemon.recent(), b"serving\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct DaemonBuilder {
    command: Command,
    ready: Option<Ready>,
    restart: Restart,
    recent: usize,
    file: Option<LogFile>,
    on_line: Option<OnLine>,
    stdin: usize,
}

impl DaemonBuilder {
    pub(super) fn new(command: Command) -> DaemonBuilder {
        DaemonBuilder {
            command,
            ready: None,
            restart: Restart::never(),
            recent: RECENT,
            file: None,
            on_line: None,
            stdin: 0,
        }
    }

    /// When it counts as ready; by default as soon as it runs. [`Ready`] has examples.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Ready};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo serving; sleep 60"]);
    /// let daemon = Daemon::builder(command).ready(Ready::line("serving")).start()?;
    /// daemon.wait_ready()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn ready(mut self, ready: Ready) -> DaemonBuilder {
        self.ready = Some(ready);
        self
    }

    /// When it is started again after it has ended; by default never.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Daemon, Restart};
    ///
    /// let restart = Restart::on_failure().pause(Duration::from_millis(1)).give_up_after(2);
    /// let daemon = Daemon::builder(Command::new("false")).restart(restart).start()?;
    /// assert_eq!(daemon.wait()?.code(), Some(1));
    /// assert_eq!(daemon.health().run, 3);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> DaemonBuilder {
        self.restart = restart;
        self
    }

    /// Keeps the last so many bytes of what it has written, both outputs in the order in which they were
    /// read, for [`Daemon::recent`]; 8 KiB by default, and none with 0.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let mut command = Command::new("seq");
    /// command.arg("100000");
    /// let daemon = Daemon::builder(command).keep_last(7).start()?;
    /// daemon.wait()?;
    /// assert_eq!(daemon.recent(), b"100000\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn keep_last(mut self, bytes: usize) -> DaemonBuilder {
        self.recent = bytes;
        self
    }

    /// Appends what it writes to a file. That is written by the thread that looks after all daemons: a
    /// file system that hangs holds them up. [`LogFile`] has an example.
    ///
    /// ```no_run
    /// use netrunner_sync::{Command, Daemon, LogFile};
    ///
    /// let log = LogFile::new("redis.log").rotate(1 << 20, 4);
    /// let daemon = Daemon::builder(Command::new("redis-server")).log_file(log).start()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn log_file(mut self, file: LogFile) -> DaemonBuilder {
        self.file = Some(file);
        self
    }

    /// Calls this with each line that it writes, end included (the last of a run may have none, and one of
    /// more than 1 MiB comes in pieces).
    ///
    /// It is called on a thread of its own, one line after the other, so it may take its time and block:
    /// meanwhile up to 1 MiB of lines wait for it, and those beyond are thrown away and counted in
    /// [`Health::lost`](crate::Health::lost); the daemon never waits for it. After a panic it is not called
    /// again ([`Health::log_error`](crate::Health::log_error)). [`wait`](Daemon::wait) and
    /// [`stop`](Daemon::stop) return when it has seen the last line, unless it takes more than a second for
    /// one.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use netrunner_sync::{Command, Daemon, Stream};
    ///
    /// let (lines, received) = channel();
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo one; echo two"]);
    /// let daemon = Daemon::builder(command)
    ///     .on_line(move |stream, line| {
    ///         assert_eq!(stream, Stream::Stdout);
    ///         lines.send(line.to_vec()).unwrap();
    ///     })
    ///     .start()?;
    /// daemon.wait()?;
    /// assert_eq!(received.try_iter().collect::<Vec<_>>(), [b"one\n", b"two\n"]);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn on_line(mut self, call: impl FnMut(Stream, &[u8]) + Send + 'static) -> DaemonBuilder {
        self.on_line = Some(Box::new(call));
        self
    }

    /// Gives it a standard input that [`Daemon::send`] writes to, with a queue for so many bytes; without
    /// one it is empty.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let daemon = Daemon::builder(Command::new("cat")).stdin_queue(1 << 10).start()?;
    /// daemon.send("hello\n")?;
    /// daemon.close_stdin();
    /// daemon.wait()?;
    /// assert_eq!(daemon.recent(), b"hello\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn stdin_queue(mut self, bytes: usize) -> DaemonBuilder {
        self.stdin = bytes;
        self
    }

    /// Starts it, and returns when its program is being executed.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon};
    ///
    /// let error = Daemon::builder(Command::new("no-such-server")).start().unwrap_err();
    /// assert!(error.is_not_found());
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`]; by its cause where the log file can't be opened or a thread not be started;
    /// and [`is_invalid_input`](Error::is_invalid_input) for what can't be of a daemon: a terminal of its
    /// own, [`Leftovers::Keep`], streams that are pipes to nobody, lines to be ready by without an output
    /// that is read, and what a spawn consumes (a file, a reader, a descriptor) where it may be started
    /// again.
    pub fn start(mut self) -> Result<Daemon> {
        self.check()?;
        if self.stdin > 0 {
            self.command.stdin = Some(Stdin::Stdio(Stdio::piped()));
        }
        let program = self.command.program.clone();
        if let Some(Ready { sign: Sign::File(path), .. }) = &mut self.ready {
            let absolute = std::path::absolute(&*path);
            let step = || format!("find `{}`", path.display());
            *path = absolute.map_err(|cause| Error::system(step(), cause))?;
        }
        let rights =
            Rights::now().map_err(|cause| Error::system("read the own credentials", cause))?;
        let runtime = Runtime::current();
        let supervisor = runtime
            .ensure_supervisor()
            .map_err(|cause| Error::system("start the thread for daemons", cause))?;
        let (log, listener) = self.log()?;
        let before = Before::of(self.ready.as_ref());
        let started = engine::start(&mut self.command, Streams::Capture)?;
        let shared = Shared::new(
            Id::next(),
            program,
            runtime,
            Arc::clone(&started.running),
            Inbox::new(self.stdin),
            (Ring::new(self.recent), listener),
        );
        let terms =
            Terms { command: self.command, rights, policy: self.restart, ready: self.ready, log };
        let unit = Unit::new(Arc::clone(&shared), terms, (started, before));
        supervisor.tell(Word::New(Box::new(unit)));
        Ok(Daemon::new(shared))
    }

    fn log(&mut self) -> Result<(Log, Option<super::callback::Listener>)> {
        let program = shown(&self.command.program).to_string();
        let mut log = Log::default();
        if let Some(file) = &self.file {
            let opened = Writer::open(file);
            let step = || format!("open the log file of `{program}`");
            log.file = Some(opened.map_err(|cause| Error::system(step(), cause))?);
        }
        if let Some(call) = self.on_line.take() {
            let started = Callback::start(call);
            let step = || format!("start a thread for the lines of `{program}`");
            log.callback = Some(started.map_err(|cause| Error::system(step(), cause))?);
        }
        let listener = log.callback.as_ref().map(Callback::listener);
        Ok((log, listener))
    }

    /// Finds what can't be.
    fn check(&self) -> Result<()> {
        let program = shown(&self.command.program);
        let invalid = |why: &str| Err(Error::invalid(format!("a daemon `{program}` {why}")));
        let Command { stdin, stdout, stderr, descriptors, terms, pty, .. } = &self.command;
        if pty.is_some() {
            return invalid("can't have a terminal of its own");
        }
        if terms.leftovers == Leftovers::Keep {
            return invalid("can't leave processes behind");
        }
        let stdin_source = match stdin {
            Some(Stdin::Stdio(stdio)) => Some(&stdio.0),
            Some(Stdin::Input(_)) | None => None,
        };
        if stdin.is_some() && self.stdin > 0 {
            return invalid("can't have two standard inputs");
        }
        if matches!(stdin_source, Some(Source::Piped)) {
            return invalid("needs a queue for its standard input");
        }
        let stderr_source = match stderr {
            Some(Stderr::Stdio(stdio)) => Some(&stdio.0),
            Some(Stderr::Merged) | None => None,
        };
        let stdout_source = stdout.as_ref().map(|stdio| &stdio.0);
        let is_read = |source: Option<&Source>| matches!(source, None | Some(Source::Piped));
        let merged = matches!(stderr, Some(Stderr::Merged));
        let some_is_read = is_read(stdout_source) || !merged && is_read(stderr_source);
        if let Some(Ready { sign: Sign::Line(pattern), .. }) = &self.ready {
            if !some_is_read {
                return invalid("has no output to read a line from");
            }
            if pattern.is_end() {
                return invalid("is not ready by its end");
            }
        }
        let consumed = |source: Option<&Source>| matches!(source, Some(Source::Owned(_)));
        let consumes = [stdin_source, stdout_source, stderr_source].into_iter().any(consumed)
            || matches!(stdin, Some(Stdin::Input(input)) if !matches!(input.0, Feed::Bytes(_)))
            || !descriptors.is_empty();
        if consumes && self.restart.may_restart() {
            return invalid("has streams or descriptors that its first start consumes");
        }
        Ok(())
    }
}

impl fmt::Debug for DaemonBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaemonBuilder")
            .field("command", &self.command)
            .field("ready", &self.ready)
            .field("restart", &self.restart)
            .field("keep_last", &self.recent)
            .field("log_file", &self.file)
            .field("on_line", &self.on_line.is_some())
            .field("stdin_queue", &self.stdin)
            .finish()
    }
}
