//! Moves stdin, stdout and stderr of one command together until it is over, so that none can block
//! another.
//!
//! A plain `poll` of these few descriptors stands in for the watcher's poller: it needs no
//! registration, which would cost more system calls than the command has reads.
//!
//! The end is what the shepherd says, not the pipes' end: a process that was kept may hold a pipe
//! open for ever. What was written before is in the pipes by then, and is read without waiting.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::bell::Bell;
use crate::ear::Blocking;
use crate::engine::Attempt;
use crate::error::Result;
use crate::feed::{Fed, Feed};
use crate::mover::Stream;
use crate::outcome::Captured;
use crate::outlet::Outlet;
use crate::report::{IoCounters, Output};
use crate::running::{Progress, Role, Running};
use crate::shepherd::Shepherd;
use crate::target::Encore;
use crate::turn;

/// The streams of one command.
#[derive(Default)]
pub(crate) struct Capture {
    feed: Option<Feed>,
    encore: Option<Encore>,
    /// How much was fed to the command.
    fed: Arc<AtomicU64>,
    stdout: Reading,
    stderr: Reading,
}

/// One output.
#[derive(Default)]
struct Reading {
    /// None once it has ended.
    outlet: Option<Arc<Outlet>>,
    bytes: Vec<u8>,
    /// How much was read and is not here any more.
    gone: u64,
    keep: Keep,
}

/// What is done with what is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    #[default]
    All,
    Nothing,
}

/// The first room for an output: most are shorter, and a page costs a fault.
const ROOM: usize = 4 << 10;

/// The least room for a read once an output has proved to be long: a whole pipe.
const MORE_ROOM: usize = 64 << 10;

/// How often one output is read before others have their turn.
const READS_IN_TURN: usize = 4;

impl Reading {
    fn new(outlet: Option<Outlet>, keep: Keep) -> Reading {
        Reading { outlet: outlet.map(Arc::new), bytes: Vec::new(), gone: 0, keep }
    }

    /// Reads what is there. A read that leaves room has emptied the pipe.
    fn read(&mut self) {
        while self.read_once() == Read::Full {}
    }

    fn read_once(&mut self) -> Read {
        let Some(outlet) = &self.outlet else { return Read::Empty };
        let room = if self.bytes.capacity() == 0 { ROOM } else { MORE_ROOM };
        if self.bytes.capacity() - self.bytes.len() < ROOM {
            self.bytes.reserve(room);
        }
        let tells = outlet.tells_when_empty();
        match outlet.try_read_into(&mut self.bytes) {
            Ok(0) => self.outlet = None,
            Ok(_) => {
                let full = self.bytes.len() == self.bytes.capacity();
                if self.keep == Keep::Nothing {
                    self.gone += self.bytes.len() as u64;
                    self.bytes.clear();
                }
                if full || !tells {
                    return Read::Full;
                }
            }
            Err(Errno::INTR) => return Read::Full,
            Err(Errno::AGAIN) => {}
            // EIO and the like: there is nothing more to be had.
            Err(_) => self.outlet = None,
        }
        Read::Empty
    }

    /// Reads what was written before the command was over.
    ///
    /// Something that lives on may be writing into the pipe, faster than it can be read: then what
    /// is in the pipe now is all that counts.
    fn drain(&mut self, writers: Writers) {
        match writers {
            Writers::Gone => self.read(),
            Writers::Perhaps => {
                let mut left = self.outlet.as_ref().map_or(0, |outlet| outlet.unread());
                while left > 0 && self.outlet.is_some() {
                    let before = self.count();
                    if self.read_once() == Read::Empty {
                        return;
                    }
                    left = left.saturating_sub(self.count() - before);
                }
            }
        }
    }

    fn count(&self) -> u64 {
        self.bytes.len() as u64 + self.gone
    }
}

/// What a read has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// There may be more: it filled the room, or the room says nothing.
    Full,
    Empty,
}

/// Whether anybody can still write when a command is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// All of it is gone.
    Gone,
    Perhaps,
}

impl Capture {
    pub(crate) fn new(
        feed: Option<Feed>,
        fed: Arc<AtomicU64>,
        stdout: Option<Outlet>,
        stderr: Option<Outlet>,
        keep: Keep,
    ) -> Capture {
        let (stdout, stderr) = (Reading::new(stdout, keep), Reading::new(stderr, keep));
        Capture { feed, encore: None, fed, stdout, stderr }
    }

    /// The outputs alone, all that is read of them.
    pub(crate) fn of_outputs(stdout: Option<Outlet>, stderr: Option<Outlet>) -> Capture {
        Capture::new(None, Arc::default(), stdout, stderr, Keep::All)
    }

    /// What the command is fed has an end that may have to be typed again.
    pub(crate) fn with_encore(self, encore: Option<Encore>) -> Capture {
        Capture { encore, ..self }
    }

    /// Where it is fed, as long as there is something to feed.
    pub(crate) fn feed_pipe(&self) -> Option<Arc<OwnedFd>> {
        self.feed.as_ref().map(Feed::pipe)
    }

