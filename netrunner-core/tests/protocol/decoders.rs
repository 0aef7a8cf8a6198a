//! Any bytes at all into both decoders. The fuzzer's target `decoders` is this file (`fuzz/`); here its
//! corpus is replayed and damaged.

use netrunner_core::message::{Event, Order, Request};
use netrunner_core::wire::{Frame, Inbox, MAX_EVENT, WireError};

use crate::samples::{self, Message};

/// What has come out of an inbox: kind, descriptors and payload of each frame, and what ended them.
type Came = (Vec<(u8, u8, Vec<u8>)>, Option<WireError>);

/// A stream in pieces of so many bytes as the first byte says: it arrives as it does in one piece, with
/// little memory, and whatever of it is understood is sent on as it came.
pub(crate) fn check(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = receive(stream, stream.len());
    assert_eq!(receive(stream, usize::from(size)), whole, "in pieces of {size}");
    for (kind, descriptors, payload) in &whole.0 {
        probe(Frame { kind: *kind, descriptors: *descriptors, payload });
    }
}

fn receive(stream: &[u8], size: usize) -> Came {
    let mut inbox = Inbox::new(MAX_EVENT);
    let mut frames = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        let mut rest = piece;
        while !rest.is_empty() {
            let room = inbox.room();
            assert!(room.len() <= 2 * stream.len() + 2048, "{} bytes of room", room.len());
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            inbox.filled(count);
        }
        loop {
            match inbox.next_frame() {
                Ok(Some(Frame { kind, descriptors, payload })) => {
                    frames.push((kind, descriptors, payload.to_vec()));
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Decodes in every direction; what is understood must be sent on byte for byte as it came.
/// Tells in how many directions it was understood.
pub(crate) fn probe(frame: Frame<'_>) -> usize {
    let understood = [
        Order::decode(frame).map(Message::Order),
        Request::decode(frame).map(Message::Request),
        Event::decode(frame).map(Message::Event),
    ];
    let mut count = 0;
    for message in understood.into_iter().flatten() {
        let bytes = message.bytes();
        let again = samples::frame(&bytes);
        assert_eq!((again.kind, again.payload), (frame.kind, frame.payload), "{message:?}");
        // Only an event may come without the pidfd that could be with it.
        let may_lack = matches!(message, Message::Event(_));
        let fits = again.descriptors == frame.descriptors
            || (may_lack && again.descriptors > frame.descriptors);
        assert!(fits, "{message:?} with {} descriptors", frame.descriptors);
        // Received lists are iterated by the shepherd: that must not fail late.
        let _laid_open = message.laid_open();
        count += 1;
    }
    count
}
