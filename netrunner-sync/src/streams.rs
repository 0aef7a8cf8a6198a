//! The client's ends of a child's pipes: non-blocking underneath, tried first, waited for only
//! when they would block. What is read from has more to it, in `outlet`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::lane::above_stdio;
use crate::outlet::Outlet;
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
///
/// ```
/// use std::io::Read;
/// use netrunner_sync::{Command, Stdio};
///
/// let mut child = Command::new("sh").args(["-c", "echo oh >&2"]).stderr(Stdio::piped()).spawn()?;
/// let mut text = String::new();
/// child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
/// assert_eq!(text, "oh\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct ChildStderr(Outlet);

/// Where the client writes to a command.
pub(crate) struct Inlet {
    fd: OwnedFd,
    written: Option<Arc<AtomicU64>>,
}

/// Both ends of a new pipe to a child: ours does not block, the child's does, and neither survives
/// an exec.
pub(crate) struct Pipe {
    pub(crate) ours: OwnedFd,
    pub(crate) theirs: OwnedFd,
}

/// A pipe that the child reads from.
pub(crate) fn pipe_to_child() -> io::Result<Pipe> {
    let (theirs, ours) = crate::sys::pipe()?;
    let ours = above_stdio(ours)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok(Pipe { ours, theirs })
}

/// A pipe that the child writes to.
pub(crate) fn pipe_from_child() -> io::Result<Pipe> {
    let (ours, theirs) = crate::sys::pipe()?;
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
            /// ```
            /// use std::time::Instant;
            /// use netrunner_sync::{Command, Stdio};
            ///
            /// let mut child = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn()?;
            /// let stdout = child.stdout.take().unwrap();
            /// let error = stdout.read_deadline(&mut [0; 10], Instant::now()).unwrap_err();
            /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            /// # Ok::<(), netrunner_sync::Error>(())
            /// ```
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
    /// ```
    /// use std::time::Instant;
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let mut child = Command::new("sleep").arg("60").stdin(Stdio::piped()).spawn()?;
    /// let stdin = child.stdin.take().unwrap();
    /// let error = loop {
    ///     if let Err(error) = stdin.write_deadline(&[0; 10_000], Instant::now()) {
    ///         break error; // nobody reads, and the pipe is full
    ///     }
    /// };
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
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
