//! The shepherd's end of a socket: frames in with their descriptors, events out, never waiting.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use netrunner_core::message::Event;
use netrunner_core::wire::{Frame, Inbox, MAX_DESCRIPTORS, MAX_REQUEST, WireError};

use crate::sys::abi::*;
use crate::sys::socket::{self, Received};
use crate::sys::{Errno, Fd, calls};

/// A socket to the client.
pub(crate) struct Lane {
    socket: Fd,
    inbox: Inbox,
    descriptors: VecDeque<Fd>,
    outbox: VecDeque<Outgoing>,
}

/// So many unsent events are waited for before the next request is read: else a client that asks and
/// never listens would fill our memory with answers.
const BACKED_UP: usize = 16;

/// An event that is not wholly sent.
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptor: Option<Carried>,
}

/// A descriptor that travels with an event, and the event's bytes without it.
struct Carried {
    descriptor: Fd,
    bare: Vec<u8>,
}

/// Whether there may be more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Something was received.
    More,
    /// Nothing more for now.
    Dry,
    /// Nothing more ever: closed, or broken.
    Ended,
}

impl Lane {
    pub(crate) fn new(socket: Fd) -> Lane {
        Lane {
            socket,
            inbox: Inbox::new(MAX_REQUEST),
            descriptors: VecDeque::new(),
            outbox: VecDeque::new(),
        }
    }

    pub(crate) fn number(&self) -> i32 {
        self.socket.number()
    }

    /// Receives once. Frames must be taken between two calls: that is what bounds the inbox.
    pub(crate) fn receive(&mut self) -> Flow {
        match socket::receive(&self.socket, self.inbox.room(), &mut self.descriptors) {
            Ok(Received::Bytes(count)) => {
                self.inbox.filled(count);
                Flow::More
            }
            Ok(Received::Nothing) => Flow::Dry,
            // ECONNRESET and the like: whatever it is, this lane brings nothing more.
            Ok(Received::End) | Err(_) => Flow::Ended,
        }
    }

    /// The next frame and its descriptors; fewer than it announces if the rest were lost on the way.
    pub(crate) fn next_frame(&mut self) -> Result<Option<(Frame<'_>, Vec<Fd>)>, WireError> {
        // They travel with the first byte of their frame, so these belong to none.
        if self.inbox.is_empty() && !self.descriptors.is_empty() {
            return Err(WireError::Descriptors);
        }
        let Some(frame) = self.inbox.next_frame()? else {
            // They belong to the one frame that is still arriving.
            return if self.descriptors.len() > MAX_DESCRIPTORS {
                Err(WireError::Descriptors)
            } else {
                Ok(None)
            };
        };
        let count = usize::from(frame.descriptors).min(self.descriptors.len());
        Ok(Some((frame, self.descriptors.drain(..count).collect())))
    }

    /// Sends an event, now or when there is room. One that comes with a pidfd goes without where the
    /// kernel has none.
    pub(crate) fn send(&mut self, event: &Event, descriptor: Option<Fd>) {
        let mut bare = Vec::new();
        event.encode_bare(&mut bare);
        let (bytes, descriptor) = match descriptor {
            None => (bare, None),
            Some(descriptor) => {
                let mut bytes = Vec::new();
                event.encode(&mut bytes);
                (bytes, Some(Carried { descriptor, bare }))
            }
        };
        self.outbox.push_back(Outgoing { bytes, sent: 0, descriptor });
        self.flush();
    }

    /// Whether something waits for room.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether the client leaves so much unheard that it should not be heard either. An ordinary one
    /// has three events to hear at most.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.outbox.len() >= BACKED_UP
    }

    /// Sends everything, unless the client goes meanwhile.
    pub(crate) fn flush_until_gone(&mut self, client: &Fd) {
        while self.has_outgoing() {
            let mut fds = [
                Pollfd { fd: self.number(), events: POLLOUT, revents: 0 },
                Pollfd { fd: client.number(), events: POLLIN, revents: 0 },
            ];
            // Out of memory nothing is known, and the next try to send tells.
            let _ = calls::poll(&mut fds, None);
            if fds[1].revents != 0 || fds[0].revents & (POLLERR | POLLHUP) != 0 {
                return;
            }
            self.flush();
        }
    }

    /// Sends what there is room for. A client that is gone needs nothing.
    pub(crate) fn flush(&mut self) {
        while let Some(outgoing) = self.outbox.front_mut() {
            let rest = &outgoing.bytes[outgoing.sent..];
            let descriptor = outgoing.descriptor.as_ref().map(|carried| &carried.descriptor);
            match socket::send(&self.socket, rest, descriptor) {
                Ok(0) => return,
                Ok(count) => {
                    outgoing.sent += count;
                    outgoing.descriptor = None;
                    if outgoing.sent == outgoing.bytes.len() {
                        self.outbox.pop_front();
                    }
                }
                Err(Errno(EPIPE | ECONNRESET)) => self.outbox.clear(),
                // More descriptors are on their way than the user may have open (`unix(7)`). The
                // client can do without this one, but not without the event.
                Err(Errno(ETOOMANYREFS)) if outgoing.descriptor.is_some() => {
                    if let Some(carried) = outgoing.descriptor.take() {
                        outgoing.bytes = carried.bare;
                    }
                }
                // ENOBUFS and the like pass; until then the event stays where it is.
                Err(Errno(_)) => return,
            }
        }
    }
}
