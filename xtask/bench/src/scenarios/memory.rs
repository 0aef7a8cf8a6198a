//! Memory: what the whole machine has more of while many commands run, the kernel's share included,
//! and what the guardian has for itself.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netrunner_sync::Shepherds;

use crate::machine::meminfo;
use crate::measured::{Measured, Metric, Series, Unit};
use crate::rounds::alternate;
use crate::scenarios::many::{self, Program};
use crate::scenarios::{Context, named};
use crate::ways::{End, Way};
use crate::{Result, process_table, worker};

const COUNT: usize = 1000;

const WAYS: [Way; 2] = [Way::Std, Way::NetRunner];

/// All that processes cost.
const LINES: [&str; 4] = ["AnonPages", "Slab", "KernelStack", "PageTables"];

/// The kernel counts per CPU and adds up now and then.
const SETTLE: Duration = Duration::from_millis(200);

pub(super) fn measure(context: &Context) -> Result<Measured> {
    let program = Program::tiny(context);
    let mut notes = Vec::new();
    let count = many::allowed(COUNT, &mut notes)?;
    // Each command has a new shepherd then, and none is there before.
    Shepherds::max_idle(0);
    let rounds = alternate(&many::plan(context), WAYS.len(), 1, |contender| {
        let before = used();
        let children = program.start(WAYS[contender], count)?;
        let more = used() - before;
        many::end(children, End::Kill)?;
        Ok(vec![more / count as f64])
    })?;
    let [of_std, ours] = [0, 1].map(|contender| rounds.samples[0][contender].clone());
    let added = ours.iter().zip(of_std).map(|(ours, of_std)| ours - of_std).collect();
    let mut measured =
        named(rounds, &[("memory/running".to_owned(), Unit::Bytes)], &WAYS.map(Way::name));
    measured.notes.extend(notes);
    measured.metrics.push(alone("memory/added", added));

    let (idle, guardian, shepherd) = idle(&program, count)?;
    measured.metrics.push(alone("memory/idle", vec![idle]));
    measured.metrics.push(alone("memory/guardian", vec![guardian]));
    measured.metrics.push(alone("memory/shepherd", vec![shepherd]));
    Ok(measured)
}

fn alone(key: &str, samples: Vec<f64>) -> Metric {
    let series = vec![Series { contender: Way::NetRunner.name().to_owned(), samples }];
    Metric { key: key.to_owned(), unit: Unit::Bytes, series }
}

/// In bytes, of the whole machine: whatever else grows meanwhile is in it.
fn used() -> f64 {
    sleep(SETTLE);
    meminfo(&LINES) as f64 * 1024.0
}

/// Per idle shepherd; and what the guardian and one shepherd have for themselves.
fn idle(program: &Program, count: usize) -> Result<(f64, f64, f64)> {
    Shepherds::refresh();
    alone_again()?;
    let before = used();
    Shepherds::max_idle(count);
    many::end(program.start(Way::NetRunner, count)?, End::Kill)?;
    let per_shepherd = (used() - before) / Shepherds::idle() as f64;

    let driver = worker::driver_id();
    let below = process_table::below(driver)?;
    // The guardian of the first part is a zombie: the driver reaps once we have ended.
    let living = || below.iter().filter(|process| !process.zombie);
    let guardian = living()
        .find(|process| process.ppid == driver && process.pid != std::process::id())
        .ok_or("there is no guardian")?;
    let shepherd =
        living().find(|process| process.ppid == guardian.pid).ok_or("there is no idle shepherd")?;
    Ok((per_shepherd, unique(guardian.pid)?, unique(shepherd.pid)?))
}

/// Waits until the driver and this process are all there is.
fn alone_again() -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let below = process_table::below(worker::driver_id())?;
        if below.iter().filter(|process| !process.zombie).count() <= 2 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err("the guardian did not go after `Shepherds::refresh`".into());
        }
        sleep(Duration::from_millis(5));
    }
}

/// The unique set size of a process, in bytes.
fn unique(pid: u32) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = |line: &str| {
        let rest =
            line.strip_prefix("Private_Clean:").or_else(|| line.strip_prefix("Private_Dirty:"))?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok(rollup.lines().filter_map(private).sum::<f64>() * 1024.0)
}
