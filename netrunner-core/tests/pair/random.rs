//! Random lists of what can happen, in any order, with messages under way; the promises are asked
//! of at every moment by [`World`].

use std::time::Duration;

use netrunner_core::message::Reason;
use netrunner_core::spawn::{Leftovers, Notify, Terms};
use proptest::prelude::*;

use crate::kernel::Temper;
use crate::operations::{Op, Which};
use crate::world::World;

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![4 => Just(Which::Last), 1 => Just(Which::Stale)]
}

fn temper() -> impl Strategy<Value = Temper> {
    prop_oneof![
        4 => Just(Temper::Obeys),
        2 => millis(1..300).prop_map(Temper::Slow),
        3 => Just(Temper::Ignores),
        1 => (0..20_u8).prop_map(Temper::Breeds),
        1 => Just(Temper::Unkillable),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let timeout = prop_oneof![Just(None), millis(0..3_000).prop_map(Some)];
    let grace = prop_oneof![Just(Duration::ZERO), millis(0..2_000)];
    let stop_signal = prop::sample::select(vec![15_u8, 15, 2, 9, 18, 19, 64]);
    let leftovers = prop::sample::select(vec![Leftovers::Stop, Leftovers::Wait, Leftovers::Keep]);
    let leftover_signal = prop::sample::select(vec![None, None, Some(15), Some(9)]);
    let all = (timeout, grace, stop_signal, leftover_signal, leftovers);
    all.prop_map(|(timeout, grace, stop_signal, leftover_signal, leftovers)| Terms {
        timeout,
        grace,
        stop_signal,
        leftover_signal,
        leftovers,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let programs =
        [c"obeys", c"slow", c"ignores", c"breeds", c"unkillable", c"missing", c"unclonable"];
    let programs = prop::sample::select(programs.to_vec());
    let notify = prop::sample::select(vec![Notify::Start, Notify::End]);
    let reasons = [Reason::Stopped, Reason::IdleTimeout, Reason::OutputLimit];
    let reasons = prop::sample::select(reasons.to_vec());
    let signals = prop::sample::select(vec![1_u8, 2, 9, 15, 18, 19]);
    prop_oneof![
        6 => (programs, notify, terms()).prop_map(|(program, notify, terms)| {
            Op::Spawn(program, notify, terms)
        }),
        2 => (which(), signals).prop_map(|(which, signal)| Op::Signal(which, signal)),
        3 => (which(), reasons).prop_map(|(which, reason)| Op::Stop(which, reason)),
        2 => which().prop_map(Op::Kill),
        1 => which().prop_map(Op::Detach),
        1 => (0..40_usize).prop_map(|lost| Op::DropClient { lost }),
        4 => prop_oneof![millis(0..50), millis(0..3_000), millis(9_000..12_000)].prop_map(Op::Advance),
        1 => millis(0..5_000).prop_map(Op::Freeze),
        4 => (1..120_usize).prop_map(Op::ToShepherd),
        4 => (1..120_usize).prop_map(Op::ToClient),
        5 => any::<usize>().prop_map(Op::Exit),
        5 => (any::<usize>(), any::<bool>(), temper()).prop_map(|(index, own_group, temper)| {
            Op::Fork(index, own_group, temper)
        }),
        1 => any::<usize>().prop_map(Op::Pause),
        1 => any::<usize>().prop_map(Op::Wake),
    ]
}

proptest! {
    // `PROPTEST_CASES` can ask for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(500)))]

    /// For a client that stays until the end.
    #[test]
    fn whatever_happens_every_command_ends_in_one_word(
        ops in prop::collection::vec(op(), 0..50),
    ) {
        let mut world = World::new();
        for op in ops.iter().filter(|op| !matches!(op, Op::DropClient { .. })) {
            op.happen(&mut world);
        }
        world.finish();
    }

    /// For a client that dies at any moment.
    #[test]
    fn whatever_happens_nothing_outlives_the_client(ops in prop::collection::vec(op(), 0..50)) {
        let mut world = World::new();
        ops.iter().for_each(|op| op.happen(&mut world));
        world.drop_client(0);
        world.finish();
    }
}
