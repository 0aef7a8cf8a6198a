//! What a scenario gives back, and the same as JSON: a worker tells the driver in one line, and the
//! driver writes all of it into `results.json`. What the samples come to is in [`crate::stats`].

use serde_json::{Value, json};

use crate::Result;
use crate::scenarios::{COMMAND, JOBS};
use crate::stats::median;
use crate::ways::Way;

/// The contenders that are NetRunner's.
const OURS: [&str; 3] = [Way::NetRunner.name(), JOBS, COMMAND];

/// What a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    /// Of commands.
    PerSecond,
    BytesPerSecond,
    /// Of anything, such as context switches.
    Count,
}

impl Unit {
    const ALL: [(Unit, &str); 5] = [
        (Unit::Seconds, "s"),
        (Unit::Bytes, "B"),
        (Unit::PerSecond, "1/s"),
        (Unit::BytesPerSecond, "B/s"),
        (Unit::Count, "1"),
    ];

    fn name(self) -> &'static str {
        Unit::ALL.iter().find(|(unit, _)| *unit == self).map_or("", |(_, name)| name)
    }

    fn from_name(name: &str) -> Result<Unit> {
        let found = Unit::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(unit, _)| *unit).ok_or_else(|| format!("no unit `{name}`").into())
    }
}

/// The samples of one contender, one for each round.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) contender: String,
    pub(crate) samples: Vec<f64>,
}

/// One quantity, measured for all contenders in the same rounds.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    /// What goals, table and plot find it by: `output-tiny`, `output-tiny/cpu`.
    pub(crate) key: String,
    pub(crate) unit: Unit,
    pub(crate) series: Vec<Series>,
}

impl Metric {
    pub(crate) fn samples_of(&self, contender: &str) -> Option<&[f64]> {
        let found = self.series.iter().find(|series| series.contender == contender);
        found.map(|series| series.samples.as_slice())
    }

    /// Who the others are compared with: std, or the fastest of those that are not ours.
    pub(crate) fn base(&self) -> Option<&Series> {
        let std = self.series.iter().find(|series| series.contender == Way::Std.name());
        std.or_else(|| self.fastest_peer())
    }

    /// Of those that are not ours, the one with the least median.
    pub(crate) fn fastest_peer(&self) -> Option<&Series> {
        let is_ours = |series: &&Series| OURS.contains(&series.contender.as_str());
        let peers = self.series.iter().filter(|series| !series.samples.is_empty());
        let peers = peers.filter(|series| !is_ours(series));
        peers.min_by(|one, other| median(&one.samples).total_cmp(&median(&other.samples)))
    }
}

/// Some rounds in a row, and what else the machine did meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) rounds: usize,
    /// Shares of all CPUs' time.
    pub(crate) foreign: f64,
    pub(crate) steal: f64,
    /// How often it was measured again because it was disturbed; the calmest is kept.
    pub(crate) repeats: u32,
    pub(crate) disturbed: bool,
}

/// All that one scenario found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    pub(crate) metrics: Vec<Metric>,
    pub(crate) batches: Vec<Batch>,
    /// What a reader must know: a limit that was too low, rounds that were left out.
    pub(crate) notes: Vec<String>,
}

impl Measured {
    pub(crate) fn to_json(&self) -> Value {
        let metric = |metric: &Metric| {
            let series =
                |series: &Series| json!({"contender": series.contender, "samples": series.samples});
            json!({
                "key": metric.key,
                "unit": metric.unit.name(),
                "series": metric.series.iter().map(series).collect::<Vec<_>>(),
            })
        };
        let batch = |batch: &Batch| {
            json!({
                "rounds": batch.rounds, "foreign": batch.foreign, "steal": batch.steal,
                "repeats": batch.repeats, "disturbed": batch.disturbed,
            })
        };
        json!({
            "metrics": self.metrics.iter().map(metric).collect::<Vec<_>>(),
            "batches": self.batches.iter().map(batch).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Result<Measured> {
        let series = |value: &Value| {
            let samples = list(value, "samples")?.iter().map(|sample| {
                sample.as_f64().ok_or_else(|| format!("a sample is not a number: {sample}").into())
            });
            Ok(Series {
                contender: text(value, "contender")?,
                samples: samples.collect::<Result<_>>()?,
            })
        };
        let metric = |value: &Value| {
            Ok(Metric {
                key: text(value, "key")?,
                unit: Unit::from_name(&text(value, "unit")?)?,
                series: list(value, "series")?.iter().map(series).collect::<Result<_>>()?,
            })
        };
        let batch = |value: &Value| {
            Ok(Batch {
                rounds: number(value, "rounds")? as usize,
                foreign: number(value, "foreign")?,
                steal: number(value, "steal")?,
                repeats: number(value, "repeats")? as u32,
                disturbed: value["disturbed"] == true,
            })
        };
        Ok(Measured {
            metrics: list(value, "metrics")?.iter().map(metric).collect::<Result<_>>()?,
            batches: list(value, "batches")?.iter().map(batch).collect::<Result<_>>()?,
            notes: list(value, "notes")?
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        })
    }
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    value[name].as_array().ok_or_else(|| format!("no list `{name}`").into())
}

fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("no text `{name}`").into())
}

pub(crate) fn number(value: &Value, name: &str) -> Result<f64> {
    value[name].as_f64().ok_or_else(|| format!("no number `{name}`").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_std_takes_no_part_the_fastest_of_the_others_is_the_measure() {
        let series = |contender: &str, samples: &[f64]| Series {
            contender: contender.to_owned(),
            samples: samples.to_vec(),
        };
        let ours = series(JOBS, &[1.0, 1.0, 1.0]);
        let all =
            [ours, series("a", &[9.0, 3.0, 9.0]), series("b", &[8.0, 8.0, 1.0]), series("c", &[])];
        let mut metric = Metric { key: String::new(), unit: Unit::Seconds, series: all.to_vec() };
        assert_eq!(metric.base().unwrap().contender, "b");
        metric.series.push(series("std", &[20.0]));
        assert_eq!(metric.base().unwrap().contender, "std");
        assert_eq!(metric.fastest_peer().unwrap().contender, "b");
        metric.series.truncate(1);
        assert!(metric.base().is_none());
    }

    #[test]
    fn what_a_worker_tells_arrives_as_it_was() {
        let told = Measured {
            metrics: vec![Metric {
                key: "output-tiny".to_owned(),
                unit: Unit::BytesPerSecond,
                series: vec![Series { contender: "std".to_owned(), samples: vec![0.5, 2.0] }],
            }],
            batches: vec![Batch {
                rounds: 2,
                foreign: 0.25,
                steal: 0.5,
                repeats: 1,
                disturbed: true,
            }],
            notes: vec!["few".to_owned()],
        };
        let heard = Measured::from_json(&told.to_json()).unwrap();
        assert_eq!(format!("{told:?}"), format!("{heard:?}"));
        assert!(Measured::from_json(&json!({"metrics": [{}]})).is_err());
    }
}
