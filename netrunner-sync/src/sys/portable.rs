//! The same with what POSIX has, where Linux has more.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, Stat};
use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

/// Real, effective and saved number. The saved one is not told everywhere; an exec makes it the effective one, so
/// no shepherd has another.
pub(crate) type Three = (u32, u32, u32);

/// `getuid(2)` and `geteuid(2)`.
pub(crate) fn user_ids() -> Three {
    let effective = rustix::process::geteuid().as_raw();
    (rustix::process::getuid().as_raw(), effective, effective)
}

/// `getgid(2)` and `getegid(2)`.
pub(crate) fn group_ids() -> Three {
    let effective = rustix::process::getegid().as_raw();
    (rustix::process::getgid().as_raw(), effective, effective)
}

/// Whether the program runs with privileges that its caller does not have: as far as its numbers still tell.
pub(crate) fn is_privileged_by_exec() -> bool {
    let (user, acts_as, _) = user_ids();
    let (group, acts_for, _) = group_ids();
    user != acts_as || group != acts_for
}

/// Whether the peer of a socket has left something unread: nobody tells.
pub(crate) fn is_unread(_: &OwnedFd) -> bool {
    false
}

/// Both ends of a new pipe, the reading one first. Not every system can make it with close-on-exec set, so a
/// program that another thread executes at this moment may have both; as with std there.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    closed_on_exec(rustix::pipe::pipe()?)
}

/// A pipe has the room that it has.
pub(crate) fn widen(_: &OwnedFd, _: usize) {}

/// Both ends of a new socket; as with pipes.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let ends = rustix::net::socketpair(family, kind, SocketFlags::empty(), None)?;
    #[cfg(target_vendor = "apple")]
    for end in [&ends.0, &ends.1] {
        rustix::net::sockopt::set_socket_nosigpipe(end, true)?;
    }
    closed_on_exec(ends)
}

/// How words are sent: without waiting, and without a SIGPIPE, with which the client may do as it likes. Where the
/// flag is missing the socket itself has been told.
pub(crate) const SILENT: SendFlags = SendFlags::DONTWAIT.union(NO_SIGPIPE);

#[cfg(target_vendor = "apple")]
const NO_SIGPIPE: SendFlags = SendFlags::empty();
#[cfg(not(target_vendor = "apple"))]
const NO_SIGPIPE: SendFlags = SendFlags::NOSIGNAL;

/// A socket of the network whose calls do not wait; as with pipes.
pub(crate) fn stream_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn closed_on_exec(ends: (OwnedFd, OwnedFd)) -> io::Result<(OwnedFd, OwnedFd)> {
    fcntl_setfd(&ends.0, FdFlags::CLOEXEC)?;
    fcntl_setfd(&ends.1, FdFlags::CLOEXEC)?;
    Ok(ends)
}

/// How a directory is opened to be passed on: it must be readable.
pub(crate) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// What the current directory is; an error in one that can't be searched.
pub(crate) fn current_directory() -> rustix::io::Result<Stat> {
    rustix::fs::stat(".")
}
