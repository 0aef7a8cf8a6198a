//! Every order in which threads can pass the reader role on, tried by loom: the library's own file, with loom's
//! primitives in place of std's. Around it stands a model of what it serves: a lane on which a shepherd tells an
//! end, threads that wait for that as `Running` has them wait, one that polls its pipes and a bell beside it, and
//! the watcher. loom's waits have no timeout: a wake-up that is lost is a deadlock, and found as such.

#![deny(unsafe_code)]

#[path = "../../netrunner-sync/src/running/handover.rs"]
#[allow(dead_code)] // Not all of it is asked for here.
mod handover;

mod primitives {
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
}

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use handover::Handover;
use primitives::{Condvar, Mutex};

/// What can be waited for by polling: it counts what has come.
#[derive(Default)]
struct Polled {
    /// What the shepherd has said, words for the watcher, and rings of the bell.
    come: Mutex<Come>,
    change: Condvar,
}

#[derive(Default)]
struct Come {
    said: usize,
    looks: usize,
    rings: usize,
}

impl Polled {
    fn add(&self, what: impl FnOnce(&mut Come)) {
        what(&mut self.come.lock().unwrap());
        self.change.notify_all();
    }

    fn wait(&self, ready: impl Fn(&Come) -> bool) -> loom::sync::MutexGuard<'_, Come> {
        let mut come = self.come.lock().unwrap();
        while !ready(&come) {
            come = self.change.wait(come).unwrap();
        }
        come
    }

    /// Takes one thing that the shepherd has said, if there is one.
    fn take(&self) -> bool {
        let mut come = self.come.lock().unwrap();
        let some = come.said > 0;
        come.said -= usize::from(some);
        some
    }
}

/// What the lock guards beside the role.
struct State {
    shepherd: bool,
    bell: bool,
}

/// A command that tells its start and its end.
struct Command {
    state: Handover<State>,
    over: AtomicBool,
    readers: AtomicUsize,
    heard: AtomicUsize,
    words: usize,
    polled: Polled,
}

impl Command {
    fn new(words: usize) -> Arc<Command> {
        Arc::new(Command {
            state: Handover::new(State { shepherd: true, bell: false }),
            over: AtomicBool::new(false),
            readers: AtomicUsize::new(0),
            heard: AtomicUsize::new(0),
            words,
            polled: Polled::default(),
        })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn try_role(&self) -> Option<Role<'_>> {
        self.state.take(|state| state.shepherd.then_some(()))?;
        Some(Role::of(self))
    }

    /// As `Running::wait_for_outcome`.
    fn wait(&self) {
        while !self.is_over() {
            match self.try_role() {
                Some(role) => {
                    drop(self.polled.wait(|come| come.said > 0));
                    role.read();
                }
                None => {
                    self.state.sleep(|_| (!self.is_over()).then_some(Duration::MAX));
                }
            }
        }
    }

    /// As `Running::look`.
    fn look(&self) {
        while let Some(role) = self.try_role() {
            if !role.read() {
                return;
            }
        }
    }

    /// As `capture::to_end`: who has the role polls the lane, and who has not a bell.
    fn poll_to_end(&self) {
        while !self.is_over() {
            if let Some(role) = self.try_role() {
                drop(self.polled.wait(|come| come.said > 0));
                role.read();
                continue;
            }
            self.state.lock().bell = true;
            if self.state.is_taken() {
                self.polled.wait(|come| come.rings > 0).rings = 0;
            }
        }
    }

    /// As the watcher takes over a command whose handle was dropped.
    fn watch_to_end(&self) {
        self.state.watch();
        self.look();
        while !self.is_over() {
            // Its poller tells of the lane as long as something is there, whoever takes it.
            let mut come = self.polled.wait(|come| come.said > 0 || come.looks > 0);
            come.looks = 0;
            drop(come);
            self.look();
            thread::yield_now();
        }
    }

    /// As `Running::finish`.
    fn finish(&self) {
        assert!(!self.over.swap(true, Ordering::AcqRel), "it ends once");
        let mut state = self.state.lock();
        state.shepherd = false;
        self.state.wake(&state);
    }
}

struct Role<'a>(&'a Command);

impl Role<'_> {
    fn of(command: &Command) -> Role<'_> {
        assert_eq!(command.readers.fetch_add(1, Ordering::Relaxed), 0, "one reader at a time");
        Role(command)
    }

    /// False if there is nothing to read.
    fn read(&self) -> bool {
        let some = self.0.polled.take();
        if some && self.0.heard.fetch_add(1, Ordering::Relaxed) + 1 == self.0.words {
            self.0.finish();
        }
        some
    }
}

impl Drop for Role<'_> {
    /// As that of the library's.
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
        let state = self.0.state.give_up();
        if state.bell {
            self.0.polled.add(|come| come.rings += 1);
        }
        if state.is_watched() && self.0.is_over() {
            self.0.polled.add(|come| come.looks += 1);
        }
    }
}

/// Lets these go on beside each other while the shepherd speaks; all of them must come to an end.
fn try_all(words: usize, threads: &'static [fn(&Command)]) {
    let mut builder = loom::model::Builder::new();
    // How often a thread is interrupted where it would not wait anyway.
    let deep = std::env::var_os("NETRUNNER_MODEL").is_some_and(|form| form == "deep");
    let many = threads.len() + words > 3;
    builder.preemption_bound = Some(match (deep, many) {
        (true, false) => 4,
        (true, true) | (false, false) => 2,
        (false, true) => 1,
    });
    static ORDERS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let before = ORDERS.load(Ordering::Relaxed);
    builder.check(move || {
        ORDERS.fetch_add(1, Ordering::Relaxed);
        let command = Command::new(words);
        let spawn = |run: &'static fn(&Command)| {
            let command = Arc::clone(&command);
            thread::spawn(move || run(&command))
        };
        let running: Vec<_> = threads.iter().map(spawn).collect();
        for _ in 0..words {
            command.polled.add(|come| come.said += 1);
        }
        running.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(command.is_over() && !command.state.is_taken());
    });
    // Right where one test runs at a time.
    let orders = ORDERS.load(Ordering::Relaxed) - before;
    println!("{words} words, {} threads: {orders} orders", threads.len());
}

#[test]
fn of_two_that_wait_both_come_back() {
    try_all(1, &[Command::wait, Command::wait]);
    try_all(2, &[Command::wait, Command::wait]);
}

#[test]
fn of_three_that_wait_all_come_back() {
    try_all(1, &[Command::wait, Command::wait, Command::wait]);
}

#[test]
fn who_polls_beside_one_that_waits_comes_back() {
    try_all(1, &[Command::wait, Command::poll_to_end]);
    try_all(2, &[Command::wait, Command::poll_to_end]);
}

#[test]
fn the_watcher_hears_of_an_end_that_another_has_read() {
    try_all(1, &[Command::wait, Command::watch_to_end]);
    try_all(2, &[Command::wait, Command::watch_to_end]);
}

#[test]
fn all_kinds_beside_each_other_come_back() {
    try_all(1, &[Command::wait, Command::poll_to_end, Command::watch_to_end]);
}

/// The command is spawned by one thread, which reads at first, and waited for by another.
#[test]
fn who_waits_for_a_spawn_that_another_does_comes_back() {
    loom::model(|| {
        let command = Command::new(1);
        command.state.take_first();
        let role = Role::of(&command);
        let other = Arc::clone(&command);
        let waits = thread::spawn(move || other.wait());
        drop(role);
        command.polled.add(|come| come.said += 1);
        waits.join().unwrap();
        assert!(command.is_over());
    });
}
