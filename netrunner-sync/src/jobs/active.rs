//! One job that runs: its request is sent, and from then on it advances whenever one of its sources has
//! something to say. It never waits.

use std::sync::Arc;
use std::time::Instant;

use netrunner_core::spawn::Notify;

use super::JobId;
use super::sink::{Lines, Spill};
use super::sources::{Sources, What};
use crate::capture::Capture;
use crate::child::Life;
use crate::command::Command;
use crate::ear::Blocking;
use crate::engine::{self, Attempt, Ready};
use crate::error::{Error, Result, shown};
use crate::mover::Stream;
use crate::poll::{Interest, Key};
use crate::reader_feed::ReaderFeed;
use crate::report::Output;
use crate::running::{HeldRole, Progress, Running, earliest};
use crate::shepherd::Shepherd;
use crate::wiring::Streams;

/// What is to be run, how often it was, and what the last try came to.
pub(super) struct Pending {
    pub(super) command: Box<Command>,
    pub(super) tries: u32,
    pub(super) last: Option<Box<Result<Output>>>,
}

impl Pending {
    /// It is not run, or not again.
    pub(super) fn into_result(self) -> Result<Output> {
        let not_run = || Err(Error::not_run(&self.command.program));
        self.last.map_or_else(not_run, |last| *last)
    }
}

/// What becomes of the outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub(super) streams: Streams,
    pub(super) by_line: bool,
    pub(super) spill: Option<u64>,
}

/// Gets the lines.
pub(super) type OnLine<'a> = &'a mut dyn FnMut(Stream, &[u8]);

/// A job that runs. The role is given up before the life ends, so that the watcher can read what comes
/// of a job that is dropped.
pub(super) struct Active {
    role: HeldRole,
    running: Arc<Running>,
    shepherd: Arc<Shepherd>,
    /// Until it is certain that the request need not be sent again.
    attempt: Option<Attempt>,
    capture: Capture,
    reader: Option<ReaderFeed>,
    sinks: [Sink; 2],
    keys: Keys,
    /// Its request could not be sent again.
    failed: Option<Error>,
    pub(super) pending: Pending,
    pub(super) priority: i32,
    /// Somebody waits for its start.
    pub(super) start_awaited: bool,
    _life: Life,
}

#[derive(Default)]
struct Keys {
    lane: Option<Key>,
    feed: Option<Key>,
    outputs: [Option<Key>; 2],
}

enum Sink {
    Keep,
    Lines(Lines),
    Spill { file: Spill, after: u64, failure: Option<std::io::Error> },
}

impl Sink {
    fn has_failed(&self) -> bool {
        matches!(self, Sink::Spill { failure: Some(_), .. })
    }
}

