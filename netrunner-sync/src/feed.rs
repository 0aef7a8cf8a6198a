//! Bytes on their way into a command's standard input. Whoever polls its descriptor calls `write`. What
//! comes from a reader is the work of `reader_feed`.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::target::Target;

/// What is left to write, and where.
pub(crate) struct Feed {
    target: Target,
    bytes: Arc<Vec<u8>>,
    written: usize,
    counter: Arc<AtomicU64>,
}

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All is written, or nobody reads any more: the pipe is to be closed.
    All,
    /// There is no room now.
    Some,
}

impl Feed {
    /// `counter` is where what was written is counted.
    pub(crate) fn new(target: Target, bytes: Arc<Vec<u8>>, counter: Arc<AtomicU64>) -> Feed {
        Feed { target, bytes, written: 0, counter }
    }

    pub(crate) fn pipe(&self) -> Arc<OwnedFd> {
        Arc::clone(self.target.fd())
    }

    /// Writes as much as there is room for.
    pub(crate) fn write(&mut self) -> Fed {
        while self.written < self.bytes.len() {
            match self.target.write(&self.bytes[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.counter.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Fed::Some,
                // EPIPE: the command need not read all of it.
                Err(_) => return Fed::All,
            }
        }
        match self.target.finish() {
            Err(Errno::AGAIN | Errno::INTR) => Fed::Some,
            Ok(()) | Err(_) => Fed::All,
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
        let mut feed = Feed::new(Target::pipe(pipe.ours), Arc::new(bytes.clone()), Arc::default());
        let mut read = Vec::new();
        let mut buffer = vec![0; 10_007];
        while feed.write() == Fed::Some {
            let count = rustix::io::read(&pipe.theirs, &mut buffer).unwrap();
            read.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(feed.counter.load(Ordering::Relaxed), 300_000);
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
        let mut feed = Feed::new(Target::pipe(pipe.ours), Arc::new(vec![0; 10]), Arc::default());
        assert_eq!(feed.write(), Fed::All);
    }
}
