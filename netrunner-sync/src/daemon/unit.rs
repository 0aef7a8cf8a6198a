//! One daemon in the hands of the supervisor: its runs, one after the other, and the pauses between.

use std::sync::Arc;
use std::time::Instant;

use super::check::Before;
use super::log::Log;
use super::readiness::Ready;
use super::restart::{Ended, Next, Restart, Traces};
use super::run::{Past, Run, Turn};
use super::shared::{Over, Shared, Stage};
use super::sources::{Sources, What};
use crate::command::Command;
use crate::engine::{self, Started};
use crate::error::{Error, Result, shown};
use crate::report::Report;
use crate::rights::Rights;
use crate::time::deadline_in;
use crate::wiring::Streams;

pub(super) struct Unit {
    shared: Arc<Shared>,
    terms: Terms,
    phase: Phase,
}

/// What stays the same from run to run.
pub(super) struct Terms {
    pub(super) command: Command,
    /// What the thread that started it may do.
    pub(super) rights: Rights,
    pub(super) policy: Restart,
    pub(super) ready: Option<Ready>,
    pub(super) log: Log,
}

enum Phase {
    /// It was started by the thread that asked for it, and is to be looked after from now on.
    New(Box<Started>, Before),
    Runs(Box<Run>),
    /// Until it is started again; nothing is never. If it is not, it ended so.
    Pauses(Option<Instant>, Over),
    Over,
}

impl Unit {
    pub(super) fn new(
        shared: Arc<Shared>,
        terms: Terms,
        (started, before): (Started, Before),
    ) -> Unit {
        Unit { shared, terms, phase: Phase::New(Box::new(started), before) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// There is something new in the state, or it is new itself.
    pub(super) fn look(&mut self, sources: &mut Sources) {
        match &mut self.phase {
            Phase::New(..) => {
                if let Phase::New(started, before) = std::mem::replace(&mut self.phase, Phase::Over)
                {
                    self.take_up(Ok(*started), before, sources);
                }
            }
            Phase::Runs(run) => run.write(&self.shared, sources),
            Phase::Pauses(..) if self.shared.end().is_some() => {
                if let Phase::Pauses(_, over) = std::mem::replace(&mut self.phase, Phase::Over) {
                    self.finish(over);
                }
            }
            Phase::Pauses(..) | Phase::Over => {}
        }
    }

    /// One of its sources has something.
    pub(super) fn ready(&mut self, what: What, sources: &mut Sources) {
        let Phase::Runs(run) = &mut self.phase else { return };
        let Terms { ready, log, .. } = &mut self.terms;
        if run.ready(what, (ready.as_ref(), log), &self.shared, sources) == Turn::Over {
            self.end_run(sources);
        }
    }

    /// When it is to be looked at by the clock.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Runs(run) => run.due(),
            Phase::Pauses(until, _) => *until,
            Phase::New(..) | Phase::Over => None,
        }
    }

    pub(super) fn pass_time(&mut self, now: Instant, sources: &mut Sources) {
        match &mut self.phase {
            Phase::Runs(run) => {
                run.pass_time(now, self.terms.ready.as_mut(), &self.shared, sources);
            }
            Phase::Pauses(until, _) if until.is_some_and(|at| at <= now) => {
                let before = Before::of(self.terms.ready.as_ref());
                let started = self.terms.start();
                if let Ok(started) = &started {
                    self.shared.runs(&started.running);
                }
                self.take_up(started, before, sources);
            }
            Phase::New(..) | Phase::Pauses(..) | Phase::Over => {}
        }
    }

    /// A process was started, or could not be.
    fn take_up(&mut self, started: Result<Started>, before: Before, sources: &mut Sources) {
        let ready = self.terms.ready.as_ref();
        let begun =
            started.and_then(|started| Run::begin(started, (ready, before), &self.shared, sources));
        let run = match begun {
            Ok(run) => run,
            Err(error) => {
                self.shared.lock().start_error = Some(error.to_string());
                let traces = Traces::Nothing;
                let ended = Ended { well: false, ready_for: None, traces };
                return self.decide(ended, Over::Failed(error));
            }
        };
        let (is_ready, is_over) = (run.is_ready(), run.is_over());
        self.phase = Phase::Runs(Box::new(run));
        if is_ready {
            self.shared.is_ready();
        }
        if is_over {
            self.end_run(sources);
        } else {
            self.look(sources);
        }
    }

    fn end_run(&mut self, sources: &mut Sources) {
        let Phase::Runs(run) = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        let past = run.end(&mut self.terms.log, &self.shared, sources);
        let Past { running, report, ready_for, late } = past;
        let exited = report.as_ref().is_some_and(Report::success);
        let well = exited && ready_for.is_some();
        let mut state = self.shared.lock();
        state.last = report;
        state.inbox.begin_anew();
        drop(state);
        let error = running.try_wait().err();
        let over = Over::Ended(running, late);
        // Beside what could not be ended no other is started.
        if error.as_ref().is_some_and(Error::is_unkillable) {
            return self.finish(over);
        }
        let is_lost = error.is_some_and(|error| error.is_shepherd_lost());
        let traces = if is_lost { Traces::Perhaps } else { Traces::Nothing };
        self.decide(Ended { well, ready_for, traces }, over);
    }

    /// Starts it again after a pause, or lets it be over.
    fn decide(&mut self, ended: Ended, over: Over) {
        let mut state = self.shared.lock();
        let in_a_row = self.terms.policy.in_a_row(ended, state.in_a_row);
        let next = self.terms.policy.next(ended, in_a_row);
        let Next::After(pause) = next else {
            drop(state);
            return self.finish(over);
        };
        state.in_a_row = in_a_row.saturating_add(1);
        state.stage = Stage::Pausing;
        drop(state);
        self.shared.changed();
        self.phase = Phase::Pauses(deadline_in(pause), over);
        if self.shared.end().is_some() {
            if let Phase::Pauses(_, over) = std::mem::replace(&mut self.phase, Phase::Over) {
                self.finish(over);
            }
        }
    }

    fn finish(&mut self, over: Over) {
        self.phase = Phase::Over;
        // What the callback has not got yet it still gets, and then its thread ends.
        self.terms.log = Log::default();
        self.shared.is_over(over);
    }
}

impl Terms {
    /// Starts the command again. The thread that does it may have other rights than the one that started
    /// it first: then it is not started, as a privilege that was dropped must not come back, and a server
    /// that has lost one is another server.
    fn start(&mut self) -> Result<Started> {
        let step = || format!("start `{}` again", shown(&self.command.program));
        let rights = Rights::now().map_err(|cause| Error::system(step(), cause))?;
        if rights != self.rights {
            return Err(Error::system(step(), std::io::ErrorKind::PermissionDenied));
        }
        engine::start(&mut self.command, Streams::Capture)
    }
}

impl Drop for Unit {
    /// Only a supervisor that panics drops one that is not over: nobody may wait for that one for ever.
    fn drop(&mut self) {
        if !self.is_over() {
            let step = format!("wait for `{}`", shown(&self.shared.program));
            self.shared.is_over(Over::Failed(Error::system(step, std::io::ErrorKind::Other)));
        }
    }
}
