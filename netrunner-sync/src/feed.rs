//! Bytes on their way into a command's standard input. Whoever polls the pipe calls `write`.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// What is left to write, and where.
pub(crate) struct Feed {
    pipe: Arc<OwnedFd>,
    bytes: Arc<Vec<u8>>,
    written: usize,
}

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All is written, or nobody reads any more: the pipe is to be closed.
    All,
    /// The pipe is full.
    Some,
}

impl Feed {
    pub(crate) fn new(pipe: OwnedFd, bytes: Arc<Vec<u8>>) -> Feed {
        Feed { pipe: Arc::new(pipe), bytes, written: 0 }
    }

    pub(crate) fn pipe(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.pipe)
    }

    /// Writes as much as the pipe takes.
    pub(crate) fn write(&mut self) -> Fed {
        while self.written < self.bytes.len() {
            match rustix::io::write(&self.pipe, &self.bytes[self.written..]) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Fed::Some,
                // EPIPE: the command need not read all of it.
                Err(_) => return Fed::All,
            }
        }
        Fed::All
    }
}

/// A reader that is fed to a command by a thread of its own, as it may block.
pub(crate) struct ReaderFeed {
    failure: Arc<Mutex<Option<io::Error>>>,
}

/// How much is read before it is written.
const CHUNK: usize = 64 << 10;

impl ReaderFeed {
    pub(crate) fn start(mut reader: Box<dyn Read + Send>, pipe: OwnedFd) -> io::Result<ReaderFeed> {
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let thread = thread::Builder::new().name("netrunner-input".to_owned());
        let feed = move || {
            if let Err(error) = copy(&mut reader, &pipe) {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        crate::sys::with_signals_blocked(|| thread.spawn(feed))?;
        Ok(ReaderFeed { failure })
    }

    /// Why the reader failed, if it has so far.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Copies until the reader ends or fails, or nobody reads the pipe. Only the reader's failure counts.
fn copy(reader: &mut dyn Read, pipe: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            match rustix::io::write(pipe, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    // EINTR and the like: the write tells.
                    let _ = poll(&mut [PollFd::new(pipe, PollFlags::OUT)], None);
                }
                Err(_) => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::pipe_to_child;

    #[test]
    fn a_partial_write_goes_on_where_it_stopped() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        let pipe = pipe_to_child().unwrap();
        let mut feed = Feed::new(pipe.ours, Arc::new(bytes.clone()));
        let mut read = Vec::new();
        let mut buffer = vec![0; 10_007];
        while feed.write() == Fed::Some {
            let count = rustix::io::read(&pipe.theirs, &mut buffer).unwrap();
            read.extend_from_slice(&buffer[..count]);
        }
        drop(feed);
        loop {
            match rustix::io::read(&pipe.theirs, &mut buffer).unwrap() {
                0 => break,
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
        assert!(read == bytes);
    }

    #[test]
    fn a_pipe_that_nobody_reads_ends_the_feed() {
        let pipe = pipe_to_child().unwrap();
        drop(pipe.theirs);
        assert_eq!(Feed::new(pipe.ours, Arc::new(vec![0; 10])).write(), Fed::All);
    }
}
