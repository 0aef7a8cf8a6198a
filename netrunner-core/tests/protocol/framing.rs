//! Frames out of a stream: the same whatever the cuts, refused as early as can be, and never more
//! memory than what has arrived deserves.

use netrunner_core::message::{Event, Pid};
use netrunner_core::wire::{
    HEADER, Inbox, MAX_DESCRIPTORS, MAX_EVENT, MAX_REQUEST, VERSION, WireError,
};
use proptest::prelude::*;

use crate::samples::{self, Message};

/// What an inbox made of the bytes so far, each frame laid open.
#[derive(Debug)]
struct Receiver {
    inbox: Inbox,
    heard: Vec<String>,
}

impl Receiver {
    fn new() -> Receiver {
        Receiver { inbox: Inbox::new(MAX_REQUEST), heard: Vec::new() }
    }

    /// Takes bytes as one read would deliver them, in more than one read if there is no room.
    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            put(&mut self.inbox, &mut bytes);
            while let Some(frame) = self.inbox.next_frame().expect("only good frames are sent") {
                let message = Message::decode(frame).expect("only good messages are sent");
                self.heard.push(message.laid_open());
            }
        }
    }
}

/// One read: as much of `bytes` as there is room for.
fn put(inbox: &mut Inbox, bytes: &mut &[u8]) {
    let room = inbox.room();
    assert!(!room.is_empty(), "a read into no room looks like the end of the lane");
    let (now, later) = bytes.split_at(bytes.len().min(room.len()));
    room[..now.len()].copy_from_slice(now);
    inbox.filled(now.len());
    *bytes = later;
}

/// What is in the samples' stream.
fn said() -> Vec<String> {
    let mut said = Vec::new();
    samples::for_each(|message| said.push(message.laid_open()));
    said
}

/// An inbox that has got these bytes.
fn inbox_with(cap: usize, mut bytes: &[u8]) -> Inbox {
    let mut inbox = Inbox::new(cap);
    while !bytes.is_empty() {
        put(&mut inbox, &mut bytes);
    }
    inbox
}

/// The first thing that an inbox says about these bytes.
fn verdict(cap: usize, bytes: &[u8]) -> Result<bool, WireError> {
    inbox_with(cap, bytes).next_frame().map(|frame| frame.is_some())
}

#[test]
fn coalesced_frames_are_all_heard() {
    let mut receiver = Receiver::new();
    receiver.receive(&samples::stream());
    assert_eq!(receiver.heard, said());
    assert!(receiver.inbox.is_empty());
}

#[test]
fn every_cut_in_two_gives_the_same_frames() {
    let (stream, said) = (samples::stream(), said());
    for cut in 0..=stream.len() {
        let mut receiver = Receiver::new();
        receiver.receive(&stream[..cut]);
        receiver.receive(&stream[cut..]);
        assert_eq!(receiver.heard, said, "cut at {cut}");
        assert!(receiver.inbox.is_empty(), "cut at {cut}");
    }
}

#[test]
fn pieces_of_every_size_give_the_same_frames() {
    let (stream, said) = (samples::stream(), said());
    for size in 1..stream.len() {
        let mut receiver = Receiver::new();
        stream.chunks(size).for_each(|piece| receiver.receive(piece));
        assert_eq!(receiver.heard, said, "pieces of {size}");
    }
}

#[test]
fn a_long_stream_that_never_pauses_between_frames_is_heard_whole() {
    // Longer than the buffer, with part of a frame always waiting: what waits has to move.
    let (stream, said) = (samples::stream().repeat(30), vec![said(); 30].concat());
    assert!(stream.len() > 10 * 4096);
    for size in [1, 7, 997, 4_093, 5_003] {
        let mut receiver = Receiver::new();
        stream.chunks(size).for_each(|piece| receiver.receive(piece));
        assert_eq!(receiver.heard, said, "pieces of {size}");
        assert!(receiver.inbox.room().len() <= 16 << 10, "nothing is kept of what was heard");
    }
}

#[test]
fn a_frame_is_heard_with_its_last_byte_and_not_before() {
    samples::for_each(|message| {
        let bytes = message.bytes();
        let mut inbox = Inbox::new(MAX_REQUEST);
        for byte in &bytes[..bytes.len() - 1] {
            put(&mut inbox, &mut &[*byte][..]);
            assert_eq!(inbox.next_frame(), Ok(None));
            assert!(!inbox.is_empty());
        }
        put(&mut inbox, &mut &bytes[bytes.len() - 1..]);
        assert!(matches!(inbox.next_frame(), Ok(Some(_))));
        assert!(inbox.is_empty());
    });
}

#[test]
fn another_version_is_refused_at_its_first_byte() {
    for version in (0..=u8::MAX).filter(|&version| version != VERSION) {
        assert_eq!(verdict(MAX_EVENT, &[version]), Err(WireError::Version(version)));
        assert_eq!(verdict(MAX_EVENT, &[version; HEADER]), Err(WireError::Version(version)));
    }
    assert_eq!(verdict(MAX_EVENT, &[VERSION]), Ok(false));
}

