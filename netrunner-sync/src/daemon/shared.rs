//! What the handle of a daemon and the thread that looks after it have in common.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::callback::Listener;
use super::health::{DaemonState, Health};
use super::inbox::{Inbox, Refused};
use super::log_file::Trouble;
use super::ring::Ring;
use super::supervisor::{Id, Word};
use crate::error::{Error, Result, shown};
use crate::report::{Output, Report};
use crate::running::{End, Running};
use crate::runtime::Runtime;
use crate::signal::Signal;

pub(super) struct Shared {
    pub(super) id: Id,
    pub(super) program: OsString,
    runtime: &'static Runtime,
    state: Mutex<State>,
    change: Condvar,
    recent: Mutex<Ring>,
    listener: Option<Listener>,
}

pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) run: u32,
    pub(super) in_a_row: u32,
    /// The last run that was ready.
    ready: u32,
    /// It is to end.
    end: Option<End>,
    pub(super) inbox: Inbox,
    pub(super) last: Option<Report>,
    pub(super) start_error: Option<String>,
    pub(super) trouble: Trouble,
}

/// Where it stands.
pub(super) enum Stage {
    Runs(Arc<Running>),
    Pausing,
    Over(Over),
}

/// How it ended for good.
pub(super) enum Over {
    /// With this run, and perhaps not ready for this reason.
    Ended(Arc<Running>, Option<String>),
    /// It could not be started again, or not be looked after.
    Failed(Error),
}

