//! The client's side of its guardian: start it, ask it for shepherds, let go of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use netrunner_core::message::{Order, Session};
use rustix::fs::Stat;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::adoption;
use crate::error::{Error, Result};
use crate::lane;
use crate::pidfd;
use crate::rights::Rights;

/// A guardian, from before its process exists.
#[derive(Debug)]
pub(crate) struct Guardian {
    lane: Arc<OwnedFd>,
    /// Where there are no pidfds: the guardian and its shepherds hold the other end of this socket,
    /// and see when it closes. Unlike the lane it says nothing before the client ends, also after
    /// the guardian was let go of, as long as one of its commands runs.
    _lifeline: Option<OwnedFd>,
    rights: Rights,
    /// The directory that it, and every shepherd of its, is in; unknown until it has started.
    home: OnceLock<Directory>,
    /// Its process group, which has the number of the starter.
    group: OnceLock<Pid>,
    let_go: AtomicBool,
    /// Below which its client's cgroups are made, as far as it has been told.
    groups: Mutex<Option<Directory>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directory {
    device: rustix::fs::Dev,
    inode: u64,
}

impl Directory {
    fn current() -> Option<Directory> {
        crate::sys::current_directory().ok().map(Directory::of)
    }

    fn of(stat: Stat) -> Directory {
        Directory { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl Guardian {
    /// One that is still to be started with the second end, but takes orders already: they wait in
    /// the socket. So other threads need not wait for the start, and no lock is held across it.
    pub(crate) fn prepare(rights: Rights) -> io::Result<(Guardian, OwnedFd)> {
        let (ours, theirs) = lane::pair()?;
        let (lifeline, client) = match pidfd::open(rustix::process::getpid())? {
            Some(pidfd) => (None, pidfd),
            None => {
                let (ours, theirs) = lane::pair()?;
                (Some(ours), theirs)
            }
        };
        let mut bytes = Vec::new();
        Order::Guard.encode(&mut bytes);
        lane::send(&ours, &bytes, &[client.as_fd()])?;
        let guardian = Guardian {
            lane: Arc::new(ours),
            _lifeline: lifeline,
            rights,
            home: OnceLock::new(),
            group: OnceLock::new(),
            let_go: AtomicBool::new(false),
            groups: Mutex::new(None),
        };
        Ok((guardian, theirs))
    }

    /// Starts its process.
    pub(crate) fn start(&self, program: Option<&Path>, lane: OwnedFd) -> Result<()> {
        let before = Directory::current();
        if let Some(group) = crate::launch::start(program, lane, &self.lane)? {
            // Set once: `start` is called by the one thread that installed it.
            let _ = self.group.set(group);
        }
        // If another thread changed the directory meanwhile, nobody knows where the guardian is;
        // then each command gets its directory passed.
        if let Some(home) = before.filter(|_| before == Directory::current()) {
            let _ = self.home.set(home);
        }
        Ok(())
    }

    /// Asks for a shepherd, and returns our end of its lane. Requests can go down it at once.
    pub(crate) fn bear(&self, session: Session) -> io::Result<OwnedFd> {
        let (ours, theirs) = lane::pair()?;
        let mut bytes = Vec::new();
        Order::Bear(session).encode(&mut bytes);
        lane::send(&self.lane, &bytes, &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// Tells it where the client's cgroups are: what client and shepherds leave there when all of them are
    /// killed is removed by it. To be told before a command is in a group.
    pub(crate) fn look_after_groups(&self, below: BorrowedFd<'_>) {
        let place = rustix::fs::fstat(below).ok().map(Directory::of);
        // Held while it is told: nobody may take for told what still waits to be sent.
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if *groups == place {
            return;
        }
        let mut bytes = Vec::new();
        Order::Groups.encode(&mut bytes);
        // A guardian that has ended removes nothing; what is left then is the next client's.
        if lane::send(&self.lane, &bytes, &[below]).is_ok() {
            *groups = place;
        }
    }

    /// Lends it what it needs to give back a make's tokens: the end of a socket, that of the pipe in which
    /// the tokens are, and that of make's pipe. See [`Order::Loan`].
    #[cfg(not(netrunner_portable))]
    pub(crate) fn look_after_tokens(&self, ends: [BorrowedFd<'_>; 3]) -> io::Result<()> {
        let mut bytes = Vec::new();
        Order::Loan.encode(&mut bytes);
        lane::send(&self.lane, &bytes, &ends)
    }

    /// Asks it to kill a shepherd. False if it can't be asked.
    pub(crate) fn kill(&self, shepherd: netrunner_core::message::Pid) -> bool {
        let mut bytes = Vec::new();
        Order::Kill(shepherd).encode(&mut bytes);
        lane::send_at_once(&self.lane, &bytes).is_ok()
    }

    /// The current directory, if its shepherds are not in it.
    pub(crate) fn other_directory(&self) -> Result<Option<OwnedFd>> {
        if self.home.get().is_some_and(|home| Directory::current() == Some(*home)) {
            return Ok(None);
        }
        let directory = rustix::fs::open(".", crate::sys::DIRECTORY, rustix::fs::Mode::empty())
            .map_err(|errno| Error::system("pass on the current directory `.`", errno))?;
        Ok(Some(directory))
    }

    /// Whether it may be asked for shepherds by a thread of these rights.
    pub(crate) fn serves(&self, rights: &Rights) -> bool {
        !self.is_let_go() && self.rights == *rights
    }

    pub(crate) fn is_let_go(&self) -> bool {
        self.let_go.load(Ordering::Acquire)
    }

    /// Lets go of it: it stays beside the commands that run, and then ends.
    ///
    /// The word has to be said, or it would wait for orders as long as the client lives. The lane stays open
    /// beside its commands: should the client execute another program, only the end of the lane tells.
    pub(crate) fn let_go(&self) {
        if !self.let_go.swap(true, Ordering::AcqRel) {
            let mut bytes = Vec::new();
            Order::Retire.encode(&mut bytes);
            // It has ended already, or it is wedged and will see the client's end by the pidfd.
            let _ = lane::send_at_once(&self.lane, &bytes);
        }
    }

    /// What becomes readable when it has ended.
    pub(crate) fn end(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.lane)
    }

    /// Reaps it where it is a child of the client, which it is only of a client that is PID 1 or a
    /// subreaper; elsewhere it belongs to init.
    ///
    /// Nothing but the guardian was ever in its group, and a child that has ended pins the group's
    /// number until it is reaped, so no other child can be meant.
    /// False while it has closed its lane but has not ended: a dying process does these one after the
    /// other.
    pub(crate) fn reap(&self) -> bool {
        let Some(group) = self.group.get().filter(|_| adoption::adopts()) else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // ECHILD: it was not ours.
        !matches!(rustix::process::waitid(WaitId::Pgid(Some(*group)), options), Ok(None))
    }
}
