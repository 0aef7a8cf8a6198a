//! Messages that are not good (P10): a typed error, never a panic, and nothing is understood that
//! could not have been said.

use netrunner_core::message::{Event, Exited, Order, Pid, Process, Request};
use netrunner_core::wire::{Frame, WireError};
use proptest::prelude::*;

use crate::samples::{self, Message};

/// Decodes in every direction; what is understood must be sent on byte for byte as it came.
/// Tells in how many directions it was understood.
fn probe(frame: Frame<'_>) -> usize {
    let understood = [
        Order::decode(frame).map(Message::Order),
        Request::decode(frame).map(Message::Request),
        Event::decode(frame).map(Message::Event),
    ];
    let mut count = 0;
    for message in understood.into_iter().flatten() {
        let again = message.bytes();
        assert_eq!(samples::frame(&again), frame, "understood as {message:?}");
        // Received lists are iterated by the shepherd: that must not fail late.
        let _laid_open = message.laid_open();
        count += 1;
    }
    count
}

#[test]
fn every_truncation_is_refused() {
    samples::for_each(|message| {
        let bytes = message.bytes();
        let whole = samples::frame(&bytes);
        for length in 0..whole.payload.len() {
            let cut = Frame { payload: &whole.payload[..length], ..whole };
            let refused = Message::decode(cut).map(|message| message.laid_open());
            assert_eq!(refused, Err(WireError::Malformed), "{length} bytes of {message:?}");
        }
    });
}

#[test]
fn every_trailing_byte_is_refused() {
    samples::for_each(|message| {
        for byte in [0, 1, u8::MAX] {
            let mut bytes = message.bytes();
            bytes.push(byte);
            let refused =
                Message::decode(samples::frame(&bytes)).map(|message| message.laid_open());
            assert_eq!(refused, Err(WireError::Malformed), "{message:?}");
        }
    });
}

#[test]
fn every_changed_byte_is_refused_or_understood_as_it_stands() {
    let (mut understood, mut refused) = (0_usize, 0_usize);
    samples::for_each(|message| {
        let bytes = message.bytes();
        let whole = samples::frame(&bytes);
        let mut payload = whole.payload.to_vec();
        for at in 0..payload.len() {
            let original = payload[at];
            for byte in 0..=u8::MAX {
                payload[at] = byte;
                match probe(Frame { payload: &payload, ..whole }) {
                    0 => refused += 1,
                    1 => understood += 1,
                    more => panic!("one frame is understood in {more} directions"),
                }
            }
            payload[at] = original;
        }
    });
    // Both happen, or the test compares nothing.
    assert!(understood > 10_000 && refused > 10_000, "{understood} understood, {refused} refused");
}

#[test]
fn every_removed_or_doubled_byte_is_refused_or_understood_as_it_stands() {
    samples::for_each(|message| {
        let bytes = message.bytes();
        let whole = samples::frame(&bytes);
        for at in 0..whole.payload.len() {
            let mut fewer = whole.payload.to_vec();
            fewer.remove(at);
            probe(Frame { payload: &fewer, ..whole });
            let mut more = whole.payload.to_vec();
            more.insert(at, whole.payload[at]);
            probe(Frame { payload: &more, ..whole });
        }
    });
}

#[test]
fn a_kind_of_another_direction_or_of_none_is_unknown() {
    let mut known = 0;
    for kind in 0..=u8::MAX {
        let frame = Frame { kind, descriptors: 0, payload: &[] };
        let answers = [
            Order::decode(frame).map(|_| ()),
            Request::decode(frame).map(|_| ()),
            Event::decode(frame).map(|_| ()),
        ];
        let unknown = answers.iter().filter(|&&it| it == Err(WireError::UnknownKind(kind))).count();
        assert!(unknown >= 2, "kind {kind} means something in two directions");
        known += 3 - unknown;
    }
    assert_eq!(known, 13);
}

#[test]
fn a_wrong_number_of_descriptors_is_refused() {
    samples::for_each(|message| {
        let bytes = message.bytes();
        for descriptors in (0..=u8::MAX).filter(|&it| usize::from(it) != message.descriptors()) {
            let frame = Frame { descriptors, ..samples::frame(&bytes) };
            let refused = Message::decode(frame).map(|message| message.laid_open());
            assert_eq!(refused, Err(WireError::Descriptors), "{message:?}");
        }
    });
    assert!(samples::count() > 30);
}

#[test]
fn a_number_that_is_no_process_is_refused() {
    for pid in [0, 0x8000_0000, u32::MAX] {
        for event in [
            Event::Hello(Pid(pid)),
            Event::Spawned(samples::exited().id, Pid(pid)),
            Event::Exited(Exited { pid: Pid(pid), ..samples::exited() }),
            Event::Exited(Exited { leftovers: vec![nameless(pid)], ..samples::exited() }),
            Event::Exited(Exited { survivors: vec![nameless(pid)], ..samples::exited() }),
        ] {
            let bytes = Message::Event(event).bytes();
            assert_eq!(Event::decode(samples::frame(&bytes)), Err(WireError::Malformed));
        }
    }
}

#[test]
fn a_signal_beyond_the_range_is_refused() {
    let id = samples::exited().id;
    for signal in [0, 65, u8::MAX] {
        let bytes = Message::Request(Request::Signal(id, signal)).bytes();
        assert_eq!(Request::decode(samples::frame(&bytes)), Err(WireError::Malformed));
    }
}

#[test]
fn a_command_without_program_or_name_is_refused() {
    let mut arguments = netrunner_core::spawn::StringsBuf::new();
    let nameless = samples::smallest(arguments.as_strings(), c"true");
    let bytes = Message::Request(Request::Spawn(nameless)).bytes();
    assert_eq!(Request::decode(samples::frame(&bytes)), Err(WireError::Malformed));
    arguments.push(&[b"true"]);
    let nothing = samples::smallest(arguments.as_strings(), c"");
    let bytes = Message::Request(Request::Spawn(nothing)).bytes();
    assert_eq!(Request::decode(samples::frame(&bytes)), Err(WireError::Malformed));
}

fn nameless(pid: u32) -> Process {
    Process { pid: Pid(pid), name: Vec::new() }
}

proptest! {
    #[test]
    fn random_payloads_never_panic(
        kind in prop_oneof![0..6_u8, 32..36_u8, 64..70_u8],
        descriptors in 0..4_u8,
        payload in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..200),
    ) {
        probe(Frame { kind, descriptors, payload: &payload });
    }

    #[test]
    fn random_changes_to_good_messages_never_panic(
        which in 0..samples::count(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut at = 0;
        samples::for_each(|message| {
            if at == which {
                let bytes = message.bytes();
                let whole = samples::frame(&bytes);
                let mut payload = whole.payload.to_vec();
                for (index, byte) in &changes {
                    if !payload.is_empty() {
                        let at = index.index(payload.len());
                        payload[at] = *byte;
                    }
                }
                probe(Frame { payload: &payload, ..whole });
            }
            at += 1;
        });
    }
}
