//! The shared state of one live command, behind `Child`, its handles, `output` and the watcher.
//!
//! Any number of threads may wait, but one at a time reads the lane: it holds the *reader role*. The
//! others sleep on the condition variable until the role is free or the outcome is there. The
//! outcome is stored once, and only then does the shepherd go back to the pool, so that nobody can
//! read the next command's events for this one's.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use netrunner_cgroup::Group;
use netrunner_core::client::ALLOWANCE;
use netrunner_core::message::{CommandId, Reason, Request};
use netrunner_core::supervise::SWEEPING;
use rustix::io::Errno;

use crate::bell::Bell;
use crate::command::Terms;
use crate::ear::Blocking;
use crate::error::{Error, Result, shown};
use crate::lane::PATIENCE;
use crate::meter::Meter;
use crate::outcome::{Captured, Outcome};
use crate::report::{Leftovers, Output, Report};
use crate::runtime::Runtime;
use crate::shepherd::{Blow, Shepherd};
use crate::terminal::Tie;
use crate::time::deadline_in;
use crate::watcher::Word;

mod end;
mod group;
mod handover;
mod over;
mod role;
mod silence;
mod stops;
mod terminal;

/// What the hand-over is made of; loom's in `tests/handover`.
mod primitives {
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
}

pub(crate) use end::End;
use handover::Handover;
use over::After;
pub(crate) use role::{HeldRole, Progress, Role};

pub(crate) struct Running {
    id: CommandId,
    program: OsString,
    grace: Duration,
    leftovers: Leftovers,
    runtime: &'static Runtime,
    /// 0 before it is known.
    pid: AtomicU32,
    state: Handover<State>,
    outcome: OnceLock<Outcome>,
    /// Where its bytes are counted; not there where nobody asks before the end.
    meter: OnceLock<Meter>,
    tie: Tie,
    group: Option<Arc<Group>>,
}

#[derive(Default)]
struct State {
    /// Until the outcome is there.
    shepherd: Option<Arc<Shepherd>>,
    /// The child's pidfd, once it has come.
    child: Option<OwnedFd>,
    /// When a shepherd that has still not told the end is taken for wedged.
    overdue: Option<Instant>,
    /// When a shepherd that has still not read what it was sent is taken for wedged.
    unread: Option<Instant>,
    /// It had not, and is looked at once more: a signal may have been on its way just then.
    suspected: bool,
    /// Rung when the role is given up, for a thread that polls pipes meanwhile.
    bell: Option<Arc<Bell>>,
    stops: stops::Stops,
}

/// The pause before a shepherd that seems wedged is looked at again.
const SECOND_LOOK: Duration = Duration::from_millis(50);

impl Running {
    pub(crate) fn new(
        runtime: &'static Runtime,
        program: OsString,
        terms: &Terms,
        tie: Tie,
        group: Option<Arc<Group>>,
    ) -> Arc<Running> {
        Arc::new(Running {
            id: runtime.next_command(),
            program,
            grace: terms.grace,
            leftovers: terms.leftovers,
            runtime,
            pid: AtomicU32::new(0),
            state: Handover::new(State::default()),
            outcome: OnceLock::new(),
            meter: OnceLock::new(),
            tie,
            group,
        })
    }

    /// The request was sent to this shepherd.
    pub(crate) fn assign(self: &Arc<Self>, shepherd: Arc<Shepherd>, timeout: Option<Duration>) {
        shepherd.serve(Arc::downgrade(self));
        let now = Instant::now();
        let mut state = self.lock();
        state.shepherd = Some(shepherd);
        state.unread = now.checked_add(PATIENCE);
        state.overdue =
            timeout.and_then(|timeout| now.checked_add(timeout)?.checked_add(self.patience()));
    }

    pub(crate) fn id(&self) -> CommandId {
        self.id
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    pub(crate) fn program(&self) -> &OsStr {
        &self.program
    }

    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.meter.get()
    }

    /// Counts the bytes from now on. There is one meter at most.
    pub(crate) fn count(&self, meter: Meter) {
        let _ = self.meter.set(meter);
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        self.outcome.get()?.report()
    }

    pub(crate) fn shepherd(&self) -> Option<Arc<Shepherd>> {
        self.lock().shepherd.clone()
    }

