//! The death of a client with many running commands: from its SIGKILL until the last process is gone.
//! The driver is the subreaper above them all and counts to ECHILD.

use std::time::Instant;

use serde_json::{Value, json};

use crate::driver::Worker;
use crate::measured::{Measured, Unit};
use crate::rounds::alternate;
use crate::scenarios::many::{self, Program};
use crate::scenarios::{Context, named};
use crate::ways::Way;
use crate::{Result, process_table, worker};

pub(super) fn with_1000(context: &Context) -> Result<Measured> {
    measure(context, "death-1000", 1000)
}

pub(super) fn with_5000(context: &Context) -> Result<Measured> {
    measure(context, "death-5000", 5000)
}

fn measure(context: &Context, key: &str, count: usize) -> Result<Measured> {
    let mut notes = Vec::new();
    let count = many::allowed(count, &mut notes)?;
    let rounds = alternate(&many::plan(context), 1, 1, |_| {
        let mut victim = Worker::start(context, &["victim", &count.to_string()])?;
        let ready = victim.answer();
        let there = process_table::below(worker::driver_id());
        let began = Instant::now();
        victim.kill()?;
        victim.reap()?;
        let took = began.elapsed();
        ready?;
        // The driver, the victim and the guardian are not what this is about.
        let there = there?.iter().filter(|process| !process.zombie).count();
        if there < count * 2 {
            return Err(format!("only {there} processes for {count} commands").into());
        }
        Ok(vec![took.as_secs_f64()])
    })?;
    let mut measured = named(rounds, &[(key.to_owned(), Unit::Seconds)], &[Way::NetRunner.name()]);
    measured.notes.extend(notes);
    Ok(measured)
}

/// The worker's job `victim COUNT`: starts them, says so, and is killed.
pub(crate) fn victim(context: &Context, words: &[String]) -> Result<Value> {
    let count = words.first().ok_or("no count")?.parse()?;
    let children = Program::tiny(context).start(Way::NetRunner, count)?;
    worker::tell(&json!({}))?;
    loop {
        std::thread::park();
        // Whatever wakes this thread, the children stay.
        std::hint::black_box(&children);
    }
}
