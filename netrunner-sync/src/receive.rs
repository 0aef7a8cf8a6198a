//! One message from a lane: bytes, descriptors, and who the kernel says has sent it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::cmsg_space;
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
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if blocking == Blocking::No {
        flags |= RecvFlags::DONTWAIT;
    }
    let mut space =
        [MaybeUninit::uninit(); cmsg_space!(ScmCredentials(1), ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let came = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)?;
    let mut received = Received {
        bytes: came.bytes,
        descriptors: Vec::new(),
        sender: None,
        cut_short: came.flags.contains(ReturnFlags::CTRUNC),
    };
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(descriptors) => {
                received.descriptors.extend(descriptors);
            }
            RecvAncillaryMessage::ScmCredentials(sender) => {
                received.sender = sender.pid.as_raw_pid().try_into().ok();
            }
            _ => {}
        }
    }
    Ok(received)
}

/// Whether what was said came from the process that has this number.
pub(crate) fn is_from(sender: Option<u32>, pid: u32) -> bool {
    sender == Some(pid)
}
