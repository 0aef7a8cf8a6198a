//! A daemon's lines on their way to the user's callback, which has a thread of its own: whatever it does,
//! the daemon's pipes are emptied.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::mover::Stream;

/// What gets the lines.
pub(super) type OnLine = Box<dyn FnMut(Stream, &[u8]) + Send>;

/// So much waits for a callback that is slower than the daemon writes; what comes then is lost.
const ROOM: usize = 1 << 20;

/// What a line costs beside its bytes: without it a flood of empty ones would have no bound.
const OVERHEAD: usize = 64;

/// A callback that takes longer for one line is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The callback, from the supervisor's side. Dropping it lets the thread end after the lines that wait.
pub(super) struct Callback(Arc<Queue>);

/// The same from the side of those who wait until it has seen everything.
#[derive(Clone)]
pub(super) struct Listener(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    change: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<(Stream, Vec<u8>)>,
    /// What they take.
    waiting: usize,
    /// How many lines were given out, and whether one is being given out now.
    given: u64,
    busy: bool,
    /// How many bytes it did not get.
    lost: u64,
    /// It has panicked, and is not called again.
    broken: bool,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The callback is not called under the lock, and every change is whole before anything could
        // panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Callback {
    pub(super) fn start(call: OnLine) -> io::Result<Callback> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let thread = thread::Builder::new().name("netrunner-log".to_owned());
        thread.spawn(move || give_out(&theirs, call))?;
        Ok(Callback(queue))
    }

    pub(super) fn listener(&self) -> Listener {
        Listener(Arc::clone(&self.0))
    }

    /// Never waits.
    pub(super) fn line(&self, stream: Stream, line: &[u8]) {
        let mut state = self.0.lock();
        let cost = line.len() + OVERHEAD;
        if state.broken || state.waiting + cost > ROOM.max(cost) {
            state.lost += line.len() as u64;
            return;
        }
        state.waiting += cost;
        state.lines.push_back((stream, line.to_vec()));
        self.0.change.notify_all();
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.change.notify_all();
    }
}

impl Listener {
    /// Waits until all lines were given out, for as long as the callback takes one now and then.
    pub(super) fn catch_up(&self) {
        let mut state = self.0.lock();
        while (state.busy || !state.lines.is_empty()) && !state.broken {
            let given = state.given;
            let woken = self.0.change.wait_timeout_while(state, PATIENCE, |state| {
                state.given == given && (state.busy || !state.lines.is_empty()) && !state.broken
            });
            let (after, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if timeout.timed_out() {
                return;
            }
        }
    }

    /// How many bytes the callback did not get.
    pub(super) fn lost(&self) -> u64 {
        self.0.lock().lost
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.0.lock().broken
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("waiting", &self.0.lock().lines.len()).finish()
    }
}

/// The thread.
fn give_out(queue: &Queue, mut call: OnLine) {
    loop {
        let idle = |state: &mut State| state.lines.is_empty() && !state.closed;
        let state = queue.change.wait_while(queue.lock(), idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let Some((stream, line)) = state.lines.pop_front() else { return };
        state.waiting -= line.len() + OVERHEAD;
        state.busy = true;
        drop(state);
        // The closure is not used again after a panic, whatever state it was left in.
        let called = catch_unwind(AssertUnwindSafe(|| call(stream, &line)));
        let mut state = queue.lock();
        state.busy = false;
        state.given += 1;
        if called.is_err() {
            state.broken = true;
            state.lost += state.lines.iter().map(|(_, line)| line.len() as u64).sum::<u64>();
            state.lines.clear();
        }
        queue.change.notify_all();
        if state.broken {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn every_line_comes_in_order_and_the_thread_ends_after_the_last() {
        let (sent, received) = channel();
        let callback =
            Callback::start(Box::new(move |_, line| sent.send(line.to_vec()).unwrap())).unwrap();
        let listener = callback.listener();
        (0..100_u8).for_each(|n| callback.line(Stream::Stdout, &[n]));
        listener.catch_up();
        assert_eq!(received.try_iter().flatten().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        callback.line(Stream::Stderr, b"last");
        drop(callback);
        // Ends when the closure is dropped, with the thread.
        assert_eq!(received.iter().collect::<Vec<_>>(), [b"last"]);
        assert_eq!(listener.lost(), 0);
    }

    #[test]
    fn a_stuck_callback_costs_a_bounded_queue_and_nobodys_time() {
        let (go, gate) = channel::<()>();
        let callback = Callback::start(Box::new(move |_, _| {
            // Until the other end is dropped.
            let _ = gate.recv();
        }))
        .unwrap();
        let line = vec![b'x'; 1 << 10];
        for _ in 0..4 << 10 {
            callback.line(Stream::Stdout, &line);
        }
        let listener = callback.listener();
        assert!(callback.0.lock().waiting <= ROOM);
        assert!(listener.lost() >= 3 << 20);
        listener.catch_up();
        drop(go);
        listener.catch_up();
        assert_eq!(callback.0.lock().lines.len(), 0);
    }

    #[test]
    fn a_callback_that_panics_is_not_called_again() {
        let (sent, received) = channel();
        let callback = Callback::start(Box::new(move |_, line| {
            sent.send(line.to_vec()).unwrap();
            std::panic::resume_unwind(Box::new("as the test wants"));
        }))
        .unwrap();
        callback.line(Stream::Stdout, b"first");
        let listener = callback.listener();
        listener.catch_up();
        assert!(listener.has_panicked());
        callback.line(Stream::Stdout, b"second");
        assert_eq!(listener.lost(), 6);
        assert_eq!(received.iter().collect::<Vec<_>>(), [b"first"]);
    }
}
