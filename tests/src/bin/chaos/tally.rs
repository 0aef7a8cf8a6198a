//! Counts by name, as lines of text: what a round tells the referee, and the referee its reader.

use std::collections::BTreeMap;
use std::fmt;

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn add(&mut self, name: impl Into<String>, count: u64) {
        *self.0.entry(name.into()).or_default() += count;
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds what another one has printed; lines that are none of its are left out.
    pub(crate) fn add_printed(&mut self, text: &str) {
        for line in text.lines() {
            let counted = line.trim_start().split_once(' ');
            if let Some((Ok(count), name)) = counted.map(|(count, name)| (count.parse(), name)) {
                self.add(name, count);
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| writeln!(f, "{count:>9} {name}"))
    }
}
