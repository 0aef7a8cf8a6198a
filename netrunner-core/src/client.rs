//! The client's half: which event may come now, and when an abandoned shepherd is given up.

use core::fmt;
use core::time::Duration;

use crate::Time;
use crate::message::{CommandId, Event, Exited, Fate, Pid, SpawnFailed};
use crate::spawn::Notify;

pub use crate::guard::ALLOWANCE;

/// What the client knows of one lane.
///
/// ```
/// use netrunner_core::client::{Conversation, Heard};
/// use netrunner_core::message::{CommandId, Event, Pid};
/// use netrunner_core::spawn::Notify;
///
/// let mut lane = Conversation::new();
/// lane.handle_event(Event::Hello(Pid(100)))?;
/// lane.begin(CommandId(1), Notify::Start)?;
/// let heard = lane.handle_event(Event::Spawned(CommandId(1), Pid(101)))?;
/// assert_eq!(heard, Heard::Started(Pid(101)));
/// // The shepherd serves one command after the other.
/// assert!(lane.begin(CommandId(2), Notify::Start).is_err());
/// # Ok::<(), netrunner_core::client::OutOfTurn>(())
/// ```
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
///
/// ```
/// use netrunner_core::client::{Conversation, Heard};
/// use netrunner_core::message::{Event, Pid};
///
/// let heard = Conversation::new().handle_event(Event::Hello(Pid(100)))?;
/// assert_eq!(heard, Heard::Hello(Pid(100)));
/// # Ok::<(), netrunner_core::client::OutOfTurn>(())
/// ```
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
///
/// ```
/// use netrunner_core::client::{Conversation, OutOfTurn};
/// use netrunner_core::message::{CommandId, Event, Pid};
///
/// // It was asked for nothing.
/// let event = Event::Spawned(CommandId(1), Pid(101));
/// assert_eq!(Conversation::new().handle_event(event), Err(OutOfTurn));
/// ```
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
    ///
    /// ```
    /// use netrunner_core::client::Conversation;
    /// assert!(Conversation::new().is_idle());
    /// ```
    pub fn new() -> Conversation {
        Conversation { greeted: false, state: State::Idle }
    }

    /// Whether the shepherd has said anything yet. While it has not, it has read nothing either: a
    /// lane that ends now has run nothing.
    ///
    /// ```
    /// use netrunner_core::client::Conversation;
    /// use netrunner_core::message::{Event, Pid};
    ///
    /// let mut lane = Conversation::new();
    /// assert!(!lane.greeted());
    /// lane.handle_event(Event::Hello(Pid(100)))?;
    /// assert!(lane.greeted());
    /// # Ok::<(), netrunner_core::client::OutOfTurn>(())
    /// ```
    pub fn greeted(&self) -> bool {
        self.greeted
    }

    /// Whether the shepherd would take a command.
    ///
    /// ```
    /// use netrunner_core::{client::Conversation, message::CommandId, spawn::Notify};
    ///
    /// let mut lane = Conversation::new();
    /// lane.begin(CommandId(1), Notify::End)?;
    /// assert!(!lane.is_idle());
    /// # Ok::<(), netrunner_core::client::OutOfTurn>(())
    /// ```
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether word of the start, or of its failure, is still to come.
    ///
    /// ```
    /// use netrunner_core::{client::Conversation, message::CommandId, spawn::Notify};
    ///
    /// let (mut one, mut other) = (Conversation::new(), Conversation::new());
    /// one.begin(CommandId(1), Notify::Start)?;
    /// other.begin(CommandId(1), Notify::End)?;
    /// assert!(one.awaits_start());
    /// assert!(!other.awaits_start());
    /// # Ok::<(), netrunner_core::client::OutOfTurn>(())
    /// ```
    pub fn awaits_start(&self) -> bool {
        matches!(self.state, State::Asked(_, Notify::Start))
    }

    /// A request to spawn is on its way. `Err` means that the shepherd is not free.
    ///
    /// ```
    /// use netrunner_core::{client::Conversation, message::CommandId, spawn::Notify};
    ///
    /// let mut lane = Conversation::new();
    /// // It need not wait for the greeting.
    /// assert!(lane.begin(CommandId(1), Notify::Start).is_ok());
    /// assert!(lane.begin(CommandId(2), Notify::Start).is_err());
    /// ```
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
    ///
    /// ```
    /// use netrunner_core::client::{Conversation, Heard};
    /// use netrunner_core::message::{CommandId, Event, Pid, SpawnFailed, Step};
    /// use netrunner_core::spawn::Notify;
    ///
    /// let mut lane = Conversation::new();
    /// lane.begin(CommandId(1), Notify::Start)?;
    /// lane.handle_event(Event::Hello(Pid(100)))?;
    /// let id = CommandId(1);
    /// let failed = SpawnFailed { id, step: Step::Exec, errno: 2, object: b"/bin/nothing".to_vec() };
    /// let heard = lane.handle_event(Event::SpawnFailed(failed.clone()))?;
    /// assert_eq!(heard, Heard::Failed(failed));
    /// // Nothing is left of it, so the shepherd takes the next one.
    /// assert!(lane.is_idle());
    /// # Ok::<(), netrunner_core::client::OutOfTurn>(())
    /// ```
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
///
/// ```
/// use core::time::Duration;
/// use netrunner_core::{Time, client::Patience};
///
/// let now = Time::from_nanos(0);
/// let mut patience = Patience::new(now, Duration::from_secs(5));
/// assert!(!patience.is_over(now.after(Duration::from_secs(5))));
/// assert!(patience.is_over(now.after(Duration::from_secs(6))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    until: Time,
    killed: bool,
}

impl Patience {
    /// The command was dropped now.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netrunner_core::Time;
    /// use netrunner_core::client::{ALLOWANCE, Patience};
    ///
    /// let now = Time::from_nanos(0);
    /// assert_eq!(Patience::new(now, Duration::ZERO).deadline(), Some(now.after(ALLOWANCE)));
    /// ```
    pub fn new(now: Time, grace: Duration) -> Patience {
        Patience { until: now.after(grace).after(ALLOWANCE), killed: false }
    }

    /// When [`Patience::is_over`] is worth asking; never once the shepherd was killed.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netrunner_core::{Time, client::Patience};
    ///
    /// let mut patience = Patience::new(Time::from_nanos(0), Duration::from_secs(5));
    /// while let Some(at) = patience.deadline() {
    ///     // Here the watcher waits until then, and kills the shepherd.
    ///     assert!(patience.is_over(at));
    /// }
    /// ```
    pub fn deadline(&self) -> Option<Time> {
        if self.killed { None } else { Some(self.until) }
    }

    /// Whether the shepherd is to be killed now. Says so once.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netrunner_core::{Time, client::Patience};
    ///
    /// let late = Time::from_nanos(u64::MAX);
    /// let mut patience = Patience::new(Time::from_nanos(0), Duration::from_secs(5));
    /// assert!(patience.is_over(late));
    /// assert!(!patience.is_over(late), "once is enough");
    /// ```
    pub fn is_over(&mut self, now: Time) -> bool {
        let over = !self.killed && self.until <= now;
        self.killed |= over;
        over
    }
}
