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
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::engine::Attempt;
use crate::error::{Error, Result};
use crate::feed::{Fed, Feed};
use crate::lane::Blocking;
use crate::report::Output;
use crate::running::{Progress, Role, Running};
use crate::shepherd::Shepherd;
use crate::time::until;

/// The streams of one command.
pub(crate) struct Capture {
    feed: Option<Feed>,
    stdout: Reading,
    stderr: Reading,
}

/// One output.
#[derive(Default)]
struct Reading {
    /// None once it has ended.
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
}

/// The first room for an output: most are shorter, and a page costs a fault.
const ROOM: usize = 4 << 10;

/// The least room for a read once an output has proved to be long: a whole pipe.
const MORE_ROOM: usize = 64 << 10;

impl Reading {
    fn new(pipe: Option<OwnedFd>) -> Reading {
        Reading { pipe, bytes: Vec::new() }
    }

    /// Reads what is there. A read that leaves room has emptied the pipe.
    fn read(&mut self) {
        while let Some(pipe) = &self.pipe {
            let room = if self.bytes.capacity() == 0 { ROOM } else { MORE_ROOM };
            if self.bytes.capacity() - self.bytes.len() < ROOM {
                self.bytes.reserve(room);
            }
            match rustix::io::read(pipe, spare_capacity(&mut self.bytes)) {
                Ok(0) => self.pipe = None,
                Ok(_) if self.bytes.len() < self.bytes.capacity() => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // EIO and the like: there is nothing more to be had.
                Err(_) => self.pipe = None,
            }
        }
    }
}

impl Capture {
    pub(crate) fn new(
        feed: Option<Feed>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Capture {
        Capture { feed, stdout: Reading::new(stdout), stderr: Reading::new(stderr) }
    }

    pub(crate) fn into_captured(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout.bytes, self.stderr.bytes)
    }

    fn is_idle(&self) -> bool {
        self.feed.is_none() && self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// Sends the request, and moves data until the outcome is there.
    pub(crate) fn run(&mut self, running: &Arc<Running>, attempt: &mut Attempt) -> Result<()> {
        let role = running.begin();
        let mut shepherd = attempt.send(running, &role)?;
        self.feed();
        loop {
            let progress = if self.is_idle() {
                role.wait(&shepherd, None)
            } else {
                self.turn(running, Some((&role, &shepherd)), None)?
            };
            match progress {
                Progress::Waiting | Progress::Started => {}
                Progress::Greeted => attempt.release_given(),
                Progress::Over => {
                    self.drain();
                    return Ok(());
                }
                Progress::NeverRan => shepherd = attempt.send_again(running, &role)?,
            }
        }
    }

    /// Waits once, for data, the lane or the bell, and deals with what came.
    fn turn(
        &mut self,
        running: &Running,
        lane: Option<(&Role<'_>, &Arc<Shepherd>)>,
        bell: Option<&OwnedFd>,
    ) -> Result<Progress> {
        let mut fds = Vec::with_capacity(4);
        let word = lane.map(|(_, shepherd)| &**shepherd.socket()).or(bell);
        let feed = self.feed.as_ref().map(Feed::pipe);
        fds.extend(word.map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(feed.as_deref().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        fds.extend(self.stdout.pipe.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stderr.pipe.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, until(running.next_judgement()).as_ref()) {
            Ok(0) => running.judge(Instant::now()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("poll the streams of a command", errno)),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = |is_there: bool| is_there && ready.next().unwrap_or(false);
        let word = next(word.is_some());
        let feed = next(self.feed.is_some());
        let stdout = next(self.stdout.pipe.is_some());
        let stderr = next(self.stderr.pipe.is_some());
        drop(fds);
        if feed {
            self.feed();
        }
        if stdout {
            self.stdout.read();
        }
        if stderr {
            self.stderr.read();
        }
        Ok(match (word, lane, bell) {
            (true, Some((role, shepherd)), _) => role.read(shepherd, Blocking::No),
            (true, None, Some(bell)) => {
                // It counts the rings; one read takes all.
                let _ = rustix::io::read(bell, &mut [0; 8]);
                Progress::Waiting
            }
            _ => Progress::Waiting,
        })
    }

    fn feed(&mut self) {
        // Closing the pipe is what the command sees as the end of its input.
        self.feed.take_if(|feed| feed.write() == Fed::All);
    }

    /// Reads what the command had written before it was over.
    fn drain(&mut self) {
        self.stdout.read();
        self.stderr.read();
    }
}

/// Reads the outputs of a command of `spawn` until it is over.
pub(crate) fn to_end(
    running: &Arc<Running>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
) -> Result<Output> {
    let mut capture = Capture::new(None, stdout, stderr);
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
    capture.drain();
    let (stdout, stderr) = capture.into_captured();
    running.output(stdout, stderr)
}
