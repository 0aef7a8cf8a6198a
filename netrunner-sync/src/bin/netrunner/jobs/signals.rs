//! What ends `netrunner jobs` from outside: the first INT, TERM, HUP or QUIT stops what runs, the second
//! kills it. All others do what they do to any program, and the shepherds see to the rest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;

use netrunner_sync::JobsHandle;

use super::source::Word;
use crate::complain;
use crate::sys::{self, Blocked};

/// These end it. INT and QUIT also where a shell has them ignored for `&`: whoever sends one means it.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Signals that are held back until there are jobs to end.
pub(crate) struct Held(Blocked);

/// The first signal that has come.
#[derive(Clone, Default)]
pub(crate) struct First(Arc<AtomicI32>);

impl First {
    pub(crate) fn number(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|number| *number > 0)
    }
}

impl Held {
    /// To be called while there is only one thread.
    pub(crate) fn new() -> io::Result<Held> {
        // Under nohup HUP says nothing.
        let wanted = |number: &i32| *number != libc::SIGHUP || !sys::is_ignored(*number);
        let numbers: Vec<_> = ENDING.into_iter().filter(wanted).collect();
        Blocked::these(&numbers).map(Held)
    }

    /// From now on they end these.
    pub(crate) fn end(self, jobs: JobsHandle, words: SyncSender<Word>) -> io::Result<First> {
        let first = First::default();
        let heard = first.clone();
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || {
            loop {
                match self.0.take() {
                    Ok(taken) if heard.number().is_none() => {
                        heard.0.store(taken.number, Ordering::Relaxed);
                        jobs.stop_all();
                        // A main thread that is not waiting for a word needs none.
                        let _ = words.try_send(Word::Signal);
                    }
                    Ok(_) => jobs.kill_all(),
                    Err(error) => {
                        complain(format_args!("signals are not heard any more: {error}"));
                        return;
                    }
                }
            }
        })?;
        Ok(first)
    }
}
