//! A terminal of the command's own: what is asked for, and the client's end of it. Opening and
//! attaching it is the work of `netrunner-pty` and of the shepherd.

use std::io::{self, IoSliceMut, Write};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use netrunner_pty::{Modes, WinSize};
use rustix::event::PollFlags;

use crate::command::{Command, Stdin};
use crate::error::{Error, Result};
use crate::outlet::Outlet;
use crate::streams::{blocking, retry};
use crate::target::Encore;

mod halves;

impl Command {
    /// Runs the command on a terminal of its own, of this size: a pseudo-terminal is its standard
    /// input, output and error, and it leads a session on it.
    ///
    /// [`spawn`](Command::spawn) gives the other end as [`Child::pty`](crate::Child::pty). Where
    /// the outputs are captured, what the terminal shows is the standard output, as the terminal
    /// shows it: with `\r\n` at the ends of lines, and with what is typed, unless
    /// [`pty_modes`](Command::pty_modes) says otherwise.
    ///
    /// ```
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let output = Command::new("stty").arg("size").pty(WinSize::new(24, 80)).run()?;
    /// assert_eq!(output.stdout, b"24 80\r\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The spawn fails with [`is_invalid_input`](Error::is_invalid_input) where the size has no
    /// room, or where `stdin`, `stdout` or [`foreground`](crate::CommandExt::foreground) was set
    /// as well. [`stderr`](Command::stderr) may be: it then goes there and not to the terminal.
    pub fn pty(&mut self, size: WinSize) -> &mut Command {
        self.pty = Some(size);
        self
    }

    /// The modes that the terminal of [`pty`](Command::pty) has when the program starts; without
    /// it, the system's for a new one.
    ///
    /// ```
    /// use netrunner_sync::{Command, PtyModes, WinSize};
    ///
    /// let mut command = Command::new("echo");
    /// command.arg("plain").pty(WinSize::new(24, 80)).pty_modes(PtyModes::raw());
    /// assert_eq!(command.run()?.stdout, b"plain\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The spawn fails with [`is_invalid_input`](Error::is_invalid_input) without a `pty`.
    pub fn pty_modes(&mut self, modes: Modes) -> &mut Command {
        self.pty_modes = Some(modes);
        self
    }
}

/// Finds what does not go together with a terminal of one's own.
pub(crate) fn check(command: &Command) -> Result<()> {
    let Some(size) = command.pty else {
        return match command.pty_modes {
            Some(_) => Err(Error::invalid("`pty_modes` needs a `pty`")),
            None => Ok(()),
        };
    };
    check_size(size)?;
    let refused = match (&command.stdin, &command.stdout, command.setup.foreground) {
        (Some(Stdin::Stdio(_)), _, _) => "stdin",
        (_, Some(_), _) => "stdout",
        (_, _, Some(_)) => "foreground",
        (Some(Stdin::Input(_)) | None, None, None) => return Ok(()),
    };
    Err(Error::invalid(format!("`{refused}` can't be set for a command with a `pty` of its own")))
}

pub(crate) fn check_size(size: WinSize) -> Result<()> {
    if size.is_empty() {
        return Err(Error::invalid(format!("a terminal of {size} characters has no room")));
    }
    Ok(())
}

/// The client's end of a command's terminal: what is written is typed, what is read was shown.
///
/// It is at its end when the command is over and all that it wrote was read. Dropping it, both
/// halves if it was [`split`](ChildPty::split), hangs the terminal up, as closing the window of a
/// terminal emulator does: the command's session gets SIGHUP. What is left of an
/// [`input`](Command::input) then is typed no more.
///
/// ```
/// use std::io::{Read, Write};
/// use netrunner_sync::{Command, PtyModes, WinSize};
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "read name; echo hello $name"]);
/// let mut child = command.pty(WinSize::new(24, 80)).spawn()?;
/// let mut pty = child.pty.take().unwrap();
/// pty.write_all(b"you\n").unwrap();
/// let mut shown = String::new();
/// pty.read_to_string(&mut shown).unwrap();
/// assert_eq!(shown, "you\r\nhello you\r\n"); // the terminal shows what is typed
/// assert!(child.wait()?.success());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct ChildPty {
    reader: PtyReader,
    writer: PtyWriter,
}

