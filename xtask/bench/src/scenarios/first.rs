//! The first command of a process: each sample comes from a worker of its own.

use serde_json::{Value, json};

use crate::Result;
use crate::driver::fresh;
use crate::measured::{Measured, Unit, number};
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, latency, named};
use crate::ways::{Act, Runner, Way};

const WAYS: [Way; 6] =
    [Way::Std, Way::NetRunner, Way::Floor, Way::Duct, Way::Subprocess, Way::Tokio];

pub(super) fn measure(context: &Context) -> Result<Measured> {
    let rounds = alternate(&Plan::of(context.extent, 500), WAYS.len(), 1, |contender| {
        let (answer, _) = fresh(context, &["first", WAYS[contender].name()])?;
        Ok(vec![number(&answer, "seconds")?])
    })?;
    Ok(named(rounds, &[("first".to_owned(), Unit::Seconds)], &WAYS.map(Way::name)))
}

/// The worker's job `first WAY`.
pub(crate) fn one(context: &Context, words: &[String]) -> Result<Value> {
    let way = Way::from_name(words.first().ok_or("no contender")?)?;
    let began = std::time::Instant::now();
    // A runtime that is made for it counts too.
    Runner::new(way, latency::tiny(context, Act::Output))?.run()?;
    Ok(json!({"seconds": began.elapsed().as_secs_f64()}))
}
