//! Messages that are not good (P10): a typed error, never a panic, and nothing is understood that
//! could not have been said.

use netrunner_core::message::{
    CommandId, End, Event, Exited, MAX_NAMED, Order, Pid, Process, Reason, Request, SpawnFailed,
    Step,
};
use netrunner_core::namespace::{Namespace, Need, Proc};
use netrunner_core::spawn::{
    MAX_PLACEMENTS, Place, Placement, Placements, Source, Spawn, StringsBuf, Terms,
};
use netrunner_core::terminal::{Handover, Terminal};
use netrunner_core::wire::{Frame, WireError};
use proptest::prelude::*;

use crate::decoders::probe;
use crate::samples::{self, Message};

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
    assert_eq!(known, 19);
}

#[test]
fn a_wrong_number_of_descriptors_is_refused() {
    samples::for_each(|message| {
        let bytes = message.bytes();
        // An event may come without its pidfd: there are kernels that have none.
        let fewer = matches!(message, Message::Event(_));
        let right = |count: u8| match usize::from(count) {
            0 if fewer => true,
            count => count == message.descriptors(),
        };
        for descriptors in (0..=u8::MAX).filter(|&it| !right(it)) {
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
        let order = Message::Order(Order::Kill(Pid(pid))).bytes();
        assert_eq!(Order::decode(samples::frame(&order)), Err(WireError::Malformed));
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
        let terminal = Some(Terminal { client_group: Pid(pid), handover: Handover::Never });
        let mut arguments = StringsBuf::new();
        arguments.push(&[b"true"]);
        let spawn = Spawn { terminal, ..samples::smallest(arguments.as_strings(), c"/bin/true") };
        let bytes = Message::Request(Request::Spawn(spawn)).bytes();
        assert_eq!(Request::decode(samples::frame(&bytes)), Err(WireError::Malformed));
    }
}

#[test]
fn a_signal_beyond_the_range_is_refused() {
    let id = samples::exited().id;
    for signal in [0, 65, u8::MAX] {
        let bytes = Message::Request(Request::Signal(id, signal)).bytes();
        assert_eq!(Request::decode(samples::frame(&bytes)), Err(WireError::Malformed));
        let bytes = Message::Event(Event::Stopped(id, signal)).bytes();
        assert_eq!(Event::decode(samples::frame(&bytes)), Err(WireError::Malformed));
        let mut arguments = StringsBuf::new();
        arguments.push(&[b"true"]);
        let spawn = samples::smallest(arguments.as_strings(), c"/bin/true");
        for terms in [
            Terms { stop_signal: signal, ..spawn.terms },
            Terms { leftover_signal: Some(signal), ..spawn.terms },
        ] {
            let bytes = Message::Request(Request::Spawn(Spawn { terms, ..spawn })).bytes();
            assert_eq!(Request::decode(samples::frame(&bytes)), Err(WireError::Malformed));
        }
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

/// What an encoder of ours would have cut is not taken either: it is what bounds the receiver.
#[test]
fn an_event_with_more_than_an_encoder_says_is_refused() {
    let process = |length| Process { pid: Pid(5), name: vec![b'x'; length] };
    let failed = |length| {
        let object = vec![b'/'; length];
        Event::SpawnFailed(SpawnFailed { id: CommandId(1), step: Step::Exec, errno: 2, object })
    };
    let lists = |list: Vec<Process>| {
        [
            Event::Exited(Exited { leftovers: list.clone(), ..samples::exited() }),
            Event::Exited(Exited { survivors: list, ..samples::exited() }),
        ]
    };
    // Each by a byte or an item more than the one that is taken, which the encoder can't be made to
    // say: the length before it is raised by hand.
    for event in lists(vec![process(64)]).into_iter().chain([failed(4096)]) {
        let bytes = Message::Event(event.clone()).bytes();
        assert_eq!(Event::decode(samples::frame(&bytes)), Ok(event));
        let longer = lengthen(&bytes);
        assert_eq!(Event::decode(samples::frame(&longer)), Err(WireError::Malformed));
    }
    for event in lists(vec![process(0); MAX_NAMED]) {
        let bytes = Message::Event(event.clone()).bytes();
        assert_eq!(Event::decode(samples::frame(&bytes)), Ok(event));
        let longer = repeat_last(&bytes);
        assert_eq!(Event::decode(samples::frame(&longer)), Err(WireError::Malformed));
    }
}

/// The frame with one more byte in the run of equal bytes that is its longest name or path, and in
/// every length that counts it.
fn lengthen(bytes: &[u8]) -> Vec<u8> {
    let (text, counted) = if bytes.contains(&b'x') { (b'x', 64) } else { (b'/', 4096_u32) };
    let at = bytes.windows(2).position(|two| two == [text; 2]).expect("a run");
    let mut longer = bytes.to_vec();
    longer.insert(at, text);
    raise(&mut longer[at - 4..at], counted, 1);
    if text == b'x' {
        // The list's own length stands before the process's number.
        raise(&mut longer[at - 12..at - 8], 8 + 64, 1);
    }
    longer
}

/// The frame with one more nameless process in its long list.
fn repeat_last(bytes: &[u8]) -> Vec<u8> {
    let length = 8 * MAX_NAMED as u32;
    let at = bytes.windows(4).position(|four| four == length.to_le_bytes()).expect("a list");
    let mut longer = bytes.to_vec();
    let item = bytes[at + 4..at + 12].to_vec();
    longer.splice(at + 4..at + 4, item);
    raise(&mut longer[at..at + 4], length, 8);
    longer
}

fn raise(length: &mut [u8], from: u32, by: u32) {
    assert_eq!(length, from.to_le_bytes());
    length.copy_from_slice(&(from + by).to_le_bytes());
}

#[test]
fn a_status_that_is_no_end_is_refused() {
    let heard = |status| {
        let exited = Exited { end: End::Status(status), ..samples::exited() };
        let bytes = Message::Event(Event::Exited(exited)).bytes();
        Event::decode(samples::frame(&bytes)).map(|_| ())
    };
    // Exit 0 and 255, death by 1 and 64, with a core dump.
    for end in [0, 0xff00, 1, 64, 0x80 | 11] {
        assert_eq!(heard(end), Ok(()), "{end:#x}");
    }
    // Stopped, continued, a code with a signal, a core dump of nothing, beyond 16 bits.
    for none in [0x137f, 0xffff, 0x0109, 0x80, 0x1_0000, i32::MIN, -1] {
        assert_eq!(heard(none), Err(WireError::Malformed), "{none:#x}");
    }
}

#[test]
fn a_stop_that_would_end_as_if_by_itself_is_refused() {
    let id = samples::exited().id;
    for reason in samples::REASONS {
        let bytes = Message::Request(Request::Stop(id, reason)).bytes();
        let refused = Request::decode(samples::frame(&bytes)) == Err(WireError::Malformed);
        assert_eq!(refused, reason == Reason::Exited, "{reason:?}");
    }
}

#[test]
fn more_placements_than_anybody_needs_are_refused() {
    let mut arguments = netrunner_core::spawn::StringsBuf::new();
    arguments.push(&[b"true"]);
    let heard = |count: usize| {
        let placement =
            |number| Placement { place: Place::Number(number as u32), source: Source::Null };
        let placements: Vec<Placement> = (0..count).map(placement).collect();
        let spawn = netrunner_core::spawn::Spawn {
            descriptors: Placements::Listed(&placements),
            ..samples::smallest(arguments.as_strings(), c"true")
        };
        let bytes = Message::Request(Request::Spawn(spawn)).bytes();
        Request::decode(samples::frame(&bytes)).map(|_| ())
    };
    assert_eq!(heard(MAX_PLACEMENTS), Ok(()));
    assert_eq!(heard(MAX_PLACEMENTS + 1), Err(WireError::Malformed));
}

#[test]
fn a_cgroup_without_both_its_directories_or_a_name_that_leads_elsewhere_is_refused() {
    let mut arguments = netrunner_core::spawn::StringsBuf::new();
    arguments.push(&[b"true"]);
    let heard = |cgroup, places: &[(Place, Source)]| {
        let placements: Vec<Placement> =
            places.iter().map(|&(place, source)| Placement { place, source }).collect();
        let spawn = netrunner_core::spawn::Spawn {
            descriptors: Placements::Listed(&placements),
            cgroup,
            ..samples::smallest(arguments.as_strings(), c"true")
        };
        let bytes = Message::Request(Request::Spawn(spawn)).bytes();
        Request::decode(samples::frame(&bytes)).map(|_| ())
    };
    let (group, above) = ((Place::Cgroup, Source::Passed), (Place::CgroupAbove, Source::Passed));
    assert_eq!(heard(Some(c"a"), &[group, above]), Ok(()));
    for name in [c"", c".", c"..", c"a/b", c"/"] {
        assert_eq!(heard(Some(name), &[group, above]), Err(WireError::Malformed), "{name:?}");
    }
    for places in [
        &[][..],
        &[group],
        &[above],
        &[group, group, above],
        &[(Place::Cgroup, Source::Null), above],
        &[group, (Place::CgroupAbove, Source::Closed)],
    ] {
        assert_eq!(heard(Some(c"a"), places), Err(WireError::Malformed), "{places:?}");
    }
    assert_eq!(heard(None, &[group, above]), Err(WireError::Malformed));
}

#[test]
fn more_than_one_terminal_is_refused() {
    let mut arguments = StringsBuf::new();
    arguments.push(&[b"true"]);
    let own = |source| Placement { place: Place::Terminal, source };
    let clients = Terminal { client_group: Pid(1), handover: Handover::Never };
    let heard = |placements: &[Placement], terminal| {
        let descriptors = Placements::Listed(placements);
        let smallest = samples::smallest(arguments.as_strings(), c"/bin/true");
        let spawn = Spawn { descriptors, terminal, ..smallest };
        let bytes = Message::Request(Request::Spawn(spawn)).bytes();
        Request::decode(samples::frame(&bytes)).map(|_| ())
    };
    assert_eq!(heard(&[own(Source::Passed)], None), Ok(()));
    assert_eq!(heard(&[own(Source::Passed); 2], None), Err(WireError::Malformed));
    assert_eq!(heard(&[own(Source::Passed)], Some(clients)), Err(WireError::Malformed));
    for nothing in [Source::Null, Source::Closed] {
        assert_eq!(heard(&[own(nothing)], None), Err(WireError::Malformed));
    }
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

#[test]
fn a_namespace_of_no_known_kind_is_refused() {
    let mut arguments = StringsBuf::new();
    arguments.push(&[b"true"]);
    let namespace = Some(Namespace { need: Need::IfAvailable, proc: Proc::Own });
    let smallest = samples::smallest(arguments.as_strings(), c"/bin/true");
    let mut bytes =
        Message::Request(Request::Spawn(netrunner_core::spawn::Spawn { namespace, ..smallest }))
            .bytes();
    assert!(Request::decode(samples::frame(&bytes)).is_ok());
    // It is the last byte of the request.
    *bytes.last_mut().expect("a byte") += 1;
    let refused = Request::decode(samples::frame(&bytes)).map(|_| ());
    assert_eq!(refused, Err(WireError::Malformed));
}
