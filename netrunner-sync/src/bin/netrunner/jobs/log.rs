//! The job log: a line for each job that has ended, in the columns of GNU parallel's. A run that is
//! resumed reads from it what need not be done again.
//!
//! Each line is one write to the end of the file. One that was cut off, by whatever ended the run, has no
//! line end: it says nothing, and its job is run again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

const HEAD: &[u8] = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// The columns before the command.
const COLUMNS: usize = 8;

pub(crate) struct JobLog {
    file: File,
    /// How often each command has succeeded before.
    done: HashMap<Vec<u8>, usize>,
}

/// A job that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) number: u64,
    pub(crate) started: SystemTime,
    pub(crate) wall: Duration,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// As a shell would say it.
    pub(crate) code: u8,
    pub(crate) signal: i32,
    pub(crate) command: &'a [u8],
}

impl JobLog {
    /// Begins a log, or goes on with one.
    pub(crate) fn open(path: &Path, resume: bool) -> io::Result<JobLog> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(path)?;
        let mut text = Vec::new();
        if resume {
            file.read_to_end(&mut text)?;
        } else if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        if text.is_empty() {
            file.write_all(HEAD)?;
        } else if text.last() != Some(&b'\n') {
            // What was cut off stays alone on its line.
            file.write_all(b"\n")?;
        }
        Ok(JobLog { file, done: successes(&text) })
    }

    /// Whether this command need not be run; each success of the past counts for one.
    pub(crate) fn is_done(&mut self, command: &[u8]) -> bool {
        match self.done.get_mut(&escaped(command)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(crate) fn add(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let started = entry.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut columns = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            columns,
            "{}\t:\t{:.3}\t{:.3}\t{}\t{}\t{}\t{}\t",
            entry.number,
            started.as_secs_f64(),
            entry.wall.as_secs_f64(),
            entry.sent,
            entry.received,
            entry.code,
            entry.signal
        );
        let mut line = columns.into_bytes();
        line.extend_from_slice(&escaped(entry.command));
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// How often each command has succeeded, by what whole lines say.
fn successes(text: &[u8]) -> HashMap<Vec<u8>, usize> {
    let mut done = HashMap::new();
    let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { return done };
    for line in text[..end].split(|byte| *byte == b'\n') {
        let mut columns = line.splitn(COLUMNS + 1, |byte| *byte == b'\t').skip(COLUMNS - 2);
        if let (Some(b"0"), Some(b"0"), Some(command)) =
            (columns.next(), columns.next(), columns.next())
        {
            *done.entry(command.to_vec()).or_default() += 1;
        }
    }
    done
}

/// A command is one line here, whatever it holds.
fn escaped(command: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(command.len());
    for &byte in command {
        match byte {
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            byte => escaped.push(byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(code: u8, signal: i32, command: &str) -> Vec<u8> {
        format!("1\t:\t1.000\t0.100\t0\t0\t{code}\t{signal}\t{command}\n").into_bytes()
    }

    fn count(text: &[u8], command: &str) -> usize {
        successes(text).get(command.as_bytes()).copied().unwrap_or(0)
    }

    #[test]
    fn only_whole_lines_of_successes_count_each_once() {
        let mut text = HEAD.to_vec();
        for (code, signal, command) in
            [(0, 0, "a\tb"), (1, 0, "c"), (0, 9, "c"), (0, 0, "d"), (0, 0, "d")]
        {
            text.extend(line(code, signal, command));
        }
        text.extend(line(0, 0, "cut off").split_last().unwrap().1);
        let counts = ["a\tb", "c", "d", "cut off", "Command"].map(|name| count(&text, name));
        assert_eq!(counts, [1, 0, 2, 0, 0]);
        for cut in 0..text.len() {
            successes(&text[..cut]);
        }
        assert_eq!(count(b"", "a"), 0);
    }

    #[test]
    fn a_command_of_several_lines_is_one_line() {
        assert_eq!(escaped(b"a\nb\\n"), b"a\\nb\\\\n");
        assert_ne!(escaped(b"a\nb"), escaped(b"a\\nb"));
    }
}
