//! What a shepherd's machine says: to its shell, and of itself.

use core::time::Duration;

use crate::message::{CommandId, Fate, Reason};

/// What the machine asks its shell to do, in order.
///
/// ```
/// use netrunner_core::message::{CommandId, Reason};
/// use netrunner_core::supervise::{Action, Supervisor};
/// use netrunner_core::{Time, spawn::Terms};
///
/// let (mut shepherd, now) = (Supervisor::new(), Time::from_nanos(0));
/// shepherd.handle_started(now, CommandId(1), Terms::DEFAULT);
/// shepherd.handle_stop(now, CommandId(1), Reason::Stopped);
/// // SIGTERM to all, and here the shell would send it.
/// assert_eq!(shepherd.poll_action(), Some(Action::SignalTree(15)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send a signal to the child's group.
    SignalGroup(u8),
    /// Send a signal to the group and to every descendant outside it.
    SignalTree(u8),
    /// `SIGKILL` for what one call reaches: the child's group, and the cgroup.
    Strike,
    /// One pass of `SIGKILL` over everything that lives.
    Sweep,
    /// Send `Handle`, unless the child is reaped.
    Handle(CommandId),
    /// Write down what lives beside the child, for the report.
    NoteLeftovers,
    /// Reap the child if it has ended and send `Exited`.
    Report(Reason, Fate),
    /// Send `Detached`.
    Detached(CommandId),
    /// Send `Stopped`.
    Stopped(CommandId, u8),
    /// Send `Continued`.
    Continued(CommandId),
    /// Close the lane and listen for the client no more.
    LetGo,
    /// End the process.
    Quit,
}

/// What the guardian must know of a shepherd, should the client go.
///
/// ```
/// use netrunner_core::supervise::{Standing, Supervisor};
/// use netrunner_core::{Time, message::CommandId, spawn::Terms};
///
/// let mut shepherd = Supervisor::new();
/// assert_eq!(shepherd.standing(), Standing::Idle);
/// shepherd.handle_started(Time::from_nanos(0), CommandId(1), Terms::DEFAULT);
/// assert_eq!(shepherd.standing(), Standing::Busy(Terms::DEFAULT.grace));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has no command, and must go with the client.
    Idle,
    /// It must be done this long after the client has gone.
    Busy(Duration),
    /// It stays beside what was kept on purpose.
    Kept,
}

/// The request came out of turn; the peer is broken or hostile.
///
/// ```
/// use netrunner_core::supervise::{OutOfTurn, Supervisor};
/// use netrunner_core::{Time, message::CommandId, spawn::Terms};
///
/// let mut shepherd = Supervisor::new();
/// shepherd.handle_started(Time::from_nanos(0), CommandId(1), Terms::DEFAULT);
/// assert_eq!(shepherd.handle_spawn(), Err(OutOfTurn));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfTurn;
