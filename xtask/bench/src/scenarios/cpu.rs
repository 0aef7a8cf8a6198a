//! CPU time and context switches per command, of the client, the child and whatever stands beside
//! them. A batch of commands runs in a worker; when it and all that it leaves are reaped, the kernel
//! has their sum. What the worker itself costs, in a batch of none, is taken off.

use serde_json::{Value, json};

use crate::Extent;
use crate::Result;
use crate::driver::fresh;
use crate::measured::{Measured, Metric, Series, Unit};
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, latency};
use crate::stats::median;
use crate::ways::{Act, Runner, Task, Way};

const LIBRARIES: &[Way] =
    &[Way::Std, Way::NetRunner, Way::Floor, Way::Duct, Way::Subprocess, Way::Tokio];

pub(super) fn output_tiny(context: &Context) -> Result<Measured> {
    measure(context, "output-tiny", 400, &Way::ALL)
}

pub(super) fn output_true(context: &Context) -> Result<Measured> {
    measure(context, "output-true", 200, LIBRARIES)
}

pub(super) fn output_cc(context: &Context) -> Result<Measured> {
    measure(context, "output-cc", 20, &[Way::Std, Way::NetRunner, Way::Floor])
}

pub(super) fn status_tiny(context: &Context) -> Result<Measured> {
    measure(context, "status-tiny", 200, LIBRARIES)
}

pub(super) fn spawn_tiny(context: &Context) -> Result<Measured> {
    measure(context, "spawn-tiny", 200, LIBRARIES)
}

fn task(context: &Context, name: &str) -> Result<Task> {
    Ok(match name {
        "output-tiny" => latency::tiny(context, Act::Output),
        "output-true" => latency::bin_true(),
        "output-cc" => latency::cc(context)?,
        "status-tiny" => latency::tiny(context, Act::Status),
        "spawn-tiny" => latency::tiny(context, Act::SpawnWait),
        _ => return Err(format!("no command `{name}`").into()),
    })
}

/// The worker's job `batch COMMAND WAY COUNT`.
pub(crate) fn batch(context: &Context, words: &[String]) -> Result<Value> {
    let [name, way, count] = words else { return Err("batch COMMAND WAY COUNT".into()) };
    let count: usize = count.parse()?;
    if count > 0 {
        let mut runner = Runner::new(Way::from_name(way)?, task(context, name)?)?;
        for _ in 0..count {
            runner.run()?;
        }
    }
    Ok(json!({}))
}

fn measure(context: &Context, name: &str, count: usize, ways: &[Way]) -> Result<Measured> {
    let ways: Vec<Way> = ways.iter().copied().filter(|way| way.is_there()).collect();
    // The last contender runs nothing.
    let names: Vec<&str> = ways.iter().map(|way| way.name()).collect();
    let none = ways.len();
    let count = match context.extent {
        Extent::Full => count,
        Extent::Quick => count / 2,
    };
    let plan = Plan { warm_up: 0, ..Plan::of(context.extent, 20) };
    let rounds = alternate(&plan, ways.len() + 1, 2, |contender| {
        let (way, count) =
            if contender == none { (names[0], 0) } else { (names[contender], count) };
        let (_, used) = fresh(context, &["batch", name, way, &count.to_string()])?;
        Ok(vec![used.cpu.as_secs_f64(), used.switches as f64])
    })?;
    let per_command = |value: usize| {
        let worker = median(&rounds.samples[value][none]);
        let series = names.iter().enumerate().map(|(contender, name)| Series {
            contender: (*name).to_owned(),
            samples: rounds.samples[value][contender]
                .iter()
                .map(|all| (all - worker).max(0.0) / count as f64)
                .collect(),
        });
        series.collect::<Vec<_>>()
    };
    Ok(Measured {
        metrics: vec![
            Metric { key: format!("{name}/cpu"), unit: Unit::Seconds, series: per_command(0) },
            Metric { key: format!("{name}/switches"), unit: Unit::Count, series: per_command(1) },
        ],
        batches: rounds.batches,
        notes: rounds.notes,
    })
}
