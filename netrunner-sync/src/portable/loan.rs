//! The tokens that are taken from a surrounding make: none is lost as long as this process is not killed.
//!
//! To move one from a pipe to another takes a read and a write, between which it is this process's alone. So what
//! is at work when the process is killed is lost to make.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::process::{Pid, getpid};

/// The tokens that this process has of a make.
#[derive(Debug)]
pub(super) struct Loan {
    /// Make's pipe, by files of our own.
    make: (Arc<OwnedFd>, OwnedFd),
    taken: Vec<u8>,
    /// A forked copy has nothing to give back.
    process: Pid,
}

impl Loan {
    /// From make's pipe, whose ends never wait.
    pub(super) fn new(read: OwnedFd, write: OwnedFd) -> io::Result<Loan> {
        Ok(Loan { make: (Arc::new(read), write), taken: Vec::new(), process: getpid() })
    }

    /// What is readable when there may be a token.
    pub(super) fn source(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.make.0)
    }

    /// Takes one if there is one.
    pub(super) fn take(&mut self) -> bool {
        let mut token = [0];
        let is_taken = rustix::io::read(&self.make.0, &mut token) == Ok(1);
        self.taken.extend(token.into_iter().filter(|_| is_taken));
        is_taken
    }

    /// Gives so many back.
    pub(super) fn give_back(&mut self, count: usize) {
        let kept = self.taken.len().saturating_sub(count);
        for token in self.taken.drain(kept..) {
            // A make that is gone needs none; and there is room for what came from there.
            let _ = rustix::io::write(&self.make.1, &[token]);
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.process == getpid() {
            self.give_back(self.taken.len());
        }
    }
}
