//! The terminal of a command, its own or the client's, from the client's side.

use std::os::fd::OwnedFd;
use std::sync::Weak;

use netrunner_pty::WinSize;
use rustix::io::Errno;

use super::Running;
use crate::error::{Error, Result, shown};
use crate::pty;
use crate::terminal::Tie;

impl Running {
    /// The manager of the command's own terminal, if it has one.
    pub(crate) fn own_terminal(&self) -> Weak<OwnedFd> {
        match &self.tie {
            Tie::Own(manager) => Weak::clone(manager),
            Tie::Nothing | Tie::Lent(_) => Weak::new(),
        }
    }

    /// Takes back what the shepherd, which is lost, would have brought back.
    pub(super) fn take_terminal_back(&self) {
        match &self.tie {
            Tie::Lent(lent) => lent.take_back(self.pid()),
            Tie::Nothing | Tie::Own(_) => {}
        }
    }

    /// Gives the command's own terminal another size.
    ///
    /// By the manager, and not by a request to the shepherd, which holds the other end: what is
    /// typed after this must find the new size.
    pub(crate) fn resize(&self, size: WinSize) -> Result<()> {
        self.ensure_here()?;
        pty::check_size(size)?;
        let result = match &self.tie {
            Tie::Own(manager) => match manager.upgrade() {
                Some(manager) => size.set(&*manager),
                // Hung up, or given away.
                None => Err(Errno::IO.into()),
            },
            Tie::Nothing | Tie::Lent(_) => Err(Errno::NOTTY.into()),
        };
        result.map_err(|cause| {
            Error::system(format!("resize the terminal of `{}`", shown(&self.program)), cause)
        })
    }
}
