//! Messages that are good: each arrives as it was said, and the largest still fit.

use std::time::Duration;

use netrunner_core::message::{
    End, Event, Exited, MAX_NAMED, Pid, Process, Request, SpawnFailed, Step, Usage,
};
use netrunner_core::spawn::{Place, Placement, Placements, Source, StringsBuf};
use netrunner_core::wire::{HEADER, MAX_DESCRIPTORS, MAX_EVENT, MAX_REQUEST};
use proptest::prelude::*;

use crate::samples::{self, Message};

#[test]
fn every_message_arrives_as_it_was_said() {
    let mut kinds = std::collections::BTreeSet::new();
    samples::for_each(|message| {
        let bytes = message.bytes();
        let frame = samples::frame(&bytes);
        kinds.insert(frame.kind);
        assert_eq!(usize::from(frame.descriptors), message.descriptors());
        let heard = Message::decode(frame).expect("a good message");
        assert_eq!(heard.laid_open(), message.laid_open());
        assert_eq!(heard.descriptors(), message.descriptors());
        assert_eq!(heard.bytes(), bytes, "a received message is sent on as it came");
    });
    let numbers: Vec<u8> = kinds.into_iter().collect();
    assert_eq!(
        numbers,
        [1, 2, 3, 4, 5, 32, 33, 34, 35, 36, 37, 64, 65, 66, 67, 68, 69, 70, 71],
        "for ever"
    );
}

#[test]
fn an_encoder_appends() {
    let mut out = b"before".to_vec();
    Message::Event(Event::Hello(Pid(9))).encode(&mut out);
    assert_eq!(&out[..6], b"before");
    assert_eq!(Event::decode(samples::frame(&out[6..])), Ok(Event::Hello(Pid(9))));
}

#[test]
fn an_event_says_whether_its_pidfd_comes_with_it() {
    let hello = Event::Hello(Pid(9));
    let (mut with, mut bare) = (Vec::new(), Vec::new());
    hello.encode(&mut with);
    hello.encode_bare(&mut bare);
    assert_eq!((samples::frame(&with).descriptors, samples::frame(&bare).descriptors), (1, 0));
    assert_eq!(Event::decode(samples::frame(&bare)), Ok(hello));
}

#[test]
fn the_largest_events_fit_under_the_cap() {
    let many = |length| {
        (1..=2 * MAX_NAMED as u32)
            .map(|pid| Process { pid: Pid(pid), name: vec![b'x'; length] })
            .collect::<Vec<_>>()
    };
    let exited = Exited { leftovers: many(500), survivors: many(500), ..samples::exited() };
    let bytes = Message::Event(Event::Exited(exited)).bytes();
    assert!(bytes.len() <= HEADER + MAX_EVENT, "{} bytes", bytes.len());
    let Ok(Event::Exited(heard)) = Event::decode(samples::frame(&bytes)) else {
        panic!("a large end was not understood");
    };
    assert_eq!(heard.leftovers.len(), MAX_NAMED, "of more, the first are named");
    assert_eq!(heard.leftovers[MAX_NAMED - 1].pid, Pid(MAX_NAMED as u32));
    assert!(heard.leftovers.iter().all(|process| process.name.len() == 64));

    let object = vec![b'/'; 1 << 20];
    let failed = SpawnFailed { id: heard.id, step: Step::Exec, errno: 36, object };
    let bytes = Message::Event(Event::SpawnFailed(failed)).bytes();
    let Ok(Event::SpawnFailed(heard)) = Event::decode(samples::frame(&bytes)) else {
        panic!("a failure with a long path was not understood");
    };
    assert_eq!(heard.object.len(), 4096, "a longer path is cut");
}

#[test]
fn a_request_carries_more_than_linux_can_execute() {
    let mut arguments = StringsBuf::new();
    let word = [b'a'; 1023];
    while arguments.bytes() < 6 << 20 {
        arguments.push(&[&word]);
    }
    let spawn = samples::smallest(arguments.as_strings(), c"true");
    let bytes = Message::Request(Request::Spawn(spawn)).bytes();
    assert!(bytes.len() <= HEADER + MAX_REQUEST);
    let Ok(Request::Spawn(heard)) = Request::decode(samples::frame(&bytes)) else {
        panic!("a long request was not understood");
    };
    assert_eq!(heard.arguments.len(), 6 << 10);
    assert_eq!(heard.arguments.block(), arguments.as_strings().block());
}

#[test]
fn a_request_passes_as_many_descriptors_as_the_kernel_takes() {
    let placements: Vec<Placement> = (0..MAX_DESCRIPTORS as u32)
        .map(|number| Placement { place: Place::Number(number), source: Source::Passed })
        .collect();
    let mut arguments = StringsBuf::new();
    arguments.push(&[b"true"]);
    let spawn = netrunner_core::spawn::Spawn {
        descriptors: Placements::Listed(&placements),
        ..samples::smallest(arguments.as_strings(), c"true")
    };
    let bytes = Message::Request(Request::Spawn(spawn)).bytes();
    let heard = Request::decode(samples::frame(&bytes)).expect("a good request");
    assert_eq!(heard.descriptors(), MAX_DESCRIPTORS);
}

