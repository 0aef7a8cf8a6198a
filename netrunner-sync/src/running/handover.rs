//! The reader role of a lane: who has it, and how it passes from thread to thread.
//!
//! One thread at a time reads. The others sleep until the role is free or there is nothing left to read. A wake-up
//! that is lost here is a wait that never ends, so every order of the steps is tried: `tests/handover` of the tests' crate compiles this
//! very file with loom's primitives as `super::primitives` in place of std's.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

use super::primitives::{Condvar, Mutex, MutexGuard};

/// The role, and what is guarded by the same lock.
pub(crate) struct Handover<T> {
    state: Mutex<State<T>>,
    change: Condvar,
}

/// What the lock guards.
pub(crate) struct State<T> {
    reader: Reader,
    /// How many threads sleep on the change: a wake-up is a system call even if there are none.
    sleepers: usize,
    watched: bool,
    rest: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Nobody,
    Somebody,
}

impl<T> Handover<T> {
    pub(crate) fn new(rest: T) -> Handover<T> {
        let state = State { reader: Reader::Nobody, sleepers: 0, watched: false, rest };
        Handover { state: Mutex::new(state), change: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every change of the state is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the role before anybody else can know of it.
    pub(crate) fn take_first(&self) {
        self.lock().reader = Reader::Somebody;
    }

    /// Takes the role if it is free and there is something to read.
    pub(crate) fn take<R>(&self, source: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        let mut state = self.lock();
        if state.reader == Reader::Somebody {
            return None;
        }
        let source = source(&state.rest)?;
        state.reader = Reader::Somebody;
        Some(source)
    }

    /// Gives the role up. The lock is still held, for whatever else is to be told of that.
    pub(crate) fn give_up(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock();
        state.reader = Reader::Nobody;
        self.wake(&state);
        state
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.lock().reader == Reader::Somebody
    }

    /// The watcher wants to hear of the end, whoever reads it.
    pub(crate) fn watch(&self) {
        self.lock().watched = true;
    }

    /// Sleeps until something has changed or this time has passed. Not at all, which is false, where the role
    /// is free, or where there is no time to sleep because all is over.
    pub(crate) fn sleep(&self, time: impl FnOnce(&T) -> Option<Duration>) -> bool {
        let mut state = self.lock();
        if state.reader == Reader::Nobody {
            return false;
        }
        let Some(time) = time(&state.rest) else { return false };
        state.sleepers += 1;
        let (mut state, _) =
            self.change.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
        state.sleepers -= 1;
        true
    }

    /// Wakes those who sleep.
    pub(crate) fn wake(&self, state: &State<T>) {
        if state.sleepers > 0 {
            self.change.notify_all();
        }
    }
}

impl<T> State<T> {
    pub(crate) fn is_watched(&self) -> bool {
        self.watched
    }

    pub(crate) fn is_read(&self) -> bool {
        self.reader == Reader::Somebody
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.rest
    }
}

impl<T> DerefMut for State<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.rest
    }
}
