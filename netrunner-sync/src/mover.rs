//! Reads the outputs of a command that runs, a piece at a time and only when asked to: what is
//! behind `lines` and `events`. Between two pieces nothing is read, so that the pipes hold the
//! command back.

use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::child::Life;
use crate::command::Command;
use crate::ear::Blocking;
use crate::engine::{self, Started};
use crate::error::Result;
use crate::handle::ChildHandle;
use crate::outcome::Captured;
use crate::outlet::Outlet;
use crate::pty::ChildPty;
use crate::reader_feed::ReaderFeed;
use crate::report::Output;
use crate::running::{Progress, Running};
use crate::target::Encore;
use crate::turn;
use crate::wiring::Streams;

/// How much one piece is at most: what a pipe holds.
pub(crate) const PIECE: usize = 64 << 10;

pub(crate) struct Mover {
    stdout: Source,
    stderr: Source,
    /// Who has the first word when both have something to say: the one that did not have the last.
    next: Stream,
    reader: Option<ReaderFeed>,
    encore: Option<Encore>,
    /// When the caller got the last piece and went away with it.
    away: Option<Instant>,
    handle: ChildHandle,
    /// Stops the command when it is dropped before its end.
    _life: Life,
}

/// One output.
#[derive(Default)]
struct Source {
    /// None once it has ended.
    outlet: Option<Outlet>,
    /// How much is still to be read once the command is over; not known before.
    left: Option<u64>,
}

/// One of the two outputs of a command.
///
/// ```
/// use netrunner_sync::{Command, Daemon, Stream};
///
/// let (tell, told) = std::sync::mpsc::channel();
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo oh >&2"]);
/// let daemon = Daemon::builder(command).on_line(move |stream, _| tell.send(stream).unwrap()).start()?;
/// daemon.wait()?;
/// assert_eq!(told.recv().unwrap(), Stream::Stderr);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// What a wait has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes of this output.
    Piece(Stream, usize),
    /// The command is over and all that it wrote was read.
    Over,
    /// The deadline has passed.
    Late,
}

impl Mover {
    /// Starts the command, with the streams of `output`.
    pub(crate) fn start(command: &mut Command) -> Result<Mover> {
        let started = engine::start(command, Streams::Capture)?;
        let Started { running, life, stdin, stdout, stderr, pty, reader } = started;
        let (shown, parts) = pty.map(ChildPty::into_parts).unzip();
        let stdout = stdout.or(shown);
        let encore = parts.and_then(|(encore, _)| encore);
        // Nobody could write into it.
        drop(stdin);
        let source = |outlet| Source { outlet, left: None };
        Ok(Mover {
            stdout: source(stdout),
            stderr: source(stderr),
            next: Stream::Stdout,
            reader,
            encore,
            away: Some(Instant::now()),
            handle: ChildHandle(running),
            _life: life,
        })
    }

    pub(crate) fn handle(&self) -> &ChildHandle {
        &self.handle
    }

    /// Waits for the next piece, and reads it into `buffer`.
    pub(crate) fn step(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<Step> {
        if let (Some(away), Some(meter)) = (self.away.take(), self.running().meter()) {
            meter.excuse(away.elapsed());
        }
        let step = self.wait(buffer, deadline);
        self.away = Some(Instant::now());
        step
    }

    /// The outcome, once the command is over.
    pub(crate) fn output(&self, stderr: Vec<u8>) -> Result<Output> {
        let running = self.running();
        let io = running.meter().map(|meter| {
            meter.settle();
            meter.counters()
        });
        running.output(Captured { stdout: Vec::new(), stderr, io })
    }

    /// The output, unless the reader that was to feed the command has failed.
    pub(crate) fn check_input(&self, output: Output) -> Result<Output> {
        engine::check_reader(self.reader.as_ref(), self.running(), output)
    }

    fn wait(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<Step> {
        loop {
            if self.running().outcome().is_some() {
                return Ok(self.rest(buffer));
            }
            let [stdout, stderr] = self.turn(deadline)?;
            let ready = |stream| match stream {
                Stream::Stdout => stdout,
                Stream::Stderr => stderr,
            };
            for stream in [self.next, self.next.other()] {
                if ready(stream) {
                    if let Some(count) = self.read(stream, buffer) {
                        self.next = stream.other();
                        self.encore.iter().for_each(Encore::look);
                        return Ok(Step::Piece(stream, count));
                    }
                }
            }
            let late = deadline.is_some_and(|at| at <= Instant::now());
            if late && !stdout && !stderr && self.running().outcome().is_none() {
                return Ok(Step::Late);
            }
        }
    }

    /// Waits once, reads the lane if it has something to say, and tells which outputs do.
    fn turn(&self, deadline: Option<Instant>) -> Result<[bool; 2]> {
        let running = self.running();
        let sources = |word| {
            [
                (word, PollFlags::IN),
                (None, PollFlags::OUT),
                (self.stdout.outlet.as_ref().map(Outlet::pipe), PollFlags::IN),
                (self.stderr.outlet.as_ref().map(Outlet::pipe), PollFlags::IN),
            ]
        };
        if let Some((role, shepherd)) = running.try_role() {
            let socket = &**shepherd.socket();
            let [word, _, stdout, stderr] = turn::wait(running, sources(Some(socket)), deadline)?;
            if word && role.read(&shepherd, Blocking::No) == Progress::NeverRan {
                role.lose("it ended before the command was started");
            }
            return Ok([stdout, stderr]);
        }
        // Another thread reads the lane; it rings when it stops.
        let bell = running.bell()?;
        if !running.is_read() {
            return Ok([false; 2]);
        }
        let [word, _, stdout, stderr] = turn::wait(running, sources(Some(bell.fd())), deadline)?;
        if word {
            bell.hush();
        }
        Ok([stdout, stderr])
    }

    /// What is left once the command is over. Something that was kept may go on writing: what is in
    /// the pipes now is all that counts.
    fn rest(&mut self, buffer: &mut [u8]) -> Step {
        for stream in [self.next, self.next.other()] {
            let source = self.source(stream);
            let outlet = source.outlet.as_ref();
            let left = *source.left.get_or_insert_with(|| outlet.map_or(0, Outlet::unread));
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if most > 0 {
                if let Some(count) = self.read(stream, &mut buffer[..most]) {
                    self.source(stream).left = Some(left - count as u64);
                    self.next = stream.other();
                    return Step::Piece(stream, count);
                }
            }
            self.source(stream).outlet = None;
        }
        Step::Over
    }

    /// Reads without waiting, if there is anything.
    fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let outlet = &mut self.source(stream).outlet;
        loop {
            match outlet.as_ref()?.try_read(buffer) {
                Ok(0) => *outlet = None,
                Ok(count) => return Some(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                // EIO and the like: there is nothing more to be had.
                Err(_) => *outlet = None,
            }
        }
    }

    fn source(&mut self, stream: Stream) -> &mut Source {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn running(&self) -> &Running {
        &self.handle.0
    }
}

impl Stream {
    fn other(self) -> Stream {
        match self {
            Stream::Stdout => Stream::Stderr,
            Stream::Stderr => Stream::Stdout,
        }
    }
}
