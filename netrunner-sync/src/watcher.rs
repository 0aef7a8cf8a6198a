//! The client's one background thread. It takes over commands whose handle was dropped, notices
//! shepherds and guardians that have ended, feeds input to commands of `spawn`, looks whether they
//! are silent and reads what they write beyond their limit, and sends home shepherds that have long
//! been idle. It sleeps without a timeout when nothing of that is due.
//!
//! All signals are blocked in it, so the client's handlers never run here.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use netrunner_core::client::Patience;
use netrunner_core::message::{CommandId, Reason, Request};
use rustix::process::Pid;

use crate::feed::{Fed, Feed};
use crate::guardian::Guardian;
use crate::meter::{Discarded, Flow};
use crate::poll::{Interest, Key, Poll, Waker};
use crate::running::Running;
use crate::runtime::Runtime;
use crate::shepherd::Shepherd;

/// Something that the watcher is told.
pub(crate) enum Word {
    /// A guardian was started.
    Guardian(Arc<Guardian>),
    /// A shepherd has said hello.
    Born(Arc<Shepherd>),
    /// The handle of a command was dropped.
    Dropped(Arc<Running>),
    /// Somebody has read the end of a dropped command.
    Look(CommandId),
    /// The command that this shepherd serves is due to be over at this time.
    Overdue(CommandId, Instant, Arc<Shepherd>),
    /// This is to be written into a command's standard input.
    Feed(Feed),
    /// This command may be silent for a limited time only.
    Listen(Weak<Running>),
    /// What still comes here is to be read for nobody.
    Surplus(Arc<Flow>, Arc<OwnedFd>),
    /// There are idle shepherds.
    Idle,
    /// This shepherd, of which there is no pidfd, is about to end, and may be the client's to reap.
    Ending(Pid),
}

/// The thread, from outside.
pub(crate) struct Watcher {
    words: Sender<Word>,
    waker: Waker,
}

impl Watcher {
    pub(crate) fn start(runtime: &'static Runtime) -> io::Result<Watcher> {
        let poll = Poll::new()?;
        let waker = poll.waker();
        let (words, received) = crossbeam_channel::unbounded();
        let state = State {
            runtime,
            poll,
            words: received,
            sources: HashMap::new(),
            dropped: HashMap::new(),
            overdue: Vec::new(),
            silent: Vec::new(),
            trim_at: None,
            dying: Vec::new(),
            scratch: Vec::new(),
        };
        let thread = thread::Builder::new().name("netrunner-watcher".to_owned());
        let start = || thread.stack_size(STACK).spawn(move || state.run());
        crate::sys::with_signals_blocked(start)?;
        Ok(Watcher { words, waker })
    }

    pub(crate) fn tell(&self, word: Word) {
        // It listens as long as the process lives.
        let _ = self.words.send(word);
        self.waker.wake();
    }
}

/// Nothing here recurses or keeps much on the stack.
const STACK: usize = 256 << 10;

/// How much is read for nobody at a time: a whole pipe.
const SURPLUS: usize = 64 << 10;

/// The pause after a poll that failed, which it does only where the kernel is out of memory.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The pause before the second look at a process that is ending; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

struct State {
    runtime: &'static Runtime,
    poll: Poll,
    words: Receiver<Word>,
    sources: HashMap<Key, Source>,
    dropped: HashMap<CommandId, Dropped>,
    overdue: Vec<(Instant, CommandId, Weak<Shepherd>)>,
    /// Commands that may be silent for a limited time, and when each is looked at next.
    silent: Vec<(Instant, Weak<Running>)>,
    trim_at: Option<Instant>,
    /// What is ending, when to look next, and how long to pause after that.
    dying: Vec<(Instant, Duration, Dying)>,
    /// Where what nobody wants is read to.
    scratch: Vec<u8>,
}

/// A process that is ending, and may be the client's to reap.
enum Dying {
    Guardian(Arc<Guardian>),
    Shepherd(Pid),
}

impl Dying {
    fn reap(&self) -> bool {
        match self {
            Dying::Guardian(guardian) => guardian.reap(),
            Dying::Shepherd(pid) => crate::adoption::reap_shepherd(*pid),
        }
    }
}

