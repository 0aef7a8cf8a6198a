//! Rounds: every contender once in each, the order rotated from round to round, in batches that are
//! measured again where others disturbed them.

use std::time::{Duration, Instant};

use crate::Result;
use crate::machine::{Load, Others};
use crate::measured::Batch;
use crate::{Extent, worker};

/// A batch lasts at least so long, because the kernel counts CPU time in ticks.
const BATCH: Duration = Duration::from_secs(1);

/// How much is to be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Rounds before the first that counts.
    pub(crate) warm_up: usize,
    /// No new round begins after this; what is missing is noted.
    pub(crate) at_most: Duration,
    /// A disturbed batch is measured again at most so often.
    pub(crate) repeats: u32,
}

impl Plan {
    /// `full` rounds, or a tenth of them, but at least two.
    pub(crate) fn of(extent: Extent, full: usize) -> Plan {
        match extent {
            Extent::Full => {
                Plan { rounds: full, warm_up: 1, at_most: Duration::from_secs(120), repeats: 2 }
            }
            Extent::Quick => Plan {
                rounds: (full / 10).max(2),
                warm_up: 1,
                at_most: Duration::from_secs(12),
                repeats: 1,
            },
        }
    }
}

/// Samples by value, contender and round.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    pub(crate) samples: Vec<Vec<Vec<f64>>>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) notes: Vec<String>,
}

/// Calls `once` for each contender in each round; it gives one number for each of `values`.
pub(crate) fn alternate(
    plan: &Plan,
    contenders: usize,
    values: usize,
    mut once: impl FnMut(usize) -> Result<Vec<f64>>,
) -> Result<Rounds> {
    let driver = worker::driver_id();
    let began = Instant::now();
    let mut number = 0;
    let mut round = || -> Result<Vec<Vec<f64>>> {
        let mut all = vec![Vec::new(); contenders];
        for turn in 0..contenders {
            let contender = (number + turn) % contenders;
            all[contender] = once(contender)?;
        }
        number += 1;
        Ok(all)
    };
    for _ in 0..plan.warm_up {
        round()?;
    }
    let mut rounds = Rounds {
        samples: vec![vec![Vec::new(); contenders]; values],
        batches: Vec::new(),
        notes: Vec::new(),
    };
    let mut done = 0;
    while done < plan.rounds && (done == 0 || began.elapsed() < plan.at_most) {
        let mut best: Option<(Vec<Vec<Vec<f64>>>, Others)> = None;
        let mut repeats = 0;
        let (batch, others) = loop {
            let load = Load::now(driver)?;
            let until = Instant::now() + BATCH;
            let mut batch = vec![round()?];
            while done + batch.len() < plan.rounds && Instant::now() < until {
                batch.push(round()?);
            }
            let others = load.until_now()?;
            let calmer =
                |(_, best): &(_, Others)| others.foreign + others.steal < best.foreign + best.steal;
            if best.as_ref().is_none_or(calmer) {
                best = Some((batch, others));
            }
            let again =
                others.disturbing && repeats < plan.repeats && began.elapsed() < plan.at_most;
            match best.take() {
                Some(best) if !again => break best,
                kept => best = kept,
            }
            repeats += 1;
        };
        done += batch.len();
        rounds.batches.push(Batch {
            rounds: batch.len(),
            foreign: others.foreign,
            steal: others.steal,
            repeats,
            disturbed: others.disturbing,
        });
        for (contender, found) in batch.into_iter().flat_map(|round| round.into_iter().enumerate())
        {
            for (value, sample) in found.into_iter().enumerate() {
                rounds.samples[value][contender].push(sample);
            }
        }
    }
    if done < plan.rounds {
        rounds.notes.push(format!("{done} rounds of {}: the time was over", plan.rounds));
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { rounds: 6, warm_up: 0, at_most: Duration::from_secs(60), repeats: 0 };

    #[test]
    fn each_round_has_every_contender_once_and_each_comes_first_in_turn() {
        let mut order = Vec::new();
        let rounds = alternate(&PLAN, 3, 1, |contender| {
            order.push(contender);
            Ok(vec![contender as f64])
        })
        .unwrap();
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(rounds.samples, [[[0.0; 6], [1.0; 6], [2.0; 6]]]);
        assert_eq!(rounds.batches.iter().map(|batch| batch.rounds).sum::<usize>(), 6);
        assert_eq!(rounds.notes, Vec::<String>::new());
    }

    #[test]
    fn what_the_time_did_not_allow_is_noted() {
        let plan = Plan { rounds: 1_000_000_000, at_most: Duration::ZERO, ..PLAN };
        let mut ran = 0;
        let rounds = alternate(&plan, 1, 1, |_| {
            ran += 1;
            Ok(vec![1.0])
        })
        .unwrap();
        assert_eq!(rounds.samples[0][0].len(), ran);
        assert_eq!(rounds.notes.len(), 1);
    }

    #[test]
    fn a_wrong_result_ends_the_scenario() {
        let failed = alternate(&PLAN, 1, 1, |_| Err("wrong".into()));
        assert_eq!(failed.unwrap_err().to_string(), "wrong");
    }
}
