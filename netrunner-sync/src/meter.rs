//! What is known of a command's bytes: how many went which way, when the last ones came, and where
//! an output has to end.
//!
//! An output that has a limit or a clock has a second descriptor of its pipe here, for three looks
//! that must be possible whoever holds the stream: what is unread when the clock runs out, what is
//! unread when the command is over (the byte beyond the limit may be among it), and what comes
//! after the limit, which the watcher reads and throws away.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use netrunner_core::message;
use rustix::io::Errno;
use rustix::termios::isatty;

use crate::lane::above_stdio;
use crate::limits::{Excess, Limits};
use crate::outlet::TERMINAL_KEEPS;
use crate::report::{IoCounters, Reason, Report};
use crate::running::Running;
use crate::watcher::Word;

/// The bytes of one command.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    written: Arc<AtomicU64>,
    stdout: Option<Arc<Flow>>,
    stderr: Option<Arc<Flow>>,
    clock: Option<Clock>,
}

/// How long a command may be silent.
#[derive(Debug)]
struct Clock {
    limit: Duration,
    /// When it was started, or set back; nothing once it stands still.
    since: Mutex<Option<Instant>>,
}

/// Whether a command has been silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    TooLong,
    /// Not before this time.
    Until(Instant),
    /// That can't be known, now or later.
    Unknown,
}

/// One output.
#[derive(Debug)]
pub(crate) struct Flow {
    running: Weak<Running>,
    limit: Option<u64>,
    excess: Excess,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    read: u64,
    discarded: u64,
    /// When something was read last.
    last: Option<Instant>,
    second: Option<Arc<OwnedFd>>,
    /// Whether that is a terminal, which does not tell how much is unread.
    is_terminal: bool,
    /// What was read of a terminal at the end of its command, to know how much there is; it comes
    /// before all that is read later.
    ahead: Vec<u8>,
    rest: Rest,
    verdict: Verdict,
}

/// Who reads what is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Whoever has the stream.
    Reader,
    /// The limit is reached: the watcher, for nobody.
    Watcher,
    /// Somebody who took the plain descriptor, and whom we don't see.
    Stranger,
}

/// Whether a stop was asked for because of this output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    TooMuch,
}

/// What the watcher's reading for nobody has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// There may be more later.
    Some,
    /// The output has ended, or is another's business now.
    All,
}

impl Meter {
    /// For the outputs that are pipes of ours.
    pub(crate) fn new(
        running: &Arc<Running>,
        limits: &Limits,
        stdout: Option<&OwnedFd>,
        stderr: Option<&OwnedFd>,
    ) -> std::io::Result<Meter> {
        let flow = |pipe: Option<&OwnedFd>| {
            pipe.map(|pipe| Flow::new(running, limits, pipe).map(Arc::new)).transpose()
        };
        let clock = |limit| Clock { limit, since: Mutex::new(Some(Instant::now())) };
        Ok(Meter {
            written: Arc::default(),
            stdout: flow(stdout)?,
            stderr: flow(stderr)?,
            clock: limits.idle_timeout.map(clock),
        })
    }

    /// What counts the bytes that are written to the standard input.
    pub(crate) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    pub(crate) fn stdout(&self) -> Option<Arc<Flow>> {
        self.stdout.clone()
    }

    pub(crate) fn stderr(&self) -> Option<Arc<Flow>> {
        self.stderr.clone()
    }

    fn flows(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.stdout.iter().chain(&self.stderr)
    }

    /// The command runs from now on.
    pub(crate) fn start(&self) {
        if let Some(clock) = &self.clock {
            *lock(&clock.since) = Some(Instant::now());
        }
        // A limit of nothing is reached by now.
        self.flows().for_each(Flow::hand_over_if_full);
    }

    /// For so long nobody wanted to read, which is not the command's fault.
    pub(crate) fn excuse(&self, away: Duration) {
        if let (Some(clock), Some(since)) = (&self.clock, self.since()) {
            *lock(&clock.since) = since.checked_add(away);
        }
    }

    /// Silence is no reason any more.
    pub(crate) fn stop_clock(&self) {
        if let Some(clock) = &self.clock {
            *lock(&clock.since) = None;
        }
    }

    /// From when on the silence counts.
    fn since(&self) -> Option<Instant> {
        let since = (*lock(&self.clock.as_ref()?.since))?;
        let last = self.flows().filter_map(|flow| flow.lock().last).max();
        Some(last.map_or(since, |last| last.max(since)))
    }

