//! What std has nothing to compare with: dropping a handle, and the size of the shepherds' program.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netrunner_sync::{Command, Stdio};

use crate::Result;
use crate::measured::{Measured, Metric, Series, Unit};
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, named};
use crate::ways::Way;

/// P2: the grace is 5 s, but the tiny child ends by the stop signal.
const GONE_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn drop_child(context: &Context) -> Result<Measured> {
    let rounds = alternate(&Plan::of(context.extent, 500), 1, 1, |_| {
        let mut command = Command::new(&context.programs.tiny);
        command.arg("stay").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn()?;
        let place = format!("/proc/{}", child.id());
        let began = Instant::now();
        drop(child);
        let took = began.elapsed();
        while Path::new(&place).exists() {
            if began.elapsed() > GONE_WITHIN {
                return Err("a child whose handle was dropped is still there".into());
            }
            sleep(Duration::from_micros(500));
        }
        Ok(vec![took.as_secs_f64()])
    })?;
    Ok(named(rounds, &[("drop".to_owned(), Unit::Seconds)], &[Way::NetRunner.name()]))
}

pub(super) fn binary(_: &Context) -> Result<Measured> {
    let samples = vec![netrunner_shepherd::BYTES.len() as f64];
    let series = vec![Series { contender: Way::NetRunner.name().to_owned(), samples }];
    let metric = Metric { key: "binary".to_owned(), unit: Unit::Bytes, series };
    Ok(Measured { metrics: vec![metric], ..Measured::default() })
}