enum Source {
    /// A shepherd's pidfd.
    Shepherd(Weak<Shepherd>, Arc<OwnedFd>),
    /// The lane to a guardian, which never says a word on it.
    Guardian(Arc<Guardian>),
    /// The lane of a dropped command.
    Lane(CommandId),
    /// The standard input of a command.
    Feed(Feed),
    /// An output beyond its limit.
    Surplus(Arc<Flow>),
}

/// A command whose handle was dropped. It is kept until it is over.
struct Dropped {
    running: Arc<Running>,
    shepherd: Arc<Shepherd>,
    lane: Option<Key>,
    patience: Patience,
}

impl State {
    fn run(mut self) {
        loop {
            let timeout = self.next_deadline();
            match self.poll.wait(timeout) {
                Ok(keys) => keys.into_iter().for_each(|key| self.ready(key)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => thread::sleep(AFTER_FAILURE),
            }
            while let Ok(word) = self.words.try_recv() {
                self.hear(word);
            }
            self.pass_time();
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Guardian(guardian) => {
                let end = guardian.end();
                self.watch(end, Interest::Readable, Source::Guardian(guardian));
            }
            Word::Born(shepherd) => {
                if let Some(process) = shepherd.pidfd().map(Arc::clone) {
                    let source = Source::Shepherd(Arc::downgrade(&shepherd), Arc::clone(&process));
                    self.watch(process, Interest::Readable, source);
                }
            }
            Word::Dropped(running) => self.take_over(running),
            Word::Look(id) => self.look(id),
            Word::Overdue(id, at, shepherd) => {
                self.overdue.push((at, id, Arc::downgrade(&shepherd)));
            }
            Word::Feed(feed) => self.feed(feed),
            Word::Listen(running) => self.silent.push((Instant::now(), running)),
            Word::Surplus(flow, pipe) => {
                self.scratch.resize(SURPLUS, 0);
                self.watch(pipe, Interest::Readable, Source::Surplus(flow));
            }
            Word::Idle => self.trim_at = Some(Instant::now()),
            Word::Ending(pid) => self.await_end(Dying::Shepherd(pid)),
        }
    }

    /// Waits for a source. One that can't be waited for, for want of memory, is done without: the
    /// guardian does the same from its side.
    fn watch(&mut self, fd: Arc<OwnedFd>, interest: Interest, source: Source) -> Option<Key> {
        let key = self.poll.add(fd, interest).ok()?;
        self.sources.insert(key, source);
        Some(key)
    }

    fn unwatch(&mut self, key: Key) -> Option<Source> {
        self.poll.remove(key);
        self.sources.remove(&key)
    }

    fn ready(&mut self, key: Key) {
        match self.sources.get(&key) {
            None => {}
            Some(Source::Lane(id)) => self.look(*id),
            Some(Source::Surplus(flow)) => {
                let left = flow.discard(&mut self.scratch);
                // As in `watch`.
                if left == Discarded::All || self.poll.arm(key).is_err() {
                    self.unwatch(key);
                }
            }
            Some(Source::Shepherd(..) | Source::Guardian(_) | Source::Feed(_)) => {
                match self.unwatch(key) {
                    Some(Source::Shepherd(shepherd, process)) => self.bury(&shepherd, &process),
                    Some(Source::Guardian(guardian)) => {
                        self.runtime.pool().forget(&guardian);
                        self.await_end(Dying::Guardian(guardian));
                    }
                    Some(Source::Feed(feed)) => self.feed(feed),
                    Some(Source::Lane(_) | Source::Surplus(_)) | None => {}
                }
            }
        }
    }

    fn await_end(&mut self, dying: Dying) {
        self.dying.push((Instant::now(), FIRST_PAUSE, dying));
    }

    /// A shepherd has ended.
    fn bury(&mut self, shepherd: &Weak<Shepherd>, process: &OwnedFd) {
        if let Some(shepherd) = shepherd.upgrade() {
            self.runtime.pool().remove(&shepherd);
            // Its lane has ended with it, but for one that was passed on to somebody. What it has said is
            // still read before the end is.
            let _ = rustix::net::shutdown(shepherd.socket(), rustix::net::Shutdown::Read);
            if let Some(running) = shepherd.serving() {
                // If it has told the end before its own, this finds it; else the child goes too.
                running.look();
                if running.outcome().is_none() {
                    running.kill_child();
                }
            }
        }
        // Its guardian reaps it. Only if that has died, and the client is PID 1 or a subreaper, is
        // it ours to reap; ECHILD says that it is not.
        let _ = crate::pidfd::wait(process);
    }

    /// Stops a command whose handle was dropped.
    fn take_over(&mut self, running: Arc<Running>) {
        running.watch();
        running.look();
        let Some(shepherd) = running.shepherd() else { return };
        // If that can't be sent, its patience runs out, or its lane's end is read.
        let _ = shepherd.request(&Request::Stop(running.id(), Reason::Stopped));
        let id = running.id();
        let socket = Arc::clone(shepherd.socket());
        let lane = self.watch(socket, Interest::Readable, Source::Lane(id));
        let patience = Patience::new(self.runtime.now(), running.grace());
        self.dropped.insert(id, Dropped { running, shepherd, lane, patience });
    }

    /// Reads what a dropped command's shepherd has said.
    fn look(&mut self, id: CommandId) {
        let Some(dropped) = self.dropped.get(&id) else { return };
        // If another thread reads for it, that one says `Look` when it has read the end.
        dropped.running.look();
        let over = dropped.running.outcome().is_some();
        let lane = dropped.lane;
        if over {
            self.dropped.remove(&id);
            lane.map(|key| self.unwatch(key));
        } else if let Some(key) = lane {
            // As in `watch`.
            let _ = self.poll.arm(key);
        }
    }

    fn feed(&mut self, mut feed: Feed) {
        match feed.write() {
            Fed::All => {}
            Fed::Some => {
                let fd = feed.pipe();
                self.watch(fd, Interest::Writable, Source::Feed(feed));
            }
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let dropped = self.dropped.values().filter_map(|dropped| dropped.patience.deadline()).min();
        let dropped = dropped.map(|at| at.since(self.runtime.now()));
        let now = Instant::now();
        let dying = self.dying.iter().map(|(at, _, _)| *at);
        let silent = self.silent.iter().map(|(at, _)| *at);
        let overdue = self.overdue.iter().map(|(at, _, _)| *at);
        let overdue = overdue.chain(silent).chain(self.trim_at).chain(dying).min();
        let overdue = overdue.map(|at| at.saturating_duration_since(now));
        dropped.into_iter().chain(overdue).min()
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        let time = self.runtime.now();
        let mut silent = Vec::new();
        for dropped in self.dropped.values_mut() {
            if dropped.patience.is_over(time) {
                dropped.running.give_up(&dropped.shepherd);
                dropped.running.kill_child();
                silent.extend(dropped.lane.is_none().then(|| dropped.running.id()));
            }
        }
        // Those whose lane could not be watched.
        silent.into_iter().for_each(|id| self.look(id));
        let (due, later) = self.overdue.drain(..).partition(|(at, _, _)| *at <= now);
        self.overdue = later;
        let due: Vec<(Instant, CommandId, Weak<Shepherd>)> = due;
        for (_, id, shepherd) in due {
            let serving = shepherd.upgrade().and_then(|shepherd| shepherd.serving());
            if let Some(running) = serving.filter(|running| running.id() == id) {
                running.judge(now);
            }
        }
        self.silent.retain_mut(|(at, running)| {
            if *at > now {
                return true;
            }
            let next = running.upgrade().and_then(|running| running.judge_silence());
            *at = next.unwrap_or(now);
            next.is_some()
        });
        self.dying.retain_mut(|(at, pause, dying)| {
            if *at > now {
                return true;
            }
            *at = now + *pause;
            *pause *= 2;
            // After half a minute it has only closed its lane, and lives on as no concern of ours.
            !dying.reap() && *pause < Duration::from_secs(16)
        });
        if self.trim_at.is_some_and(|at| at <= now) {
            // Before the look, so that what becomes idle after it is told again.
            self.runtime.trimming_is_over();
            self.trim_at = self.runtime.pool().trim(now);
            if self.trim_at.is_some() {
                self.runtime.trimming_goes_on();
            }
        }
    }
}
