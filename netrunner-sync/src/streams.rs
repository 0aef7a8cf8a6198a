//! The client's ends of a child's pipes: non-blocking underneath, tried first, waited for only
//! when they would block. What is counted and limited of it is the work of `meter`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::lane::above_stdio;
use crate::meter::{Flow, Next};
use crate::time::until;

/// The writing end of a child's standard input.
///
/// Dropping it is what the child sees as the end of its input.
///
/// ```
/// use std::io::Write;
/// use netrunner_sync::{Command, Stdio};
///
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"hello").unwrap();
/// assert_eq!(child.wait_with_output()?.stdout, b"hello");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct ChildStdin(Inlet);

/// The reading end of a child's standard output.
///
/// ```
/// use std::io::Read;
/// use std::time::{Duration, Instant};
/// use netrunner_sync::{Command, Stdio};
///
/// let script = "echo first; sleep 60";
/// let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn()?;
/// let mut stdout = child.stdout.take().unwrap();
/// let mut buffer = [0; 6];
/// stdout.read_exact(&mut buffer).unwrap();
/// assert_eq!(&buffer, b"first\n");
///
/// let soon = Instant::now() + Duration::from_millis(10);
/// let error = stdout.read_deadline(&mut buffer, soon).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct ChildStdout(Outlet);

/// The reading end of a child's standard error, as [`ChildStdout`] is.
pub struct ChildStderr(Outlet);

/// Where the client writes to a command.
pub(crate) struct Inlet {
    fd: OwnedFd,
    written: Option<Arc<AtomicU64>>,
}

/// Where the client reads from a command.
pub(crate) struct Outlet {
    end: End,
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
    fn read<T: Default>(&self, result: rustix::io::Result<T>) -> rustix::io::Result<T> {
        match (self, result) {
            (End::Terminal(_), Err(Errno::IO)) => Ok(T::default()),
            (End::Terminal(_) | End::Pipe(_), result) => result,
        }
    }
}

/// More than Linux keeps of what was written to a terminal and not read: two buffers, the larger of
/// which ends at 8 KiB and what came last. How much it is in truth is not told.
pub(crate) const TERMINAL_KEEPS: u64 = 64 << 10;

/// The meter of an outlet, which has to know when that is closed.
struct Tap(Arc<Flow>);

impl Drop for Tap {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Both ends of a new pipe to a child: ours does not block, the child's does, and neither survives
/// an exec.
pub(crate) struct Pipe {
    pub(crate) ours: OwnedFd,
    pub(crate) theirs: OwnedFd,
}

/// A pipe that the child reads from.
pub(crate) fn pipe_to_child() -> io::Result<Pipe> {
    let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let ours = above_stdio(ours)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok(Pipe { ours, theirs })
}

/// A pipe that the child writes to.
pub(crate) fn pipe_from_child() -> io::Result<Pipe> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let ours = above_stdio(ours)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok(Pipe { ours, theirs })
}

