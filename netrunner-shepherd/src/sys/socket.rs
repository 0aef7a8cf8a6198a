//! `sendmsg` and `recvmsg` on the lane, with descriptors.

use alloc::collections::VecDeque;

use super::abi::*;
use super::arch::syscall;
use super::calls::{Errno, Fd, check};

/// Room for as many descriptors as the kernel passes in one message.
const CONTROL: usize =
    size_of::<Cmsghdr>() + netrunner_core::wire::MAX_DESCRIPTORS.next_multiple_of(2) * 4;

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
pub(crate) fn receive(
    lane: &Fd,
    room: &mut [u8],
    descriptors: &mut VecDeque<Fd>,
) -> Result<Received, Errno> {
    let mut control = Control([0; CONTROL]);
    let mut iov = Iovec { base: room.as_mut_ptr(), length: room.len() };
    let mut message = Msghdr {
        name: core::ptr::null_mut(),
        name_length: 0,
        iov: &raw mut iov,
        iov_count: 1,
        control: control.0.as_mut_ptr(),
        control_length: CONTROL,
        flags: 0,
    };
    let flags = (MSG_DONTWAIT | MSG_CMSG_CLOEXEC) as usize;
    let arguments = [lane.number() as usize, &raw mut message as usize, flags, 0, 0, 0];
    let count = loop {
        // SAFETY: the message points to buffers that are writable for the lengths it gives.
        match check(unsafe { syscall(NR_RECVMSG, arguments) }) {
            Ok(count) => break count,
            Err(Errno(EINTR)) => {}
            Err(Errno(EAGAIN)) => return Ok(Received::Nothing),
            Err(errno) => return Err(errno),
        }
    };
    let mut rest = &control.0[..message.control_length.min(CONTROL)];
    while let Some((header, after)) = rest.split_first_chunk::<{ size_of::<Cmsghdr>() }>() {
        let [l0, l1, l2, l3, l4, l5, l6, l7, v0, v1, v2, v3, k0, k1, k2, k3] = *header;
        let length = usize::from_ne_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        let level = i32::from_ne_bytes([v0, v1, v2, v3]);
        let kind = i32::from_ne_bytes([k0, k1, k2, k3]);
        let data = length.saturating_sub(size_of::<Cmsghdr>()).min(after.len());
        if level == SOL_SOCKET && kind == SCM_RIGHTS {
            for number in after[..data].chunks_exact(4) {
                let number = i32::from_ne_bytes([number[0], number[1], number[2], number[3]]);
                descriptors.push_back(Fd::own(number));
            }
        }
        rest = &after[data.next_multiple_of(8).min(after.len())..];
    }
    Ok(if count == 0 { Received::End } else { Received::Bytes(count) })
}

/// Sends what can be sent without waiting; the descriptor goes with the first byte. `Ok(0)` means
/// that the lane is full.
pub(crate) fn send(lane: &Fd, bytes: &[u8], descriptor: Option<&Fd>) -> Result<usize, Errno> {
    let mut control = Control([0; CONTROL]);
    let header = size_of::<Cmsghdr>();
    let control_length = match descriptor {
        None => 0,
        Some(descriptor) => {
            control.0[..8].copy_from_slice(&(header + 4).to_ne_bytes());
            control.0[8..12].copy_from_slice(&SOL_SOCKET.to_ne_bytes());
            control.0[12..16].copy_from_slice(&SCM_RIGHTS.to_ne_bytes());
            control.0[16..20].copy_from_slice(&descriptor.number().to_ne_bytes());
            header + 8
        }
    };
    let mut iov = Iovec { base: bytes.as_ptr().cast_mut(), length: bytes.len() };
    let message = Msghdr {
        name: core::ptr::null_mut(),
        name_length: 0,
        iov: &raw mut iov,
        iov_count: 1,
        control: control.0.as_mut_ptr(),
        control_length,
        flags: 0,
    };
    // A client that is gone must not end us with SIGPIPE.
    let flags = (MSG_DONTWAIT | MSG_NOSIGNAL) as usize;
    let arguments = [lane.number() as usize, &raw const message as usize, flags, 0, 0, 0];
    loop {
        // SAFETY: the message points to buffers that are readable for the lengths it gives; sendmsg
        // writes to none of them.
        match check(unsafe { syscall(NR_SENDMSG, arguments) }) {
            Ok(count) => return Ok(count),
            Err(Errno(EINTR)) => {}
            Err(Errno(EAGAIN)) => return Ok(0),
            Err(errno) => return Err(errno),
        }
    }
}
