//! A reader on its way into a command's standard input.
//!
//! Two threads, because both may block and neither may wait for the other: one is in the caller's
//! reader, which may yield a byte and then think for an hour; the other is at the pipe. What was
//! read meanwhile goes out in one write. The one at the pipe also sees when nobody reads it any
//! more, and closes it then, however stuck the reader is.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::bell::Bell;
use crate::target::Target;
use crate::time::until;

/// The two threads, from outside.
#[derive(Debug)]
pub(crate) struct ReaderFeed {
    basket: Arc<Basket>,
}

/// How much is read at once, and how much makes a write that need not wait for more: a whole pipe.
const FULL: usize = 64 << 10;

/// The pause between writes that are not full. A byte that comes after a longer silence goes out at
/// once.
const PAUSE: Duration = Duration::from_millis(1);

/// What was read and is not written yet.
#[derive(Debug)]
struct Basket {
    content: Mutex<Content>,
    /// There is room, or no reason to go on.
    room: Condvar,
    /// Rung for the thread at the pipe.
    bell: Bell,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    source: Source,
    sink: Sink,
    failure: Option<io::Error>,
}

/// The caller's reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Open,
    Ended,
}

/// The thread at the pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sink {
    /// It looks into the basket before it sleeps.
    #[default]
    Busy,
    /// It sleeps until there are so many bytes.
    WaitsFor(usize),
    /// Nobody reads the pipe any more.
    Closed,
}

impl ReaderFeed {
    /// `counter` is where what was written is counted.
    pub(crate) fn start(
        reader: Box<dyn Read + Send>,
        target: Target,
        counter: Arc<AtomicU64>,
    ) -> io::Result<ReaderFeed> {
        let basket = Arc::new(Basket {
            content: Mutex::default(),
            room: Condvar::new(),
            bell: Bell::new()?,
        });
        let (source, sink) = (Arc::clone(&basket), Arc::clone(&basket));
        let thread = |name: &str| thread::Builder::new().name(name.to_owned());
        crate::sys::with_signals_blocked(|| {
            thread("netrunner-feed").spawn(move || sink.empty_into(target, &counter))?;
            let reading = thread("netrunner-input").spawn(move || source.fill_from(reader));
            // Where there is nobody to fill the basket the other thread must not wait for it.
            reading.inspect_err(|_| basket.end(None)).map(drop)
        })?;
        Ok(ReaderFeed { basket })
    }

    /// Why the reader failed, if it has so far.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.basket.lock().failure.take()
    }
}

/// Ends the input, also when the caller's reader panics.
struct Ending<'a> {
    basket: &'a Basket,
    failure: Option<io::Error>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.basket.end(self.failure.take());
    }
}

impl Basket {
    /// Reads until the reader ends or fails, or nobody wants it any more.
    fn fill_from(&self, mut reader: Box<dyn Read + Send>) {
        let panicked = Some(io::Error::other("the reader panicked"));
        let mut ending = Ending { basket: self, failure: panicked };
        let mut buffer = vec![0; FULL];
        ending.failure = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break None,
                Ok(count) if self.add(&buffer[..count]) == Sink::Closed => break None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
    }

    /// Adds what was read, once there is room.
    fn add(&self, bytes: &[u8]) -> Sink {
        let mut content = self.lock();
        while content.bytes.len() >= FULL && content.sink != Sink::Closed {
            content = self.room.wait(content).unwrap_or_else(PoisonError::into_inner);
        }
        if content.sink != Sink::Closed {
            content.bytes.extend_from_slice(bytes);
            self.ring_if_due(&mut content);
        }
        content.sink
    }

    fn end(&self, failure: Option<io::Error>) {
        let mut content = self.lock();
        content.failure = failure;
        content.source = Source::Ended;
        self.ring_if_due(&mut content);
    }

    fn ring_if_due(&self, content: &mut Content) {
        if let Sink::WaitsFor(count) = content.sink {
            if content.bytes.len() >= count || content.source == Source::Ended {
                content.sink = Sink::Busy;
                self.bell.ring();
            }
        }
    }

