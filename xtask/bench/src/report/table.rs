//! The table on the terminal, one block for each scenario.

use std::fmt::Write as _;

use serde_json::Value;

use crate::driver::Finished;
use crate::goals::{self, Of};
use crate::measured::{Batch, Measured, Metric};
use crate::report::shown;
use crate::stats::{median, paired, summary};

/// These stand in columns beside the metric that they belong to.
const COLUMNS: [&str; 2] = ["/cpu", "/switches"];

/// The machine, for the top.
pub(crate) fn head(machine: &Value) -> String {
    let text = |name: &str| {
        let value = &machine[name];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    let virtual_one = if machine["hypervisor"] == true { ", virtual machine" } else { "" };
    let mut head = format!(
        "{}, commit {}\nLinux {} on {}, {} CPUs ({}){virtual_one}, {} KiB of memory, load at start {}\n",
        text("date"),
        text("commit"),
        text("kernel"),
        text("architecture"),
        text("cpus"),
        text("cpu"),
        text("memory_kib"),
        text("load_at_start"),
    );
    for (name, version) in machine["versions"].as_object().into_iter().flatten() {
        let version = version.as_str().unwrap_or("not installed");
        // `rustc 1.95.0 (…)` names itself, a crate's number does not.
        let _ = if version.starts_with(|c: char| c.is_ascii_digit()) || version == "not installed" {
            writeln!(head, "  {name} {version}")
        } else {
            writeln!(head, "  {version}")
        };
    }
    head
}

/// All of one scenario.
pub(crate) fn block(finished: &Finished) -> String {
    let scenario = finished.scenario;
    let mut block = format!("{}: {}\n", scenario.name, scenario.about);
    let measured = match &finished.result {
        Ok(measured) => measured,
        Err(error) => {
            let _ = writeln!(block, "  WRONG: {error}");
            return block;
        }
    };
    for metric in &measured.metrics {
        if !COLUMNS.iter().any(|column| metric.key.ends_with(column)) {
            rows(&mut block, metric, measured);
        }
    }
    for goal in goals::ALL {
        if let Some(number) = goal.measured(measured) {
            let what = match goal.of {
                Of::Ratio | Of::P95Ratio => "ratio to std",
                Of::PeerRatio => "ratio to the fastest peer",
                Of::Value(_) => "median",
            };
            let _ = writeln!(
                block,
                "  goal {} {} ({}), {}: {what} {}: {}",
                goal.sign(),
                goal.shown(goal.goal),
                goal.shown(goal.stretch),
                goal.scene,
                goal.shown(number),
                goal.verdict(number).word(),
            );
        }
    }
    for note in &measured.notes {
        let _ = writeln!(block, "  note: {note}");
    }
    if let Some(disturbed) = disturbance(&measured.batches) {
        let _ = writeln!(block, "  {disturbed}");
    }
    block
}

fn rows(block: &mut String, metric: &Metric, measured: &Measured) {
    let base = metric.base();
    let title = format!("ratio to {} (q1-q3)", base.map_or("std", |base| &base.contender));
    let _ = writeln!(
        block,
        "  {:<22}{:>6} {:>10} {:>10} {:>10}   {:<20}{:>10}{:>10}",
        metric.key, "n", "median", "p10", "p95", title, "CPU", "switches"
    );
    let beside = |column: &str, contender: &str| -> String {
        let key = format!("{}{column}", metric.key);
        let found = measured.metrics.iter().find(|metric| metric.key == key);
        found
            .and_then(|metric| Some(shown(median(metric.samples_of(contender)?), metric.unit)))
            .unwrap_or_else(|| "-".to_owned())
    };
    for series in metric.series.iter().filter(|series| !series.samples.is_empty()) {
        let all = summary(&series.samples);
        let ratio = match base {
            Some(base) => {
                let ratio = paired(&series.samples, &base.samples);
                let (lower, upper) = (ratio.lower_quartile, ratio.upper_quartile);
                format!("{:.2} ({lower:.2}-{upper:.2})", ratio.median)
            }
            None => "-".to_owned(),
        };
        let _ = writeln!(
            block,
            "    {:<20}{:>6} {:>10} {:>10} {:>10}   {:<20}{:>10}{:>10}",
            series.contender,
            all.rounds,
            shown(all.median, metric.unit),
            shown(all.p10, metric.unit),
            shown(all.p95, metric.unit),
            ratio,
            beside(COLUMNS[0], &series.contender),
            beside(COLUMNS[1], &series.contender),
        );
    }
}

/// What others did meanwhile, if it was too much.
pub(crate) fn disturbance(batches: &[Batch]) -> Option<String> {
    let disturbed: Vec<&Batch> = batches.iter().filter(|batch| batch.disturbed).collect();
    let repeats: u32 = batches.iter().map(|batch| batch.repeats).sum();
    if disturbed.is_empty() && repeats == 0 {
        return None;
    }
    let most = |of: fn(&Batch) -> f64| disturbed.iter().map(|batch| of(batch)).fold(0.0, f64::max);
    Some(format!(
        "DISTURBED: {} of {} batches, also after {repeats} repeats; foreign CPU up to {:.0} %, steal up to {:.0} %",
        disturbed.len(),
        batches.len(),
        most(|batch| batch.foreign) * 100.0,
        most(|batch| batch.steal) * 100.0,
    ))
}
