//! A daemon's log file: whole lines, rotation by size, and the trouble that files have.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::lane::above_stdio;
use crate::mover::Stream;

/// A file that a [`Daemon`](crate::Daemon)'s output is appended to, by whole lines, those of both streams
/// in the order in which they were read.
///
/// With [`rotate`](LogFile::rotate) it is renamed to `PATH.1` before it would grow beyond a size, what was
/// `PATH.1` to `PATH.2`, and so on; no line is cut by that. Somebody else may rename, remove or truncate
/// the file as well (logrotate, with or without `copytruncate`): the next line goes into the file that has
/// the path then, which is made if there is none. It must be a regular file.
///
/// A failure to write (a full disk, say) never holds the daemon back: the lines are lost, counted in
/// [`Health::lost`](crate::Health::lost) and told in [`Health::log_error`](crate::Health::log_error), and
/// the next ones are tried again. One to rotate lets the file grow.
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("netrunner-logged-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory).unwrap();
/// use netrunner_sync::{Command, Daemon, LogFile};
///
/// let path = directory.join("server.log");
/// // 1 MiB each, and at most five of them: server.log and server.log.1 to server.log.4
/// let log = LogFile::new(&path).rotate(1 << 20, 4);
/// let mut server = Command::new("echo");
/// server.arg("serving");
/// Daemon::builder(server).log_file(log).start()?.wait()?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "serving\n");
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LogFile {
    path: PathBuf,
    rotation: Option<Rotation>,
}

#[derive(Debug, Clone, Copy)]
struct Rotation {
    most: u64,
    keep: u32,
}

impl LogFile {
    /// The file at this path, seen from the client's directory when the daemon is started. It grows
    /// without bound unless it is rotated.
    ///
    /// ```
    /// let log = netrunner_sync::LogFile::new("server.log");
    /// ```
    pub fn new(path: impl AsRef<Path>) -> LogFile {
        LogFile { path: path.as_ref().to_owned(), rotation: None }
    }

    /// Renames it before it would have more than `bytes` bytes (a single longer line aside), and keeps at
    /// most `keep` files of those that were.
    ///
    /// ```
    /// // 1 MiB each, and at most five of them: server.log and server.log.1 to server.log.4
    /// let log = netrunner_sync::LogFile::new("server.log").rotate(1 << 20, 4);
    /// ```
    #[must_use]
    pub fn rotate(self, bytes: u64, keep: u32) -> LogFile {
        LogFile { rotation: Some(Rotation { most: bytes, keep }), ..self }
    }
}

/// A line that is longer is written in pieces.
const LONGEST_LINE: usize = 1 << 20;

/// The file, open.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    rotation: Option<Rotation>,
    file: Option<File>,
    /// The beginnings of lines, of which the end has not come yet.
    begun: [Vec<u8>; 2],
    /// The last byte that was written is not the end of a line.
    in_line: bool,
    /// What would follow it is lost, or will never come.
    torn: bool,
    trouble: Trouble,
}

/// What went wrong so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble {
    /// How many bytes are not in the file.
    pub(super) lost: u64,
    /// The last failure.
    pub(super) error: Option<String>,
}

impl Writer {
    pub(super) fn open(log: &LogFile) -> io::Result<Writer> {
        let path = std::path::absolute(&log.path)?;
        let file = Some(open(&path)?);
        let (rotation, begun) = (log.rotation, Default::default());
        let trouble = Trouble::default();
        Ok(Writer { path, rotation, file, begun, in_line: false, torn: false, trouble })
    }

    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Writes the lines that are whole now.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let at = usize::from(stream == Stream::Stderr);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (lines, rest) = bytes.split_at(whole);
        if self.begun[at].is_empty() {
            self.write(lines);
        } else if !lines.is_empty() {
            let mut begun = std::mem::take(&mut self.begun[at]);
            begun.extend_from_slice(lines);
            self.write(&begun);
        }
        self.begun[at].extend_from_slice(rest);
        if self.begun[at].len() >= LONGEST_LINE {
            let piece = std::mem::take(&mut self.begun[at]);
            self.write(&piece);
        }
    }

    /// The process is gone: what has no line end will not get one.
    pub(super) fn finish(&mut self) {
        for at in 0..self.begun.len() {
            let rest = std::mem::take(&mut self.begun[at]);
            if !rest.is_empty() {
                self.write(&rest);
                self.torn = true;
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.write_some(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.trouble.lost += bytes.len() as u64;
                    self.torn |= self.in_line;
                    return self.note(&error);
                }
            }
        }
    }

    fn note(&mut self, error: &io::Error) {
        self.trouble.error = Some(format!("{}: {error}", self.path.display()));
    }

    /// Writes some of it into the file that it belongs into.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut size = self.look()?;
        let mut part = bytes.len();
        if let Some(rotation) = self.rotation {
            let mut fits = fitting(bytes, rotation.most, size);
            if fits.is_none() {
                match self.rotate(rotation.keep) {
                    Ok(()) => size = self.look()?,
                    Err(error) => self.note(&error),
                }
                fits = fitting(bytes, rotation.most, size);
            }
            // What has no room after all goes in all the same.
            part = fits.unwrap_or(part);
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        match file.write(&bytes[..part])? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                self.in_line = bytes[count - 1] != b'\n';
                Ok(count)
            }
        }
    }

    /// The size of the file that has the path now, which is opened if it is another one.
    fn look(&mut self) -> io::Result<u64> {
        let named = fs::metadata(&self.path);
        if let (Some(file), Ok(named)) = (&self.file, named) {
            let ours = file.metadata()?;
            if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) {
                return Ok(named.len());
            }
        }
        self.file = None;
        let file = open(&self.path)?;
        let size = file.metadata()?.len();
        self.file = Some(file);
        (self.in_line, self.torn) = (false, false);
        Ok(size)
    }

    /// Makes room under the path. A crash in the middle leaves a gap in the numbers, which the next one
    /// closes: only what is before the first gap moves on.
    fn rotate(&mut self, keep: u32) -> io::Result<()> {
        let old = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if keep == 0 {
            return fs::remove_file(&self.path);
        }
        let gap = (1..keep).find(|number| old(*number).symlink_metadata().is_err());
        for number in (1..gap.unwrap_or(keep)).rev() {
            fs::rename(old(number), old(number + 1))?;
        }
        fs::rename(&self.path, old(1))
    }
}

/// How much of these lines belongs into a file of this size; nothing if none.
fn fitting(bytes: &[u8], most: u64, size: u64) -> Option<usize> {
    let room = usize::try_from(most.saturating_sub(size)).unwrap_or(usize::MAX);
    if bytes.len() <= room {
        return Some(bytes.len());
    }
    let whole = bytes[..room].iter().rposition(|byte| *byte == b'\n');
    if whole.is_some() || size > 0 {
        return whole.map(|end| end + 1);
    }
    // A line that is longer than a file may be has one for itself.
    let line = bytes.iter().position(|byte| *byte == b'\n');
    Some(line.map_or(bytes.len(), |end| end + 1))
}

/// Opens it to append. What is no regular file could block, and has no size.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = Mode::from_raw_mode(0o666); // as std has it: the umask decides
    let file = File::from(above_stdio(rustix::fs::open(path, flags, mode)?)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

#[cfg(test)]
mod tests;