/// What a command's terminal shows; a half of a [`ChildPty`].
///
/// ```
/// use std::io::Read;
/// use netrunner_sync::{Command, WinSize};
///
/// let mut child = Command::new("echo").arg("hello").pty(WinSize::new(24, 80)).spawn()?;
/// let (mut reader, _writer) = child.pty.take().unwrap().split();
/// let mut shown = String::new();
/// reader.read_to_string(&mut shown).unwrap();
/// assert_eq!(shown, "hello\r\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct PtyReader {
    outlet: Outlet,
    encore: Option<Encore>,
    /// What was read and not expected: it comes before all that is read later.
    held: Mutex<Vec<u8>>,
}

/// What is typed on a command's terminal; a half of a [`ChildPty`].
///
/// ```
/// use std::io::Write;
/// use netrunner_sync::{Command, WinSize};
///
/// let mut child = Command::new("head").arg("-n1").pty(WinSize::new(24, 80)).spawn()?;
/// let (_reader, mut writer) = child.pty.take().unwrap().split();
/// writer.write_all(b"hello\n").unwrap();
/// assert!(child.wait()?.success());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct PtyWriter {
    manager: Arc<OwnedFd>,
    written: Option<Arc<AtomicU64>>,
    /// Whether the last byte that was typed did not end a line.
    in_line: AtomicBool,
}

impl ChildPty {
    pub(crate) fn new(
        manager: Arc<OwnedFd>,
        outlet: Outlet,
        encore: Option<Encore>,
        written: Option<Arc<AtomicU64>>,
    ) -> ChildPty {
        let writer = PtyWriter { manager, written, in_line: AtomicBool::new(false) };
        ChildPty { reader: PtyReader { outlet, encore, held: Mutex::default() }, writer }
    }

    /// What is shown, who types the end of the input again, and what was read already.
    pub(crate) fn into_parts(self) -> (Outlet, (Option<Encore>, Vec<u8>)) {
        let PtyReader { outlet, encore, held } = self.reader;
        (outlet, (encore, held.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Two halves, for two threads. The terminal is hung up when both are dropped.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("head").arg("-n1").pty(WinSize::new(24, 80)).spawn()?;
    /// let (mut reader, mut writer) = child.pty.take().unwrap().split();
    /// let shown = std::thread::spawn(move || {
    ///     let mut shown = String::new();
    ///     reader.read_to_string(&mut shown).map(|_| shown)
    /// });
    /// writer.write_all(b"hello\n").unwrap();
    /// assert_eq!(shown.join().unwrap().unwrap(), "hello\r\nhello\r\n"); // typed, and written
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn split(self) -> (PtyReader, PtyWriter) {
        (self.reader, self.writer)
    }

    /// Reads what is there, and waits for it until `deadline`.
    ///
    /// ```
    /// use std::time::Instant;
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("sleep").arg("60").pty(WinSize::new(24, 80)).spawn()?;
    /// let pty = child.pty.take().unwrap();
    /// let error = pty.read_deadline(&mut [0; 10], Instant::now()).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if there was nothing until then; a deadline in the
    /// past reads without waiting.
    pub fn read_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.reader.read_deadline(buffer, deadline)
    }

    /// Types what fits, and waits for room until `deadline`.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("head").arg("-n1").pty(WinSize::new(24, 80)).spawn()?;
    /// let pty = child.pty.take().unwrap();
    /// let deadline = Instant::now() + Duration::from_secs(30);
    /// assert_eq!(pty.write_deadline(b"hello\n", deadline).unwrap(), 6);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if there was no room until then; a deadline in the
    /// past types without waiting.
    pub fn write_deadline(&self, bytes: &[u8], deadline: Instant) -> io::Result<usize> {
        self.writer.write_deadline(bytes, deadline)
    }
}

impl PtyReader {
    /// As [`ChildPty::read_deadline`].
    ///
    /// ```
    /// use std::time::Instant;
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("sleep").arg("60").pty(WinSize::new(24, 80)).spawn()?;
    /// let (reader, _writer) = child.pty.take().unwrap().split();
    /// let error = reader.read_deadline(&mut [0; 10], Instant::now()).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChildPty::read_deadline`].
    pub fn read_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.read_until(buffer, Some(deadline))
    }

    fn read_until(&self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        match self.take_held(buffer) {
            0 => self.read_on(buffer, deadline),
            count => Ok(count),
        }
    }

    fn read_into_all(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let first = buffers.iter_mut().find(|buffer| !buffer.is_empty());
        match first.map_or(0, |buffer| self.take_held(buffer)) {
            0 => {
                let result = self.outlet.read_vectored(buffers);
                self.look();
                result
            }
            count => Ok(count),
        }
    }

    /// Reads what was not read before.
    pub(crate) fn read_on(
        &self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let result = self.outlet.read(buffer, deadline);
        self.look();
        result
    }

    /// What was read before; whoever has it reads on alone.
    pub(crate) fn held(&self) -> MutexGuard<'_, Vec<u8>> {
        // Nothing panics with it in a half-done state.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_held(&self, buffer: &mut [u8]) -> usize {
        let mut held = self.held();
        let count = held.len().min(buffer.len());
        buffer[..count].copy_from_slice(&held[..count]);
        held.drain(..count);
        count
    }

