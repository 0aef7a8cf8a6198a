//! The manager: reading and writing it, and what else is asked of a terminal from outside.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::control::Control;
use crate::size::WinSize;

/// The manager of a pseudo-terminal.
///
/// Dropping the last descriptor of it hangs the terminal up: its session's leader and foreground
/// get SIGHUP.
///
/// The descriptor does not block underneath; reads and writes here wait all the same. A blocking
/// write would wait for ever where the last program closes the terminal meanwhile: the kernel wakes
/// it and lets it sleep again.
///
/// ```
/// use std::io::Write;
/// use netrunner_pty::{Modes, WinSize, open};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// let mut manager = pair.manager;
/// manager.write_all(b"typed\n")?;
/// let mut line = [0; 10];
/// let count = std::io::Read::read(&mut std::fs::File::from(pair.subsidiary), &mut line)?;
/// assert_eq!(&line[..count], b"typed\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Manager(OwnedFd);

/// Reads from a manager. That nobody has the subsidiary open any more is an end of file, and it
/// comes after all that was written.
///
/// Linux says EIO then, but only once what was written is read: a subsidiary that is closed leaves
/// its output where it is, and `read(2)` waits for what is still on its way through the line
/// discipline before it looks whether anybody is left (since Linux 4.5).
///
/// The end need not be for ever: a program may open its terminal again by `/dev/tty`. Whoever wants
/// the end to be that of all programs keeps the subsidiary open until then.
///
/// ```
/// use netrunner_pty::{Modes, WinSize, open, read};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// drop(pair.subsidiary);
/// assert_eq!(read(&pair.manager, &mut [0; 10])?, 0); // the end
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of `read(2)`: EAGAIN if there is nothing and the descriptor does not block.
pub fn read(manager: impl AsFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    match rustix::io::read(manager, buffer) {
        Err(Errno::IO) => Ok(0),
        result => result,
    }
}

/// Writes to a manager that does not block: types. That nobody has the subsidiary open any more is
/// a broken pipe, as soon as the terminal takes no more; until then Linux keeps what is typed for
/// whoever opens it next.
///
/// ```
/// use netrunner_pty::{Modes, WinSize, open, write};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// assert_eq!(write(&pair.manager, b"typed\n")?, 6);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// EPIPE, and those of `write(2)`: EAGAIN if there is no room now.
pub fn write(manager: impl AsFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    let manager = manager.as_fd();
    match rustix::io::write(manager, bytes) {
        Err(Errno::AGAIN) if is_hung_up(manager) => Err(Errno::PIPE),
        // Of a terminal that is hung up.
        Err(Errno::IO) => Err(Errno::PIPE),
        result => result,
    }
}

/// Whether nobody has the subsidiary open.
fn is_hung_up(manager: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&manager, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// How much can be read from a manager now, as far as the kernel tells: of what is on its way one
/// buffer.
///
/// ```
/// use netrunner_pty::{Modes, WinSize, open, unread};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// assert_eq!(unread(&pair.manager)?, 0); // nothing was shown
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// ENOTTY where it is no terminal.
pub fn unread(manager: impl AsFd) -> rustix::io::Result<u64> {
    let manager = manager.as_fd();
    // What was written goes through a kernel thread; only a poll or a read waits for that one.
    poll(&mut [PollFd::new(&manager, PollFlags::IN)], Some(&Timespec::default()))?;
    rustix::io::ioctl_fionread(manager)
}

/// Does `operation`, and waits for `ready` each time that it would block.
fn waiting(
    manager: &OwnedFd,
    ready: PollFlags,
    mut operation: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match operation() {
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {}
            result => return Ok(result?),
        }
        match poll(&mut [PollFd::new(manager, ready)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The process group in the foreground of a terminal, asked for at the manager; `None` where it is
/// no session's.
///
/// ```
/// use netrunner_pty::{Modes, WinSize, foreground, open};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// assert_eq!(foreground(&pair.manager)?, None); // no session is on it
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// ENOTTY where it is no terminal.
pub fn foreground(manager: impl AsFd) -> io::Result<Option<u32>> {
    match rustix::termios::tcgetpgrp(manager) {
        Ok(group) => Ok(Some(Pid::as_raw(Some(group)).unsigned_abs())),
        // The number 0: there is none, or one of another pid namespace.
        Err(Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

impl Manager {
    /// The size that the terminal has now.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// assert_eq!(pair.manager.size()?, WinSize::new(24, 80));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None that could be named: it is a terminal.
    pub fn size(&self) -> io::Result<WinSize> {
        WinSize::of(&self.0)
    }

    /// Gives the terminal another size.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// pair.manager.resize(WinSize::new(50, 132))?;
    /// assert_eq!(WinSize::of(&pair.subsidiary)?, WinSize::new(50, 132));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None that could be named: it is a terminal.
    pub fn resize(&self, size: WinSize) -> io::Result<()> {
        size.set(&self.0)
    }

    /// The process group in the foreground, if there is one.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// assert_eq!(pair.manager.foreground()?, None); // no session is on it
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None that could be named: it is a terminal.
    pub fn foreground(&self) -> io::Result<Option<u32>> {
        foreground(&self.0)
    }

    /// Types a control character, whichever byte that is now; none where it is turned off.
    ///
    /// ```
    /// use std::io::Read;
    /// use netrunner_pty::{Control, Modes, WinSize, open};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// pair.manager.send(Control::EndOfFile)?;
    /// let count = std::fs::File::from(pair.subsidiary).read(&mut [0; 10])?;
    /// assert_eq!(count, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`write()`].
    pub fn send(&self, control: Control) -> io::Result<()> {
        match control.of(&self.0)? {
            Some(byte) => (&*self).write_all(&[byte]),
            None => Ok(()),
        }
    }
}

impl Manager {
    /// The descriptor as it is: reads and writes of it say EAGAIN where they would block.
    ///
    /// ```
    /// use netrunner_pty::{Modes, WinSize, open, read};
    ///
    /// let pair = open(WinSize::new(24, 80), &Modes::new())?;
    /// let manager = pair.manager.into_nonblocking();
    /// assert!(read(&manager, &mut [0; 10]).is_err()); // EAGAIN: nothing was shown
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn into_nonblocking(self) -> OwnedFd {
        self.0
    }
}

impl From<OwnedFd> for Manager {
    /// Takes over a manager that was opened elsewhere.
    fn from(fd: OwnedFd) -> Manager {
        set_blocking(&fd, OFlags::NONBLOCK);
        Manager(fd)
    }
}

impl From<Manager> for OwnedFd {
    /// The descriptor, made blocking again, as another library expects it.
    fn from(manager: Manager) -> OwnedFd {
        set_blocking(&manager.0, OFlags::empty());
        manager.0
    }
}

/// It can't fail on a descriptor that is open, except by a sandbox: then it stays as it is, and
/// reads and writes may wait where they should not.
fn set_blocking(fd: &OwnedFd, to: OFlags) {
    if let Ok(flags) = rustix::fs::fcntl_getfl(fd) {
        let _ = rustix::fs::fcntl_setfl(fd, flags.difference(OFlags::NONBLOCK) | to);
    }
}

impl AsFd for Manager {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Manager {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Read for &Manager {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        waiting(&self.0, PollFlags::IN, || read(&self.0, buffer))
    }
}

impl Read for Manager {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for &Manager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        waiting(&self.0, PollFlags::OUT, || write(&self.0, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Manager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
