//! Who waits for the start of a command, and that the shepherd waits for it no longer than they do.
//!
//! A child may never come to its program: it is stopped on its way there, or the program is on a disk that does
//! not answer. A shepherd that then waited with it would not see that its client is gone.

use core::time::Duration;

use crate::sys::abi::*;
use crate::sys::{Errno, Fd, calls};

/// The client, by the numbers of what tells of its end. The shepherd has them as long as it takes requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audience {
    lane: i32,
    client: i32,
}

impl Audience {
    pub(crate) fn new(lane: i32, client: i32) -> Audience {
        Audience { lane, client }
    }

    /// Whether it is gone, or goes within this time.
    #[cfg(not(netrunner_portable))]
    pub(crate) fn goes_within(self, time: Duration) -> bool {
        self.poll(None, Some(time)).is_some_and(|[client, lane, _]| client != 0 || lane != 0)
    }

    /// Waits for the end of a pipe or of the process behind a pidfd; false if the audience is gone before. Where
    /// none of them can be asked for, a pipe is waited for by itself, and a process is not.
    pub(crate) fn await_end(self, of: &Fd) -> bool {
        loop {
            match self.poll(Some(of), None) {
                Some([0, 0, 0]) => {}
                Some([_, _, end]) => return end != 0,
                None => {
                    while of.read(&mut [0]) == Err(Errno(EINTR)) {}
                    return true;
                }
            }
        }
    }

    /// What is to be seen of client, lane and a third; nothing where the kernel is out of memory.
    fn poll(self, third: Option<&Fd>, time: Option<Duration>) -> Option<[i16; 3]> {
        let third = third.map_or(-1, Fd::number);
        // Of the lane its end alone: what else comes is for later.
        let asked = [(self.client, POLLIN), (self.lane, 0), (third, POLLIN)];
        let mut fds = asked.map(|(fd, events)| Pollfd { fd, events, revents: 0 });
        calls::poll(&mut fds, time).ok()?;
        Some(fds.map(|fd| fd.revents))
    }
}