    /// A program that was reading its input may have thrown its end away.
    fn look(&self) {
        self.encore.iter().for_each(Encore::look);
    }

    fn manager(&self) -> &OwnedFd {
        self.outlet.pipe()
    }
}

impl PtyWriter {
    /// As [`ChildPty::write_deadline`].
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("head").arg("-n1").pty(WinSize::new(24, 80)).spawn()?;
    /// let (_reader, writer) = child.pty.take().unwrap().split();
    /// let deadline = Instant::now() + Duration::from_secs(30);
    /// assert_eq!(writer.write_deadline(b"hello\n", deadline).unwrap(), 6);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChildPty::write_deadline`].
    pub fn write_deadline(&self, bytes: &[u8], deadline: Instant) -> io::Result<usize> {
        self.write_until(bytes, Some(deadline))
    }

    fn write_until(&self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        let write = || netrunner_pty::write(&self.manager, bytes);
        let count = retry(&self.manager, PollFlags::OUT, deadline, write)?;
        if let Some(written) = &self.written {
            written.fetch_add(count as u64, Ordering::Relaxed);
        }
        if let Some(last) = bytes[..count].last() {
            self.in_line.store(!ends_line(*last), Ordering::Relaxed);
        }
        Ok(count)
    }

    fn type_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self).write_all(bytes)
    }

    fn manager(&self) -> &OwnedFd {
        &self.manager
    }
}

/// Whether nothing of a line is left after this byte: it ends the line, hands it over, or throws it
/// away, by the control characters that terminals begin with.
fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0x03 | 0x04 | 0x15 | 0x1a | 0x1c)
}

impl From<ChildPty> for OwnedFd {
    /// The manager's descriptor, made blocking again, as another library expects it. It says EIO
    /// where a `ChildPty` says that it is at its end. What is left of an
    /// [`input`](Command::input) is typed no more: it would be another's typing. Read, after an [`expect`](ChildPty::expect), what it has left. With [`max_output`](Command::max_output) take
    /// it before the command is over: what is unread then is counted, and so no longer behind it.
    fn from(pty: ChildPty) -> OwnedFd {
        drop(pty.writer);
        drop(pty.reader.encore);
        blocking(pty.reader.outlet.into_pipe())
    }
}

impl IntoRawFd for ChildPty {
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}
