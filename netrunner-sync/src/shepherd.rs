//! One shepherd as the client knows it: its lane, its process, and the command that it serves.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use netrunner_core::message::{Pid, Request, Session};
use netrunner_core::spawn::{REMEMBERED, StringsBuf};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::adoption;
use crate::ear::Ear;
use crate::guardian::Guardian;
use crate::lane::{self, PATIENCE};
use crate::pidfd;
use crate::request::Known;
use crate::running::Running;
use crate::runtime::Runtime;
use crate::watcher::Word;

/// Where the client has no pidfd to see its end by: it ends soon after its lane.
impl Drop for Shepherd {
    fn drop(&mut self) {
        let Some(Process::Number(pid)) = self.process.get() else { return };
        if adoption::adopts() {
            if let Some(pid) = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw) {
                Runtime::current().tell(Word::Ending(pid));
            }
        }
    }
}

/// What its process is known by.
enum Process {
    Pidfd(Arc<OwnedFd>),
    /// The kernel has no pidfds, or the client had no room for one.
    Number(Pid),
}

/// What came of an attempt to kill a shepherd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It is dead, or dying.
    Struck,
    /// Its guardian was asked to.
    Asked,
    /// Nobody can do it.
    Impossible,
}

pub(crate) struct Shepherd {
    socket: Arc<OwnedFd>,
    /// Locked by whoever sends. A long request goes out in pieces, and a thread that still wants to end
    /// the command before it must not write between them.
    sending: Mutex<()>,
    /// Locked by the one thread that reads for the command of the moment.
    ear: Mutex<Ear>,
    /// Not there before it has said hello.
    process: OnceLock<Process>,
    /// The guardian was asked to kill it.
    asked: AtomicBool,
    serving: Mutex<Weak<Running>>,
    /// The environment that it keeps.
    environment: Mutex<Option<Arc<StringsBuf>>>,
    guardian: Arc<Guardian>,
    session: Session,
}

impl Shepherd {
    /// One that `guardian` was asked for.
    pub(crate) fn new(
        socket: OwnedFd,
        guardian: Arc<Guardian>,
        session: Session,
    ) -> io::Result<Arc<Shepherd>> {
        // A read without a deadline comes back now and then, to look whether it is still alive.
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Arc::new(Shepherd {
            socket: Arc::new(socket),
            sending: Mutex::default(),
            ear: Mutex::new(Ear::new()),
            process: OnceLock::new(),
            asked: AtomicBool::new(false),
            serving: Mutex::default(),
            environment: Mutex::default(),
            guardian,
            session,
        }))
    }

    pub(crate) fn socket(&self) -> &Arc<OwnedFd> {
        &self.socket
    }

    pub(crate) fn ear(&self) -> std::sync::MutexGuard<'_, Ear> {
        // An ear that panicked halfway hears nonsense at worst, which is an error of its own.
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn guardian(&self) -> &Arc<Guardian> {
        &self.guardian
    }

    pub(crate) fn session(&self) -> Session {
        self.session
    }

    pub(crate) fn pidfd(&self) -> Option<&Arc<OwnedFd>> {
        match self.process.get()? {
            Process::Pidfd(pidfd) => Some(pidfd),
            Process::Number(_) => None,
        }
    }

    /// It has said hello.
    pub(crate) fn introduce(&self, pid: Pid, pidfd: Option<OwnedFd>) {
        let process = pidfd.map_or(Process::Number(pid), |pidfd| Process::Pidfd(Arc::new(pidfd)));
        // The conversation allows one hello.
        let _ = self.process.set(process);
    }

    /// Whether it takes what it is sent, and said hello first. One that has just been asked for may not
    /// have come to that yet.
    pub(crate) fn is_responsive(&self) -> bool {
        self.process.get().is_some() && !crate::sys::is_unread(&self.socket)
    }

    /// Whether it is known to have ended. The watcher takes those out of the pool whose pidfd it
    /// has; of the others the lane has to be asked.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.process.get(), Some(Process::Number(_))) && self.is_hung_up()
    }

    /// Whether its lane is closed at the other end.
    pub(crate) fn is_hung_up(&self) -> bool {
        lane::is_hung_up(&self.socket)
    }

    /// Says which command it serves now.
    pub(crate) fn serve(&self, running: Weak<Running>) {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    pub(crate) fn serving(&self) -> Option<Arc<Running>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Sends a long request, with its descriptors; as [`lane::send`].
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        lane::send(&self.socket, bytes, descriptors)
    }

    /// Whether it has this environment from an earlier request.
    pub(crate) fn knows(&self, environment: &Arc<StringsBuf>) -> Known {
        match &*self.environment() {
            Some(kept) if Arc::ptr_eq(kept, environment) || kept == environment => Known::Yes,
            Some(_) | None => Known::No,
        }
    }

    /// It was sent a request with this environment.
    pub(crate) fn remember(&self, environment: &Arc<StringsBuf>) {
        let kept = environment.bytes() <= REMEMBERED;
        *self.environment() = kept.then(|| Arc::clone(environment));
    }

    /// The request has failed: perhaps before the environment was read.
    pub(crate) fn forget_environment(&self) {
        *self.environment() = None;
    }

    fn environment(&self) -> MutexGuard<'_, Option<Arc<StringsBuf>>> {
        self.environment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a short request without waiting for the shepherd.
    pub(crate) fn request(&self, request: &Request<'_>) -> rustix::io::Result<()> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        lane::send_at_once(&self.socket, &bytes)
    }

    /// Kills it: its tree falls to the guardian, and its lane ends.
    pub(crate) fn kill(&self) -> Blow {
        match self.process.get() {
            None => Blow::Impossible,
            Some(Process::Pidfd(pidfd)) => {
                pidfd::kill(pidfd);
                Blow::Struck
            }
            // Once: a guardian that has not done it by the second time will not.
            Some(Process::Number(pid)) => {
                let first = !self.asked.swap(true, Ordering::Relaxed);
                if first && self.guardian.kill(*pid) { Blow::Asked } else { Blow::Impossible }
            }
        }
    }
}
