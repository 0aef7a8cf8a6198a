//! What a terminal's client can do with it as a whole, and with each of its halves.

use std::fmt;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use netrunner_pty::{Control, Modes, WinSize};

use super::{ChildPty, PtyReader, PtyWriter, check_size};

/// What both the whole and the half that types can do.
macro_rules! types {
    ($($name:ident, $writer:ident;)*) => {$(
        impl $name {
            /// Types a control character by its name, whichever byte it is just now: the command
            /// can change it. Does nothing where it is turned off.
            ///
            /// ```
            /// use netrunner_sync::{Command, Control, WinSize};
            ///
            /// let mut child = Command::new("cat").pty(WinSize::new(24, 80)).spawn()?;
            /// child.pty.as_ref().unwrap().send(Control::EndOfFile).unwrap();
            /// assert!(child.wait()?.success());
            /// # Ok::<(), netrunner_sync::Error>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As a write.
            pub fn send(&self, control: Control) -> io::Result<()> {
                let writer = self.$writer();
                let Some(byte) = control.of(writer.manager())? else { return Ok(()) };
                writer.type_all(&[byte])?;
                if control == Control::EndOfFile {
                    writer.in_line.store(false, Ordering::Relaxed);
                }
                Ok(())
            }

            /// Types the end of the input: the end-of-file character, twice where the last that was
            /// typed did not end a line, since the first one then only hands the line over.
            ///
            /// ```
            /// use std::io::Write;
            /// use netrunner_sync::{Command, PtyModes, WinSize};
            ///
            /// let mut command = Command::new("cat");
            /// command.pty(WinSize::new(24, 80)).pty_modes(PtyModes::new().echo(false));
            /// let mut child = command.spawn()?;
            /// let pty = child.pty.as_mut().unwrap();
            /// pty.write_all(b"no newline").unwrap();
            /// pty.send_eof().unwrap();
            /// assert_eq!(child.wait_with_output()?.stdout, b"no newline");
            /// # Ok::<(), netrunner_sync::Error>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As a write.
            pub fn send_eof(&self) -> io::Result<()> {
                let in_line = self.$writer().in_line.load(Ordering::Relaxed);
                if in_line && Modes::is_canonical(self.$writer().manager())? {
                    self.send(Control::EndOfFile)?;
                }
                self.send(Control::EndOfFile)
            }
        }

        impl Write for &$name {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.$writer().write_until(bytes, None)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Write for $name {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                (&*self).write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}

/// What both the whole and the half that reads can do.
macro_rules! reads {
    ($($name:ident, $reader:ident;)*) => {$(
        impl Read for &$name {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.$reader().read_until(buffer, None)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.$reader().read_into_all(buffers)
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
    )*};
}

/// What the whole and both halves can do.
macro_rules! is_terminal {
    ($($name:ident;)*) => {$(
        impl $name {
            /// Gives the terminal another size; its foreground gets SIGWINCH.
            ///
            /// ```
            /// use netrunner_sync::{Command, WinSize};
            ///
            /// let mut child = Command::new("cat").pty(WinSize::new(24, 80)).spawn()?;
            /// let pty = child.pty.take().unwrap();
            /// pty.resize(WinSize::new(50, 132)).unwrap();
            /// assert_eq!(pty.size().unwrap(), WinSize::new(50, 132));
            /// # Ok::<(), netrunner_sync::Error>(())
            /// ```
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a size without room.
            pub fn resize(&self, size: WinSize) -> io::Result<()> {
                check_size(size)?;
                size.set(self.manager())
            }

            /// The size that the terminal has now: the command can set it, too.
            ///
            /// ```
            /// use netrunner_sync::{Command, WinSize};
            ///
            /// let mut child = Command::new("stty").args(["rows", "9"]).pty(WinSize::new(24, 80)).spawn()?;
            /// child.wait()?;
            /// assert_eq!(child.pty.take().unwrap().size().unwrap(), WinSize::new(9, 80));
            /// # Ok::<(), netrunner_sync::Error>(())
            /// ```
            ///
            /// # Errors
            ///
            /// Those of `ioctl(2)`.
            pub fn size(&self) -> io::Result<WinSize> {
                WinSize::of(self.manager())
            }

            /// The process group in the foreground: of a shell the job that runs, or the shell
            /// itself. `None` once the session is gone.
            ///
            /// ```
            /// use netrunner_sync::{Command, WinSize};
            ///
            /// let mut child = Command::new("cat").pty(WinSize::new(24, 80)).spawn()?;
            /// let pty = child.pty.take().unwrap();
            /// assert_eq!(pty.foreground().unwrap(), Some(child.id()));
            /// # Ok::<(), netrunner_sync::Error>(())
            /// ```
            ///
            /// # Errors
            ///
            /// Those of `ioctl(2)`.
            pub fn foreground(&self) -> io::Result<Option<u32>> {
                netrunner_pty::foreground(self.manager())
            }

            /// Whether the terminal shows what is typed just now. A program that asks for a
            /// password turns it off before it asks.
            ///
            /// ```
            /// use netrunner_sync::{Command, PtyModes, WinSize};
            ///
            /// let mut command = Command::new("cat");
            /// command.pty(WinSize::new(24, 80)).pty_modes(PtyModes::new().echo(false));
            /// let mut child = command.spawn()?;
            /// assert!(!child.pty.take().unwrap().is_echoing().unwrap());
            /// # Ok::<(), netrunner_sync::Error>(())
            /// ```
            ///
            /// # Errors
            ///
            /// Those of `ioctl(2)`.
            pub fn is_echoing(&self) -> io::Result<bool> {
                Modes::is_echoing(self.manager())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(self.manager()).finish()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.manager().as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.manager().as_raw_fd()
            }
        }
    )*};
}

types! { ChildPty, writer; PtyWriter, itself; }
reads! { ChildPty, reader; PtyReader, itself; }
is_terminal! { ChildPty; PtyReader; PtyWriter; }

impl ChildPty {
    fn writer(&self) -> &PtyWriter {
        &self.writer
    }

    pub(crate) fn reader(&self) -> &PtyReader {
        &self.reader
    }

    fn manager(&self) -> &OwnedFd {
        &self.writer.manager
    }
}

impl PtyReader {
    fn itself(&self) -> &PtyReader {
        self
    }
}

impl PtyWriter {
    fn itself(&self) -> &PtyWriter {
        self
    }
}
