//! Very many commands by `Jobs`: thousands of short ones, some at a time, beside threads of std and xargs;
//! and thousands at the same time on one thread.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use netrunner_sync::{Finished, Jobs};

use crate::measured::{Measured, Unit};
use crate::programs::find;
use crate::rounds::{Plan, alternate};
use crate::scenarios::many::allowed;
use crate::scenarios::{Context, JOBS, named};
use crate::{Extent, Result};

/// How many run at a time in the first.
const AT_A_TIME: usize = 2;

const TRUE: &str = "/bin/true";

/// What this process has, by a line of `/proc/self/status`.
fn own(name: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next()).ok_or("no such line")?;
    Ok(word.parse()?)
}

/// Ten thousand `true`; and how much more memory it takes when all of them wait. What an earlier round
/// has left to this process's heap counts as well.
pub(super) fn short(context: &Context) -> Result<Measured> {
    let count = match context.extent {
        Extent::Full => 10_000,
        Extent::Quick => 1_000,
    };
    let xargs = find("xargs")?;
    let values = context.programs.dir.join("numbers");
    fs::write(&values, "0\n".repeat(count))?;
    let plan = Plan { warm_up: 0, ..Plan::of(context.extent, 20) };
    let before = own("VmRSS:")?;
    let rounds = alternate(&plan, 3, 2, |contender| {
        let began = Instant::now();
        let mut memory = 0.0;
        match contender {
            0 => by_std(count)?,
            1 => {
                let mut jobs = Jobs::new(AT_A_TIME);
                (0..count).for_each(|_| {
                    jobs.push(netrunner_sync::Command::new(TRUE));
                });
                memory = own("VmRSS:")? - before;
                let good = jobs.filter(Finished::is_success).count();
                if good != count {
                    return Err(format!("{JOBS}: {good} of {count}").into());
                }
            }
            _ => {
                let mut command = Command::new(&xargs);
                command.args(["-n", "1", "-P", &AT_A_TIME.to_string(), TRUE]);
                let status = command.stdin(fs::File::open(&values)?).status()?;
                if !status.success() {
                    return Err(format!("xargs: {status}").into());
                }
            }
        }
        let taken = began.elapsed().as_secs_f64();
        Ok(vec![taken, memory.max(0.0) * 1024.0])
    })?;
    let key = |what: &str| format!("jobs-{count}/{what}");
    let keys = [(key("time"), Unit::Seconds), (key("memory"), Unit::Bytes)];
    let mut measured = named(rounds, &keys, &["std", JOBS, "xargs"]);
    // The others have no list in this process.
    for memory in measured.metrics.iter_mut().filter(|metric| metric.unit == Unit::Bytes) {
        memory.series.retain(|series| series.contender == JOBS);
    }
    Ok(measured)
}

fn by_std(count: usize) -> Result<()> {
    thread::scope(|scope| {
        let run = || -> Result<()> {
            for _ in 0..count / AT_A_TIME {
                let output = Command::new(TRUE).stdin(Stdio::null()).output()?;
                if !output.status.success() {
                    return Err(format!("std: {}", output.status).into());
                }
            }
            Ok(())
        };
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(run)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a thread has panicked")?)
    })
}

/// Two thousand sleepers at the same time, each with both outputs captured.
pub(super) fn sleepers(context: &Context) -> Result<Measured> {
    let mut notes = Vec::new();
    // Both pipes and the lane.
    let count = allowed(2_000, &mut notes)?;
    let threads = own("Threads:")?;
    let plan = Plan { warm_up: 0, ..Plan::of(context.extent, 10) };
    let before = own("VmRSS:")?;
    let rounds = alternate(&plan, 1, 4, |_| {
        let began = Instant::now();
        let mut jobs = Jobs::new(count);
        for _ in 0..count {
            let mut command = netrunner_sync::Command::new("/bin/sleep");
            command.arg("300");
            jobs.push(command);
        }
        let started = jobs.start();
        let start = began.elapsed().as_secs_f64();
        if started != count {
            let first = jobs.next().and_then(|finished| finished.result.err());
            return Err(format!("{JOBS}: {started} of {count} started: {first:?}").into());
        }
        let (memory, now) = (own("VmRSS:")? - before, own("Threads:")?);
        if now > threads + 1.0 {
            return Err(format!("{JOBS}: {now} threads, where {threads} were before").into());
        }
        let began = Instant::now();
        jobs.handle().stop_all();
        let ended = jobs.filter(|finished| finished.result.is_ok()).count();
        if ended != count {
            return Err(format!("{JOBS}: {ended} of {count} ended").into());
        }
        Ok(vec![start, began.elapsed().as_secs_f64(), memory.max(0.0) * 1024.0, now])
    })?;
    let key = |what: &str| format!("jobs-2000/{what}");
    let keys = [
        (key("start"), Unit::Seconds),
        (key("stop"), Unit::Seconds),
        (key("memory"), Unit::Bytes),
        (key("threads"), Unit::Count),
    ];
    let mut measured = named(rounds, &keys, &[JOBS]);
    measured.notes.extend(notes);
    Ok(measured)
}
