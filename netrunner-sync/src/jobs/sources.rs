//! All that the running jobs wait for, on one poller, and when each is looked at by the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::Instant;

use super::JobId;
use crate::mover::Stream;
use crate::poll::{Interest, Key, Source};

/// Which of a job's sources it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Its shepherd has said something, or has ended.
    Lane,
    /// It takes input.
    Feed,
    /// There may be a token; nobody's.
    Tokens,
    /// It has written something.
    Output(Stream),
}

pub(super) type Sources = crate::sources::Sources<JobId, What>;

/// What the next turn waits for.
pub(super) struct Waits {
    pub(super) sources: Sources,
    pub(super) timers: Timers,
    /// Where tokens come from, while one is wanted.
    tokens: Option<Key>,
}

impl Waits {
    pub(super) fn new() -> io::Result<Waits> {
        Ok(Waits { sources: Sources::new()?, timers: Timers::default(), tokens: None })
    }

    /// Waits for tokens from here, or no more.
    pub(super) fn want_tokens(&mut self, from: Option<Source>) {
        match (from, self.tokens) {
            (Some(source), None) => {
                let nobody = JobId(u64::MAX);
                let key = self.sources.add(source, Interest::Readable, nobody, What::Tokens);
                // One that can't be waited for is looked at all the same, now and then.
                self.tokens = key.ok();
            }
            (None, Some(key)) => {
                self.sources.remove(key);
                self.tokens = None;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

/// When each job is to be looked at whatever is ready. One that is over is found out only then.
#[derive(Default)]
pub(super) struct Timers {
    due: BinaryHeap<Reverse<(Instant, JobId)>>,
}

/// So many that belong to nobody are no reason to look for them.
const SLACK: usize = 256;

impl Timers {
    pub(super) fn set(&mut self, at: Instant, id: JobId) {
        self.due.push(Reverse((at, id)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The next that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<JobId> {
        let Reverse((at, id)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        self.due.pop();
        Some(id)
    }

    /// Forgets the timers of jobs that are over, if these are most of them: thousands of short jobs
    /// would each leave one for its patience.
    pub(super) fn tidy(&mut self, lives: impl Fn(JobId) -> bool, living: usize) {
        if self.due.len() > 4 * living + SLACK {
            self.due.retain(|Reverse((_, id))| lives(*id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_are_due_in_order_and_those_of_nobody_are_forgotten() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut timers = Timers::default();
        for (ms, id) in [(30, 3), (10, 1), (20, 2)] {
            timers.set(at(ms), JobId(id));
        }
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(25)), Some(JobId(1)));
        assert_eq!(timers.pop(at(25)), Some(JobId(2)));
        assert_eq!(timers.pop(at(25)), None);
        for id in 10..2_000 {
            timers.set(at(40), JobId(id));
        }
        timers.tidy(|id| id == JobId(3), 1);
        assert_eq!((timers.due.len(), timers.pop(at(50))), (1, Some(JobId(3))));
    }
}
