//! All that the daemons of a process wait for, on one poller.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::supervisor::Id;
use crate::mover::Stream;
use crate::poll::{Interest, Key, Poll, Source, Waker};

/// Which of a daemon's sources it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Its shepherd has said something, or has ended.
    Lane,
    /// It takes input.
    Stdin,
    /// It has written something.
    Output(Stream),
    /// A connection is made, or refused.
    Port,
    /// The shepherd of its probe has said something, or has ended.
    Probe,
}

pub(super) struct Sources {
    poll: Poll,
    who: HashMap<Key, (Id, What)>,
}

impl Sources {
    pub(super) fn new() -> io::Result<Sources> {
        Ok(Sources { poll: Poll::new()?, who: HashMap::new() })
    }

    pub(super) fn waker(&self) -> Waker {
        self.poll.waker()
    }

    pub(super) fn add(
        &mut self,
        source: Source,
        interest: Interest,
        id: Id,
        what: What,
    ) -> io::Result<Key> {
        let key = self.poll.keep(source, interest)?;
        self.who.insert(key, (id, what));
        Ok(key)
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.poll.remove(key);
        self.who.remove(&key);
    }

    /// Waits until something is ready, or the deadline has passed, or it is woken.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Vec<Key> {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match self.poll.wait(timeout) {
            Ok(ready) => ready,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Vec::new(),
            Err(_) => {
                std::thread::sleep(AFTER_FAILURE);
                Vec::new()
            }
        }
    }

    /// Whose a source is; nothing if it was removed meanwhile.
    pub(super) fn whose(&self, key: Key) -> Option<(Id, What)> {
        self.who.get(&key).copied()
    }
}

/// A wait that failed, which it does only where the kernel is out of memory, is tried again after it.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
