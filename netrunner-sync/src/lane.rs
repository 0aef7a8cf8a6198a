//! The client's end of a socket: bytes and descriptors out. It never waits, except where sending a long
//! request has to. What comes in is heard by [`crate::ear`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netrunner_core::wire::MAX_DESCRIPTORS;
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};

use crate::sys::SILENT;
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
    let (ours, theirs) = crate::sys::socket_pair()?;
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
    if descriptors.is_empty() {
        return rustix::net::send(socket, bytes, SILENT);
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
    debug_assert!(fits, "the number of descriptors was checked");
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SILENT)
}

/// Whether nobody holds the far end any more.
pub(crate) fn is_hung_up(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    // An error is no proof of it.
    poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && fds[0].revents().contains(PollFlags::HUP)
}
