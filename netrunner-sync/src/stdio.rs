//! Where a child's standard stream goes. Making pipes and passing descriptors is the work of
//! `streams` and `request`.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::streams::{ChildStderr, ChildStdin, ChildStdout};

/// What a standard stream of a child is connected to.
///
/// One made from a descriptor is consumed by the first spawn: the client's copy is closed then, so
/// that a pipe reaches its end while the [`Command`](crate::Command) lives. A second spawn with it
/// is an error ([`is_invalid_input`](crate::Error::is_invalid_input)).
///
/// ```
/// use netrunner_sync::{Command, Stdio};
///
/// let mut first = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
/// let echo = first.stdout.take().unwrap();
/// let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(echo).output()?;
/// first.wait()?;
/// assert_eq!(output.stdout, b"HELLO\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Stdio(pub(crate) Source);

pub(crate) enum Source {
    /// A new pipe whose other end the client gets.
    Piped,
    Null,
    /// The client's own stream of the same number.
    Inherit,
    /// The client's standard output.
    Stdout,
    /// The client's standard error.
    Stderr,
    Owned(OwnedFd),
    /// It was `Owned`, and a spawn took it.
    Spent,
}

impl Stdio {
    /// A pipe between the client and the child.
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// assert!(child.stdout.is_some());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn piped() -> Stdio {
        Stdio(Source::Piped)
    }

    /// `/dev/null`: nothing to read, and what is written is gone.
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let output = Command::new("cat").stdin(Stdio::null()).output()?;
    /// assert!(output.stdout.is_empty());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn null() -> Stdio {
        Stdio(Source::Null)
    }

    /// The client's own stream.
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// Command::new("true").stderr(Stdio::inherit()).output()?; // its errors are seen at once
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(Source::Inherit)
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Piped => f.write_str("Stdio::piped"),
            Source::Null => f.write_str("Stdio::null"),
            Source::Inherit => f.write_str("Stdio::inherit"),
            Source::Stdout => f.write_str("Stdio::from(stdout)"),
            Source::Stderr => f.write_str("Stdio::from(stderr)"),
            Source::Owned(fd) => f.debug_tuple("Stdio").field(fd).finish(),
            Source::Spent => f.write_str("Stdio (consumed by a spawn)"),
        }
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Stdio {
        Stdio(Source::Owned(fd))
    }
}

macro_rules! from_descriptor {
    ($($(#[$attribute:meta])* $from:ty)*) => {$(
        $(#[$attribute])*
        impl From<$from> for Stdio {
            fn from(stream: $from) -> Stdio {
                Stdio(Source::Owned(stream.into()))
            }
        }
    )*};
}

from_descriptor! {
    File
    ChildStdin
    ChildStdout
    ChildStderr
    std::process::ChildStdin
    std::process::ChildStdout
    std::process::ChildStderr
    #[cfg(has_io_pipe)] #[allow(clippy::incompatible_msrv)] io::PipeReader
    #[cfg(has_io_pipe)] #[allow(clippy::incompatible_msrv)] io::PipeWriter
}

impl From<io::Stdout> for Stdio {
    /// The client's standard output, whichever stream of the child it is given to.
    fn from(_: io::Stdout) -> Stdio {
        Stdio(Source::Stdout)
    }
}

impl From<io::Stderr> for Stdio {
    /// The client's standard error, whichever stream of the child it is given to.
    fn from(_: io::Stderr) -> Stdio {
        Stdio(Source::Stderr)
    }
}

#[cfg(all(test, has_io_pipe))]
mod tests {
    use std::io::{Read as _, Write as _};

    use crate::Command;

    /// Here and not with the other tests, as only this crate knows whether its compiler has them.
    #[test]
    #[allow(clippy::incompatible_msrv)]
    fn ends_of_a_pipe_are_streams_and_are_let_go_of_by_the_spawn() {
        let (mut output, writer) = std::io::pipe().unwrap();
        let (reader, mut input) = std::io::pipe().unwrap();
        let mut command = Command::new("cat");
        let mut child = command.stdin(reader).stdout(writer).spawn().unwrap();
        input.write_all(b"through two pipes").unwrap();
        drop(input);
        let mut text = String::new();
        // Its end is reached although `command` lives.
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through two pipes");
        assert!(child.wait().unwrap().success());
        assert!(command.spawn().unwrap_err().is_invalid_input());
    }
}
