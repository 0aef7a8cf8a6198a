//! Where the client reads from a command: a pipe or the manager of a terminal, tried first and waited for only
//! when there is nothing. What is counted and limited of it is the work of `meter`.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::meter::{Flow, Next};
use crate::streams::retry;

/// Where the client reads from a command.
pub(crate) struct Outlet {
    end: End,
    /// How much was read of a pipe, by one thread at a time.
    read: AtomicUsize,
    tap: Option<Tap>,
}

/// A descriptor that is read.
enum End {
    Pipe(OwnedFd),
    /// The manager of a terminal, which is written as well.
    Terminal(Arc<OwnedFd>),
}

impl End {
    fn fd(&self) -> &OwnedFd {
        match self {
            End::Pipe(fd) => fd,
            End::Terminal(fd) => fd,
        }
    }

    /// What a read of it means: EIO is how the manager says that all was read and nobody is left.
    fn read(&self, result: rustix::io::Result<usize>) -> rustix::io::Result<usize> {
        match (self, result) {
            (End::Terminal(_), Err(Errno::IO)) => Ok(0),
            (End::Terminal(_) | End::Pipe(_), result) => result,
        }
    }
}

/// More than Linux keeps of what was written to a terminal and not read: two buffers, the larger of
/// which ends at 8 KiB and what came last. How much it is in truth is not told.
pub(crate) const TERMINAL_KEEPS: u64 = 64 << 10;

/// An output of so many bytes has proved to be long, and its pipe is given this room in place of the 64 KiB that
/// it is born with (pipe(7)), so that its two ends wake each other less often.
const LONG: usize = 256 << 10;
const ROOM_IF_LONG: usize = 256 << 10;

/// The meter of an outlet, which has to know when that is closed.
struct Tap(Arc<Flow>);

impl Drop for Tap {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Outlet {
    /// `flow` is where its bytes are counted.
    pub(crate) fn new(fd: OwnedFd, flow: Option<Arc<Flow>>) -> Outlet {
        Outlet { end: End::Pipe(fd), read: AtomicUsize::new(0), tap: flow.map(Tap) }
    }

    /// The manager of a terminal.
    pub(crate) fn terminal(manager: Arc<OwnedFd>, flow: Option<Arc<Flow>>) -> Outlet {
        Outlet { end: End::Terminal(manager), read: AtomicUsize::new(0), tap: flow.map(Tap) }
    }

    pub(crate) fn pipe(&self) -> &OwnedFd {
        self.end.fd()
    }

    /// Whether a read that leaves room has read all that there was.
    pub(crate) fn tells_when_empty(&self) -> bool {
        matches!(self.end, End::Pipe(_))
    }

    /// How much at most was written so far and is not read.
    pub(crate) fn unread(&self) -> u64 {
        match &self.end {
            End::Pipe(fd) => rustix::io::ioctl_fionread(fd).unwrap_or(0),
            End::Terminal(_) => TERMINAL_KEEPS,
        }
    }

    /// Once around a plain read.
    fn read_by(
        &self,
        read: impl FnOnce(&OwnedFd) -> rustix::io::Result<usize>,
    ) -> rustix::io::Result<usize> {
        let count = self.end.read(read(self.end.fd()))?;
        if let End::Pipe(fd) = &self.end {
            let before = self.read.load(Ordering::Relaxed);
            self.read.store(before.saturating_add(count), Ordering::Relaxed);
            if before < LONG && before + count >= LONG {
                crate::sys::widen(fd, ROOM_IF_LONG);
            }
        }
        Ok(count)
    }

    /// Reads without waiting.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match &self.tap {
            None => self.read_by(|fd| rustix::io::read(fd, buffer)),
            Some(_) if buffer.is_empty() => Ok(0),
            Some(Tap(flow)) => flow.read(|from, most| {
                let most = most.min(buffer.len());
                match from {
                    Next::Descriptor => {
                        self.read_by(|fd| rustix::io::read(fd, &mut buffer[..most]))
                    }
                    Next::Ahead(bytes) => Ok(copy(bytes, buffer)),
                }
            }),
        }
    }

    /// Reads without waiting into the room that `bytes` has.
    pub(crate) fn try_read_into(&self, bytes: &mut Vec<u8>) -> rustix::io::Result<usize> {
        let Some(Tap(flow)) = &self.tap else {
            return self.read_by(|fd| rustix::io::read(fd, spare_capacity(bytes)));
        };
        flow.read(|from, most| {
            let before = bytes.len();
            if let Next::Ahead(ahead) = from {
                let count = ahead.len().min(bytes.capacity() - before);
                bytes.extend_from_slice(&ahead[..count]);
                return Ok(count);
            }
            if bytes.capacity() - before <= most {
                return self.read_by(|fd| rustix::io::read(fd, spare_capacity(bytes)));
            }
            bytes.resize(before + most, 0);
            let result = self.read_by(|fd| rustix::io::read(fd, &mut bytes[before..]));
            bytes.truncate(before + result.unwrap_or(0));
            result
        })
    }

    pub(crate) fn read(&self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        retry(self.pipe(), PollFlags::IN, deadline, || self.try_read(buffer))
    }

    pub(crate) fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = buffers.iter().map(|buffer| buffer.len()).sum();
        retry(self.pipe(), PollFlags::IN, None, || match &self.tap {
            None => self.read_by(|fd| rustix::io::readv(fd, buffers)),
            Some(_) if room == 0 => Ok(0),
            Some(Tap(flow)) => flow.read(|from, most| {
                if most >= room && matches!(from, Next::Descriptor) {
                    return self.read_by(|fd| rustix::io::readv(fd, buffers));
                }
                // The limit is somewhere among them, or what was read ahead ends there.
                let first = buffers.iter_mut().find(|buffer| !buffer.is_empty());
                first.map_or(Ok(0), |buffer| {
                    if let Next::Ahead(bytes) = from {
                        return Ok(copy(bytes, buffer));
                    }
                    let most = most.min(buffer.len());
                    self.read_by(|fd| rustix::io::read(fd, &mut buffer[..most]))
                })
            }),
        })
    }

    /// The plain descriptor, of which nothing is known any more.
    pub(crate) fn into_pipe(self) -> OwnedFd {
        if let Some(Tap(flow)) = &self.tap {
            flow.give_away();
        }
        match self.end {
            End::Pipe(fd) => fd,
            End::Terminal(fd) => alone(fd),
        }
    }
}

/// Copies what fits.
fn copy(bytes: &[u8], buffer: &mut [u8]) -> usize {
    let count = bytes.len().min(buffer.len());
    buffer[..count].copy_from_slice(&bytes[..count]);
    count
}

/// The descriptor itself. Nobody else has it for longer than a call that sets the size takes.
fn alone(mut shared: Arc<OwnedFd>) -> OwnedFd {
    loop {
        match Arc::try_unwrap(shared) {
            Ok(fd) => return fd,
            Err(still) => shared = still,
        }
        std::thread::yield_now();
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe().as_fd()
    }
}

impl From<OwnedFd> for Outlet {
    fn from(fd: OwnedFd) -> Outlet {
        Outlet::new(fd, None)
    }
}
