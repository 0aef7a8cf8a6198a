//! The client's end of a socket: bytes and descriptors out, events in. It never waits by itself,
//! except where sending a long request has to.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netrunner_core::client::{Conversation, Heard};
use netrunner_core::message::{Event, Pid};
use netrunner_core::wire::{Inbox, MAX_DESCRIPTORS, MAX_EVENT, WireError};
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};

use crate::kin::{self, Kin};
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
    // Before the other end is anybody else's, so that the kernel names every sender.
    sockopt::set_socket_passcred(&ours, true)?;
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
///
/// A pidfd that arrives is one that will be killed some day, so it is not taken on trust (P10): the
/// one of the hello must be that of the process which said it, and the one of a child must be that
/// of a child of it.
pub(crate) struct Ear {
    inbox: Inbox,
    conversation: Conversation,
    descriptors: VecDeque<OwnedFd>,
    /// Who has sent what was received last, by the kernel's word.
    sender: Option<u32>,
    /// Who has said hello.
    shepherd: Option<Pid>,
    /// This process had no room for a descriptor: one that is missing is no fault of the sender.
    had_no_room: bool,
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
            sender: None,
            shepherd: None,
            had_no_room: false,
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
        let mut space =
            [MaybeUninit::uninit(); cmsg_space!(ScmCredentials(1), ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut room = [IoSliceMut::new(self.inbox.room())];
        let received = match rustix::net::recvmsg(socket, &mut room, &mut control, flags) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Sound::Silence),
            Err(Errno::CONNRESET) => return Ok(Sound::Reset),
            Err(errno) => return Err(errno.into()),
        };
        self.had_no_room |= received.flags.contains(ReturnFlags::CTRUNC);
        for message in control.drain() {
            match message {
                // A client without room for descriptors gets the message without them, and does
                // without: each is a second way to do something, never the only one.
                RecvAncillaryMessage::ScmRights(descriptors) => {
                    for fd in descriptors {
                        match above_stdio(fd) {
                            Ok(fd) => self.descriptors.push_back(fd),
                            Err(_) => self.had_no_room = true,
                        }
                    }
                    self.descriptors.truncate(MOST_DESCRIPTORS);
                }
                RecvAncillaryMessage::ScmCredentials(sender) => {
                    self.sender = sender.pid.as_raw_pid().try_into().ok();
                }
                _ => {}
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
        let Some(frame) = self.inbox.next_frame()? else {
            // They travel with the first byte of their frame, so these belong to none.
            let astray = self.inbox.is_empty() && !self.descriptors.is_empty();
            return if astray { Err(WireError::Descriptors.into()) } else { Ok(None) };
        };
        let announced = frame.descriptors > 0;
        let event = Event::decode(frame)?;
        let descriptor = if announced { self.descriptors.pop_front() } else { None };
        if announced && descriptor.is_none() && !self.had_no_room {
            return Err(WireError::Descriptors.into());
        }
        let heard = self.conversation.handle_event(event)?;
        let descriptor = match &heard {
            Heard::Hello(pid) => {
                self.shepherd = Some(*pid);
                self.own(*pid, descriptor)?
            }
            Heard::Runs => self.childs(descriptor)?,
            // Nothing is ever sent to the number that comes with it.
            Heard::Started(_)
            | Heard::Failed(_)
            | Heard::Ended(_)
            | Heard::Detached
            | Heard::Stopped(_)
            | Heard::Continued => None,
        };
        Ok(Some((heard, descriptor)))
    }

    /// The pidfd of a hello, if it is the sender's. One whose process has ended can hurt nobody.
    fn own(&self, pid: Pid, pidfd: Option<OwnedFd>) -> Result<Option<OwnedFd>, Nonsense> {
        let itself = match pidfd.as_ref().map(kin::of) {
            _ if self.sender != Some(pid.0) => false,
            Some(Kin::Is { pid: found, .. }) => found == pid.0,
            Some(Kin::NoProcess) => false,
            Some(Kin::Ended) | None => true,
            Some(Kin::Unknown) => return Ok(None),
        };
        let lie = || Nonsense("it passed another process for itself".to_owned());
        if itself { Ok(pidfd) } else { Err(lie()) }
    }

    /// The pidfd of a child, if it is one. Of one that was reaped, the group may be another's by now.
    fn childs(&self, pidfd: Option<OwnedFd>) -> Result<Option<OwnedFd>, Nonsense> {
        let mine = |parent| self.shepherd.is_some_and(|shepherd| shepherd.0 == parent);
        let child = match pidfd.as_ref().map(kin::of) {
            Some(Kin::Is { parent, .. }) => mine(parent),
            Some(Kin::NoProcess) => false,
            Some(Kin::Ended | Kin::Unknown) | None => return Ok(None),
        };
        let lie = || Nonsense("it passed a process that is no child of it".to_owned());
        if child { Ok(pidfd) } else { Err(lie()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netrunner_core::client::OutOfTurn;
    use netrunner_core::message::CommandId;
    use netrunner_core::spawn::Notify;
    use rustix::process::{PidfdFlags, pidfd_open};
    use std::os::fd::AsFd;

    fn encoded(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    }

    /// This process is the shepherd of these tests.
    fn me() -> Pid {
        Pid(std::process::id())
    }

    fn pidfd(pid: u32) -> OwnedFd {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    fn hello() -> Vec<u8> {
        encoded(&Event::Hello(me()))
    }

    /// What an ear makes of one event with these descriptors; after a good hello, if it is to be.
    fn heard(
        greeted: bool,
        event: &Event,
        descriptors: &[&OwnedFd],
    ) -> Result<(Heard, Option<OwnedFd>), Nonsense> {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        ear.conversation().begin(CommandId(1), Notify::Start).unwrap();
        if greeted {
            send(&theirs, &hello(), &[pidfd(me().0).as_fd()]).unwrap();
            ear.receive(&ours, Blocking::Yes).unwrap();
            ear.next().unwrap().unwrap();
        }
        let descriptors: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        send(&theirs, &encoded(event), &descriptors).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        let heard = ear.next()?.unwrap();
        assert!(ear.next()?.is_none());
        Ok(heard)
    }

    #[test]
    fn a_descriptor_comes_with_its_event_however_it_is_cut() {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        let bytes = hello();
        send(&theirs, &bytes[..3], &[pidfd(me().0).as_fd()]).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        assert!(ear.next().unwrap().is_none());
        assert_eq!(ear.receive(&ours, Blocking::No).unwrap(), Sound::Silence);
        send(&theirs, &bytes[3..], &[]).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        let (heard, fd) = ear.next().unwrap().unwrap();
        assert_eq!(heard, Heard::Hello(me()));
        assert!(is_above_stdio(&fd.unwrap()));
    }

    #[test]
    fn an_event_without_its_descriptor_takes_none_of_another() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        ear.conversation().begin(CommandId(1), Notify::Start).unwrap();
        let mut bare = Vec::new();
        Event::Hello(me()).encode_bare(&mut bare);
        send(&theirs, &bare, &[]).unwrap();
        let handle = encoded(&Event::Handle(CommandId(1)));
        send(&theirs, &handle, &[pidfd(child.id()).as_fd()]).unwrap();
        // Both have arrived before the first is looked at.
        while ear.receive(&ours, Blocking::No).unwrap() == Sound::Bytes {}
        let (heard, descriptor) = ear.next().unwrap().unwrap();
        assert_eq!((heard, descriptor.is_some()), (Heard::Hello(me()), false));
        let (heard, descriptor) = ear.next().unwrap().unwrap();
        assert_eq!((heard, descriptor.is_some()), (Heard::Runs, true));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn where_there_are_no_pidfds_the_sender_is_looked_at() {
        assert!(heard(false, &Event::Hello(me()), &[]).is_err(), "one was announced");
        let bare = |pid| {
            let (ours, theirs) = pair().unwrap();
            let mut bytes = Vec::new();
            Event::Hello(pid).encode_bare(&mut bytes);
            send(&theirs, &bytes, &[]).unwrap();
            let mut ear = Ear::new();
            assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
            ear.next().map(|heard| heard.is_some())
        };
        assert!(bare(me()).unwrap());
        assert!(bare(Pid(1)).is_err());
    }

    #[test]
    fn only_the_senders_own_pidfd_is_taken_with_a_hello() {
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let theirs = pidfd(stranger.id());
        let own = pidfd(me().0);
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        assert!(heard(false, &Event::Hello(me()), &[&own]).unwrap().1.is_some());
        for (pid, fds) in [
            (me().0, &[&theirs][..]),
            (stranger.id(), &[&theirs]),
            (stranger.id(), &[&own]),
            (me().0, &[&file]),
            (me().0, &[]),
            (me().0, &[&own, &own]),
            (me().0, &[&own; 9]),
        ] {
            assert!(heard(false, &Event::Hello(Pid(pid)), fds).is_err(), "{pid} with {fds:?}");
        }
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        // One that has ended may have been the shepherd, and is nobody now.
        assert!(heard(false, &Event::Hello(me()), &[&theirs]).unwrap().1.is_some());
    }

    #[test]
    fn only_the_pidfd_of_a_child_of_the_shepherd_is_taken_for_a_childs() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, childs, init) = (pidfd(me().0), pidfd(child.id()), pidfd(1));
        let handle = Event::Handle(CommandId(1));
        assert!(heard(true, &handle, &[&childs]).unwrap().1.is_some());
        for fds in [&[&own][..], &[&init], &[], &[&childs, &init]] {
            assert!(heard(true, &handle, fds).is_err(), "{fds:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Its group may be another's by now.
        assert!(heard(true, &handle, &[&childs]).unwrap().1.is_none());
    }

    #[test]
    fn a_descriptor_with_an_event_that_has_none_is_nonsense() {
        let own = pidfd(me().0);
        let detached = Event::Detached(CommandId(1));
        assert_eq!(heard(true, &detached, &[&own]).unwrap_err().0, OutOfTurn.to_string());
        let failed = netrunner_core::message::SpawnFailed {
            id: CommandId(1),
            step: netrunner_core::message::Step::Exec,
            errno: 2,
            object: Vec::new(),
        };
        let failed = Event::SpawnFailed(failed);
        assert!(heard(true, &failed, &[]).is_ok());
        let why = WireError::Descriptors.to_string();
        assert_eq!(heard(true, &failed, &[&own]).unwrap_err().0, why);
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