    /// Writes until the basket is empty and stays so, or nobody reads the pipe.
    fn empty_into(&self, mut target: Target, counter: &AtomicU64) {
        let mut bytes = Vec::new();
        let mut next_write = Instant::now();
        loop {
            match self.take(target.fd(), &mut bytes, next_write) {
                Taken::Some if write_all(&mut target, &bytes, counter) => {
                    next_write = Instant::now() + PAUSE;
                }
                Taken::All => {
                    finish(&mut target);
                    break;
                }
                Taken::Some | Taken::NotWanted => break,
            }
        }
        self.lock().sink = Sink::Closed;
        self.room.notify_all();
    }

    /// Swaps what is in the basket for `bytes`, once it is enough or time.
    fn take(&self, pipe: &OwnedFd, bytes: &mut Vec<u8>, next_write: Instant) -> Taken {
        bytes.clear();
        loop {
            let mut content = self.lock();
            let deadline = match (content.bytes.len(), content.source) {
                (0, Source::Ended) => return Taken::All,
                (0, Source::Open) => None,
                (count, Source::Open) if count < FULL && Instant::now() < next_write => {
                    Some(next_write)
                }
                (_, Source::Open | Source::Ended) => {
                    std::mem::swap(&mut content.bytes, bytes);
                    content.sink = Sink::Busy;
                    self.room.notify_all();
                    return Taken::Some;
                }
            };
            content.sink = Sink::WaitsFor(if deadline.is_some() { FULL } else { 1 });
            drop(content);
            // POLLERR, which is not asked for, says that nobody reads the pipe any more.
            let mut fds =
                [PollFd::new(pipe, PollFlags::empty()), PollFd::new(self.bell.fd(), PollFlags::IN)];
            // An error is EINTR, or want of memory: look again.
            let _ = poll(&mut fds, until(deadline).as_ref());
            if !fds[0].revents().is_empty() {
                return Taken::NotWanted;
            }
            if !fds[1].revents().is_empty() {
                self.bell.hush();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // The reader, which may panic, is never called under the lock.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in the basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Something to write.
    Some,
    /// Nothing, and there will be nothing.
    All,
    /// Nobody reads it any more.
    NotWanted,
}

/// Says that this was all.
fn finish(target: &mut Target) {
    while let Err(errno @ (Errno::AGAIN | Errno::INTR)) = target.finish() {
        if errno == Errno::AGAIN {
            let _ = poll(&mut [PollFd::new(&**target.fd(), PollFlags::OUT)], None);
        }
    }
}

/// Writes all of it; false when nobody reads it any more.
fn write_all(target: &mut Target, mut bytes: &[u8], counter: &AtomicU64) -> bool {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(count) => {
                counter.fetch_add(count as u64, Ordering::Relaxed);
                bytes = &bytes[count..];
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // EINTR and the like: the write tells.
                let _ = poll(&mut [PollFd::new(&**target.fd(), PollFlags::OUT)], None);
            }
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Pipe, pipe_to_child};
    use rustix::fs::OFlags;
    use rustix::pipe::PipeFlags;
    use std::sync::mpsc;

    fn start(reader: impl Read + Send + 'static, pipe: OwnedFd) -> ReaderFeed {
        ReaderFeed::start(Box::new(reader), Target::pipe(pipe), Arc::default()).unwrap()
    }

    /// What single reads from the pipe give, to its end.
    fn pieces(pipe: &OwnedFd) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => return pieces,
                Ok(count) => pieces.push(buffer[..count].to_vec()),
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    /// Yields one byte at a time.
    struct Crumbs(usize);

    impl Read for Crumbs {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Ok(0);
            }
            self.0 -= 1;
            buffer[0] = self.0 as u8;
            Ok(1)
        }
    }