#[test]
fn another_version_after_good_frames_is_refused_as_well() {
    let mut bytes = Message::Event(Event::Hello(Pid(3))).bytes();
    bytes.push(VERSION + 1);
    let mut inbox = inbox_with(MAX_EVENT, &bytes);
    assert!(matches!(inbox.next_frame(), Ok(Some(_))));
    assert_eq!(inbox.next_frame(), Err(WireError::Version(VERSION + 1)));
}

#[test]
fn a_length_over_the_cap_is_refused_with_the_header() {
    for (cap, length, fits) in [
        (MAX_EVENT, MAX_EVENT as u32, true),
        (MAX_EVENT, MAX_EVENT as u32 + 1, false),
        (MAX_REQUEST, MAX_REQUEST as u32, true),
        (MAX_REQUEST, MAX_REQUEST as u32 + 1, false),
        (MAX_REQUEST, u32::MAX, false),
    ] {
        let expected = if fits { Ok(false) } else { Err(WireError::TooLong(length)) };
        assert_eq!(verdict(cap, &header(length)), expected, "{length} under a cap of {cap}");
    }
}

#[test]
fn more_descriptors_than_the_kernel_passes_are_refused() {
    let announcing = |descriptors| [VERSION, 1, descriptors, 0, 0, 0, 0, 0];
    assert_eq!(verdict(MAX_EVENT, &announcing(MAX_DESCRIPTORS as u8)), Ok(true));
    let over = announcing(MAX_DESCRIPTORS as u8 + 1);
    assert_eq!(verdict(MAX_EVENT, &over), Err(WireError::Descriptors));
}

#[test]
fn the_unused_byte_of_the_header_must_be_zero() {
    assert_eq!(verdict(MAX_EVENT, &[VERSION, 1, 0, 1, 0, 0, 0, 0]), Err(WireError::Malformed));
}

#[test]
fn a_refusal_is_final() {
    let mut inbox = inbox_with(MAX_EVENT, &[VERSION + 1]);
    for _ in 0..3 {
        assert_eq!(inbox.next_frame(), Err(WireError::Version(VERSION + 1)));
        put(&mut inbox, &mut &samples::stream()[..]);
    }
}

#[test]
fn memory_grows_with_what_arrives_not_with_what_is_announced() {
    let mut inbox = inbox_with(MAX_REQUEST, &header(MAX_REQUEST as u32));
    let mut arrived = HEADER;
    assert_eq!(inbox.next_frame(), Ok(None));
    assert!(inbox.room().len() <= 8 << 10, "a header alone reserves little");
    while arrived < HEADER + MAX_REQUEST {
        assert_eq!(inbox.next_frame(), Ok(None), "after {arrived} bytes");
        let room = inbox.room().len();
        assert!(arrived + room <= (arrived * 2).max(16 << 10), "{room} more after {arrived} bytes");
        let count = room.min(1_000).min(HEADER + MAX_REQUEST - arrived);
        inbox.filled(count);
        arrived += count;
    }
    let frame = inbox.next_frame().expect("a good header").expect("a whole frame");
    assert_eq!(frame.payload.len(), MAX_REQUEST);
}

#[test]
fn the_memory_of_a_large_frame_is_given_back() {
    let mut bytes = header(MAX_EVENT as u32).to_vec();
    bytes.resize(HEADER + MAX_EVENT, 0);
    let mut inbox = inbox_with(MAX_EVENT, &bytes);
    assert!(matches!(inbox.next_frame(), Ok(Some(_))));
    assert!(inbox.room().len() <= 64 << 10);
}

#[test]
fn a_count_beyond_the_room_is_not_believed() {
    for count in [1 << 20, usize::MAX] {
        let mut inbox = inbox_with(MAX_EVENT, &[VERSION]);
        let room = inbox.room().len();
        inbox.filled(count);
        assert!(inbox.next_frame().is_ok(), "the room of {room} bytes is zeros, a whole header");
    }
}

/// The header of a frame with no descriptors.
fn header(length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_le_bytes();
    [VERSION, 1, 0, 0, a, b, c, d]
}

proptest! {
    #[test]
    fn random_cuts_give_the_same_frames(
        mut cuts in prop::collection::vec(0..=samples::stream().len(), 0..40),
        repeat in 1..4_usize,
    ) {
        let (stream, said) = (samples::stream(), said());
        cuts.sort_unstable();
        let mut receiver = Receiver::new();
        for _ in 0..repeat {
            let mut from = 0;
            for &cut in &cuts {
                receiver.receive(&stream[from..cut]);
                from = cut;
            }
            receiver.receive(&stream[from..]);
        }
        prop_assert_eq!(receiver.heard, vec![said; repeat].concat());
    }

    #[test]
    fn random_bytes_never_panic_and_never_grow_the_inbox(
        mut bytes in prop::collection::vec(any::<u8>(), 0..6_000),
        good_start in any::<bool>(),
    ) {
        // Without a good start nearly everything fails at the version.
        if let (true, Some(first)) = (good_start, bytes.first_mut()) {
            *first = VERSION;
        }
        let mut inbox = inbox_with(MAX_REQUEST, &bytes);
        while let Ok(Some(frame)) = inbox.next_frame() {
            prop_assert!(frame.payload.len() <= bytes.len());
            let _either_is_fine = Message::decode(frame);
        }
        prop_assert!(inbox.room().len() <= 2 * bytes.len() + (16 << 10));
    }
}
