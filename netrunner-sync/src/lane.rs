//! The client's end of a socket: bytes and descriptors out, events in. It never waits by itself,
//! except where sending a long request has to.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netrunner_core::client::{Conversation, Heard};
use netrunner_core::message::Event;
use netrunner_core::wire::{Inbox, MAX_DESCRIPTORS, MAX_EVENT};
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::time::until;

/// How long a peer may leave a request unread. Guardian and shepherd do nothing that takes a
/// millisecond; one that is silent for so long is stopped or wedged.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a descriptor is none of 0 to 2.
pub(crate) fn is_above_stdio(fd: &OwnedFd) -> bool {
    fd.as_raw_fd() > 2
}

/// Moves a descriptor of ours away from 0 to 2, where a client that has closed one of these would
/// pass it on to the next command as its standard stream.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if is_above_stdio(&fd) { Ok(fd) } else { Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?) }
}

/// Both ends of a new socket: ours, and the one that is passed away.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok((above_stdio(ours)?, theirs))
}

/// Sends all of `bytes`, with descriptors that travel with the first of them.
///
/// # Errors
///
/// `TimedOut` when the peer has left the rest unread for [`PATIENCE`]. After any error the peer has
/// not got all of it.
pub(crate) fn send(
    socket: &OwnedFd,
    mut bytes: &[u8],
    mut descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        match send_some(socket, bytes, descriptors) {
            Ok(count) => {
                bytes = &bytes[count..];
                descriptors = &[];
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(socket, PollFlags::OUT)];
                match poll(&mut fds, until(Some(deadline)).as_ref()) {
                    Ok(0) if Instant::now() >= deadline => {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Sends one short message without waiting. A message of this size is taken as a whole or not at
/// all, so that those of several threads never mix.
pub(crate) fn send_at_once(socket: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<()> {
    loop {
        match send_some(socket, bytes, &[]) {
            Err(Errno::INTR) => {}
            result => return result.map(|_| ()),
        }
    }
}

fn send_some(
    socket: &OwnedFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    // The client may have SIGPIPE as it likes: it never gets one from here.
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if descriptors.is_empty() {
        return rustix::net::send(socket, bytes, flags);
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
    debug_assert!(fits, "the number of descriptors was checked");
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}

/// Whether nobody holds the far end any more.
pub(crate) fn is_hung_up(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    // An error is no proof of it.
    poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && fds[0].revents().contains(PollFlags::HUP)
}

/// What an ear has heard of the lane itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    /// Something arrived.
    Bytes,
    /// Nothing has arrived so far.
    Silence,
    /// The shepherd has closed its end, after it had read all that was sent.
    Closed,
    /// The shepherd has closed its end with something unread.
    ///
    /// Linux gives ECONNRESET exactly then (`unix_release_sock`, net/unix/af_unix.c). As long as a
    /// request to spawn was all that was sent, it was not read to its end, and nothing ran.
    Reset,
}

/// More than the events of one read can announce; the rest is hostile, and closed.
const MOST_DESCRIPTORS: usize = 4;

/// Whether to wait for the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    Yes,
    No,
}

/// The reading half of a lane to a shepherd. One thread at a time reads.
pub(crate) struct Ear {
    inbox: Inbox,
    conversation: Conversation,
    descriptors: VecDeque<OwnedFd>,
}

/// What the shepherd sent makes no sense; the text says why.
#[derive(Debug)]
pub(crate) struct Nonsense(pub(crate) String);

impl<T: fmt::Display> From<T> for Nonsense {
    fn from(why: T) -> Nonsense {
        Nonsense(why.to_string())
    }
}

impl Ear {
    pub(crate) fn new() -> Ear {
        Ear {
            inbox: Inbox::new(MAX_EVENT),
            conversation: Conversation::new(),
            descriptors: VecDeque::new(),
        }
    }

    pub(crate) fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// Receives once. [`Ear::next`] has to be asked until it has nothing more before the next time,
    /// which is what bounds the memory of both.
    pub(crate) fn receive(&mut self, socket: &OwnedFd, blocking: Blocking) -> io::Result<Sound> {
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        if blocking == Blocking::No {
            flags |= RecvFlags::DONTWAIT;
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut room = [IoSliceMut::new(self.inbox.room())];
        let received = match rustix::net::recvmsg(socket, &mut room, &mut control, flags) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Sound::Silence),
            Err(Errno::CONNRESET) => return Ok(Sound::Reset),
            Err(errno) => return Err(errno.into()),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                // A client without room for descriptors gets the message without them, and does
                // without: each is a second way to do something, never the only one.
                self.descriptors.extend(descriptors.filter_map(|fd| above_stdio(fd).ok()));
                self.descriptors.truncate(MOST_DESCRIPTORS);
            }
        }
        if received.bytes == 0 {
            return Ok(Sound::Closed);
        }
        self.inbox.filled(received.bytes);
        Ok(Sound::Bytes)
    }

    /// The next event that has arrived as a whole, what it means, and its descriptor.
    pub(crate) fn next(&mut self) -> Result<Option<(Heard, Option<OwnedFd>)>, Nonsense> {
        let Some(frame) = self.inbox.next_frame()? else { return Ok(None) };
        let announced = frame.descriptors;
        let event = Event::decode(frame)?;
        let descriptor = match announced {
            0 => None,
            _ => self.descriptors.pop_front(),
        };
        Ok(Some((self.conversation.handle_event(event)?, descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netrunner_core::message::{CommandId, Pid};
    use netrunner_core::spawn::Notify;

    fn hello() -> Vec<u8> {
        let mut bytes = Vec::new();
        Event::Hello(Pid(7)).encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_descriptor_comes_with_its_event_however_it_is_cut() {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        let bytes = hello();
        let fd = rustix::stdio::stderr();
        send(&theirs, &bytes[..3], &[fd]).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        assert!(ear.next().unwrap().is_none());
        assert_eq!(ear.receive(&ours, Blocking::No).unwrap(), Sound::Silence);
        send(&theirs, &bytes[3..], &[]).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        let (heard, fd) = ear.next().unwrap().unwrap();
        assert_eq!(heard, Heard::Hello(Pid(7)));
        assert!(is_above_stdio(&fd.unwrap()));
    }

    #[test]
    fn an_event_without_its_descriptor_takes_none_of_another() {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        ear.conversation().begin(CommandId(1), Notify::Start).unwrap();
        let mut bare = Vec::new();
        Event::Hello(Pid(7)).encode_bare(&mut bare);
        send(&theirs, &bare, &[]).unwrap();
        let mut spawned = Vec::new();
        Event::Spawned(CommandId(1), Pid(8)).encode(&mut spawned);
        send(&theirs, &spawned, &[rustix::stdio::stderr()]).unwrap();
        // Both have arrived before the first is looked at.
        while ear.receive(&ours, Blocking::No).unwrap() == Sound::Bytes {}
        let (heard, descriptor) = ear.next().unwrap().unwrap();
        assert_eq!((heard, descriptor.is_some()), (Heard::Hello(Pid(7)), false));
        let (heard, descriptor) = ear.next().unwrap().unwrap();
        assert_eq!((heard, descriptor.is_some()), (Heard::Started(Pid(8)), true));
    }

    #[test]
    fn an_unread_request_is_told_from_a_read_one() {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        send(&ours, b"request", &[]).unwrap();
        drop(theirs);
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Reset);

        let (ours, theirs) = pair().unwrap();
        send(&ours, b"request", &[]).unwrap();
        rustix::io::read(&theirs, &mut [0; 16]).unwrap();
        drop(theirs);
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Closed);
        assert!(send(&ours, b"more", &[]).is_err());
    }

    #[test]
    fn nonsense_is_an_error() {
        let (ours, theirs) = pair().unwrap();
        for bytes in [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], &hello()[..8]] {
            let mut ear = Ear::new();
            let mut bytes = bytes.to_vec();
            bytes.extend([0; 64]);
            send(&theirs, &bytes, &[]).unwrap();
            assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
            assert!(ear.next().is_err());
        }
    }
}