impl Shared {
    pub(super) fn new(
        id: Id,
        program: OsString,
        runtime: &'static Runtime,
        running: Arc<Running>,
        inbox: Inbox,
        (recent, listener): (Ring, Option<Listener>),
    ) -> Arc<Shared> {
        let state = State {
            stage: Stage::Runs(running),
            run: 1,
            in_a_row: 0,
            ready: 0,
            end: None,
            inbox,
            last: None,
            start_error: None,
            trouble: Trouble::default(),
        };
        let (state, recent) = (Mutex::new(state), Mutex::new(recent));
        let change = Condvar::new();
        Arc::new(Shared { id, program, runtime, state, change, recent, listener })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner) // as above
    }

    pub(super) fn remember(&self, bytes: &[u8]) {
        self.ring().push(bytes);
    }

    /// The last bytes that it has written.
    pub(super) fn recent(&self) -> Vec<u8> {
        if self.runtime.is_here() { self.ring().to_vec() } else { Vec::new() }
    }

    /// An error in a forked copy of the client, where nobody looks after it, and a lock may be held by
    /// a thread that does not exist there.
    pub(super) fn ensure_here(&self) -> Result<()> {
        if self.runtime.is_here() {
            return Ok(());
        }
        let program = shown(&self.program);
        let step =
            format!("reach `{program}`, a daemon of the process that this one was forked from");
        Err(Error::system(step, rustix::io::Errno::CHILD))
    }

    /// Tells the thread that there is something new in the state.
    pub(super) fn nudge(&self) {
        if let Some(supervisor) = self.runtime.supervisor() {
            supervisor.tell(Word::Look(self.id));
        }
    }

    /// Those who wait look again.
    pub(super) fn changed(&self) {
        self.change.notify_all();
    }

    // The thread's side.

    /// A run has begun. What was asked meanwhile is done now.
    pub(super) fn runs(&self, running: &Arc<Running>) {
        let mut state = self.lock();
        state.stage = Stage::Runs(Arc::clone(running));
        state.run = state.run.saturating_add(1);
        state.start_error = None;
        let end = state.end;
        drop(state);
        if let Some(end) = end {
            end.ask(running);
        }
        self.changed();
    }

    pub(super) fn is_ready(&self) {
        let mut state = self.lock();
        state.ready = state.run;
        drop(state);
        self.changed();
    }

    /// It has ended for good.
    pub(super) fn is_over(&self, over: Over) {
        let mut state = self.lock();
        state.stage = Stage::Over(over);
        state.inbox.give_up();
        drop(state);
        self.changed();
    }

    /// Whether it is to end.
    pub(super) fn end(&self) -> Option<End> {
        self.lock().end
    }

    // The handle's side.

    /// Ends what runs, and lets nothing be started again. Does not wait.
    pub(super) fn ask(&self, end: End) {
        let mut state = self.lock();
        state.end = state.end.max(Some(end));
        let running = match &state.stage {
            Stage::Runs(running) => Some(Arc::clone(running)),
            Stage::Pausing | Stage::Over(_) => None,
        };
        drop(state);
        if let Some(running) = running {
            end.ask(&running);
        }
        self.changed();
        self.nudge();
    }

    /// Sends a signal to what runs.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        self.ensure_here()?;
        let running = match &self.lock().stage {
            Stage::Runs(running) => Some(Arc::clone(running)),
            Stage::Pausing | Stage::Over(_) => None,
        };
        match running {
            Some(running) => running.signal(signal),
            None => {
                let step = format!("send {signal} to `{}`", shown(&self.program));
                Err(Error::system(step, rustix::io::Errno::SRCH))
            }
        }
    }

    pub(super) fn close_inbox(&self) {
        if self.ensure_here().is_ok() {
            self.lock().inbox.close();
            self.changed();
            self.nudge();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.lock().stage, Stage::Over(_))
    }

    pub(super) fn health(&self) -> Health {
        if self.ensure_here().is_err() {
            return Health::of_nobody();
        }
        let state = self.lock();
        let (stage, pid) = match &state.stage {
            Stage::Runs(running) => {
                let stage = match state.end {
                    Some(_) => DaemonState::Stopping,
                    None if state.is_ready(0) => DaemonState::Ready,
                    None => DaemonState::Starting,
                };
                (stage, Some(running.pid()))
            }
            Stage::Pausing => (DaemonState::Pausing, None),
            Stage::Over(_) => (DaemonState::Over, None),
        };
        let mut health = Health {
            state: stage,
            pid,
            run: state.run,
            restarts_in_a_row: state.in_a_row,
            last: state.last.clone(),
            start_error: state.start_error.clone(),
            lost: state.trouble.lost,
            log_error: state.trouble.error.clone(),
            stdin_waiting: state.inbox.waiting(),
            stdin_lost: state.inbox.lost(),
        };
        drop(state);
        if let Some(listener) = &self.listener {
            health.lost += listener.lost();
            if listener.has_panicked() {
                health.log_error = Some("the callback has panicked".to_owned());
            }
        }
        health
    }

    /// Waits until something is so, or the deadline has passed.
    fn wait_while(
        &self,
        deadline: Option<Instant>,
        mut goes_on: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while goes_on(&mut state) {
            state = match deadline {
                None => self.change.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return state;
                    }
                    let woken = self.change.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state
    }

    /// Waits for the end, and tells how the last run ended.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>> {
        self.ensure_here()?;
        let state = self.wait_while(deadline, |state| !matches!(state.stage, Stage::Over(_)));
        let status = match &state.stage {
            Stage::Runs(_) | Stage::Pausing => return Ok(None),
            Stage::Over(Over::Ended(running, _)) => running.try_wait(),
            Stage::Over(Over::Failed(error)) => Err(error.copy()),
        };
        drop(state);
        if let Some(listener) = &self.listener {
            listener.catch_up();
        }
        status
    }

    /// Waits until a run is ready that is this one or a later one. None is never.
    pub(super) fn wait_ready(&self, run: u32, deadline: Option<Instant>) -> Result<bool> {
        self.ensure_here()?;
        let state = self.wait_while(deadline, |state| {
            !matches!(state.stage, Stage::Over(_)) && !state.is_ready(run)
        });
        if state.is_ready(run) {
            return Ok(true);
        }
        match &state.stage {
            Stage::Runs(_) | Stage::Pausing => Ok(false),
            Stage::Over(Over::Failed(error)) => Err(error.copy()),
            Stage::Over(Over::Ended(running, late)) => {
                let (running, late) = (Arc::clone(running), late.clone());
                drop(state);
                Err(self.not_ready(&running, late))
            }
        }
    }

    fn not_ready(&self, running: &Running, late: Option<String>) -> Error {
        let error = Error::not_ready(&self.program, late);
        let Some(report) = running.report() else { return error };
        error.with_output(Output {
            status: report.status,
            stdout: self.recent(),
            stderr: Vec::new(),
            report: report.clone(),
            stdout_file: None,
            stderr_file: None,
        })
    }

    /// Puts a message into the queue, and waits for room until the deadline.
    pub(super) fn send(&self, message: &[u8], deadline: Option<Instant>) -> Result<()> {
        self.ensure_here()?;
        let mut pushed = Ok(());
        let state = self.wait_while(deadline, |state| {
            pushed = state.inbox.push(message);
            pushed == Err(Refused::Full)
        });
        drop(state);
        let failed = |kind: std::io::ErrorKind| {
            let step = format!("queue input for `{}`", shown(&self.program));
            Err(Error::system(step, kind))
        };
        match pushed {
            Ok(()) => {
                self.nudge();
                Ok(())
            }
            Err(Refused::Full) => failed(std::io::ErrorKind::WouldBlock),
            Err(Refused::Closed) => failed(std::io::ErrorKind::BrokenPipe),
            Err(Refused::TooLarge) => {
                let program = shown(&self.program);
                let length = message.len();
                let text =
                    format!("{length} bytes are more than the input queue of `{program}` has");
                Err(Error::invalid(text))
            }
        }
    }
}

impl State {
    /// Whether the run that is alive is ready, and this one or a later one.
    fn is_ready(&self, run: u32) -> bool {
        matches!(self.stage, Stage::Runs(_)) && self.ready == self.run && self.run >= run
    }
}
