//! What a thread that asks for results does for all jobs: start what may start, wait once, deal with what
//! came, and decide what the end of a try means.

use std::task::Poll;
use std::time::{Duration, Instant};

use netrunner_core::spawn::Notify;
use rustix::io::Errno;

use super::active::{Active, Pending, Turn};
use super::sources::{Waits, What};
use super::tokens::{self, Tokens};
use super::{Finished, JobId, JobLine, Jobs, OnLine, is_success};
use crate::error::{Error, Result};
use crate::mover::Stream;
use crate::report::{Output, Reason};
use crate::running::{End, earliest};
use crate::time::deadline_in;
use crate::wiring;

/// For how long results are given out without a look at what the other jobs do.
const FRESH: Duration = Duration::from_millis(1);

impl Jobs {
    /// Starts as many as may run, and waits for the word of each.
    pub(super) fn start_all(&mut self) -> usize {
        self.disown_in_copy();
        let mut nudged = self.heed();
        loop {
            self.start_more(Notify::Start);
            if self.starting == 0 {
                if nudged {
                    // That was for who asks for a result.
                    self.handle().nudge();
                }
                return self.active.len();
            }
            self.turn(None);
            nudged |= self.heed();
        }
    }

    pub(super) fn step(&mut self, deadline: Option<Instant>) -> Poll<Option<Finished>> {
        self.disown_in_copy();
        let mut nudged = self.heed();
        self.start_more(Notify::End);
        if !self.done.is_empty() && !self.active.is_empty() && self.looked.elapsed() > FRESH {
            // Whoever takes long with each result keeps the others at work all the same.
            self.turn(Some(self.looked));
            self.start_more(Notify::End);
        }
        loop {
            if let Some(finished) = self.done.pop_front() {
                return Poll::Ready(Some(finished));
            }
            if self.active.is_empty() && self.queue.is_empty() {
                return Poll::Ready(None);
            }
            let late = nudged || deadline.is_some_and(|at| at <= Instant::now());
            self.turn(if nudged { Some(self.looked) } else { deadline });
            nudged = self.heed();
            self.start_more(Notify::End);
            if (late || nudged) && self.done.is_empty() {
                return Poll::Pending;
            }
        }
    }

    /// In a forked copy of the client what runs is not ours: it is neither read nor stopped.
    fn disown_in_copy(&mut self) {
        let first = self.active.values().next();
        if first.is_none_or(|active| active.running().ensure_here().is_ok()) {
            return;
        }
        self.waits = None;
        // The tokens are not the copy's to give back.
        std::mem::forget(self.tokens.take());
        self.starting = 0;
        for (id, active) in std::mem::take(&mut self.active) {
            if let Err(error) = active.running().ensure_here() {
                self.give_out(id, Err(error));
            }
        }
    }

    /// Does what other threads have said, and tells whether the caller is to be asked for more.
    fn heed(&mut self) -> bool {
        let heard = self.shared.hear();
        for id in heard.these {
            if let Some(pending) = self.queue.remove(id) {
                self.give_out(id, pending.into_result());
            }
        }
        if heard.all.is_some() {
            for (id, pending) in self.queue.drain() {
                self.give_out(id, pending.into_result());
            }
        }
        heard.nudged
    }

    /// Sends the requests of all that may run, without waiting for an answer.
    fn start_more(&mut self, notify: Notify) {
        while self.active.len() < self.at_most
            && self.crowded.is_none_or(|most| self.active.len() < most)
            && self.shared.all().is_none()
        {
            if !self.queue.is_due(Instant::now()) {
                break;
            }
            let taken = self.tokens.as_mut().map(Tokens::take);
            if matches!(taken, Some(None)) {
                break;
            }
            let Some((id, priority, mut pending)) = self.queue.pop(Instant::now()) else { break };
            let shared = match (&mut self.tokens, taken.flatten()) {
                (Some(tokens), Some(taken)) => tokens.share(id, taken, &mut pending.command),
                _ => Ok(()),
            };
            let started = match shared {
                Ok(()) => self.start_one(id, priority, pending, notify),
                Err(error) => Err((pending, error)),
            };
            if let Err((pending, error)) = started {
                self.end_share(id);
                self.settle(id, priority, pending, Err(error));
            }
        }
        let wanted = self.active.len() < self.at_most && self.queue.is_due(Instant::now());
        if let Some(tokens) = &mut self.tokens {
            tokens.balance(wanted);
        }
    }

