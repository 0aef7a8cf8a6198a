//! The tokens that are taken from a surrounding make: none is lost and none is made, also when this process
//! is killed at any instant.
//!
//! Tokens that are at work are in a pipe of their own, which the guardian holds as well. A token is taken by
//! moving it there from make's pipe, which is one system call (`splice(2)`), so that it is in one of the
//! two at any time. Giving it back is a read and a write, which can't be one: moved bytes would each take
//! up one of the few buffers of make's pipe, and make itself could be left without room. So the guardian
//! is asked to do it, and does all that is left when this process is gone and nothing of its commands
//! lives.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::process::{Pid, getpid};

use crate::engine;
use crate::error::Result;
use crate::lane::{self, above_stdio};
use crate::sys::SILENT;
use crate::time::until;

/// Room for 256 tokens, each of which takes up a page's place (`pipe(7)`). More than 16, which any pipe has
/// room for, are not to be had where the user has very many pipes.
const ROOM: usize = 1 << 20;

/// How long the guardian may take to give tokens back, when this process waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The tokens that this process has of a make.
#[derive(Debug)]
pub(super) struct Loan {
    /// Make's pipe, by files of our own.
    make: (Arc<OwnedFd>, OwnedFd),
    /// What is at work.
    taken: (OwnedFd, OwnedFd),
    count: usize,
    /// Where the guardian hears how many it is to give back; none until it is told of the loan.
    guardian: Option<OwnedFd>,
    /// How many it has been asked for and has not answered for.
    asked: usize,
    /// A forked copy has nothing to give back.
    process: Pid,
}

impl Loan {
    /// From make's pipe, whose ends never wait.
    pub(super) fn new(read: OwnedFd, write: OwnedFd) -> io::Result<Loan> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused where the user has too many; then it holds fewer.
        let _ = fcntl_setpipe_size(&to, ROOM);
        Ok(Loan {
            make: (Arc::new(read), write),
            taken: (above_stdio(from)?, above_stdio(to)?),
            count: 0,
            guardian: None,
            asked: 0,
            process: getpid(),
        })
    }

    /// What is readable when there may be a token.
    pub(super) fn source(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.make.0)
    }

    /// Takes one if there is one.
    pub(super) fn take(&mut self) -> bool {
        self.hear();
        if self.guardian.is_none() {
            // Without a guardian no command starts either, and who starts it hears why.
            let _ = self.tell_guardian();
        }
        let moved = splice(&self.make.0, None, &self.taken.1, None, 1, SpliceFlags::NONBLOCK);
        let is_taken = moved == Ok(1);
        self.count += usize::from(is_taken);
        is_taken
    }

    /// Gives so many back, soon.
    pub(super) fn give_back(&mut self, count: usize) {
        self.count -= count;
        let mut left = count;
        while let Some(guardian) = self.guardian.as_ref().filter(|_| left > 0) {
            let words = [b'+'; 64];
            match rustix::net::send(guardian, &words[..left.min(64)], SILENT) {
                Ok(sent) => {
                    self.asked += sent;
                    left -= sent;
                }
                Err(Errno::INTR) => {}
                Err(_) => self.lose_guardian(),
            }
        }
        if self.guardian.is_none() {
            self.give_back_from_here();
        }
    }

    /// Gives back what is left, and waits until that is done: make looks for its tokens as soon as
    /// this process has ended.
    fn settle(&mut self) {
        self.give_back(self.count);
        let deadline = Instant::now() + PATIENCE;
        while let Some(guardian) = self.guardian.as_ref().filter(|_| self.asked > 0) {
            let mut fds = [PollFd::new(guardian, PollFlags::IN)];
            // Any other failure than for a signal would come again.
            match poll(&mut fds, until(Some(deadline)).as_ref()) {
                Ok(1..) => self.hear(),
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => self.lose_guardian(),
            }
        }
        self.give_back_from_here();
    }

    /// Hears what the guardian has done, and whether it is there.
    fn hear(&mut self) {
        let Some(guardian) = &self.guardian else { return };
        let mut words = [0; 64];
        match rustix::net::recv(guardian, &mut words, RecvFlags::DONTWAIT) {
            Ok((count @ 1.., _)) => self.asked -= count.min(self.asked),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok((0, _)) | Err(_) => self.lose_guardian(),
        }
    }

    /// It has ended, or never does anything again.
    fn lose_guardian(&mut self) {
        self.guardian = None;
        self.asked = 0;
    }

    fn tell_guardian(&mut self) -> Result<()> {
        self.give_back_from_here();
        let guardian = engine::guardian()?;
        let failed = |cause| crate::Error::system("tell the guardian of a jobserver", cause);
        let (ours, theirs) = lane::pair().map_err(failed)?;
        let ends = [theirs.as_fd(), self.taken.0.as_fd(), self.make.1.as_fd()];
        guardian.look_after_tokens(ends).map_err(failed)?;
        self.guardian = Some(ours);
        Ok(())
    }

    /// Gives back what the guardian has not, which is gone.
    fn give_back_from_here(&mut self) {
        let there = rustix::io::ioctl_fionread(&self.taken.0).unwrap_or(0);
        for _ in self.count..usize::try_from(there).unwrap_or(usize::MAX) {
            let mut token = [0];
            if rustix::io::read(&self.taken.0, &mut token) != Ok(1) {
                return;
            }
            // A make that is gone needs none.
            let _ = rustix::io::write(&self.make.1, &token);
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.process == getpid() {
            self.settle();
        }
    }
}