    #[test]
    fn crumbs_go_out_in_large_writes() {
        const SIZE: usize = 1 << 20;
        // In packet mode a read gives what one write gave, up to a page.
        let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::DIRECT).unwrap();
        rustix::fs::fcntl_setfl(&ours, OFlags::DIRECT | OFlags::NONBLOCK).unwrap();
        let counter = Arc::new(AtomicU64::new(0));
        let _feed =
            ReaderFeed::start(Box::new(Crumbs(SIZE)), Target::pipe(ours), Arc::clone(&counter))
                .unwrap();
        let pieces = pieces(&theirs);
        let expected: Vec<u8> = (0..SIZE).rev().map(|n| n as u8).collect();
        assert!(pieces.concat() == expected);
        assert_eq!(counter.load(Ordering::Relaxed), SIZE as u64);
        assert!(pieces.len() < SIZE / 100, "{} writes", pieces.len());
    }

    #[test]
    fn a_crumb_does_not_wait_for_the_next() {
        struct Told(mpsc::Receiver<u8>);
        impl Read for Told {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.recv().map_or(Ok(0), |byte| {
                    buffer[0] = byte;
                    Ok(1)
                })
            }
        }
        let Pipe { ours, theirs } = pipe_to_child().unwrap();
        let (teller, told) = mpsc::channel();
        let _feed = start(Told(told), ours);
        for byte in 0..100 {
            // The next is told only when this one has come.
            teller.send(byte).unwrap();
            let mut read = [0; 10];
            assert_eq!(rustix::io::read(&theirs, &mut read), Ok(1));
            assert_eq!(read[0], byte);
        }
        drop(teller);
        assert!(pieces(&theirs).is_empty());
    }

    #[test]
    fn what_came_before_a_failure_is_written_and_the_failure_kept() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => Err(io::ErrorKind::Interrupted.into()),
                    2 => {
                        buffer[..5].copy_from_slice(b"hello");
                        Ok(5)
                    }
                    3 => Err(io::Error::other("no more")),
                    _ => unreachable!("read after an error"),
                }
            }
        }
        let Pipe { ours, theirs } = pipe_to_child().unwrap();
        let feed = start(Failing(0), ours);
        assert_eq!(pieces(&theirs).concat(), b"hello");
        assert_eq!(feed.failure().unwrap().to_string(), "no more");
    }

    #[test]
    fn a_reader_that_panics_is_a_failure() {
        struct Bad;
        impl Read for Bad {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                // Not `panic!`, whose message would be on the test's stderr.
                std::panic::resume_unwind(Box::new(()));
            }
        }
        let Pipe { ours, theirs } = pipe_to_child().unwrap();
        let feed = start(Bad, ours);
        assert!(pieces(&theirs).is_empty());
        assert_eq!(feed.failure().unwrap().to_string(), "the reader panicked");
    }

    #[test]
    fn a_stuck_reader_does_not_keep_the_pipe_open() {
        struct Stuck(mpsc::Receiver<()>);
        impl Read for Stuck {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(0)
            }
        }
        let Pipe { ours, theirs } = pipe_to_child().unwrap();
        let (_never, stuck) = mpsc::channel();
        let feed = start(Stuck(stuck), ours);
        drop(theirs);
        let deadline = Instant::now() + Duration::from_secs(60);
        while feed.basket.lock().sink != Sink::Closed {
            assert!(Instant::now() < deadline, "the thread at the pipe is stuck");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn no_more_is_read_than_the_basket_holds() {
        struct Counted(Arc<AtomicU64>);
        impl Read for Counted {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.fetch_add(buffer.len() as u64, Ordering::Relaxed);
                Ok(buffer.len())
            }
        }
        let Pipe { ours, theirs } = pipe_to_child().unwrap();
        let read = Arc::new(AtomicU64::new(0));
        let feed = start(Counted(Arc::clone(&read)), ours);
        let deadline = Instant::now() + Duration::from_secs(60);
        while feed.basket.lock().bytes.len() < FULL {
            assert!(Instant::now() < deadline, "the basket is never full");
            thread::yield_now();
        }
        for _ in 0..1000 {
            thread::yield_now();
            let read = read.load(Ordering::Relaxed);
            assert!(read < 1 << 20, "{read} bytes were read for a pipe that nobody reads");
        }
        drop(theirs);
        drop(feed);
    }
}
