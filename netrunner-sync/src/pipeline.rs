//! Commands of which each reads what the one before it writes: `a | b | c`. Running them is the work of
//! [`Jobs`]; this file connects them, ends them together, and says whose failure is that of the whole.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use crate::command::{Command, Stderr};
use crate::error::{Error, Result, shown};
use crate::jobs::{Finished, Jobs, JobsHandle};
use crate::lane::above_stdio;
use crate::report::{Output, Reason};
use crate::stdio::Stdio;

/// Commands of which each reads what the one before it writes, started together and ended together.
///
/// The first reads nothing unless it is given something, and what the last writes is captured, as by
/// [`Command::output`]; so are all their standard errors. Each has its own timeout and limits. Nothing of
/// any of them is left when the pipeline is over.
///
/// A stage that can't be started, is stopped or killed, or runs into a limit, stops all others: they would
/// wait for it, or work for nobody. One that exits by itself does not, whatever its code.
///
/// Whose failure is that of the whole, the first that holds:
///
/// 1. that of the stage which has stopped the others;
/// 2. that of the last stage that ended by itself and not with code 0, but for those that died of SIGPIPE
///    (or say so by code 141, as shells do), unless they are the last of all: their reader had enough;
/// 3. nobody's.
///
/// ```
/// use netrunner_sync::{Command, Pipeline};
///
/// let mut numbers = Command::new("seq");
/// numbers.arg("1000000");
/// let mut head = Command::new("head");
/// head.arg("-n2");
/// let output = Pipeline::new(numbers).pipe(head).run()?;
/// assert_eq!(output.stdout(), b"1\n2\n");
///
/// let error = Pipeline::new(Command::new("false")).pipe(Command::new("cat")).run().unwrap_err();
/// assert!(error.is_failure());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
pub struct Pipeline {
    stages: Vec<Command>,
}

/// A [`Pipeline`] that runs. Dropping it stops all stages, without blocking.
///
/// ```
/// use netrunner_sync::{Command, Pipeline};
///
/// let running = Pipeline::new(Command::new("yes")).pipe(Command::new("cat")).start()?;
/// drop(running); // both are stopped
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct RunningPipeline {
    jobs: Box<Jobs>,
    programs: Vec<std::ffi::OsString>,
    ended: Vec<Option<Result<Output>>>,
    cause: Option<usize>,
}

/// What became of a [`Pipeline`].
///
/// ```
/// use netrunner_sync::{Command, Pipeline};
///
/// let output = Pipeline::new(Command::new("false")).pipe(Command::new("cat")).output()?;
/// assert_eq!(output.stages.len(), 2);
/// assert_eq!(output.failed(), Some(0));
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct PipelineOutput {
    /// What each stage came to, the first first. Only the last has a standard output.
    pub stages: Vec<Result<Output>>,
    programs: Vec<std::ffi::OsString>,
    cause: Option<usize>,
}

impl Pipeline {
    /// One of a single stage.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// assert!(Pipeline::new(Command::new("true")).run().is_ok());
    /// ```
    #[must_use]
    pub fn new(first: Command) -> Pipeline {
        Pipeline { stages: vec![first] }
    }

    /// Adds a command that reads what the last one so far writes.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let mut echo = Command::new("echo");
    /// echo.arg("hello");
    /// let mut upper = Command::new("tr");
    /// upper.args(["a-z", "A-Z"]);
    /// assert_eq!(Pipeline::new(echo).pipe(upper).run()?.stdout(), b"HELLO\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn pipe(mut self, next: Command) -> Pipeline {
        self.stages.push(next);
        self
    }

    /// Starts all stages.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let running = Pipeline::new(Command::new("true")).pipe(Command::new("cat")).start()?;
    /// assert_eq!(running.wait().failed(), None);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_invalid_input`](Error::is_invalid_input) where a stage has another output, or another input,
    /// than the stage beside it. A stage that can't be started is told by its result.
    pub fn start(mut self) -> Result<RunningPipeline> {
        connect(&mut self.stages)?;
        let programs: Vec<_> = self.stages.iter().map(|stage| stage.program.clone()).collect();
        let mut jobs = Box::new(Jobs::new(self.stages.len()));
        let ended = self.stages.iter().map(|_| None).collect();
        for stage in self.stages {
            jobs.push(stage);
        }
        jobs.start();
        if jobs.waiting() > 0 {
            // There is no room for another one, and none will be made by those that wait for it.
            jobs.handle().stop_all();
        }
        Ok(RunningPipeline { jobs, programs, ended, cause: None })
    }

    /// Runs all to their ends.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let output = Pipeline::new(Command::new("false")).output()?; // no error
    /// assert_eq!(output.stages[0].as_ref().unwrap().status.code(), Some(1));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Pipeline::start).
    pub fn output(self) -> Result<PipelineOutput> {
        self.start().map(RunningPipeline::wait)
    }

    /// As [`output`](Pipeline::output), and a failure of the whole is an error.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let error = Pipeline::new(Command::new("false")).run().unwrap_err();
    /// assert!(error.is_failure());
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Pipeline::start), and that of the stage whose failure counts, as
    /// [`Command::run`] has it.
    pub fn run(self) -> Result<PipelineOutput> {
        self.output()?.judge()
    }
}

