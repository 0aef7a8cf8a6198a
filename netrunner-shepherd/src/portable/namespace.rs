//! There are no PID namespaces here: a command that must have one is refused.

use netrunner_core::message::{Pid, Step};
use netrunner_core::namespace::Namespace;

use crate::sys::Errno;
use crate::sys::Fd;
use crate::sys::abi::ENOSYS;
use crate::sys::window::{Launchpad, Pace};

/// The first process of a command's namespace, if there were any.
pub(crate) enum Init {}

impl Init {
    pub(crate) fn news(&self) -> Option<&Fd> {
        match *self {}
    }

    pub(crate) fn signal_all(&self, _: u8) {
        match *self {}
    }

    pub(crate) fn kill(&self) {
        match *self {}
    }
}

pub(crate) fn start(
    _: &mut Launchpad,
    _: Namespace,
    _: Pace,
) -> Result<(Pid, Init), (Step, Errno)> {
    Err((Step::Namespace, Errno(ENOSYS)))
}
