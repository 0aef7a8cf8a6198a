//! Breadth first through every state that can be reached; the first broken promise is met by one of the
//! shortest ways to it.
//!
//! States are known by 128 bits of hash. Times in them count from the moment they are looked at, so that
//! what happens a second later is the same state.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{Hash, Hasher};

use netrunner_core::Time;

use crate::rules::Rules;
use crate::world::{Broken, Step, World};

/// No duration in a state is so long, and every time is later.
pub(crate) const ORIGIN: u64 = 1 << 62;

/// So many states are looked at in any case, in some gigabytes.
const MOST: usize = 4_000_000;

/// What an exploration has seen.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The most steps from the beginning.
    pub(crate) depth: usize,
    /// Whether there was nothing more to see.
    pub(crate) complete: bool,
    pub(crate) broken: Option<Counterexample>,
}

/// The way to a broken promise.
pub(crate) struct Counterexample {
    pub(crate) broken: Broken,
    way: Vec<Step>,
    world: Box<World>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {} steps:", self.broken.0, self.way.len())?;
        self.way.iter().try_for_each(|step| writeln!(f, "  {step:?}"))?;
        write!(f, "{:#?}", self.world)
    }
}

/// Looks at every state within `depth` steps of the beginning.
pub(crate) fn explore(rules: &Rules, depth: usize) -> Explored {
    let beginning = World::new(rules);
    let mut seen: HashMap<u128, Option<(u128, Step)>> = HashMap::new();
    seen.insert(fingerprint(&beginning), None);
    let mut explored = Explored { states: 1, steps: 0, depth: 0, complete: false, broken: None };
    let mut edge = vec![beginning];
    while explored.depth < depth && seen.len() < MOST && !edge.is_empty() {
        let mut next = Vec::new();
        for world in &edge {
            let from = fingerprint(world);
            for step in world.steps(rules) {
                explored.steps += 1;
                let mut after = world.clone();
                if let Err(broken) = after.take(step, rules) {
                    let mut way = way_to(&seen, from);
                    way.push(step);
                    explored.states = seen.len();
                    explored.broken = Some(Counterexample { broken, way, world: Box::new(after) });
                    return explored;
                }
                if let Entry::Vacant(new) = seen.entry(fingerprint(&after)) {
                    new.insert(Some((from, step)));
                    next.push(after);
                }
            }
        }
        explored.depth += usize::from(!next.is_empty());
        edge = next;
    }
    explored.states = seen.len();
    explored.complete = edge.is_empty();
    explored
}

fn way_to(seen: &HashMap<u128, Option<(u128, Step)>>, state: u128) -> Vec<Step> {
    let mut way = Vec::new();
    let mut at = state;
    while let Some(&(before, step)) = seen[&at].as_ref() {
        way.push(step);
        at = before;
    }
    way.reverse();
    way
}

fn fingerprint(world: &World) -> u128 {
    let mut print = Fingerprint { now: world.now, low: 0x243f_6a88_85a3_08d3, high: 0x1319_8a2e };
    world.hash(&mut print);
    print.whole()
}

/// Two multiplicative hashes side by side.
struct Fingerprint {
    now: Time,
    low: u64,
    high: u64,
}

impl Fingerprint {
    fn mix(&mut self, word: u64) {
        self.low = (self.low.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.high = (self.high.rotate_left(23) ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        self.high ^= self.high >> 29;
    }

    fn whole(mut self) -> u128 {
        self.mix(0);
        self.low ^= self.low >> 32;
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    /// A [`Time`] is one of these.
    fn write_u64(&mut self, number: u64) {
        let is_time = number >= ORIGIN;
        self.mix(if is_time { number.wrapping_sub(self.now.as_nanos()) } else { number });
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.low
    }
}
