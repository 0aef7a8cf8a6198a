//! A lane by hand: bytes and descriptors into and out of a socket, for tests that play a peer.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netrunner_core::message::{Event, Order, Request, Session};
use netrunner_core::wire::{Inbox, MAX_DESCRIPTORS, MAX_REQUEST, WireError};
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};
use rustix::process::{Pid, PidfdFlags};

use crate::wait::scaled;

/// One end of a lane.
#[derive(Debug)]
pub struct Lane {
    socket: OwnedFd,
    inbox: Inbox,
    /// Came along and belong to no frame that was taken yet.
    pub descriptors: Vec<OwnedFd>,
}

/// What a wait has brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// A whole frame, and what it means.
    Said(T),
    /// Nothing, for as long as was waited.
    Silence,
    /// The other end is closed.
    End,
    /// No frame, or no message.
    Nonsense(WireError),
}

impl Lane {
    /// Both ends of a new one.
    pub fn pair() -> (Lane, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                .expect("a socket pair");
        (Lane::over(ours), theirs)
    }

    /// The end that this descriptor is.
    pub fn over(socket: OwnedFd) -> Lane {
        Lane { socket, inbox: Inbox::new(MAX_REQUEST), descriptors: Vec::new() }
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends all bytes, with descriptors that travel with the first of them. `TimedOut` when the
    /// peer does not read for ten seconds.
    pub fn send(&self, mut bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut descriptors = descriptors;
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)), "too many");
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let piece = [IoSlice::new(bytes)];
            match rustix::net::sendmsg(&self.socket, &piece, &mut control, flags) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    descriptors = &[];
                }
                Err(Errno::AGAIN) => {
                    if !self.wait(PollFlags::OUT, Duration::from_secs(10)) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Says an event.
    pub fn event(&self, event: &Event, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.send(&bytes, descriptors)
    }

    /// Sends a request.
    pub fn request(&self, request: &Request<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.send(&bytes, descriptors)
    }

    /// Gives an order.
    pub fn order(&self, order: Order, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        order.encode(&mut bytes);
        self.send(&bytes, descriptors)
    }

    /// Asks a guardian for a shepherd.
    pub fn bear(&self) -> io::Result<Lane> {
        let (ours, theirs) = Lane::pair();
        self.order(Order::Bear(Session::Own), &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// The next event, waited for within the stretched limit.
    pub fn next_event(&mut self, limit: Duration) -> Heard<Event> {
        self.next_of(limit, Event::decode)
    }

    /// The next order.
    pub fn next_order(&mut self, limit: Duration) -> Heard<Order> {
        self.next_of(limit, Order::decode)
    }

    /// The number of the command in the next request.
    pub fn next_request(&mut self, limit: Duration) -> Heard<u32> {
        self.next_of(limit, |frame| {
            Request::decode(frame).map(|request| match request {
                Request::Spawn(spawn) => spawn.id.0,
                Request::Signal(id, _)
                | Request::Stop(id, _)
                | Request::Kill(id)
                | Request::Detach(id) => id.0,
            })
        })
    }

    fn next_of<T>(
        &mut self,
        limit: Duration,
        decode: impl Fn(netrunner_core::wire::Frame<'_>) -> Result<T, WireError>,
    ) -> Heard<T> {
        let end = Instant::now() + scaled(limit);
        loop {
            match self.inbox.next_frame().and_then(|frame| frame.map(&decode).transpose()) {
                Ok(Some(said)) => return Heard::Said(said),
                Ok(None) => {}
                Err(error) => return Heard::Nonsense(error),
            }
            match self.receive() {
                Ok(0) => return Heard::End,
                Ok(_) => {}
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Heard::Silence;
                    }
                    self.wait(PollFlags::IN, left);
                }
                // Closed with something of ours unread.
                Err(_) => return Heard::End,
            }
        }
    }

    /// Receives once, without waiting.
    fn receive(&mut self) -> rustix::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut room = [IoSliceMut::new(self.inbox.room())];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = rustix::net::recvmsg(&self.socket, &mut room, &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.inbox.filled(received.bytes);
        Ok(received.bytes)
    }

    /// Waits until something of this is so, or the limit is over.
    pub fn wait(&self, flags: PollFlags, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.socket, flags)];
        poll(&mut fds, Some(&timespec(limit))).is_ok_and(|ready| ready > 0)
    }

    /// Says nothing more, or hears nothing more.
    pub fn half_close(&self, which: Shutdown) {
        // It may be closed from the other side.
        let _ = rustix::net::shutdown(&self.socket, which);
    }
}

fn timespec(limit: Duration) -> Timespec {
    Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() }
}

/// A pidfd of a process that must be there.
pub fn pidfd(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(pid as i32).expect("a process number");
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("open a pidfd")
}
