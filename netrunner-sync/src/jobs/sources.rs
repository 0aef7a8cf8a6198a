//! All that the running jobs wait for, on one poller, and when each is looked at by the clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::time::{Duration, Instant};

use super::JobId;
use crate::mover::Stream;
use crate::poll::{Interest, Key, Poll, Source, Waker};

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

pub(super) struct Sources {
    poll: Poll,
    who: HashMap<Key, (JobId, What)>,
    /// Where tokens come from, while one is wanted.
    tokens: Option<Key>,
    timers: Timers,
}

impl Sources {
    pub(super) fn new() -> io::Result<Sources> {
        Ok(Sources {
            poll: Poll::new()?,
            who: HashMap::new(),
            tokens: None,
            timers: Timers::default(),
        })
    }

    pub(super) fn waker(&self) -> Waker {
        self.poll.waker()
    }

    pub(super) fn add(
        &mut self,
        source: Source,
        interest: Interest,
        id: JobId,
        what: What,
    ) -> io::Result<Key> {
        let key = self.poll.keep(source, interest)?;
        self.who.insert(key, (id, what));
        Ok(key)
    }

    /// Waits for tokens from here, or no more.
    pub(super) fn want_tokens(&mut self, from: Option<Source>) {
        match (from, self.tokens) {
            (Some(source), None) => {
                // One that can't be waited for is looked at all the same, now and then.
                self.tokens =
                    self.add(source, Interest::Readable, JobId(u64::MAX), What::Tokens).ok();
            }
            (None, Some(key)) => {
                self.remove(key);
                self.tokens = None;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.poll.remove(key);
        self.who.remove(&key);
    }

    /// Waits until something is ready, or the deadline has passed, or it is woken.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Vec<Key>> {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        self.poll.wait(timeout)
    }

    /// Whose a source is; nothing if it was removed meanwhile.
    pub(super) fn whose(&self, key: Key) -> Option<(JobId, What)> {
        self.who.get(&key).copied()
    }

    pub(super) fn timers(&mut self) -> &mut Timers {
        &mut self.timers
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

/// A wait that failed, which it does only where the kernel is out of memory, is tried again after it.
pub(super) const AFTER_FAILURE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
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
