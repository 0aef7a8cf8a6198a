//! One run of a daemon, from the start of its process to the end of it: its outputs, its input, and the
//! looks whether it is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::check::{Before, Check, Seen};
use super::inbox::Written;
use super::log::Log;
use super::readiness::Ready;
use super::shared::Shared;
use super::sources::{Sources, What};
use crate::capture::Capture;
use crate::engine::Started;
use crate::error::{Error, Result, shown};
use crate::mover::Stream;
use crate::poll::{Interest, Key};
use crate::report::Report;
use crate::running::{Progress, Running, earliest};
use crate::streams::ChildStdin;

pub(super) struct Run {
    attempt: Attempt,
    capture: Capture,
    stdin: Option<Arc<ChildStdin>>,
    keys: Keys,
    /// Until it is ready.
    check: Option<Check>,
    ready_since: Option<Instant>,
    /// It was not ready in time, and what was waited for.
    late: Option<String>,
}

#[derive(Default)]
struct Keys {
    lane: Option<Key>,
    stdin: Option<Key>,
    outputs: [Option<Key>; 2],
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// What has become of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    GoesOn,
    Over,
}

/// What is left of a run that is over.
pub(super) struct Past {
    pub(super) running: Arc<Running>,
    pub(super) report: Option<Report>,
    pub(super) ready_for: Option<Duration>,
    pub(super) late: Option<String>,
}

impl Run {
    /// Takes over what was started; without a `ready` it is so at once.
    pub(super) fn begin(
        started: Started,
        (ready, before): (Option<&Ready>, Before),
        shared: &Shared,
        sources: &mut Sources,
    ) -> Result<Run> {
        let Started { running, life, stdin, stdout, stderr, pty: _, reader } = started;
        let capture = Capture::of_outputs(stdout, stderr);
        let mut run = Run {
            attempt: Attempt::of(running, life, reader),
            capture,
            stdin: stdin.map(|inlet| Arc::new(ChildStdin::from(inlet))),
            keys: Keys::default(),
            check: ready.map(|ready| Check::new(ready, before)),
            ready_since: None,
            late: None,
        };
        if !run.attempt.is_over() {
            if let Err(error) = run.watch(shared, sources) {
                run.unwatch(sources);
                return Err(error);
            }
        }
        if run.check.is_none() {
            run.ready_since = Some(Instant::now());
        }
        Ok(run)
    }

    fn watch(&mut self, shared: &Shared, sources: &mut Sources) -> Result<()> {
        self.keys.lane = Some(self.attempt.watch(shared.id, What::Lane, sources)?);
        for stream in STREAMS {
            let Some(outlet) = self.capture.outlet(stream) else { continue };
            let key = sources.add(outlet, Interest::Readable, shared.id, What::Output(stream));
            let key = key.map_err(|cause| {
                Error::system(format!("wait for `{}`", shown(&shared.program)), cause)
            })?;
            self.keys.outputs[at(stream)] = Some(key);
        }
        Ok(())
    }

    fn unwatch(&mut self, sources: &mut Sources) {
        let Keys { lane, stdin, outputs } = std::mem::take(&mut self.keys);
        for key in lane.into_iter().chain(stdin).chain(outputs.into_iter().flatten()) {
            sources.remove(key);
        }
        if let Some(check) = &mut self.check {
            check.forget(sources);
        }
    }

