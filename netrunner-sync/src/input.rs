//! What a command reads from its standard input when the caller hands it over as a whole.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

/// What [`Command::input`](crate::Command::input) feeds to a command.
///
/// Bytes and text are kept and given again to every spawn; a file or a reader is consumed by the
/// first. The child may end without reading all of it, which is not an error.
///
/// ```
/// use netrunner_sync::{Command, Input};
///
/// let output = Command::new("wc").arg("-c").input("four").output()?;
/// assert_eq!(output.stdout, b"4\n");
///
/// let endless = Input::reader(std::io::repeat(b'y'));
/// let output = Command::new("head").args(["-c", "3"]).input(endless).output()?;
/// assert_eq!(output.stdout, b"yyy");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Input(pub(crate) Feed);

pub(crate) enum Feed {
    Bytes(Arc<Vec<u8>>),
    File(OwnedFd),
    /// The mutex is never locked: it only makes the reader `Sync`, as `Command` has to be.
    Reader(Mutex<Box<dyn Read + Send>>),
    /// It was a file or a reader, and a spawn took it.
    Spent,
}

impl Input {
    /// Reads from `reader` while the command runs, on a thread of its own, and no further ahead
    /// than some pipes' worth. Small pieces go out in large writes where they come quickly.
    ///
    /// A failure of the reader ends the input, and is an error of whatever runs the command to its
    /// end; [`Child::wait`](crate::Child::wait) alone gives the command's own status and nothing
    /// else.
    ///
    /// The thread ends when the reader does, or with the first piece that comes after the command's
    /// end: a reader that blocks for ever keeps it, but nothing else.
    ///
    /// ```
    /// use netrunner_sync::{Command, Input};
    ///
    /// let numbers = std::io::Cursor::new("3\n1\n2\n");
    /// let output = Command::new("sort").input(Input::reader(numbers)).output()?;
    /// assert_eq!(output.stdout, b"1\n2\n3\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn reader(reader: impl Read + Send + 'static) -> Input {
        Input(Feed::Reader(Mutex::new(Box::new(reader))))
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Feed::Bytes(bytes) => write!(f, "Input({} bytes)", bytes.len()),
            Feed::File(fd) => f.debug_tuple("Input").field(fd).finish(),
            Feed::Reader(_) => f.write_str("Input(reader)"),
            Feed::Spent => f.write_str("Input (consumed by a spawn)"),
        }
    }
}

impl From<Vec<u8>> for Input {
    fn from(bytes: Vec<u8>) -> Input {
        Input(Feed::Bytes(Arc::new(bytes)))
    }
}

impl From<&[u8]> for Input {
    fn from(bytes: &[u8]) -> Input {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Input {
    fn from(bytes: &[u8; N]) -> Input {
        bytes.to_vec().into()
    }
}

impl From<String> for Input {
    fn from(text: String) -> Input {
        text.into_bytes().into()
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Input {
        text.as_bytes().into()
    }
}

impl From<&String> for Input {
    fn from(text: &String) -> Input {
        text.as_bytes().into()
    }
}

impl From<File> for Input {
    /// The child reads from the file itself, from where it stands.
    fn from(file: File) -> Input {
        Input(Feed::File(file.into()))
    }
}
