//! The one thread that looks after all daemons of a process: it empties their outputs, writes their
//! inputs, looks whether they are ready, starts them again and ends them in order. It starts with the first
//! daemon, stays, and sleeps while nothing is to be done. No code of the user runs here.
//!
//! All signals are blocked in it, so the client's handlers never run here, and a SIGPIPE or SIGXFSZ of its
//! writes is an error of the write.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::shared::Shared;
use super::sources::{Sources, What};
use super::unit::Unit;
use crate::poll::Waker;
use crate::running::End;

/// The name of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u64);

impl Id {
    pub(super) fn next() -> Id {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Id(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// Something that the supervisor is told.
pub(super) enum Word {
    /// A daemon was started.
    New(Box<Unit>),
    /// There is something new in the state of this one.
    Look(Id),
    /// These are to end, each when the one before it has.
    InOrder(VecDeque<Arc<Shared>>),
}

/// The thread, from outside.
pub(crate) struct Supervisor {
    words: Sender<Word>,
    waker: Waker,
}

/// Commands are started here, with some frames on the stack.
const STACK: usize = 1 << 20;

impl Supervisor {
    pub(crate) fn start() -> io::Result<Supervisor> {
        let sources = Sources::new()?;
        let waker = sources.waker();
        let (words, received) = crossbeam_channel::unbounded();
        let state = State { sources, words: received, units: HashMap::new(), orders: Vec::new() };
        let thread = thread::Builder::new().name("netrunner-daemons".to_owned());
        let start = || thread.stack_size(STACK).spawn(move || state.run());
        crate::sys::with_signals_blocked(start)?;
        Ok(Supervisor { words, waker })
    }

    pub(super) fn tell(&self, word: Word) {
        // It listens as long as the process lives; after a panic of its own, what it is told is dropped,
        // which says so to whoever waits.
        let _ = self.words.send(word);
        self.waker.wake();
    }
}

struct State {
    sources: Sources,
    words: Receiver<Word>,
    units: HashMap<Id, Unit>,
    orders: Vec<VecDeque<Arc<Shared>>>,
}

impl State {
    fn run(mut self) {
        loop {
            let due = self.units.values().filter_map(Unit::due).min();
            let keys = self.sources.wait(due);
            // What was written is read before the word of the end, which would read it as well, but all
            // at once.
            let mut lanes = Vec::new();
            for key in keys {
                match self.sources.whose(key) {
                    None => {}
                    Some((id, What::Lane)) => lanes.push(id),
                    Some((id, what)) => self.ready(id, what),
                }
            }
            lanes.into_iter().for_each(|id| self.ready(id, What::Lane));
            while let Ok(word) = self.words.try_recv() {
                self.hear(word);
            }
            let now = Instant::now();
            for unit in self.units.values_mut() {
                if unit.due().is_some_and(|at| at <= now) {
                    unit.pass_time(now, &mut self.sources);
                }
            }
            self.units.retain(|_, unit| !unit.is_over());
            self.orders.retain_mut(go_on);
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::New(mut unit) => {
                unit.look(&mut self.sources);
                self.units.insert(unit.shared().id, *unit);
            }
            Word::Look(id) => {
                if let Some(unit) = self.units.get_mut(&id) {
                    unit.look(&mut self.sources);
                }
            }
            Word::InOrder(order) => self.orders.push(order),
        }
    }

    fn ready(&mut self, id: Id, what: What) {
        if let Some(unit) = self.units.get_mut(&id) {
            unit.ready(what, &mut self.sources);
        }
    }
}

/// Ends the first of them that has not ended, and says whether there was one.
fn go_on(order: &mut VecDeque<Arc<Shared>>) -> bool {
    while order.front().is_some_and(|shared| shared.has_ended()) {
        order.pop_front();
    }
    order.front().is_some_and(|shared| {
        if shared.end().is_none() {
            shared.ask(End::Stop);
        }
        true
    })
}
