//! What is to be reached, in one table, and whether it was. The table of `docs/PERFORMANCE.md` is made
//! from it.

use crate::measured::{Measured, Unit};
use crate::report::shown;
use crate::scenarios::{COMMAND, JOBS};
use crate::stats::{paired, quantile};
use crate::ways::Way;

/// Which number is compared with the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The median of the ratios to std, paired round by round.
    Ratio,
    /// The 95th percentile over std's.
    P95Ratio,
    /// As `Ratio`, to the fastest of the peers instead of std.
    PeerRatio,
    /// NetRunner's own median.
    Value(Unit),
}

/// Whether less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    AtMost,
    AtLeast,
}

#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) scene: &'static str,
    pub(crate) key: &'static str,
    /// Whose number it is.
    pub(crate) who: &'static str,
    pub(crate) of: Of,
    pub(crate) bound: Bound,
    pub(crate) goal: f64,
    pub(crate) stretch: f64,
}

/// What a measured number is against its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Stretch,
    Met,
    Missed,
}

/// NetRunner's own way of one command.
const OURS: &str = "NetRunner";

/// The same of many commands by `Jobs`.
const fn jobs(scene: &'static str, key: &'static str, goal: f64, stretch: f64) -> Goal {
    Goal { who: JOBS, ..ratio(scene, key, goal, stretch) }
}

const fn of_jobs(goal: Goal) -> Goal {
    Goal { who: JOBS, ..goal }
}

const fn ratio(scene: &'static str, key: &'static str, goal: f64, stretch: f64) -> Goal {
    Goal { scene, key, who: OURS, of: Of::Ratio, bound: Bound::AtMost, goal, stretch }
}

const fn rate(scene: &'static str, key: &'static str, goal: f64, stretch: f64) -> Goal {
    Goal { scene, key, who: OURS, of: Of::Ratio, bound: Bound::AtLeast, goal, stretch }
}

/// The build beside the tools that others build with.
const fn build(scene: &'static str, who: &'static str) -> Goal {
    Goal { who, of: Of::PeerRatio, ..ratio(scene, "build-500", 1.0, 0.95) }
}

const fn seconds(scene: &'static str, key: &'static str, goal: f64, stretch: f64) -> Goal {
    Goal {
        scene,
        key,
        who: OURS,
        of: Of::Value(Unit::Seconds),
        bound: Bound::AtMost,
        goal,
        stretch,
    }
}

const fn kib(scene: &'static str, key: &'static str, goal: f64, stretch: f64) -> Goal {
    let (goal, stretch) = (goal * 1024.0, stretch * 1024.0);
    Goal { scene, key, who: OURS, of: Of::Value(Unit::Bytes), bound: Bound::AtMost, goal, stretch }
}

pub(crate) const ALL: &[Goal] = &[
    ratio("`output`, tiny static child, sequential", "output-tiny", 0.85, 0.76),
    ratio("`output`, /bin/true", "output-true", 0.97, 0.91),
    ratio("`spawn` + `wait` with a synchronous exec error", "spawn-tiny", 1.05, 0.85),
    ratio("`cc -c` of a small file", "output-cc", 1.02, 1.00),
    ratio("CPU per command, tiny child", "output-tiny/cpu", 0.85, 0.75),
    rate("throughput, 2 threads", "threads-2", 1.2, 1.6),
    rate("throughput, 8 threads", "threads-8", 1.5, 1.65),
    ratio("10,000 descriptors in the client", "descriptors", 0.20, 0.15),
    ratio("2 GiB heap", "heap", 0.85, 0.75),
    ratio("first command ever (guardian and shepherd started)", "first", 3.0, 2.0),
    ratio("3 ms paced spawns: median", "paced", 1.05, 0.95),
    Goal {
        scene: "3 ms paced spawns: p95",
        key: "paced",
        who: OURS,
        of: Of::P95Ratio,
        bound: Bound::AtMost,
        goal: 1.3,
        stretch: 1.0,
    },
    jobs("start of 1,000 concurrent tiny children", "tiny-1000/start", 0.5, 0.25),
    jobs("start of 5,000 concurrent tiny children", "tiny-5000/start", 0.4, 0.2),
    jobs("start of 1,000 concurrent /bin/sleep", "sleep-1000/start", 0.8, 0.65),
    jobs("kill and wait for 1,000", "tiny-1000/kill", 2.0, 1.3),
    rate("bulk stdout, 4 GiB, throughput", "bulk-4g", 1.0, 1.2),
    rate("256 MiB through a terminal (std: openpty and a read loop)", "pty-256m", 0.95, 1.0),
    build("500 C files by `Jobs`", JOBS),
    build("500 C files by `netrunner jobs`", COMMAND),
    jobs("10,000 /bin/true, two at a time (std: two threads)", "jobs-10000/time", 1.0, 0.83),
    seconds("death of a client with 1,000: last process gone", "death-1000", 0.3, 0.15),
    seconds("death of a client with 5,000: last process gone", "death-5000", 1.5, 1.0),
    kib(
        "memory that NetRunner adds per running command, everything counted",
        "memory/added",
        100.0,
        50.0,
    ),
    of_jobs(kib(
        "memory of the client with 10,000 jobs that wait",
        "jobs-10000/memory",
        20_000.0,
        10_000.0,
    )),
    of_jobs(kib(
        "memory of the client with 2,000 jobs at work",
        "jobs-2000/memory",
        32_000.0,
        16_000.0,
    )),
    of_jobs(Goal {
        of: Of::Value(Unit::Count),
        ..seconds("threads of the client meanwhile, main included", "jobs-2000/threads", 2.0, 2.0)
    }),
    kib("idle guardian, USS", "memory/guardian", 64.0, 32.0),
    seconds("`drop(Child)` on the calling thread", "drop", 20e-6, 5e-6),
    kib("shepherd binary", "binary", 200.0, 64.0),
];

