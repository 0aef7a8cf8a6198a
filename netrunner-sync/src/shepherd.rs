//! One shepherd as the client knows it: its lane, its pidfd, and the command that it serves.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use netrunner_core::message::{Request, Session};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::Signal;

use crate::guardian::Guardian;
use crate::lane::{self, Ear, PATIENCE};
use crate::running::Running;

pub(crate) struct Shepherd {
    socket: Arc<OwnedFd>,
    /// Locked by the one thread that reads for the command of the moment.
    ear: Mutex<Ear>,
    /// Its pidfd; not there before it has said hello, nor in a client that was out of descriptors.
    process: OnceLock<Arc<OwnedFd>>,
    serving: Mutex<Weak<Running>>,
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
            ear: Mutex::new(Ear::new()),
            process: OnceLock::new(),
            serving: Mutex::default(),
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

    pub(crate) fn process(&self) -> Option<&Arc<OwnedFd>> {
        self.process.get()
    }

    /// It has said hello.
    pub(crate) fn introduce(&self, process: OwnedFd) {
        // The conversation allows one hello.
        let _ = self.process.set(Arc::new(process));
    }

    /// Says which command it serves now.
    pub(crate) fn serve(&self, running: Weak<Running>) {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    pub(crate) fn serving(&self) -> Option<Arc<Running>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Sends a short request without waiting.
    pub(crate) fn request(&self, request: &Request<'_>) -> rustix::io::Result<()> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        lane::send_at_once(&self.socket, &bytes)
    }

    /// Kills it: its tree falls to the guardian, and its lane ends. False where that can't be done.
    pub(crate) fn kill(&self) -> bool {
        let Some(process) = self.process.get() else { return false };
        // ESRCH: it has ended.
        let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
        true
    }
}