    /// When the silence is too long, if it goes on.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since()?.checked_add(self.clock.as_ref()?.limit)
    }

    /// Whether the command was silent for too long at `now`.
    pub(crate) fn silence(&self, now: Instant) -> Silence {
        let Some(clock) = &self.clock else { return Silence::Unknown };
        let Some(mut since) = *lock(&clock.since) else { return Silence::Unknown };
        for flow in self.flows() {
            // Under one lock, so that nothing is read between the look and the time of the reading.
            let level = flow.lock();
            if level.rest == Rest::Stranger {
                return Silence::Unknown;
            }
            if level.unread() > 0 {
                since = since.max(now);
            }
            since = level.last.map_or(since, |last| last.max(since));
        }
        match since.checked_add(clock.limit) {
            Some(at) if at <= now => Silence::TooLong,
            Some(at) => Silence::Until(at),
            None => Silence::Unknown,
        }
    }

    /// Adds to the report of a command that is over what only the client knows.
    ///
    /// The byte beyond the limit may have been written just before the end, so that no stop was
    /// asked for, or none came in time: it counts all the same. A stop or kill by the user came
    /// first, where it did.
    pub(crate) fn complete(&self, report: &mut Report) {
        report.io = self.counters();
        if report.reason == Reason::Exited && self.flows().any(|flow| flow.is_exceeded()) {
            report.reason = Reason::OutputLimit;
        }
    }

    /// Reads what is left for nobody, once the command is over.
    pub(crate) fn settle(&self) {
        self.flows().for_each(|flow| flow.settle());
    }

    pub(crate) fn counters(&self) -> IoCounters {
        let counts = |flow: &Option<Arc<Flow>>| {
            flow.as_ref().map_or((0, 0), |flow| {
                let level = flow.lock();
                (level.read, level.discarded)
            })
        };
        let (stdout, stderr) = (counts(&self.stdout), counts(&self.stderr));
        IoCounters {
            stdin: self.written.load(Ordering::Relaxed),
            stdout: stdout.0,
            stderr: stderr.0,
            discarded: stdout.1 + stderr.1,
        }
    }
}

/// Where the next bytes of a stream are.
pub(crate) enum Next<'a> {
    Descriptor,
    /// Here: they were read before.
    Ahead(&'a [u8]),
}

impl Flow {
    fn new(running: &Arc<Running>, limits: &Limits, pipe: &OwnedFd) -> std::io::Result<Flow> {
        let second = if limits.are_set() {
            Some(Arc::new(above_stdio(rustix::io::fcntl_dupfd_cloexec(pipe, 3)?)?))
        } else {
            None
        };
        Ok(Flow {
            running: Arc::downgrade(running),
            limit: limits.max_output,
            excess: limits.excess,
            level: Mutex::new(Level {
                read: 0,
                discarded: 0,
                last: None,
                is_terminal: second.as_ref().is_some_and(|second| isatty(&**second)),
                second,
                ahead: Vec::new(),
                rest: Rest::Reader,
                verdict: Verdict::Fine,
            }),
        })
    }