/// What became of a source that had something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    GoesOn,
    /// The program is being executed.
    Started,
    /// The lane ended before the request was read: it can be sent again.
    NeverRan,
    Over,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Active {
    /// Sends its request. Of a command that could not be asked for nothing is left.
    pub(super) fn start(
        id: JobId,
        mut pending: Pending,
        fate: Fate,
        notify: Notify,
        sources: &mut Sources,
    ) -> std::result::Result<Active, (Pending, Error)> {
        pending.tries += 1;
        pending.last = None;
        let begun = begin(&mut pending.command, fate, notify);
        let (role, ready, shepherd) = match begun {
            Ok(begun) => begun,
            Err(error) => return Err((pending, error)),
        };
        let Ready { running, life, attempt, mut capture, reader, .. } = ready;
        if let Some(meter) = running.meter() {
            meter.start();
        }
        capture.feed();
        let sink = || match fate {
            Fate { by_line: true, .. } => Sink::Lines(Lines::default()),
            Fate { spill: Some(after), .. } => {
                Sink::Spill { file: Spill::default(), after, failure: None }
            }
            Fate { spill: None, .. } => Sink::Keep,
        };
        let mut active = Active {
            role,
            running,
            shepherd,
            attempt: Some(attempt),
            capture,
            reader,
            sinks: [sink(), sink()],
            keys: Keys::default(),
            failed: None,
            pending,
            priority: 0,
            start_awaited: notify == Notify::Start,
            _life: life,
        };
        match active.watch(id, sources) {
            Ok(()) => Ok(active),
            Err(cause) => {
                active.unwatch(sources);
                let error = active.unwatched(cause);
                Err((active.pending, error))
            }
        }
    }

    fn watch(&mut self, id: JobId, sources: &mut Sources) -> std::io::Result<()> {
        self.watch_lane(id, sources)?;
        if let Some(pipe) = self.capture.feed_pipe() {
            self.keys.feed = Some(sources.add(pipe, Interest::Writable, id, What::Feed)?);
        }
        for stream in STREAMS {
            if let Some(outlet) = self.capture.outlet(stream) {
                let what = What::Output(stream);
                let key = sources.add(outlet, Interest::Readable, id, what)?;
                self.keys.outputs[at(stream)] = Some(key);
            }
        }
        Ok(())
    }

    fn watch_lane(&mut self, id: JobId, sources: &mut Sources) -> std::io::Result<()> {
        let socket = Arc::clone(self.shepherd.socket());
        self.keys.lane = Some(sources.add(socket, Interest::Readable, id, What::Lane)?);
        Ok(())
    }

    fn unwatch(&mut self, sources: &mut Sources) {
        let Keys { lane, feed, outputs } = std::mem::take(&mut self.keys);
        for key in lane.into_iter().chain(feed).chain(outputs.into_iter().flatten()) {
            sources.remove(key);
        }
    }

    pub(super) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// One of its sources is ready.
    pub(super) fn ready(&mut self, what: What, sources: &mut Sources, on_line: OnLine<'_>) -> Turn {
        match what {
            What::Lane => self.read_lane(),
            What::Tokens => Turn::GoesOn,
            What::Feed => {
                self.capture.feed();
                if self.capture.feed_pipe().is_none() {
                    if let Some(key) = self.keys.feed.take() {
                        sources.remove(key);
                    }
                }
                Turn::GoesOn
            }
            What::Output(stream) => {
                self.capture.read_some(stream);
                self.pass_on(stream, on_line);
                // What has no place to go stays in the pipe, and not in memory.
                let is_full = self.sinks[at(stream)].has_failed();
                if is_full || self.capture.outlet(stream).is_none() {
                    if let Some(key) = self.keys.outputs[at(stream)].take() {
                        sources.remove(key);
                    }
                }
                Turn::GoesOn
            }
        }
    }

    fn read_lane(&mut self) -> Turn {
        let role = self.role.role();
        match role.read(&self.shepherd, Blocking::No) {
            Progress::Waiting => Turn::GoesOn,
            Progress::Greeted => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.release_given();
                }
                Turn::GoesOn
            }
            Progress::Started => {
                // The far ends of its pipes are its own now: with thousands of jobs they count.
                self.attempt = None;
                Turn::Started
            }
            Progress::Over => Turn::Over,
            Progress::NeverRan => Turn::NeverRan,
        }
    }

    /// Sends the request again, after a lane that ended before it was read.
    pub(super) fn send_again(&mut self, id: JobId, sources: &mut Sources) -> Turn {
        match self.try_send_again(id, sources) {
            Ok(()) => Turn::GoesOn,
            Err(error) => {
                self.failed = Some(error);
                Turn::Over
            }
        }
    }

    fn try_send_again(&mut self, id: JobId, sources: &mut Sources) -> Result<()> {
        let Some(attempt) = &mut self.attempt else {
            let detail = "it ended before the command was started";
            return Err(Error::shepherd_lost(self.running.program(), detail));
        };
        self.shepherd = attempt.send_again(&self.running, &self.role.role())?;
        if let Some(key) = self.keys.lane.take() {
            sources.remove(key);
        }
        self.watch_lane(id, sources).map_err(|cause| self.unwatched(cause))
    }

    fn unwatched(&self, cause: std::io::Error) -> Error {
        Error::system(format!("wait for `{}`", shown(self.running.program())), cause)
    }

    /// Gives what was read to whom it is for.
    fn pass_on(&mut self, stream: Stream, on_line: OnLine<'_>) {
        let Active { sinks, capture, running, .. } = self;
        let held = capture.held(stream);
        if held.is_empty() {
            return;
        }
        match &mut sinks[at(stream)] {
            Sink::Keep => return,
            Sink::Lines(lines) => lines.cut(held, |line| on_line(stream, line)),
            Sink::Spill { file, after, failure } => {
                let is_long = held.len() as u64 > *after || file.is_begun();
                if !is_long || failure.is_some() {
                    return;
                }
                if let Err(cause) = file.write(held) {
                    // What it writes has no place to go.
                    *failure = Some(cause);
                    running.ask_to_stop(netrunner_core::message::Reason::Stopped);
                    return;
                }
            }
        }
        capture.forget(stream);
    }

    /// Something is due by the clock; says when the next is.
    pub(super) fn pass_time(&self, now: Instant) -> Option<Instant> {
        if self.running.next_judgement().is_some_and(|at| at <= now) {
            self.running.judge(now);
        }
        let silence = self.running.silence_deadline();
        let silence = match silence {
            Some(at) if at <= now => self.running.judge_silence(),
            silence => silence,
        };
        earliest(self.running.next_judgement(), silence)
    }

    /// The outcome is there: what it came to.
    pub(super) fn finish(
        mut self,
        sources: &mut Sources,
        on_line: OnLine<'_>,
    ) -> (Pending, i32, Result<Output>) {
        self.unwatch(sources);
        if let Some(error) = self.failed.take() {
            return (self.pending, self.priority, Err(error));
        }
        self.capture.drain(&self.running);
        for stream in STREAMS {
            self.pass_on(stream, &mut *on_line);
        }
        let Active { running, capture, reader, sinks, pending, priority, .. } = self;
        let result = capture.finish(&running);
        let result =
            result.and_then(|output| engine::check_reader(reader.as_ref(), &running, output));
        let mut files = [None, None];
        let mut failed = None;
        for (stream, sink) in STREAMS.into_iter().zip(sinks) {
            match sink {
                Sink::Keep => {}
                Sink::Lines(mut lines) => lines.finish(|line| on_line(stream, line)),
                Sink::Spill { file, failure, .. } => {
                    files[at(stream)] = file.finish();
                    failed = failed.or(failure);
                }
            }
        }
        let [stdout_file, stderr_file] = files;
        let result = match (result, failed) {
            (Ok(output), failed) => {
                let output = Output { stdout_file, stderr_file, ..output };
                match failed {
                    None => Ok(output),
                    Some(cause) => {
                        let program = shown(running.program());
                        let step = format!("write the output of `{program}` to a temporary file");
                        Err(Error::system(step, cause).with_output(output))
                    }
                }
            }
            (Err(error), _) => Err(error),
        };
        (pending, priority, result)
    }
}

/// Sends the request of one.
fn begin(
    command: &mut Command,
    fate: Fate,
    notify: Notify,
) -> Result<(HeldRole, Ready, Arc<Shepherd>)> {
    let mut ready = engine::make_ready_among_others(command, fate.streams, notify)?;
    let role = HeldRole::begin(&ready.running);
    let shepherd = ready.attempt.send(&ready.running, &role.role())?;
    Ok((role, ready, shepherd))
}

fn at(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}
