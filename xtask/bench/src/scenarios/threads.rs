//! Commands per second from several threads at once.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::Result;
use crate::measured::{Measured, Unit};
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, latency, named};
use crate::ways::{Act, Runner, Way};

/// In each batch, whoever runs them.
const COMMANDS: usize = 192;

const WAYS: [Way; 6] =
    [Way::Std, Way::NetRunner, Way::Floor, Way::Duct, Way::Subprocess, Way::Tokio];

pub(super) fn one(context: &Context) -> Result<Measured> {
    measure(context, 1)
}

pub(super) fn two(context: &Context) -> Result<Measured> {
    measure(context, 2)
}

pub(super) fn eight(context: &Context) -> Result<Measured> {
    measure(context, 8)
}

pub(super) fn many(context: &Context) -> Result<Measured> {
    measure(context, 64)
}

fn measure(context: &Context, threads: usize) -> Result<Measured> {
    let rounds = alternate(&Plan::of(context.extent, 60), WAYS.len(), 1, |contender| {
        Ok(vec![batch(context, WAYS[contender], threads)?])
    })?;
    let key = format!("threads-{threads}");
    Ok(named(rounds, &[(key, Unit::PerSecond)], &WAYS.map(Way::name)))
}

/// How many commands ended per second, from the first start to the last end. Each thread looks at the
/// clock itself: one that only watched them could wake long after they began, and count too little.
fn batch(context: &Context, way: Way, threads: usize) -> Result<f64> {
    let ready = Barrier::new(threads);
    let ended: Vec<_> = thread::scope(|scope| {
        let run = || -> Result<(Instant, Instant)> {
            let runner = Runner::new(way, latency::tiny(context, Act::Output));
            // Before any error, or the others would wait for ever.
            ready.wait();
            let began = Instant::now();
            let mut runner = runner?;
            (0..COMMANDS / threads).try_for_each(|_| runner.run().map(|_| ()))?;
            Ok((began, Instant::now()))
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut times = Vec::new();
    for result in ended {
        times.push(result.map_err(|_| "a thread has panicked")??);
    }
    let began = times.iter().map(|(began, _)| *began).min().ok_or("no threads")?;
    let ended = times.iter().map(|(_, ended)| *ended).max().ok_or("no threads")?;
    Ok((COMMANDS / threads * threads) as f64 / (ended - began).as_secs_f64())
}
