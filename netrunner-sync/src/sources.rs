//! The sources of many owners on one poller: whose each of them is, and which of them. What the jobs of a
//! [`Jobs`](crate::Jobs) and the daemons of a process wait for.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crate::poll::{Interest, Key, Poll, Source, Waker};

/// `Id` names an owner, and `What` which of its sources it is.
pub(crate) struct Sources<Id, What> {
    poll: Poll,
    who: HashMap<Key, (Id, What)>,
}

/// A wait that failed, which it does only where the kernel is out of memory, is tried again after it.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

impl<Id: Copy, What: Copy> Sources<Id, What> {
    pub(crate) fn new() -> io::Result<Sources<Id, What>> {
        Ok(Sources { poll: Poll::new()?, who: HashMap::new() })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.poll.waker()
    }

    pub(crate) fn add(
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

    pub(crate) fn remove(&mut self, key: Key) {
        self.poll.remove(key);
        self.who.remove(&key);
    }

    /// Waits until something is ready, or the deadline has passed, or it is woken.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Vec<Key> {
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
    pub(crate) fn whose(&self, key: Key) -> Option<(Id, What)> {
        self.who.get(&key).copied()
    }
}
