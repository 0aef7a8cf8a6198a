//! One message from a lane: bytes and descriptors. Who has sent it the kernel does not tell.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::cmsg_space;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};

use crate::ear::{Blocking, MOST_DESCRIPTORS};

/// What came.
pub(crate) struct Received {
    pub(crate) bytes: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// None if the kernel does not tell.
    pub(crate) sender: Option<u32>,
    /// This process had no room for a descriptor.
    pub(crate) cut_short: bool,
}

pub(crate) fn once(
    socket: &OwnedFd,
    room: &mut [u8],
    blocking: Blocking,
) -> rustix::io::Result<Received> {
    let flags = match blocking {
        Blocking::No => RecvFlags::DONTWAIT,
        Blocking::Yes => RecvFlags::empty(),
    };
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let came = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)?;
    let mut received = Received {
        bytes: came.bytes,
        descriptors: Vec::new(),
        sender: None,
        cut_short: came.flags.contains(ReturnFlags::CTRUNC),
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            for fd in descriptors {
                // It can't fail for a descriptor that is open.
                fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
                received.descriptors.push(fd);
            }
        }
    }
    Ok(received)
}

/// Whether what was said came from the process that has this number: nobody tells, and nothing is done with the
/// number but to name it to the guardian, who knows its own.
pub(crate) fn is_from(_: Option<u32>, _: u32) -> bool {
    true
}