impl Goal {
    /// The measured number; none if it was not measured.
    pub(crate) fn measured(&self, measured: &Measured) -> Option<f64> {
        let metric = measured.metrics.iter().find(|metric| metric.key == self.key)?;
        let ours = metric.samples_of(self.who).filter(|samples| !samples.is_empty())?;
        let std = || metric.samples_of(Way::Std.name());
        Some(match self.of {
            Of::Ratio => paired(ours, std()?).median,
            Of::P95Ratio => quantile(ours, 0.95) / quantile(std()?, 0.95),
            Of::PeerRatio => paired(ours, &metric.fastest_peer()?.samples).median,
            Of::Value(_) => quantile(ours, 0.5),
        })
    }

    pub(crate) fn verdict(&self, number: f64) -> Verdict {
        let within = |bound: f64| match self.bound {
            Bound::AtMost => number <= bound,
            Bound::AtLeast => number >= bound,
        };
        match (within(self.stretch), within(self.goal)) {
            (true, _) => Verdict::Stretch,
            (false, true) => Verdict::Met,
            (false, false) => Verdict::Missed,
        }
    }

    /// A number of its kind, as people read it.
    pub(crate) fn shown(&self, number: f64) -> String {
        match self.of {
            Of::Ratio | Of::P95Ratio | Of::PeerRatio => format!("{number:.2}"),
            Of::Value(unit) => shown(number, unit),
        }
    }

    pub(crate) fn sign(&self) -> char {
        match self.bound {
            Bound::AtMost => '≤',
            Bound::AtLeast => '≥',
        }
    }
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Verdict::Stretch => "met, stretch too",
            Verdict::Met => "met",
            Verdict::Missed => "missed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::{Metric, Series};

    fn measured(key: &str, ours: &[f64], std: &[f64]) -> Measured {
        let series = |contender: &str, samples: &[f64]| Series {
            contender: contender.to_owned(),
            samples: samples.to_vec(),
        };
        let series = vec![series("NetRunner", ours), series("std", std)];
        let metric = Metric { key: key.to_owned(), unit: Unit::Seconds, series };
        Measured { metrics: vec![metric], ..Measured::default() }
    }

    #[test]
    fn a_goal_is_met_on_its_own_side_of_the_bound() {
        let less = ratio("", "a", 0.85, 0.76);
        assert_eq!(less.verdict(0.86), Verdict::Missed);
        assert_eq!(less.verdict(0.85), Verdict::Met);
        assert_eq!(less.verdict(0.5), Verdict::Stretch);
        let more = rate("", "a", 1.2, 1.6);
        assert_eq!(more.verdict(1.1), Verdict::Missed);
        assert_eq!(more.verdict(1.6), Verdict::Stretch);
    }

    #[test]
    fn what_was_not_measured_has_no_number() {
        let goal = ratio("", "a", 1.0, 1.0);
        assert!(goal.measured(&measured("b", &[1.0], &[2.0])).is_none());
        assert!(goal.measured(&measured("a", &[], &[])).is_none());
        assert_eq!(goal.measured(&measured("a", &[1.0], &[2.0])), Some(0.5));
        let absolute = kib("", "a", 1.0, 1.0);
        assert_eq!(absolute.measured(&measured("a", &[1.0], &[2.0])), Some(1.0));
    }
}