    /// Hands the command to the watcher, which stops it: its handle was dropped.
    pub(crate) fn abandon(running: &Arc<Running>) {
        // In a forked copy of the client the command is not ours.
        let live = running.outcome.get().is_none() && running.lock().shepherd.is_some();
        if live && running.runtime.is_here() {
            running.runtime.tell(Word::Dropped(Arc::clone(running)));
        }
    }

    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_until(None)? {
                return Ok(status);
            }
        }
    }

    pub(crate) fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.ensure_here()?;
        self.look();
        self.outcome.get().map(|outcome| outcome.status(&self.program, self.pid())).transpose()
    }

    /// Waits for the outcome; `None` if it is not there by the deadline. No deadline is for ever.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>> {
        self.ensure_here()?;
        self.wait_for_outcome(deadline);
        self.outcome.get().map(|outcome| outcome.status(&self.program, self.pid())).transpose()
    }

    /// Waits until the outcome is there, a request has to be sent again, or the deadline has passed.
    fn wait_for_outcome(&self, deadline: Option<Instant>) {
        while self.outcome.get().is_none() {
            if deadline.is_some_and(|at| at <= Instant::now()) {
                // A last look: a deadline in the past is a `try_wait`.
                return self.look();
            }
            match self.try_role() {
                Some((role, shepherd)) => match role.wait(&shepherd, deadline) {
                    Progress::Waiting | Progress::Greeted | Progress::Started | Progress::Over => {}
                    // Met here only after a spawn that panicked halfway, which has dropped it.
                    Progress::NeverRan => role.lose("it ended before the command was started"),
                },
                None => self.wait_for_change(deadline),
            }
        }
    }

    /// Reads what has arrived, without waiting.
    pub(crate) fn look(&self) {
        while let Some((role, shepherd)) = self.try_role() {
            match role.read(&shepherd, Blocking::No) {
                Progress::Waiting => return,
                Progress::Greeted | Progress::Started | Progress::Over => {}
                Progress::NeverRan => role.lose("it ended before the command was started"),
            }
        }
    }

    /// Sleeps until the role is free, the outcome there, or a deadline has passed.
    fn wait_for_change(&self, deadline: Option<Instant>) {
        let slept = self.state.sleep(|state| {
            if self.outcome.get().is_some() {
                return None;
            }
            let at = earliest(deadline, earliest(state.overdue, state.unread));
            Some(at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now())))
        });
        if slept {
            self.judge(Instant::now());
        }
    }

    /// Takes the role for the spawn itself, before there is a shepherd.
    pub(crate) fn begin(&self) -> Role<'_> {
        self.state.take_first();
        Role { running: self }
    }

    /// Takes the role, if it is free and there is still something to read.
    pub(crate) fn try_role(&self) -> Option<(Role<'_>, Arc<Shepherd>)> {
        let shepherd = self.state.take(|state| state.shepherd.clone())?;
        Some((Role { running: self }, shepherd))
    }

    /// Whether another thread has the role now.
    pub(crate) fn is_read(&self) -> bool {
        self.state.is_taken()
    }

    /// What becomes readable when the role is given up.
    pub(crate) fn bell(&self) -> Result<Arc<Bell>> {
        let mut state = self.lock();
        if let Some(bell) = &state.bell {
            return Ok(Arc::clone(bell));
        }
        let bell = Bell::new().map_err(|cause| {
            Error::system(format!("wait for `{}`", shown(&self.program)), cause)
        })?;
        Ok(Arc::clone(state.bell.insert(Arc::new(bell))))
    }

    /// When the next look is due whatever arrives.
    pub(crate) fn next_judgement(&self) -> Option<Instant> {
        let state = self.lock();
        earliest(state.overdue, state.unread)
    }

    /// The same, for a read that comes back by itself within [`PATIENCE`]: nothing unless it is to be
    /// sooner.
    fn hard_deadline(&self) -> Option<Instant> {
        let state = self.lock();
        let soon = state.overdue.is_some() || state.suspected;
        if soon { earliest(state.overdue, state.unread) } else { None }
    }

    /// Kills the shepherd if it is taken for wedged by now. Its lane then ends, and that is read.
    pub(crate) fn judge(&self, now: Instant) {
        let mut state = self.lock();
        let passed = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let overdue = passed(&mut state.overdue);
        let due = passed(&mut state.unread);
        let Some(shepherd) = state.shepherd.clone() else { return };
        let unread = due && !shepherd.is_responsive();
        let wedged = unread && state.suspected;
        if due {
            state.suspected = unread;
            state.unread = unread.then(|| now + SECOND_LOOK);
        }
        drop(state);
        if overdue || wedged {
            self.give_up(&shepherd);
        } else if unread {
            self.runtime.tell(Word::Overdue(self.id, now + SECOND_LOOK, shepherd));
        }
    }

    /// Kills a shepherd that does not react, and takes care that its end is seen. Not one that has told the
    /// end meanwhile: it may have another command by now. So the lock is held until it is struck.
    pub(crate) fn give_up(&self, shepherd: &Arc<Shepherd>) {
        let mut state = self.lock();
        if !state.shepherd.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, shepherd)) {
            return;
        }
        match shepherd.kill() {
            Blow::Struck => {}
            Blow::Asked => {
                let again = Instant::now() + PATIENCE;
                state.overdue = Some(again);
                self.runtime.tell(Word::Overdue(self.id, again, Arc::clone(shepherd)));
            }
            // It has not even said hello, or its guardian does not do what it is asked to. Nothing more
            // can come.
            Blow::Impossible => {
                self.runtime.pool().forget(shepherd.guardian());
                let _ = rustix::net::shutdown(shepherd.socket(), rustix::net::Shutdown::Both);
            }
        }
    }

    pub(crate) fn kill(&self) -> Result<()> {
        self.ask(&Request::Kill(self.id), Duration::ZERO)
    }

    pub(crate) fn stop(&self) -> Result<ExitStatus> {
        self.ask(&Request::Stop(self.id, Reason::Stopped), self.grace)?;
        self.wait()
    }

    /// Begins the stop ladder for a reason that only the client can see. Does not wait.
    pub(crate) fn ask_to_stop(&self, reason: Reason) {
        // It fails only in a forked copy of the client, where nothing of the command is ours.
        let _ = self.ask(&Request::Stop(self.id, reason), self.grace);
    }

    /// Asks for the end, which is due when `grace` and the time for sweeps have passed. A shepherd
    /// that has not even read the request when `grace` has passed does not react at all.
    fn ask(&self, request: &Request<'_>, grace: Duration) -> Result<()> {
        self.ensure_here()?;
        let Some(shepherd) = self.shepherd() else { return Ok(()) };
        let sent = shepherd.request(request);
        let due = deadline_in(grace.saturating_add(SWEEPING).saturating_add(ALLOWANCE));
        let mut state = self.lock();
        state.overdue = earliest(state.overdue, due);
        let unread = deadline_in(grace.saturating_add(ALLOWANCE));
        state.unread = earliest(state.unread, unread);
        let is_read = state.is_read();
        drop(state);
        match sent {
            Ok(()) if is_read => {
                // The reader sleeps by an older deadline.
                for due in unread.into_iter().chain(due) {
                    self.runtime.tell(Word::Overdue(self.id, due, Arc::clone(&shepherd)));
                }
                Ok(())
            }
            // The shepherd is gone, or going: its lane says so to the next who waits.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            // It reads nothing any more, and has been sent plenty.
            Err(_) => {
                self.give_up(&shepherd);
                Ok(())
            }
        }
    }

    /// Asks the shepherd to stay without us, and waits for its word.
    pub(crate) fn detach(&self) -> u32 {
        if self.ensure_here().is_ok() {
            if let Some(shepherd) = self.shepherd() {
                let _ = shepherd.request(&Request::Detach(self.id));
                // The word is in the lane, and is read before the lane's end is acted on: if the
                // shepherd is too slow to answer it will still obey.
                self.wait_for_outcome(deadline_in(PATIENCE));
                self.finish(Outcome::Detached, After::Gone);
            }
        }
        self.pid()
    }

    pub(crate) fn watch(&self) {
        self.state.watch();
    }

    /// The shepherd is dead: so are, soon, its child and what is below it. This makes sure of the
    /// child's group.
    pub(crate) fn kill_child(&self) {
        if let Some(child) = &self.lock().child {
            crate::pidfd::kill_group(child);
        }
    }

    /// What a command that is over has come to.
    pub(crate) fn output(&self, captured: Captured) -> Result<Output> {
        match self.outcome.get() {
            Some(outcome) => outcome.output(&self.program, self.pid(), captured),
            None => Err(Error::system(
                format!("wait for `{}`", shown(&self.program)),
                std::io::ErrorKind::WouldBlock,
            )),
        }
    }

    pub(crate) fn tell(&self, word: Word) {
        self.runtime.tell(word);
    }

    pub(crate) fn ensure_here(&self) -> Result<()> {
        if self.runtime.is_here() {
            return Ok(());
        }
        let step = format!(
            "reach `{}`, a command of the process that this one was forked from",
            shown(&self.program)
        );
        Err(Error::system(step, Errno::CHILD))
    }

    fn lock(&self) -> MutexGuard<'_, handover::State<State>> {
        self.state.lock()
    }

    /// How long after the due end of a command a shepherd is still believed to be at work.
    fn patience(&self) -> Duration {
        self.grace.saturating_add(SWEEPING).saturating_add(ALLOWANCE)
    }
}

/// The earlier of two deadlines; none is never.
pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("program", &self.program)
            .field("pid", &self.pid())
            .field("outcome", &self.outcome.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::Command;

    #[test]
    fn a_shepherd_that_has_told_the_end_is_not_given_up_for_that_command() {
        let mut child = Command::new("true").spawn().unwrap();
        let running = Arc::clone(child.running());
        let shepherd = running.shepherd().unwrap();
        child.wait().unwrap();
        running.give_up(&shepherd);
        let Some(pidfd) = shepherd.pidfd() else { return };
        let soon = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
        assert_eq!(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&soon)), Ok(0), "it ended");
    }
}