impl RunningPipeline {
    /// A handle to end all stages, or (by their place) one of them, from any thread.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let running = Pipeline::new(Command::new("yes")).pipe(Command::new("cat")).start()?;
    /// running.handle().kill_all();
    /// assert!(running.wait().failed().is_some());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn handle(&self) -> JobsHandle {
        self.jobs.handle()
    }

    /// Waits for the end of all.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let output = Pipeline::new(Command::new("true")).start()?.wait();
    /// assert_eq!(output.failed(), None);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn wait(mut self) -> PipelineOutput {
        while let Some(finished) = self.jobs.next() {
            self.note(finished);
        }
        self.finish()
    }

    /// The same, until a point in time; itself again if some are at work then.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let running = Pipeline::new(Command::new("yes")).pipe(Command::new("cat")).start()?;
    /// let running = running.wait_deadline(Instant::now() + Duration::from_millis(10)).unwrap_err();
    /// drop(running); // still at work: both are stopped
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// There are none: the second case is no failure.
    pub fn wait_deadline(
        mut self,
        deadline: Instant,
    ) -> std::result::Result<PipelineOutput, RunningPipeline> {
        loop {
            match self.jobs.next_deadline(deadline) {
                std::task::Poll::Ready(Some(finished)) => self.note(finished),
                std::task::Poll::Ready(None) => return Ok(self.finish()),
                std::task::Poll::Pending => return Err(self),
            }
        }
    }

    fn note(&mut self, finished: Finished) {
        let index = finished.id.index();
        let by_itself =
            finished.result.as_ref().is_ok_and(|output| output.report.reason == Reason::Exited);
        if !by_itself && self.cause.is_none() {
            self.cause = Some(index);
            self.jobs.handle().stop_all();
        }
        if let Some(ended) = self.ended.get_mut(index) {
            *ended = Some(finished.result);
        }
    }

    fn finish(self) -> PipelineOutput {
        let RunningPipeline { ended, programs, cause, .. } = self;
        // Each that was pushed has one result.
        let stages = ended.into_iter().flatten().collect();
        PipelineOutput { stages, programs, cause }
    }
}

impl fmt::Debug for RunningPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningPipeline")
            .field("programs", &self.programs)
            .field("running", &self.jobs.running())
            .finish_non_exhaustive()
    }
}

impl PipelineOutput {
    /// What the last stage wrote to its standard output.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let mut echo = Command::new("echo");
    /// echo.arg("hello");
    /// assert_eq!(Pipeline::new(echo).output()?.stdout(), b"hello\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn stdout(&self) -> &[u8] {
        let output =
            self.stages.last().map(|stage| stage.as_ref().map_or_else(Error::output, Some));
        output.flatten().map_or(&[], |output| &output.stdout)
    }

    /// The place of the stage whose failure is that of the whole; none if it has succeeded.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let output = Pipeline::new(Command::new("true")).pipe(Command::new("false")).output()?;
    /// assert_eq!(output.failed(), Some(1));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn failed(&self) -> Option<usize> {
        self.cause.or_else(|| {
            let last = self.stages.len().checked_sub(1)?;
            (0..=last).rev().find(|&at| {
                let Ok(output) = &self.stages[at] else { return true };
                let had_enough = output.status.signal() == Some(libc::SIGPIPE)
                    || output.status.code() == Some(128 + libc::SIGPIPE);
                !output.status.success() && (at == last || !had_enough)
            })
        })
    }

    /// An error, unless the whole has succeeded.
    ///
    /// ```
    /// use netrunner_sync::{Command, Pipeline};
    ///
    /// let output = Pipeline::new(Command::new("false")).output()?;
    /// assert!(output.judge().unwrap_err().is_failure());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run`].
    pub fn judge(mut self) -> Result<PipelineOutput> {
        let Some(at) = self.failed() else { return Ok(self) };
        let program = self.programs.swap_remove(at);
        // The rules name no stage that exited with 0 by itself.
        Err(Error::outcome(&program, self.stages.swap_remove(at)?))
    }
}

/// Puts a pipe between each two.
fn connect(stages: &mut [Command]) -> Result<()> {
    for at in 1..stages.len() {
        let (before, after) = stages.split_at_mut(at);
        let (Some(writer), Some(reader)) = (before.last_mut(), after.first_mut()) else { continue };
        let made = crate::sys::pipe();
        let made = made.and_then(|(read, write)| Ok((above_stdio(read)?, above_stdio(write)?)));
        let (read, write) = made.map_err(|cause| {
            let (writer, reader) = (shown(&writer.program), shown(&reader.program));
            Error::system(format!("make a pipe from `{writer}` to `{reader}`"), cause)
        })?;
        if writer.stdout.is_some() {
            return Err(taken(writer, "output"));
        }
        if reader.stdin.is_some() {
            return Err(taken(reader, "input"));
        }
        writer.stdout(Stdio::from(write));
        reader.stdin(Stdio::from(read));
    }
    for stage in stages {
        if stage.stderr.is_none() {
            stage.stderr = Some(Stderr::Stdio(Stdio::piped()));
        }
    }
    Ok(())
}

fn taken(command: &Command, stream: &str) -> Error {
    let program = shown(&command.program);
    Error::invalid(format!("`{program}` has another {stream} than its place in the pipeline"))
}
