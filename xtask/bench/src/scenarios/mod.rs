//! The list of scenarios. Each is measured in a worker of its own; those that need several workers,
//! fresh ones or dying ones, run in the driver.

mod alone;
mod build;
mod bulk;
pub(crate) mod cgroup;
pub(crate) mod cpu;
pub(crate) mod death;
mod field;
pub(crate) mod first;
mod jobs;
mod latency;
mod many;
mod memory;
mod pty;
mod threads;

pub(crate) use build::COMMAND;
pub(crate) use many::JOBS;
use serde_json::Value;

use crate::measured::{Measured, Metric, Series, Unit};
use crate::programs::Programs;
use crate::rounds::Rounds;
use crate::{Extent, Result};

/// What every scenario is told.
pub(crate) struct Context {
    pub(crate) programs: Programs,
    pub(crate) extent: Extent,
}

/// Something that measures.
pub(crate) type Run = fn(&Context) -> Result<Measured>;

/// Where a scenario is run.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Worker(Run),
    Driver(Run),
}

pub(crate) struct Scenario {
    /// Filters look here; goals are found by the keys of the metrics.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) place: Place,
    /// More of it, in the driver.
    pub(crate) then: Option<Run>,
}

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "output-tiny",
        about: "spawn, capture and wait, tiny static child",
        place: Place::Worker(latency::output_tiny),
        then: Some(cpu::output_tiny),
    },
    Scenario {
        name: "output-true",
        about: "spawn, capture and wait, /bin/true",
        place: Place::Worker(latency::output_true),
        then: Some(cpu::output_true),
    },
    Scenario {
        name: "output-cc",
        about: "cc -c of a small file, captured",
        place: Place::Worker(latency::output_cc),
        then: Some(cpu::output_cc),
    },
    Scenario {
        name: "status-tiny",
        about: "status, streams inherited, tiny static child",
        place: Place::Worker(latency::status_tiny),
        then: Some(cpu::status_tiny),
    },
    Scenario {
        name: "spawn-tiny",
        about: "spawn with a synchronous exec error, then wait, tiny static child",
        place: Place::Worker(latency::spawn_tiny),
        then: Some(cpu::spawn_tiny),
    },
    Scenario {
        name: "first",
        about: "the first command of a process, guardian and shepherd started",
        place: Place::Driver(first::measure),
        then: None,
    },
    Scenario {
        name: "paced",
        about: "one command every 3 ms, output of the tiny static child",
        place: Place::Worker(latency::paced),
        then: None,
    },
    Scenario {
        name: "heap",
        about: "output of the tiny static child, client with 2 GiB of touched heap",
        place: Place::Worker(latency::heap),
        then: None,
    },
    Scenario {
        name: "descriptors",
        about: "output of the tiny static child, client with 10,000 descriptors",
        place: Place::Worker(latency::descriptors),
        then: None,
    },
    Scenario {
        name: "threads-1",
        about: "commands per second from one thread",
        place: Place::Worker(threads::one),
        then: None,
    },
    Scenario {
        name: "threads-2",
        about: "commands per second from 2 threads",
        place: Place::Worker(threads::two),
        then: None,
    },
    Scenario {
        name: "threads-8",
        about: "commands per second from 8 threads",
        place: Place::Worker(threads::eight),
        then: None,
    },
    Scenario {
        name: "threads-64",
        about: "commands per second from 64 threads",
        place: Place::Worker(threads::many),
        then: None,
    },
    Scenario {
        name: "field",
        about: "200 commands, two at a time, beside xargs and GNU parallel",
        place: Place::Worker(field::measure),
        then: None,
    },
    Scenario {
        name: "build",
        about: "500 C files compiled by Jobs and netrunner jobs, beside xargs, GNU parallel and make",
        place: Place::Worker(build::measure),
        then: None,
    },
    Scenario {
        name: "jobs-short",
        about: "10,000 /bin/true by Jobs, two at a time, beside two threads of std and xargs",
        place: Place::Worker(jobs::short),
        then: None,
    },
    Scenario {
        name: "jobs-sleepers",
        about: "2,000 /bin/sleep at the same time by Jobs on one thread, then stopped",
        place: Place::Worker(jobs::sleepers),
        then: None,
    },
    Scenario {
        name: "tiny-1000",
        about: "start 1,000 tiny children from one thread, kill all and wait for all",
        place: Place::Worker(many::tiny_1000),
        then: None,
    },
    Scenario {
        name: "sleep-1000",
        about: "start 1,000 /bin/sleep from one thread, SIGTERM to all and wait for all",
        place: Place::Worker(many::sleep_1000),
        then: None,
    },
    Scenario {
        name: "tiny-5000",
        about: "start 5,000 tiny children from one thread, kill all and wait for all",
        place: Place::Worker(many::tiny_5000),
        then: None,
    },
    Scenario {
        name: "sleep-5000",
        about: "start 5,000 /bin/sleep from one thread, SIGTERM to all and wait for all",
        place: Place::Worker(many::sleep_5000),
        then: None,
    },
    Scenario {
        name: "death-1000",
        about: "SIGKILL to a client with 1,000 commands, until the last process is gone",
        place: Place::Driver(death::with_1000),
        then: None,
    },
    Scenario {
        name: "death-5000",
        about: "SIGKILL to a client with 5,000 commands, until the last process is gone",
        place: Place::Driver(death::with_5000),
        then: None,
    },
    Scenario {
        name: "cgroup",
        about: "output of the tiny static child in a cgroup of its own: born in it, or moved into it",
        place: Place::Driver(cgroup::measure),
        then: None,
    },
    Scenario {
        name: "cgroup-100",
        about: "start 100 tiny children in cgroups of their own, kill all and wait for all",
        place: Place::Worker(cgroup::at_once),
        then: None,
    },
    Scenario {
        name: "cgroup-memory",
        about: "memory of the kernel per cgroup that nobody is in",
        place: Place::Worker(cgroup::memory),
        then: None,
    },
    Scenario {
        name: "memory",
        about: "memory of the machine per running command and per idle shepherd",
        place: Place::Worker(memory::measure),
        then: None,
    },
    Scenario {
        name: "bulk-16m",
        about: "16 MiB captured from cat",
        place: Place::Worker(bulk::captured),
        then: None,
    },
    Scenario {
        name: "bulk-4g",
        about: "4 GiB read from cat, 64 KiB at a time",
        place: Place::Worker(bulk::streamed),
        then: None,
    },
    Scenario {
        name: "pty-256m",
        about: "256 MiB that cat shows on a terminal, beside a plain pseudo-terminal and read loop",
        place: Place::Worker(pty::streamed),
        then: None,
    },
    Scenario {
        name: "drop",
        about: "drop of a running child on the calling thread",
        place: Place::Worker(alone::drop_child),
        then: None,
    },
    Scenario {
        name: "binary",
        about: "size of the shepherds' program",
        place: Place::Driver(alone::binary),
        then: None,
    },
];

/// The worker's job `scenario NAME`.
pub(crate) fn in_worker(context: &Context, words: &[String]) -> Result<Value> {
    let name = words.first().ok_or("no name of a scenario")?;
    let scenario = ALL.iter().find(|scenario| scenario.name == *name).ok_or("no such scenario")?;
    match scenario.place {
        Place::Worker(run) => Ok(run(context)?.to_json()),
        Place::Driver(_) => Err("this scenario runs in the driver".into()),
    }
}

/// Puts names to the numbers of rounds: `keys` names the values, `contenders` who was measured.
fn named(rounds: Rounds, keys: &[(String, Unit)], contenders: &[&str]) -> Measured {
    let metrics = rounds.samples.into_iter().zip(keys).map(|(of_value, (key, unit))| Metric {
        key: key.clone(),
        unit: *unit,
        series: of_value
            .into_iter()
            .zip(contenders)
            .map(|(samples, contender)| Series { contender: (*contender).to_owned(), samples })
            .collect(),
    });
    Measured { metrics: metrics.collect(), batches: rounds.batches, notes: rounds.notes }
}