    fn end_share(&mut self, id: JobId) {
        if let Some(tokens) = &mut self.tokens {
            tokens.end(id);
        }
    }

    fn start_one(
        &mut self,
        id: JobId,
        priority: i32,
        pending: Pending,
        notify: Notify,
    ) -> std::result::Result<(), (Pending, Error)> {
        let waits = match &mut self.waits {
            Some(waits) => waits,
            none => match Waits::new() {
                Ok(waits) => {
                    self.shared.wake_by(waits.sources.waker());
                    none.insert(waits)
                }
                Err(cause) => return Err((pending, Error::system("make a poller", cause))),
            },
        };
        let mut active = Active::start(id, pending, self.fate, notify, &mut waits.sources)?;
        active.priority = priority;
        if self.tokens.is_some() {
            tokens::forget(&mut active.pending.command);
        }
        if let Some(at) = active.pass_time(Instant::now()) {
            waits.timers.set(at, id);
        }
        self.starting += usize::from(active.start_awaited);
        self.shared.runs(id, active.running());
        if let Some(on_start) = &mut self.on_start {
            on_start(id, active.pending.tries);
        }
        self.active.insert(id, active);
        Ok(())
    }

    /// Waits once, and deals with all that has come.
    fn turn(&mut self, deadline: Option<Instant>) {
        let Some(waits) = &mut self.waits else {
            // Nothing runs, and nothing ever did: what waits, waits for its time.
            return pause_until(earliest(deadline, self.queue.next_time()));
        };
        let queued = if self.active.len() < self.at_most { self.queue.next_time() } else { None };
        let due = earliest(earliest(deadline, queued), waits.timers.next());
        let due = match &self.tokens {
            None => due,
            Some(tokens) => {
                waits.want_tokens(tokens.source().map(|source| source as _));
                earliest(due, tokens.next())
            }
        };
        let ready = waits.sources.wait(due);
        self.looked = Instant::now();
        // What was written is read before the word of the end, which would read it as well, but all
        // at once.
        let mut lanes = Vec::new();
        for key in ready {
            let found = self.waits.as_ref().and_then(|waits| waits.sources.whose(key));
            match found {
                Some((id, What::Lane)) => lanes.push(id),
                Some((_, What::Tokens)) | None => {}
                Some((id, what)) => self.ready(id, what),
            }
        }
        lanes.into_iter().for_each(|id| self.ready(id, What::Lane));
        self.pass_time();
    }

    fn ready(&mut self, id: JobId, what: What) {
        let (Some(active), Some(waits)) = (self.active.get_mut(&id), &mut self.waits) else {
            return;
        };
        let mut turn = active.ready(what, &mut waits.sources, &mut by_line(&mut self.on_line, id));
        if turn == Turn::NeverRan {
            // Nobody may write into the lane while the request is on its way.
            self.shared.is_over(id);
            turn = active.send_again(id, &mut waits.sources);
            self.shared.runs(id, active.running());
            if let Some(at) = active.pass_time(Instant::now()) {
                waits.timers.set(at, id);
            }
        }
        if turn == Turn::GoesOn {
            return;
        }
        if std::mem::take(&mut active.start_awaited) {
            self.starting -= 1;
        }
        if turn == Turn::Over {
            self.over(id);
        }
    }

