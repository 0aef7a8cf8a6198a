//! How a command is ended from outside.

use netrunner_core::message::Reason;

use super::Running;

/// How a command is ended; the second is the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Stop,
    Kill,
}

impl End {
    pub(crate) fn ask(self, running: &Running) {
        match self {
            End::Stop => running.ask_to_stop(Reason::Stopped),
            End::Kill => {
                // It fails only in a forked copy of the client, where nothing of it is ours.
                let _ = running.kill();
            }
        }
    }
}
