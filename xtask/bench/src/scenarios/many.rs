//! Many children at once, started from one thread: the start of all, and their end.

use std::path::PathBuf;
use std::time::Instant;

use netrunner_sync::{Command, Jobs, Stdio};
use rustix::process::{Resource, getrlimit};

use crate::measured::{Measured, Unit};
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, named};
use crate::ways::{End, Staying, Way};
use crate::{Extent, Result, process_table};

/// Who starts them: one after the other, or all of them by `Jobs`.
const WAYS: [Way; 2] = [Way::Std, Way::NetRunner];

/// The name of the contender that pushes all commands and then lets `Jobs` start them together.
pub(crate) const JOBS: &str = "NetRunner Jobs";

/// What a command takes at most: the child and a shepherd; some descriptors of the client.
const PROCESSES: usize = 2;
const FILES: usize = 3;

/// Kept free for the rest of the machine.
const RESERVE: usize = 1000;

pub(super) fn tiny_1000(context: &Context) -> Result<Measured> {
    measure(context, "tiny-1000", 1000, &Program::tiny(context), End::Kill)
}

pub(super) fn tiny_5000(context: &Context) -> Result<Measured> {
    measure(context, "tiny-5000", 5000, &Program::tiny(context), End::Kill)
}

pub(super) fn sleep_1000(context: &Context) -> Result<Measured> {
    measure(context, "sleep-1000", 1000, &Program::sleep(), End::Term)
}

pub(super) fn sleep_5000(context: &Context) -> Result<Measured> {
    measure(context, "sleep-5000", 5000, &Program::sleep(), End::Term)
}

/// A program that stays, though not for ever.
pub(super) struct Program {
    path: PathBuf,
    arg: &'static str,
}

impl Program {
    pub(super) fn tiny(context: &Context) -> Program {
        Program { path: context.programs.tiny.clone(), arg: "stay" }
    }

    fn sleep() -> Program {
        Program { path: PathBuf::from("/bin/sleep"), arg: "300" }
    }

    /// So many of them, one after the other.
    pub(super) fn start(&self, way: Way, count: usize) -> Result<Vec<Staying>> {
        let start = |number| {
            let started = Staying::start(way, self.path.as_os_str(), self.arg);
            started.map_err(|error| {
                format!("{}: child {number} of {count}: {error}", way.name()).into()
            })
        };
        (1..=count).map(start).collect()
    }

    /// So many of them, all asked for before the first answer is waited for.
    fn start_jobs(&self, count: usize) -> Result<Jobs> {
        let mut jobs = Jobs::new(count);
        for _ in 0..count {
            let mut command = Command::new(&self.path);
            command.arg(self.arg).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            jobs.push(command);
        }
        let started = jobs.start();
        if started == count {
            return Ok(jobs);
        }
        let first = jobs.next().and_then(|finished| finished.result.err());
        Err(format!("{JOBS}: {started} of {count} started: {first:?}").into())
    }
}

/// Ends all, and then waits for all.
pub(super) fn end(mut children: Vec<Staying>, how: End) -> Result<()> {
    children.iter_mut().try_for_each(|child| child.end(how))?;
    children.iter_mut().try_for_each(|child| child.wait(how))
}

/// As many of `count` as the limits allow, and a note if they are fewer.
pub(super) fn allowed(count: usize, notes: &mut Vec<String>) -> Result<usize> {
    let files = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize);
    let pids: usize = std::fs::read_to_string("/proc/sys/kernel/pid_max")?.trim().parse()?;
    let free = pids.saturating_sub(process_table::all()?.len() + RESERVE);
    let allowed = count.min(files.saturating_sub(RESERVE) / FILES).min(free / PROCESSES);
    if allowed < count {
        notes.push(format!(
            "{allowed} instead of {count}: the limits are {files} descriptors and {pids} processes"
        ));
    }
    Ok(allowed)
}

/// Rounds of what takes seconds.
pub(super) fn plan(context: &Context) -> Plan {
    let plan = Plan { warm_up: 0, ..Plan::of(context.extent, 20) };
    match context.extent {
        // A scenario may take minutes only in a full run.
        Extent::Full => Plan { repeats: 1, ..plan },
        Extent::Quick => Plan { repeats: 0, ..plan },
    }
}

/// The same by `Jobs`.
fn end_jobs(jobs: Jobs, how: End) -> Result<()> {
    match how {
        End::Kill => jobs.handle().kill_all(),
        End::Term => jobs.handle().stop_all(),
    }
    jobs.into_iter().try_for_each(|finished| how.check(finished.result?.status))
}

fn measure(
    context: &Context,
    key: &str,
    count: usize,
    program: &Program,
    how: End,
) -> Result<Measured> {
    let mut notes = Vec::new();
    let count = allowed(count, &mut notes)?;
    let rounds = alternate(&plan(context), WAYS.len() + 1, 2, |contender| {
        let began = Instant::now();
        if contender == WAYS.len() {
            let jobs = program.start_jobs(count)?;
            let started = began.elapsed();
            let began = Instant::now();
            end_jobs(jobs, how)?;
            return Ok(vec![started.as_secs_f64(), began.elapsed().as_secs_f64()]);
        }
        let children = program.start(WAYS[contender], count)?;
        let started = began.elapsed();
        let began = Instant::now();
        end(children, how)?;
        Ok(vec![started.as_secs_f64(), began.elapsed().as_secs_f64()])
    })?;
    let ending = match how {
        End::Kill => "kill",
        End::Term => "stop",
    };
    let keys = [format!("{key}/start"), format!("{key}/{ending}")].map(|key| (key, Unit::Seconds));
    let [std, ours] = WAYS.map(Way::name);
    let mut measured = named(rounds, &keys, &[std, ours, JOBS]);
    measured.notes.extend(notes);
    Ok(measured)
}
