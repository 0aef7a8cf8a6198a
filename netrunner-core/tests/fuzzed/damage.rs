//! A fuzzer for every toolchain: the committed corpora, and what comes of them when bytes of an input are
//! changed, cut out, doubled, or put in from another. Failures are made small by proptest, and told with
//! the bytes.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// The inputs of this target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("failed to read `{}`: {error}", dir.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no input in `{}`", dir.display());
    files.iter().map(|file| fs::read(file).expect("an input")).collect()
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index, usize),
    Double(Index, usize),
    Insert(Index, Vec<u8>),
}

impl Edit {
    fn make(&self, data: &mut Vec<u8>) {
        let at = |index: &Index, data: &[u8]| index.index(data.len() + 1);
        let piece = |index: &Index, length: usize, data: &[u8]| {
            let from = at(index, data);
            from..(from + length).min(data.len())
        };
        match self {
            Edit::Set(index, _) | Edit::Flip(index, _) if at(index, data) == data.len() => {}
            Edit::Set(index, byte) => {
                let at = at(index, data);
                data[at] = *byte;
            }
            Edit::Flip(index, bit) => {
                let at = at(index, data);
                data[at] ^= 1 << bit;
            }
            Edit::Cut(index, length) => drop(data.drain(piece(index, *length, data))),
            Edit::Double(index, length) => {
                let piece = piece(index, *length, data);
                let doubled = data[piece.clone()].to_vec();
                data.splice(piece.start..piece.start, doubled);
            }
            Edit::Insert(index, bytes) => {
                let at = at(index, data);
                data.splice(at..at, bytes.iter().copied());
            }
        }
    }
}

/// Edges of numbers come more often than others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 2, 127, 128, 253, 254, 255])]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        2 => (at(), 1..32_usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        2 => (at(), 1..32_usize).prop_map(|(at, length)| Edit::Double(at, length)),
        2 => (at(), prop::collection::vec(byte(), 1..12)).prop_map(|(at, all)| Edit::Insert(at, all)),
    ]
}

/// Calls `check` with damaged inputs; `PROPTEST_CASES` can ask for more of them.
pub(crate) fn for_each_damaged(target: &str, check: impl Fn(&[u8])) {
    let inputs = corpus(target);
    let edits = prop::collection::vec(edit(), 1..6);
    let damaged = (any::<Index>(), edits, any::<Index>()).prop_map(move |(of, edits, other)| {
        let mut data = inputs[of.index(inputs.len())].clone();
        // Every other one goes on with the end of another input.
        if edits.len() % 2 == 0 {
            let tail = &inputs[other.index(inputs.len())];
            data.extend_from_slice(&tail[other.index(tail.len() + 1)..]);
        }
        edits.iter().for_each(|edit| edit.make(&mut data));
        data
    });
    let config = Config { failure_persistence: None, ..Config::default() };
    let config = Config { cases: config.cases.max(2_000), ..config };
    let tried = TestRunner::new(config).run(&damaged, |data| {
        check(&data);
        Ok(())
    });
    if let Err(error) = tried {
        panic!("{target}: {error}");
    }
}