#[test]
fn durations_beyond_the_wire_are_as_long_as_it_can_say() {
    let exited = Exited { wall: Duration::MAX, ..samples::exited() };
    let bytes = Message::Event(Event::Exited(exited)).bytes();
    let Ok(Event::Exited(heard)) = Event::decode(samples::frame(&bytes)) else {
        panic!("an end after 584 years was not understood");
    };
    assert_eq!(heard.wall, Duration::from_nanos(u64::MAX));
}

#[test]
fn lists_are_empty_or_hold_what_was_put_in() {
    let mut list = StringsBuf::new();
    assert!(list.as_strings().is_empty());
    assert_eq!(list.as_strings().iter().next(), None);
    list.push(&[b"a", b"=", b"b"]);
    list.push(&[]);
    assert_eq!(list.as_strings().len(), 2);
    assert_eq!(list.bytes(), 5);
    assert_eq!(list.as_strings().iter().collect::<Vec<_>>(), [c"a=b", c""]);
    list.clear();
    assert!(list.as_strings().is_empty());
    assert!(Placements::Listed(&[]).is_empty());
}

#[test]
fn a_string_is_found_where_it_is_and_nowhere_else() {
    let mut list = StringsBuf::new();
    list.push(&[b"a=b"]);
    list.push(&[b"c=d"]);
    assert_eq!(list.find(0, &[b"a", b"=", b"b"]), Some(4));
    assert_eq!(list.find(4, &[b"c", b"=", b"d"]), Some(8));
    for (from, other) in [(0, "c=d"), (0, "a"), (0, "a=bc"), (4, "cd"), (1, "a=b")] {
        assert_eq!(list.find(from, &[other.as_bytes()]), None, "{other} at {from}");
    }
    for beyond in [8, 9, usize::MAX] {
        assert_eq!(list.find(beyond, &[b"a=b"]), None);
    }
    assert!(list.first(0).as_strings().is_empty());
    assert_eq!(list.first(4).as_strings().iter().collect::<Vec<_>>(), [c"a=b"]);
    assert_eq!(list.first(4).as_strings().len(), 1);
    assert_eq!(list.first(8), list);
}

#[test]
fn usage_of_two_processes_adds_up_and_the_larger_set_counts() {
    let one = samples::exited().usage;
    let both = one.and(Usage { max_rss: 2, minor_faults: 40, ..one });
    assert_eq!(both.user, one.user * 2);
    assert_eq!(both.max_rss, 3);
    assert_eq!(both.minor_faults, 44);
    assert_eq!(both.involuntary_switches, u64::MAX, "saturates");
}

proptest! {
    #[test]
    fn strings_of_any_bytes_arrive(
        words in prop::collection::vec(prop::collection::vec(1..=u8::MAX, 0..20), 1..20),
    ) {
        let mut arguments = StringsBuf::new();
        words.iter().for_each(|word| arguments.push(&[word]));
        let spawn = samples::smallest(arguments.as_strings(), c"x");
        let bytes = Message::Request(Request::Spawn(spawn)).bytes();
        let Ok(Request::Spawn(heard)) = Request::decode(samples::frame(&bytes)) else {
            panic!("good strings were not understood");
        };
        let heard: Vec<&[u8]> = heard.arguments.iter().map(|word| word.to_bytes()).collect();
        prop_assert_eq!(heard, words);
    }

    #[test]
    fn ends_of_any_content_arrive(
        status in prop::option::of(prop_oneof![
            any::<u8>().prop_map(|code| i32::from(code) << 8),
            (1..=64, any::<bool>()).prop_map(|(signal, core)| signal | i32::from(core) << 7),
        ]),
        wall in any::<u64>(),
        faults in any::<[u64; 4]>(),
        names in prop::collection::vec(
            (1..=0x7fff_ffff_u32, prop::collection::vec(any::<u8>(), 0..=64)),
            0..30,
        ),
    ) {
        let [minor_faults, major_faults, voluntary_switches, max_rss] = faults;
        let sample = samples::exited();
        let exited = Exited {
            end: status.map_or(End::Unkillable, End::Status),
            wall: Duration::from_nanos(wall),
            usage: Usage {
                minor_faults, major_faults, voluntary_switches, max_rss, ..sample.usage
            },
            leftovers: names
                .into_iter()
                .map(|(pid, name)| Process { pid: Pid(pid), name })
                .collect(),
            ..sample
        };
        let bytes = Message::Event(Event::Exited(exited.clone())).bytes();
        prop_assert_eq!(Event::decode(samples::frame(&bytes)), Ok(Event::Exited(exited)));
    }
}