    fn reading(&mut self, stream: Stream) -> &mut Reading {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// One of the outputs, until it has ended.
    pub(crate) fn outlet(&mut self, stream: Stream) -> Option<Arc<Outlet>> {
        self.reading(stream).outlet.clone()
    }

    /// Reads what is there, but no more than a few pipes full: others want to be read too.
    pub(crate) fn read_some(&mut self, stream: Stream) {
        let reading = self.reading(stream);
        for _ in 0..READS_IN_TURN {
            if reading.read_once() == Read::Empty {
                break;
            }
        }
        self.encore.iter().for_each(Encore::look);
    }

    /// What was read of an output and is still here.
    pub(crate) fn held(&mut self, stream: Stream) -> &[u8] {
        &self.reading(stream).bytes
    }

    /// Somebody else has got what was here.
    pub(crate) fn forget(&mut self, stream: Stream) {
        let reading = self.reading(stream);
        reading.gone += reading.bytes.len() as u64;
        reading.bytes.clear();
        // There may be thousands of them, each silent now.
        reading.bytes.shrink_to(ROOM);
    }

    /// Reads what is left, once the outcome is there.
    pub(crate) fn drain(&mut self, running: &Running) {
        let writers = running.writers();
        self.stdout.drain(writers);
        self.stderr.drain(writers);
    }

    fn is_idle(&self) -> bool {
        self.feed.is_none() && self.stdout.outlet.is_none() && self.stderr.outlet.is_none()
    }

    /// What was read, once the outcome is there.
    pub(crate) fn finish(mut self, running: &Running) -> Result<Output> {
        self.drain(running);
        let io = match running.meter() {
            Some(meter) => {
                meter.settle();
                meter.counters()
            }
            None => IoCounters {
                stdin: self.fed.load(Ordering::Relaxed),
                stdout: self.stdout.count(),
                stderr: self.stderr.count(),
                discarded: 0,
            },
        };
        let (stdout, stderr) = (self.stdout.bytes, self.stderr.bytes);
        running.output(Captured { stdout, stderr, io: Some(io) })
    }

    /// Sends the request, and moves data until the outcome is there.
    pub(crate) fn run(&mut self, running: &Arc<Running>, attempt: &mut Attempt) -> Result<()> {
        let role = running.begin();
        let mut shepherd = attempt.send(running, &role)?;
        if let Some(meter) = running.meter() {
            meter.start();
        }
        self.feed();
        loop {
            let progress = if self.is_idle() {
                let progress = role.wait(&shepherd, running.silence_deadline());
                running.judge_silence();
                progress
            } else {
                self.turn(running, Some((&role, &shepherd)), None)?
            };
            match progress {
                Progress::Waiting | Progress::Started => {}
                Progress::Greeted => attempt.release_given(),
                Progress::Over => return Ok(()),
                Progress::NeverRan => shepherd = attempt.send_again(running, &role)?,
            }
        }
    }

    /// Waits once, for data, the lane or the bell, and deals with what came.
    fn turn(
        &mut self,
        running: &Running,
        lane: Option<(&Role<'_>, &Arc<Shepherd>)>,
        bell: Option<&Bell>,
    ) -> Result<Progress> {
        let word = lane.map(|(_, shepherd)| &**shepherd.socket()).or(bell.map(Bell::fd));
        let feed = self.feed.as_ref().map(Feed::pipe);
        let [word, feed, stdout, stderr] = turn::wait(
            running,
            [
                (word, PollFlags::IN),
                (feed.as_deref(), PollFlags::OUT),
                (self.stdout.outlet.as_ref().map(|outlet| outlet.pipe()), PollFlags::IN),
                (self.stderr.outlet.as_ref().map(|outlet| outlet.pipe()), PollFlags::IN),
            ],
            None,
        )?;
        if feed {
            self.feed();
        }
        if stdout {
            self.stdout.read();
            self.encore.iter().for_each(Encore::look);
        }
        if stderr {
            self.stderr.read();
        }
        Ok(match (word, lane, bell) {
            (true, Some((role, shepherd)), _) => role.read(shepherd, Blocking::No),
            (true, None, Some(bell)) => {
                bell.hush();
                Progress::Waiting
            }
            _ => Progress::Waiting,
        })
    }

    pub(crate) fn feed(&mut self) {
        // Closing the pipe is what the command sees as the end of its input.
        self.feed.take_if(|feed| feed.write() == Fed::All);
    }
}

/// Reads the outputs of a command of `spawn` until it is over.
pub(crate) fn to_end(
    running: &Arc<Running>,
    (stdout, read): (Option<Outlet>, Vec<u8>),
    stderr: Option<Outlet>,
    encore: Option<Encore>,
) -> Result<Output> {
    let mut capture = Capture::of_outputs(stdout, stderr).with_encore(encore);
    capture.stdout.bytes = read;
    while running.outcome().is_none() {
        match running.try_role() {
            Some((role, shepherd)) => {
                if capture.turn(running, Some((&role, &shepherd)), None)? == Progress::NeverRan {
                    role.lose("it ended before the command was started");
                }
            }
            // Another thread reads the lane; it rings when it stops.
            None => {
                let bell = running.bell()?;
                if running.is_read() {
                    capture.turn(running, None, Some(&bell))?;
                }
            }
        }
    }
    capture.finish(running)
}