    /// Reads by `read`, which is told how much at most. Nothing, as at the end, once the limit is
    /// reached.
    pub(crate) fn read(
        self: &Arc<Self>,
        read: impl FnOnce(Next<'_>, usize) -> rustix::io::Result<usize>,
    ) -> rustix::io::Result<usize> {
        let mut level = self.lock();
        let room = self.room(&level);
        if room == 0 {
            return Ok(0);
        }
        let count = if level.ahead.is_empty() {
            read(Next::Descriptor, room)?
        } else {
            let most = room.min(level.ahead.len());
            let count = read(Next::Ahead(&level.ahead[..most]), most)?;
            level.ahead.drain(..count);
            count
        };
        level.read += count as u64;
        level.note_time(count);
        drop(level);
        self.hand_over_if_full();
        Ok(count)
    }

    /// How much may still be read.
    fn room(&self, level: &Level) -> usize {
        match self.limit {
            None => usize::MAX,
            Some(limit) => usize::try_from(limit.saturating_sub(level.read)).unwrap_or(usize::MAX),
        }
    }

    /// Leaves the rest to the watcher, once the limit is reached.
    fn hand_over_if_full(self: &Arc<Self>) {
        let mut level = self.lock();
        if self.room(&level) > 0 || level.rest != Rest::Reader {
            return;
        }
        let Some(pipe) = level.second.clone() else { return };
        level.rest = Rest::Watcher;
        drop(level);
        if let Some(running) = self.running.upgrade() {
            running.tell(Word::Surplus(Arc::clone(self), pipe));
        }
    }

    /// Reads once for nobody, into `scratch`.
    pub(crate) fn discard(&self, scratch: &mut [u8]) -> Discarded {
        let mut level = self.lock();
        let ahead = std::mem::take(&mut level.ahead).len();
        let result = match (&level.second, level.rest) {
            (_, Rest::Watcher) if ahead > 0 => Ok(ahead),
            (Some(pipe), Rest::Watcher) => rustix::io::read(pipe, &mut *scratch),
            (None, _) | (Some(_), Rest::Reader | Rest::Stranger) => Ok(0),
        };
        match result {
            Ok(0) => {
                level.second = None;
                return Discarded::All;
            }
            Ok(count) => level.throw_away(count),
            Err(Errno::INTR | Errno::AGAIN) => return Discarded::Some,
            Err(_) => {
                level.second = None;
                return Discarded::All;
            }
        }
        let first = level.verdict == Verdict::Fine;
        level.verdict = Verdict::TooMuch;
        drop(level);
        if first && self.excess == Excess::Stop {
            // Not under the lock: it is taken where the end of the command is read.
            if let Some(running) = self.running.upgrade() {
                running.ask_to_stop(message::Reason::OutputLimit);
            }
        }
        Discarded::Some
    }

    /// Throws away what is in the pipe now, if it is for nobody. The command is over; what is still
    /// written comes from what was kept, and is the watcher's.
    fn settle(&self) {
        let mut level = self.lock();
        if level.rest == Rest::Watcher {
            let ahead = std::mem::take(&mut level.ahead).len();
            level.throw_away(ahead);
        }
        let mut left = match level.rest {
            // It tells of one of its two buffers at most.
            Rest::Watcher if level.is_terminal => TERMINAL_KEEPS,
            Rest::Watcher => level.unread(),
            Rest::Reader | Rest::Stranger => 0,
        };
        let mut scratch = [0; 4 << 10];
        while left > 0 {
            let Some(pipe) = &level.second else { return };
            match rustix::io::read(pipe, &mut scratch[..]) {
                Ok(count) if count > 0 => {
                    level.throw_away(count);
                    left = left.saturating_sub(count as u64);
                }
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Whether more was written than may be, and that is a reason to stop.
    fn is_exceeded(&self) -> bool {
        let mut level = self.lock();
        if let Some(limit) = self.limit.filter(|_| self.excess == Excess::Stop) {
            let so_far = level.read + level.discarded;
            level.read_ahead(limit.saturating_sub(so_far).saturating_add(1));
        }
        let written = level.read + level.discarded + level.unread();
        self.excess == Excess::Stop && self.limit.is_some_and(|limit| written > limit)
    }

    /// Nobody reads the stream any more.
    pub(crate) fn close(&self) {
        let mut level = self.lock();
        if level.rest == Rest::Reader {
            level.second = None;
        }
    }

    /// Somebody reads it by other means from now on.
    pub(crate) fn give_away(&self) {
        let mut level = self.lock();
        level.rest = Rest::Stranger;
        level.second = None;
    }

    fn lock(&self) -> MutexGuard<'_, Level> {
        lock(&self.level)
    }
}

impl Level {
    /// Reads what a terminal has, until there are `enough` bytes: all that its command wrote, if it is
    /// over and this is less. What more is written comes from what was kept, and may be counted too.
    fn read_ahead(&mut self, enough: u64) {
        let enough = usize::try_from(enough.min(TERMINAL_KEEPS)).unwrap_or(usize::MAX);
        let Some(terminal) = self.second.as_ref().filter(|_| self.is_terminal) else { return };
        let mut piece = [0; 4 << 10];
        while self.ahead.len() < enough {
            let most = piece.len().min(enough - self.ahead.len());
            match netrunner_pty::read(terminal, &mut piece[..most]) {
                Ok(count) if count > 0 => self.ahead.extend_from_slice(&piece[..count]),
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn unread(&self) -> u64 {
        if !self.ahead.is_empty() {
            return self.ahead.len() as u64;
        }
        let Some(pipe) = &self.second else { return 0 };
        let unread = if self.is_terminal {
            netrunner_pty::unread(&**pipe)
        } else {
            rustix::io::ioctl_fionread(pipe)
        };
        unread.unwrap_or(0)
    }

    fn throw_away(&mut self, count: usize) {
        self.discarded += count as u64;
        self.note_time(count);
    }

    fn note_time(&mut self, count: usize) {
        // Only where somebody may ask.
        if count > 0 && self.second.is_some() {
            self.last = Some(Instant::now());
        }
    }
}

/// Nothing here panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