/// Does `operation`, and waits for `ready` until `deadline` each time that it would block.
///
/// `TimedOut` only if the deadline has passed and a last try would still block, so a deadline in
/// the past is a non-blocking call.
pub(crate) fn retry<T>(
    fd: &OwnedFd,
    ready: PollFlags,
    deadline: Option<Instant>,
    mut operation: impl FnMut() -> rustix::io::Result<T>,
) -> io::Result<T> {
    loop {
        match operation() {
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {}
            result => return result.map_err(io::Error::from),
        }
        match poll(&mut [PollFd::new(fd, ready)], until(deadline).as_ref()) {
            Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Outlet {
    /// `flow` is where its bytes are counted.
    pub(crate) fn new(fd: OwnedFd, flow: Option<Arc<Flow>>) -> Outlet {
        Outlet { end: End::Pipe(fd), tap: flow.map(Tap) }
    }

    /// The manager of a terminal.
    pub(crate) fn terminal(manager: Arc<OwnedFd>, flow: Option<Arc<Flow>>) -> Outlet {
        Outlet { end: End::Terminal(manager), tap: flow.map(Tap) }
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
    fn read_by<T: Default>(
        &self,
        read: impl FnOnce(&OwnedFd) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        self.end.read(read(self.end.fd()))
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

impl Inlet {
    /// `written` is where its bytes are counted.
    pub(crate) fn new(fd: OwnedFd, written: Option<Arc<AtomicU64>>) -> Inlet {
        Inlet { fd, written }
    }

    fn pipe(&self) -> &OwnedFd {
        &self.fd
    }

    /// Writes without waiting.
    fn try_write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        let count = rustix::io::write(&self.fd, bytes)?;
        self.count(count);
        Ok(count)
    }

    fn count(&self, written: usize) {
        if let Some(counter) = &self.written {
            counter.fetch_add(written as u64, Ordering::Relaxed);
        }
    }

    fn write(
        &self,
        deadline: Option<Instant>,
        write: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        let count = retry(&self.fd, PollFlags::OUT, deadline, write)?;
        self.count(count);
        Ok(count)
    }

    fn into_pipe(self) -> OwnedFd {
        self.fd
    }
}

impl From<OwnedFd> for Inlet {
    fn from(fd: OwnedFd) -> Inlet {
        Inlet::new(fd, None)
    }
}

/// Makes a descriptor blocking again, as another process or library expects it.
pub(crate) fn blocking(fd: OwnedFd) -> OwnedFd {
    // It can't fail on a pipe that is open; if it did, reads and writes could say `WouldBlock`, and
    // nothing would be lost.
    let _ = rustix::fs::fcntl_setfl(&fd, OFlags::empty());
    fd
}

macro_rules! stream {
    ($name:ident, $end:ident) => {
        impl From<$end> for $name {
            fn from(end: $end) -> $name {
                $name(end)
            }
        }

        impl From<$name> for $end {
            fn from(stream: $name) -> $end {
                stream.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(self.0.pipe()).finish()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.pipe().as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.pipe().as_raw_fd()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl From<$name> for OwnedFd {
            /// The descriptor, made blocking again, as another process or library expects it.
            fn from(stream: $name) -> OwnedFd {
                blocking(stream.0.into_pipe())
            }
        }

        impl From<OwnedFd> for $name {
            /// Takes over any descriptor. It is made non-blocking, so that deadlines hold.
            fn from(fd: OwnedFd) -> $name {
                // Without it a deadline is kept only as far as the descriptor's readiness goes.
                if let Ok(flags) = rustix::fs::fcntl_getfl(&fd) {
                    let _ = rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK);
                }
                $name(fd.into())
            }
        }
    };
}

macro_rules! reader {
    ($name:ident) => {
        stream!($name, Outlet);

        impl $name {
            /// Reads what is there, and waits for it until `deadline`.
            ///
            /// # Errors
            ///
            /// [`TimedOut`](io::ErrorKind::TimedOut) if there was nothing until then; a deadline
            /// in the past reads without waiting.
            pub fn read_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
                self.0.read(buffer, Some(deadline))
            }
        }

        impl Read for &$name {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer, None)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.0.read_vectored(buffers)
            }
        }

        impl Read for $name {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }
    };
}

reader!(ChildStdout);
reader!(ChildStderr);
stream!(ChildStdin, Inlet);

impl ChildStdin {
    /// Writes without waiting.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// Writes what fits, and waits for room until `deadline`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if there was no room until then; a deadline in the
    /// past writes without waiting.
    pub fn write_deadline(&self, bytes: &[u8], deadline: Instant) -> io::Result<usize> {
        self.0.write(Some(deadline), || rustix::io::write(self.0.pipe(), bytes))
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(None, || rustix::io::write(self.0.pipe(), bytes))
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write(None, || rustix::io::writev(self.0.pipe(), buffers))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
