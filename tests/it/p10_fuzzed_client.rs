//! P10 by the fuzzer's corpus for a live shepherd (`fuzz/corpus/lane`), on any toolchain: as it is, and
//! damaged. `NETRUNNER_TEST_SEED` repeats a run, `NETRUNNER_TEST_ROUNDS` makes it longer.

use std::fs;
use std::path::Path;

use netrunner_tests::hostile::{Served, behave};
use netrunner_tests::lane::pidfd;
use netrunner_tests::random::Random;

use crate::by_hand::*;
use crate::harness::*;

/// Nothing on a machine that has only the tests.
fn corpus() -> Option<Vec<Vec<u8>>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/lane");
    if !dir.exists() {
        skip("the corpus is elsewhere");
        return None;
    }
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    Some(files.iter().map(|file| fs::read(file).expect("an input")).collect())
}

#[test]
fn shepherds_end_well_whatever_a_client_of_the_corpus_does() {
    arena_with_pidfds(|| {
        if !is_promised_everywhere() {
            return;
        }
        let Some(inputs) = corpus() else { return };
        assert!(inputs.len() > 10, "hardly any input");
        each_is_served(inputs.iter().cloned());
    });
}

#[test]
fn shepherds_end_well_whatever_a_damaged_client_does() {
    arena_with_pidfds(|| {
        if !is_promised_everywhere() {
            return;
        }
        let Some(inputs) = corpus() else { return };
        let seed = seed();
        each_is_served((0..rounds(150)).map(|round| {
            let random = &mut Random::seeded(seed.wrapping_add(round));
            let mut data = inputs[random.below(inputs.len() as u64) as usize].clone();
            random.damage(&mut data);
            data
        }));
    });
}

fn each_is_served(inputs: impl Iterator<Item = Vec<u8>>) {
    let mut canary = Canary::new();
    // Lanes that were passed down themselves close only with the client.
    let mut client = std_puppet("sleep forever").spawn().expect("a client");
    let guardian = Guardian::of(&pidfd(client.id()));
    let mut clean = 0;
    for data in inputs {
        let served = std::panic::catch_unwind(|| behave(&guardian.lane, &data));
        match served.unwrap_or_else(|_| panic!("by the client {data:?}")) {
            Served::Cleanly | Served::SomeWay => clean += 1,
            Served::Killed => {}
        }
    }
    assert!(clean > 0, "every shepherd held its own lane");
    guardian.assert_serves();
    client.kill().expect("kill");
    client.wait().expect("wait");
    wait_nothing_left(netrunner_tests::wait::PATIENCE);
    canary.assert_unharmed();
}
