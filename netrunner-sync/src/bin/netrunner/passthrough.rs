//! `--idle-timeout` and `--max-output`: the library measures what goes through pipes, so these two
//! put pipes between the command and our own streams. What comes is passed on untouched, each
//! stream by a thread of its own, and only as fast as it is taken from us. With `--pty` it is what the
//! command's terminal shows, and `keyboard` types. Without these options nothing of this happens.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use netrunner_sync::{Child, ChildStderr, ChildStdout, Command, CommandExt, PtyReader, Stdio};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::args::Run;
use crate::keyboard;
use crate::outer::Outer;

/// How much is passed on at a time: what a pipe holds.
const PIECE: usize = 64 << 10;

/// The threads that pass on.
#[derive(Default)]
pub(crate) struct Passthrough {
    /// Closed when the command is over, so that the pumps' end of it has an end; not there where nothing is passed
    /// on.
    running: Option<UnixStream>,
    pumps: Vec<(&'static str, JoinHandle<rustix::io::Result<()>>)>,
}

/// Sets the limits, and pipes where there are any.
pub(crate) fn limit(command: &mut Command, options: &Run) {
    if let Some(idle) = options.idle_timeout {
        command.idle_timeout(idle);
    }
    // `max` is no limit.
    let most = options.max_output.filter(|&bytes| bytes != u64::MAX);
    if let Some(most) = most {
        command.max_output(most);
    }
    // What a terminal shows comes to us in any case.
    let pipes = options.idle_timeout.is_some() || most.is_some();
    if pipes && options.pty.is_none() {
        // These pipes lead to the terminal again, not to a program that may want it, too.
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            command.foreground(true);
        }
        command.stdout(Stdio::piped());
        if !options.merge_stderr {
            command.stderr(Stdio::piped());
        }
    }
}

impl Passthrough {
    /// Passes on what the child writes into pipes or on its terminal, if there are any, and what is
    /// typed for it.
    pub(crate) fn start(child: &mut Child, outer: Option<&Arc<Outer>>) -> io::Result<Passthrough> {
        if child.stdout.is_none() && child.stderr.is_none() && child.pty.is_none() {
            return Ok(Passthrough::default());
        }
        let (running, over) = UnixStream::pair()?;
        let over = Arc::new(over);
        let mut pumps = Vec::new();
        if let Some(pty) = child.pty.take() {
            let (shown, typed) = pty.split();
            let bell = Arc::clone(&over);
            let pump = move || pass_on(&shown, rustix::stdio::stdout(), &bell);
            pumps.push(("standard output", spawn(pump)?));
            if let Some(outer) = outer.filter(|outer| outer.has_keyboard()) {
                let (outer, over) = (Arc::clone(outer), Arc::clone(&over));
                let pump = move || {
                    keyboard::pass_on(&outer, &typed, &over);
                    Ok(())
                };
                pumps.push(("keyboard", spawn(pump)?));
            }
        }
        if let Some(stdout) = child.stdout.take() {
            let over = Arc::clone(&over);
            let pump = move || pass_on(&stdout, rustix::stdio::stdout(), &over);
            pumps.push(("standard output", spawn(pump)?));
        }
        if let Some(stderr) = child.stderr.take() {
            let over = Arc::clone(&over);
            let pump = move || pass_on(&stderr, rustix::stdio::stderr(), &over);
            pumps.push(("standard error", spawn(pump)?));
        }
        Ok(Passthrough { running: Some(running), pumps })
    }

    /// Waits until all that was written is passed on, now that the command is over.
    pub(crate) fn finish(self) -> Result<(), String> {
        drop(self.running);
        for (name, pump) in self.pumps {
            match pump.join() {
                Ok(Ok(())) => {}
                Ok(Err(errno)) => return Err(format!("failed to pass on the {name}: {errno}")),
                Err(bug) => std::panic::resume_unwind(bug),
            }
        }
        Ok(())
    }
}

fn spawn(
    pump: impl FnOnce() -> rustix::io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<rustix::io::Result<()>>> {
    thread::Builder::new().name("passthrough".to_owned()).spawn(pump)
}

/// The kinds of streams that are read alike.
trait Outlet: AsFd {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// How much at most was written so far and is not read.
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(self).unwrap_or(0)
    }
}

impl Outlet for PtyReader {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buffer, Instant::now())
    }

    /// A terminal does not tell; it holds less than this.
    fn unread(&self) -> u64 {
        PIECE as u64
    }
}

impl Outlet for ChildStdout {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buffer, Instant::now())
    }
}

impl Outlet for ChildStderr {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buffer, Instant::now())
    }
}

/// Passes on until the end of `from`, or until the command is over and what was written before has
/// come: something that was kept may hold the pipe open for ever. Where nobody wants it any more
/// the pipe is closed, so that the command meets what it would have met without it.
fn pass_on(from: &impl Outlet, to: BorrowedFd<'_>, over: &UnixStream) -> rustix::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut left = None;
    while left != Some(0) {
        if left.is_none() {
            let mut fds = [PollFd::new(from, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
            // EINTR and the like: the read tells.
            let _ = poll(&mut fds, None);
            if !fds[1].revents().is_empty() {
                left = Some(from.unread());
            }
        }
        let most = left.map_or(PIECE, |left| PIECE.min(usize::try_from(left).unwrap_or(PIECE)));
        match from.try_read(&mut buffer[..most]) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                left = left.map(|left| left - count as u64);
                match write_all(to, &buffer[..count]) {
                    Err(Errno::PIPE) => return Ok(()),
                    result => result?,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut && left.is_none() => {}
            // As at the end: there is nothing more to be had.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Whoever shares our stream with us has made it non-blocking.
            Err(Errno::AGAIN) => {
                // EINTR and the like: the write tells.
                let _ = poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
