//! What becomes of a job's output while it runs: it stays in memory, goes to a file from some size on,
//! or to a callback by the line.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::lane::above_stdio;

/// One output that was too long to be kept in memory: a file without a name, gone with the last copy of
/// this.
///
/// ```
/// use std::io::Read;
/// use netrunner_sync::{Command, Jobs};
///
/// let mut jobs = Jobs::new(1);
/// jobs.spill(1 << 20); // what is longer than 1 MiB goes to a file
/// let mut long = Command::new("head");
/// long.args(["-c", "3000000", "/dev/zero"]);
/// jobs.push(long);
/// let output = jobs.next().unwrap().result?;
/// let file = output.stdout_file.unwrap();
/// assert_eq!((output.stdout.len(), file.len()), (0, 3_000_000));
/// assert_eq!(file.reader().bytes().count(), 3_000_000);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OutputFile {
    file: Arc<File>,
    len: u64,
}

impl OutputFile {
    /// How many bytes it has.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.spill(10);
    /// let mut command = Command::new("seq");
    /// command.arg("1000");
    /// jobs.push(command);
    /// let file = jobs.next().unwrap().result?.stdout_file.unwrap();
    /// assert_eq!(file.len(), 3893);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none, which no file of this crate's making is.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.spill(10);
    /// let mut command = Command::new("seq");
    /// command.arg("1000");
    /// jobs.push(command);
    /// let file = jobs.next().unwrap().result?.stdout_file.unwrap();
    /// assert!(!file.is_empty());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole output, from its beginning. Each reader has its own place in it.
    ///
    /// ```
    /// use std::io::{BufRead, BufReader};
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.spill(10);
    /// let mut command = Command::new("seq");
    /// command.arg("1000");
    /// jobs.push(command);
    /// let file = jobs.next().unwrap().result?.stdout_file.unwrap();
    /// assert_eq!(BufReader::new(file.reader()).lines().count(), 1000);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn reader(&self) -> OutputReader {
        OutputReader { file: Arc::clone(&self.file), at: 0 }
    }
}

/// It is the same file.
impl PartialEq for OutputFile {
    fn eq(&self, other: &OutputFile) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for OutputFile {}

/// Reads an [`OutputFile`]; made by [`OutputFile::reader`].
///
/// ```
/// use std::io::Read;
/// use netrunner_sync::{Command, Jobs};
///
/// let mut jobs = Jobs::new(1);
/// jobs.spill(10);
/// let mut command = Command::new("seq");
/// command.arg("1000");
/// jobs.push(command);
/// let mut reader = jobs.next().unwrap().result?.stdout_file.unwrap().reader();
/// let mut first = [0; 2];
/// reader.read_exact(&mut first).unwrap();
/// assert_eq!(&first, b"1\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
pub struct OutputReader {
    file: Arc<File>,
    at: u64,
}

impl Read for OutputReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A long output on its way into a file.
#[derive(Debug, Default)]
pub(super) struct Spill {
    file: Option<File>,
    len: u64,
}

impl Spill {
    pub(super) fn is_begun(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(nameless_file()?),
        };
        file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn finish(self) -> Option<OutputFile> {
        let len = self.len;
        self.file.map(|file| OutputFile { file: Arc::new(file), len })
    }
}

/// A file that nobody else sees, and that is gone with its descriptor, however this process ends.
fn nameless_file() -> io::Result<File> {
    let directory = std::env::temp_dir();
    let (read_write, mode) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    #[cfg(target_os = "linux")]
    let opened = rustix::fs::open(&directory, read_write | OFlags::TMPFILE, mode).ok();
    #[cfg(not(target_os = "linux"))]
    let opened = None;
    let file = match opened {
        Some(file) => file,
        // Not every file system can do that (overlayfs before Linux 6.1, NFS).
        None => {
            static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let name = directory.join(format!(".netrunner-{}-{number}", std::process::id()));
            let file = rustix::fs::open(&name, read_write | OFlags::CREATE | OFlags::EXCL, mode)?;
            std::fs::remove_file(&name)?;
            file
        }
    };
    Ok(above_stdio(file)?.into())
}

/// Cuts an output into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

/// A line that is longer is given out in pieces: nobody wants to keep what never ends.
const LONGEST_LINE: usize = 1 << 20;

impl Lines {
    /// Gives each whole line out, with its end.
    pub(crate) fn cut(&mut self, mut bytes: &[u8], mut out: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            if self.begun.is_empty() {
                out(line);
            } else {
                self.begun.extend_from_slice(line);
                out(&self.begun);
                self.begun.clear();
                // One long line of thousands of silent jobs must not be kept for each.
                self.begun.shrink_to(4 << 10);
            }
            bytes = rest;
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() >= LONGEST_LINE {
            self.finish(out);
        }
    }

    /// Gives out what has no line end.
    pub(crate) fn finish(&mut self, mut out: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            out(&std::mem::take(&mut self.begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| lines.cut(piece, |line| out.push(line.to_vec())));
        lines.finish(|line| out.push(line.to_vec()));
        out
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let text = b"one\n\ntwo\r\nthree";
        let whole = cut(&[text]);
        assert_eq!(whole, [&b"one\n"[..], b"\n", b"two\r\n", b"three"]);
        for at in 0..text.len() {
            assert_eq!(cut(&[&text[..at], &text[at..]]), whole, "cut at {at}");
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(cut(&bytes), whole);
        assert!(cut(&[b"", b""]).is_empty());
    }

    #[test]
    fn a_line_without_end_is_given_out_in_pieces() {
        let piece = vec![b'x'; 64 << 10];
        let pieces: Vec<&[u8]> = std::iter::repeat_n(&piece[..], 40).collect();
        let out = cut(&pieces);
        assert_eq!(out.iter().map(Vec::len).sum::<usize>(), 40 << 16);
        assert!(out.iter().all(|line| line.len() <= LONGEST_LINE + (64 << 10)));
    }

    #[test]
    fn what_was_spilled_is_read_again_by_each_reader() {
        let mut spill = Spill::default();
        assert!(!spill.is_begun());
        spill.write(b"one ").unwrap();
        spill.write(b"two").unwrap();
        let file = spill.finish().unwrap();
        assert_eq!(file.len(), 7);
        for _ in 0..2 {
            let mut text = String::new();
            file.reader().read_to_string(&mut text).unwrap();
            assert_eq!(text, "one two");
        }
        assert!(Spill::default().finish().is_none());
    }
}
