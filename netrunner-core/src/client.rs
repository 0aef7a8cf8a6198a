//! The client's half: which event may come now, and when an abandoned shepherd is given up.

use core::fmt;
use core::time::Duration;

use crate::Time;
use crate::message::{CommandId, Event, Exited, Fate, Pid, SpawnFailed};
use crate::spawn::Notify;

pub use crate::guard::ALLOWANCE;

/// What the client knows of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conversation {
    greeted: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// The shepherd is free.
    Idle,
    /// A command was asked for.
    Asked(CommandId, Notify),
    /// It runs, with this child.
    Running(CommandId, Pid),
    /// The shepherd takes no more commands.
    Over,
}

/// What an event means for the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The shepherd is there; its pidfd came with the event.
    Hello(Pid),
    /// The command runs.
    Started(Pid),
    /// It goes on running; the child's pidfd came with the event.
    Runs,
    /// The command was not started.
    Failed(SpawnFailed),
    /// The command is over.
    Ended(Exited),
    /// The command runs on without the client.
    Detached,
    /// This signal has stopped the child.
    Stopped(u8),
    /// The child goes on.
    Continued,
}

/// An event that may not come now; the peer is broken or hostile, and the lane of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfTurn;

impl fmt::Display for OutOfTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event out of turn")
    }
}

impl core::error::Error for OutOfTurn {}

impl Default for Conversation {
    fn default() -> Self {
        Conversation::new()
    }
}

impl Conversation {
    /// A lane to a new shepherd.
    pub fn new() -> Conversation {
        Conversation { greeted: false, state: State::Idle }
    }

    /// Whether the shepherd has said anything yet. While it has not, it has read nothing either: a
    /// lane that ends now has run nothing.
    pub fn greeted(&self) -> bool {
        self.greeted
    }

    /// Whether the shepherd would take a command.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether word of the start, or of its failure, is still to come.
    pub fn awaits_start(&self) -> bool {
        matches!(self.state, State::Asked(_, Notify::Start))
    }

    /// A request to spawn is on its way. `Err` means that the shepherd is not free.
    pub fn begin(&mut self, id: CommandId, notify: Notify) -> Result<(), OutOfTurn> {
        match self.state {
            State::Idle => {
                self.state = State::Asked(id, notify);
                Ok(())
            }
            State::Asked(..) | State::Running(..) | State::Over => Err(OutOfTurn),
        }
    }

    /// An event has arrived.
    pub fn handle_event(&mut self, event: Event) -> Result<Heard, OutOfTurn> {
        // The guardian answers for a shepherd that could not be made, so a failure may come first.
        let greeting = matches!(event, Event::Hello(_) | Event::SpawnFailed(_));
        if !self.greeted && !greeting {
            return Err(OutOfTurn);
        }
        let heard = match (event, self.state) {
            (Event::Hello(pid), _) if !self.greeted => Heard::Hello(pid),
            (Event::Spawned(id, pid), State::Asked(asked, Notify::Start)) if id == asked => {
                self.state = State::Running(id, pid);
                Heard::Started(pid)
            }
            // Also of a child that takes its time to fail, of which no start is told.
            (Event::Handle(id), State::Running(mine, _) | State::Asked(mine, _)) if id == mine => {
                Heard::Runs
            }
            (Event::SpawnFailed(failed), State::Asked(asked, _)) if self.greeted => {
                if failed.id != asked {
                    return Err(OutOfTurn);
                }
                self.state = State::Idle;
                Heard::Failed(failed)
            }
            (Event::SpawnFailed(failed), _) if !self.greeted => {
                self.state = State::Over;
                Heard::Failed(failed)
            }
            (Event::Exited(exited), State::Running(id, _) | State::Asked(id, Notify::End))
                if exited.id == id =>
            {
                // The end of one child can't be told as that of another.
                if matches!(self.state, State::Running(_, pid) if pid != exited.pid) {
                    return Err(OutOfTurn);
                }
                self.state = match exited.fate {
                    Fate::Idle => State::Idle,
                    Fate::Leaving => State::Over,
                };
                Heard::Ended(exited)
            }
            (Event::Detached(id), State::Running(mine, _) | State::Asked(mine, Notify::End))
                if id == mine =>
            {
                self.state = State::Over;
                Heard::Detached
            }
            (
                Event::Stopped(id, signal),
                State::Running(mine, _) | State::Asked(mine, Notify::End),
            ) if id == mine => Heard::Stopped(signal),
            (Event::Continued(id), State::Running(mine, _) | State::Asked(mine, Notify::End))
                if id == mine =>
            {
                Heard::Continued
            }
            (
                Event::Hello(_)
                | Event::Spawned(..)
                | Event::Handle(_)
                | Event::SpawnFailed(_)
                | Event::Exited(_)
                | Event::Detached(_)
                | Event::Stopped(..)
                | Event::Continued(_),
                State::Idle | State::Asked(..) | State::Running(..) | State::Over,
            ) => return Err(OutOfTurn),
        };
        self.greeted = true;
        Ok(heard)
    }
}

/// The patience with the shepherd of a command that was dropped: it is asked to stop it at once,
/// and killed when it has not reacted by grace + 1 s, so that its tree falls to the guardian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    until: Time,
    killed: bool,
}

impl Patience {
    /// The command was dropped now.
    pub fn new(now: Time, grace: Duration) -> Patience {
        Patience { until: now.after(grace).after(ALLOWANCE), killed: false }
    }

    /// When [`Patience::is_over`] is worth asking; never once the shepherd was killed.
    pub fn deadline(&self) -> Option<Time> {
        if self.killed { None } else { Some(self.until) }
    }

    /// Whether the shepherd is to be killed now. Says so once.
    pub fn is_over(&mut self, now: Time) -> bool {
        let over = !self.killed && self.until <= now;
        self.killed |= over;
        over
    }
}
