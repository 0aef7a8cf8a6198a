//! The fuzzer's corpus for the pair (`fuzz/corpus/pair`), on any toolchain: as it is, and damaged.

use crate::operations;

#[path = "../fuzzed/damage.rs"]
mod damage;

#[test]
fn the_corpus_of_the_pair_keeps_the_promises() {
    damage::corpus("pair").iter().for_each(|data| operations::check(data));
}

#[test]
fn damaged_lists_of_operations_keep_the_promises() {
    damage::for_each_damaged("pair", operations::check);
}
