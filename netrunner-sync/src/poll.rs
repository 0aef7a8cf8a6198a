//! The watcher's readiness engine: `polling`, with the ownership that makes it safe. Beside `sys`
//! the only file with `unsafe`.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};
use rustix::fs::Mode;
use rustix::process::{Pid, getpid};

/// What a source is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

/// The name of a source; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(usize);

/// What can be waited for. It is kept open as long as it is.
pub(crate) type Source = Arc<dyn AsFd + Send + Sync>;

/// A poller that keeps its sources open.
pub(crate) struct Poll {
    poller: Arc<Poller>,
    events: Events,
    sources: HashMap<Key, (Source, Interest)>,
    last: usize,
    process: Pid,
}

/// Wakes a [`Poll`] from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<Poller>);

impl Waker {
    pub(crate) fn wake(&self) {
        // It fails only where the poller's own descriptors are broken, and then waiting fails too.
        let _ = self.0.notify();
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Poll> {
        // A client that has closed one of 0 to 2 must not find the poller there: the next command
        // would inherit it.
        let mut placeholders = Vec::new();
        loop {
            let fd = rustix::fs::open("/", crate::sys::DIRECTORY, Mode::empty())?;
            if crate::lane::is_above_stdio(&fd) {
                break;
            }
            placeholders.push(fd);
        }
        let poller = Arc::new(Poller::new()?);
        Ok(Poll {
            poller,
            events: Events::new(),
            sources: HashMap::new(),
            last: 0,
            process: getpid(),
        })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.poller))
    }

    /// Waits for `source` from now on. It is reported once, and then has to be
    /// [armed](Poll::arm) again.
    pub(crate) fn add(&mut self, source: Source, interest: Interest) -> io::Result<Key> {
        self.add_in(PollMode::Oneshot, source, interest)
    }

    /// Waits for `source` from now on, and reports it for as long as it is ready.
    pub(crate) fn keep(&mut self, source: Source, interest: Interest) -> io::Result<Key> {
        self.add_in(PollMode::Level, source, interest)
    }

    fn add_in(&mut self, mode: PollMode, source: Source, interest: Interest) -> io::Result<Key> {
        // `usize::MAX` is the poller's own; it would take centuries to count there.
        self.last += 1;
        let key = Key(self.last);
        // SAFETY: the source must be deleted from the poller before it is closed. `sources` keeps
        // it open until `remove` has deleted it, or until the poller itself is dropped with it.
        unsafe {
            self.poller.add_with_mode(source.as_fd().as_raw_fd(), event(key, interest), mode)?;
        }
        self.sources.insert(key, (source, interest));
        Ok(key)
    }

    /// Waits for it once more.
    pub(crate) fn arm(&mut self, key: Key) -> io::Result<()> {
        match self.sources.get(&key) {
            Some((source, interest)) => self.poller.modify(source.as_fd(), event(key, *interest)),
            None => Ok(()),
        }
    }

    /// Waits for it no more.
    pub(crate) fn remove(&mut self, key: Key) {
        if let Some((source, _)) = self.sources.remove(&key) {
            if getpid() == self.process {
                // It was added and is open, so that this can't fail in any way that leaves it there.
                let _ = self.poller.delete(source.as_fd());
            }
        }
    }

    /// Waits until a source is ready, a [`Waker`] wakes, or `timeout` has passed, and names the
    /// sources that are.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Key>> {
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        Ok(self.events.iter().map(|event| Key(event.key)).collect())
    }
}

impl Drop for Poll {
    /// A forked copy of the process has the poller in common with the first one: what is taken out of
    /// it there is missing here. So nothing is, and its descriptors stay open in the copy.
    fn drop(&mut self) {
        if getpid() != self.process {
            std::mem::forget(Arc::clone(&self.poller));
        }
    }
}

fn event(key: Key, interest: Interest) -> Event {
    match interest {
        Interest::Readable => Event::readable(key.0),
        Interest::Writable => Event::writable(key.0),
    }
}