    fn over(&mut self, id: JobId) {
        let (Some(active), Some(waits)) = (self.active.remove(&id), &mut self.waits) else {
            return;
        };
        self.shared.is_over(id);
        // There is room for another one now.
        self.crowded = None;
        let finished = active.finish(&mut waits.sources, &mut by_line(&mut self.on_line, id));
        let (pending, priority, result) = finished;
        self.end_share(id);
        if let Some(on_end) = &mut self.on_end {
            on_end(id, pending.tries, &result);
        }
        self.settle(id, priority, pending, result);
    }

    fn pass_time(&mut self) {
        let Some(Waits { timers, .. }) = &mut self.waits else { return };
        let now = Instant::now();
        timers.tidy(|id| self.active.contains_key(&id), self.active.len());
        while let Some(id) = timers.pop(now) {
            if let Some(at) = self.active.get(&id).and_then(|active| active.pass_time(now)) {
                // Never twice in one turn, however long a turn takes.
                timers.set(at.max(now + Duration::from_millis(1)), id);
            }
        }
    }

    /// A try is over: it is the last, or there is another one.
    fn settle(&mut self, id: JobId, priority: i32, pending: Pending, result: Result<Output>) {
        if is_success(&result) {
            return self.give_out(id, result);
        }
        let all_end = self.shared.all().is_some();
        let again = !all_end && wiring::check(&pending.command).is_ok();
        if again && ran_out(&result) && !self.active.is_empty() {
            // Those that run will make room.
            self.crowded = Some(self.active.len());
            let pending = Pending { tries: pending.tries.saturating_sub(1), ..pending };
            return self.queue.push(id, priority, pending);
        }
        let pause = self.retries.after(pending.tries);
        match pause.filter(|_| again && may_change(&result)).and_then(deadline_in) {
            Some(at) => {
                // Should all be stopped meanwhile, this is what it came to.
                let pending = Pending { last: Some(Box::new(result)), ..pending };
                self.queue.push_at(at, id, priority, pending);
            }
            None => {
                if self.fail_fast && !all_end {
                    self.shared.end_all(End::Stop);
                }
                self.give_out(id, result);
            }
        }
    }

    fn give_out(&mut self, id: JobId, result: Result<Output>) {
        let finished = Finished { id, result };
        if self.in_order {
            self.early.insert(id, finished);
        } else {
            self.owed.remove(&id);
            self.done.push_back(finished);
        }
        // Those are given out too that were kept before the order was given up.
        while let Some(first) = self.early.first_entry() {
            if self.in_order && self.owed.first() != Some(first.key()) {
                return;
            }
            self.owed.remove(first.key());
            self.done.push_back(first.remove());
        }
    }
}

/// The caller's callback, for the lines of one job.
fn by_line(on_line: &mut Option<Box<OnLine>>, id: JobId) -> impl FnMut(Stream, &[u8]) + use<'_> {
    move |stream, line| {
        if let Some(on_line) = on_line {
            on_line(JobLine { id, stream, line });
        }
    }
}

/// Whether another try may come to something else.
fn may_change(result: &Result<Output>) -> bool {
    match result {
        Ok(output) => !matches!(output.report.reason, Reason::Stopped | Reason::Killed),
        Err(error) => !error.is_invalid_input() && !error.is_exec() && !error.is_unkillable(),
    }
}

/// Whether it failed for want of something that other jobs have.
fn ran_out(result: &Result<Output>) -> bool {
    let error = match result {
        Ok(_) => return false,
        Err(error) => error,
    };
    let errno = error.raw_os_error().filter(|_| error.output().is_none() && !error.is_exec());
    let short = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::NOBUFS,
        // A user may have so many descriptors on their way through sockets (unix(7)).
        Errno::TOOMANYREFS,
    ];
    short.into_iter().any(|short| errno == Some(short.raw_os_error()))
}

fn pause_until(at: Option<Instant>) {
    if let Some(at) = at {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
    }
}
