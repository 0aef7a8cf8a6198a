//! `sendmsg` and `recvmsg` on the lane, with descriptors.

use alloc::collections::VecDeque;

use super::abi::*;
use super::calls::{Errno, Fd, count};
use super::libc;

/// A header with what fills it up to where its data begins.
const HEADER: usize = size_of::<Cmsghdr>().next_multiple_of(CONTROL_ALIGN);

/// Room for as many descriptors as are passed in one message, and for one header more than needed.
const CONTROL: usize =
    2 * HEADER + (netrunner_core::wire::MAX_DESCRIPTORS * 4).next_multiple_of(CONTROL_ALIGN);

/// A control buffer, aligned as its headers must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// What a receive call brought.
pub(crate) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// The other end is closed.
    End,
    /// Nothing yet.
    Nothing,
}

/// Receives without waiting. Descriptors that come along are appended to `descriptors`, closed on
/// exec; those that did not fit under `RLIMIT_NOFILE` are lost, and the frame that they belong to
/// will miss them.
#[allow(clippy::unnecessary_cast, reason = "its lengths are no `usize` elsewhere")]
pub(crate) fn receive(
    lane: &Fd,
    room: &mut [u8],
    descriptors: &mut VecDeque<Fd>,
) -> Result<Received, Errno> {
    let mut control = Control([0; CONTROL]);
    let mut iov = Iovec { base: room.as_mut_ptr(), length: room.len() };
    let mut message = message(&raw mut iov, control.0.as_mut_ptr(), CONTROL);
    let count = loop {
        // SAFETY: the message points to buffers that are writable for the lengths it gives.
        let received = unsafe { libc::recvmsg(lane.number(), &raw mut message, MSG_DONTWAIT) };
        match count(received) {
            Ok(count) => break count,
            Err(Errno(EINTR)) => {}
            Err(Errno(EAGAIN)) => return Ok(Received::Nothing),
            Err(errno) => return Err(errno),
        }
    };
    let mut rest = &control.0[..(message.control_length as usize).min(CONTROL)];
    while rest.len() >= HEADER {
        // SAFETY: that many bytes are readable, and any bytes are a header.
        let header: Cmsghdr = unsafe { rest.as_ptr().cast::<Cmsghdr>().read_unaligned() };
        let after = &rest[HEADER..];
        let data = (header.length as usize).saturating_sub(HEADER).min(after.len());
        if header.level == SOL_SOCKET && header.kind == SCM_RIGHTS {
            for number in after[..data].chunks_exact(4) {
                let number = i32::from_ne_bytes([number[0], number[1], number[2], number[3]]);
                let received = Fd::own(number);
                // It can't fail for a descriptor that is open.
                let _ = received.close_on_exec();
                descriptors.push_back(received);
            }
        }
        rest = &after[data.next_multiple_of(CONTROL_ALIGN).min(after.len())..];
    }
    Ok(if count == 0 { Received::End } else { Received::Bytes(count) })
}

/// Sends what can be sent without waiting; the descriptor goes with the first byte. `Ok(0)` means
/// that the lane is full. `SIGPIPE` is blocked, so a client that is gone does not end us.
pub(crate) fn send(lane: &Fd, bytes: &[u8], descriptor: Option<&Fd>) -> Result<usize, Errno> {
    let mut control = Control([0; CONTROL]);
    let length = match descriptor {
        None => 0,
        Some(descriptor) => {
            let header = Cmsghdr {
                length: (HEADER + 4) as ControlLength,
                level: SOL_SOCKET,
                kind: SCM_RIGHTS,
            };
            // SAFETY: the buffer is aligned for a header, and longer than one.
            unsafe { control.0.as_mut_ptr().cast::<Cmsghdr>().write(header) };
            control.0[HEADER..HEADER + 4].copy_from_slice(&descriptor.number().to_ne_bytes());
            HEADER + 4_usize.next_multiple_of(CONTROL_ALIGN)
        }
    };
    let mut iov = Iovec { base: bytes.as_ptr().cast_mut(), length: bytes.len() };
    let message = message(&raw mut iov, control.0.as_mut_ptr(), length);
    loop {
        // SAFETY: the message points to buffers that are readable for the lengths it gives; sendmsg
        // writes to none of them.
        let sent = unsafe { libc::sendmsg(lane.number(), &raw const message, MSG_DONTWAIT) };
        match count(sent) {
            Ok(count) => return Ok(count),
            Err(Errno(EINTR)) => {}
            Err(Errno(EAGAIN)) => return Ok(0),
            Err(errno) => return Err(errno),
        }
    }
}

fn message(iov: *mut Iovec, control: *mut u8, length: usize) -> Msghdr {
    Msghdr {
        name: core::ptr::null_mut(),
        name_length: 0,
        iov,
        iov_count: 1,
        control: if length == 0 { core::ptr::null_mut() } else { control },
        control_length: length as ControlLength,
        flags: 0,
    }
}