    pub(super) fn running(&self) -> &Arc<Running> {
        self.attempt.running()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Whether it was over before anybody could look after it.
    pub(super) fn is_over(&self) -> bool {
        self.attempt.is_over()
    }

    /// One of its sources has something.
    pub(super) fn ready(
        &mut self,
        what: What,
        (ready, log): (Option<&Ready>, &mut Log),
        shared: &Shared,
        sources: &mut Sources,
    ) -> Turn {
        match what {
            What::Lane => match self.attempt.read_lane() {
                Progress::Over => return Turn::Over,
                Progress::Waiting | Progress::Greeted | Progress::Started | Progress::NeverRan => {}
            },
            What::Stdin => self.write(shared, sources),
            What::Output(stream) => {
                self.capture.read_some(stream);
                self.pass_on(stream, (ready, log), shared, sources);
                if self.capture.outlet(stream).is_none() {
                    if let Some(key) = self.keys.outputs[at(stream)].take() {
                        sources.remove(key);
                    }
                }
            }
            What::Port | What::Probe => {
                if let Some(check) = &mut self.check {
                    let seen = check.answered(sources);
                    self.see(seen, ready, shared, sources);
                }
            }
        }
        Turn::GoesOn
    }

    /// Gives what was read to whom it is for.
    fn pass_on(
        &mut self,
        stream: Stream,
        (ready, log): (Option<&Ready>, &mut Log),
        shared: &Shared,
        sources: &mut Sources,
    ) {
        let held = self.capture.held(stream);
        if held.is_empty() {
            return;
        }
        log.take(shared, stream, held);
        let seen = match (&mut self.check, ready) {
            (Some(check), Some(ready)) => check.read(ready, stream, held),
            (Some(_) | None, _) => Seen::NotYet,
        };
        self.capture.forget(stream);
        self.see(seen, ready, shared, sources);
    }

    fn see(&mut self, seen: Seen, ready: Option<&Ready>, shared: &Shared, sources: &mut Sources) {
        if seen == Seen::NotYet {
            return;
        }
        if let Some(mut check) = self.check.take() {
            check.forget(sources);
        }
        if seen == Seen::Ready {
            self.ready_since = Some(Instant::now());
            shared.is_ready();
        } else {
            self.late = ready.map(|ready| format!("{} within {:?}", ready.sign, ready.within));
            self.running().ask_to_stop(netrunner_core::message::Reason::Stopped);
        }
    }

    /// Writes what is in the queue, and waits for room where there is none.
    pub(super) fn write(&mut self, shared: &Shared, sources: &mut Sources) {
        let Some(stdin) = &self.stdin else { return };
        let mut state = shared.lock();
        let written = state.inbox.write(|bytes| stdin.try_write(bytes));
        drop(state);
        // There may be room for somebody who waits for it.
        shared.changed();
        match written {
            Written::Some if self.keys.stdin.is_some() => {}
            Written::Some => {
                let source = Arc::clone(stdin);
                // Without it the queue is looked at when the next message comes.
                self.keys.stdin =
                    sources.add(source, Interest::Writable, shared.id, What::Stdin).ok();
            }
            Written::All | Written::End | Written::Nobody => {
                if let Some(key) = self.keys.stdin.take() {
                    sources.remove(key);
                }
                if written != Written::All {
                    self.stdin = None;
                }
            }
        }
    }

    /// When it is to be looked at by the clock.
    pub(super) fn due(&self) -> Option<Instant> {
        earliest(self.attempt.due(), self.check.as_ref().and_then(Check::due))
    }

    pub(super) fn pass_time(
        &mut self,
        now: Instant,
        ready: Option<&mut Ready>,
        shared: &Shared,
        sources: &mut Sources,
    ) {
        self.attempt.pass_time(now);
        if let (Some(check), Some(ready)) = (&mut self.check, ready) {
            let seen = check.pass_time(ready, now, shared.id, sources);
            self.see(seen, Some(ready), shared, sources);
        }
    }

    /// It is over: reads what is left, and tells what it came to.
    pub(super) fn end(mut self, log: &mut Log, shared: &Shared, sources: &mut Sources) -> Past {
        self.unwatch(sources);
        // It is not ready any more, whatever it says now.
        self.check = None;
        let running = Arc::clone(self.running());
        self.capture.drain(&running);
        for stream in STREAMS {
            self.pass_on(stream, (None, &mut *log), shared, sources);
        }
        log.finish(shared);
        let output = self.capture.finish(&running);
        let report = match output {
            Ok(output) => Some(output.report),
            Err(error) => error.into_output().map(|output| output.report),
        };
        let ready_for = self.ready_since.map(|since| since.elapsed());
        Past { running, report, ready_for, late: self.late }
    }
}

fn at(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}
