//! The fuzzer's corpus for the decoders (`fuzz/corpus/decoders`), on any toolchain: as it is, and damaged.

use crate::decoders;

#[path = "../fuzzed/damage.rs"]
mod damage;

#[test]
fn the_corpus_of_the_decoders_is_taken_apart_as_it_came() {
    let mut frames = 0;
    for data in damage::corpus("decoders") {
        decoders::check(&data);
        frames += usize::from(data.len() > 8);
    }
    assert!(frames > 10, "hardly any input is long enough for a frame");
}

#[test]
fn damaged_streams_are_taken_apart_as_they_came() {
    damage::for_each_damaged("decoders", decoders::check);
}
