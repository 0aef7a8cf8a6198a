//! The shepherd's half: what it does next with its command.
//!
//! The shell (the shepherd's event loop) tells a [`Supervisor`] what happened, performs the
//! [`Action`]s that it asks for in order, and calls [`Supervisor::handle_timeout`] no later than
//! [`Supervisor::deadline`]. The machine never learns process numbers: it knows whether the child
//! lives, whether anything else lives, and what time it is.
//!
//! How the end of a command is brought about, rung by rung, is in `ladder.rs`.

use alloc::collections::VecDeque;

use crate::Time;
use crate::delays::{FEWEST_SWEEPS, SWEEP_PAUSE, SWEEP_PAUSE_LATE, SWEEP_PAUSE_MAX};
use crate::ladder::{Child, Command, Ladder, SIGWINCH};
use crate::message::{CommandId, Fate, Reason};
use crate::spawn::{Leftovers, Terms};

pub use crate::action::{Action, OutOfTurn, Standing};
pub use crate::delays::{HANDLE_AFTER, HANGING_UP, SETTLING, SWEEPING};

/// The state of one shepherd.
///
/// ```
/// use netrunner_core::message::{CommandId, Fate, Reason};
/// use netrunner_core::supervise::{Action, Supervisor};
/// use netrunner_core::{Time, spawn::Terms};
///
/// let (mut shepherd, id, start) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
/// shepherd.handle_started(start, id, Terms::DEFAULT);
/// // The client wants it stopped, but the child is deaf.
/// shepherd.handle_stop(start, id, Reason::Stopped);
/// shepherd.handle_timeout(start.after(Terms::DEFAULT.grace));
/// // The kill has reached it, and nothing else lives.
/// shepherd.handle_empty();
///
/// let mut done = Vec::new();
/// while let Some(action) = shepherd.poll_action() {
///     done.push(action);
/// }
/// let report = Action::Report(Reason::Stopped, Fate::Idle);
/// let (term, cont) = (Action::SignalTree(15), Action::SignalTree(18));
/// # let cont = if cfg!(target_os = "linux") { cont } else { Action::SignalTree(19) };
/// assert_eq!(done, [term, cont, Action::Strike, report]);
/// ```
#[derive(Clone, Debug, Hash)]
pub struct Supervisor {
    phase: Phase,
    client: Client,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Here,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Ready for a command.
    Idle,
    /// A command, or something of it, lives.
    Busy(Command),
    /// Something is kept on purpose; the shepherd only reaps.
    Staying,
    /// Nothing is left to do.
    Over,
}

impl Default for Supervisor {
    fn default() -> Self {
        Supervisor::new()
    }
}

impl Supervisor {
    /// A shepherd without a command, with its client there.
    ///
    /// ```
    /// use netrunner_core::supervise::Supervisor;
    /// assert!(Supervisor::new().client_is_here());
    /// ```
    pub fn new() -> Supervisor {
        Supervisor { phase: Phase::Idle, client: Client::Here, actions: VecDeque::new() }
    }

    /// The next thing to do.
    ///
    /// ```
    /// use netrunner_core::supervise::Supervisor;
    /// // Nothing has happened.
    /// assert_eq!(Supervisor::new().poll_action(), None);
    /// ```
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Supervisor::handle_timeout`] is due; never while there is nothing to wait for.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # use core::time::Duration;
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(
    ///     now,
    ///     id,
    ///     Terms { timeout: Some(Duration::from_millis(30)), ..Terms::DEFAULT },
    /// );
    /// assert_eq!(shepherd.deadline(), Some(now.after(Duration::from_millis(30))));
    /// ```
    pub fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Idle | Phase::Staying | Phase::Over => None,
            Phase::Busy(command) => command.deadline(),
        }
    }

    /// What the guardian is to know.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_detach(id);
    /// assert_eq!(shepherd.standing(), Standing::Kept);
    /// ```
    pub fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Idle | Phase::Over => Standing::Idle,
            Phase::Busy(command) => Standing::Busy(command.terms.grace),
            Phase::Staying => Standing::Kept,
        }
    }

    /// Whether the client is still listened to.
    ///
    /// ```
    /// use netrunner_core::{Time, supervise::Supervisor};
    ///
    /// let mut shepherd = Supervisor::new();
    /// shepherd.handle_client_gone(Time::from_nanos(0));
    /// assert!(!shepherd.client_is_here());
    /// ```
    pub fn client_is_here(&self) -> bool {
        self.client == Client::Here
    }

    /// A request to spawn arrived. `Err` means that a command is still there.
    ///
    /// ```
    /// use netrunner_core::supervise::Supervisor;
    /// assert!(Supervisor::new().handle_spawn().is_ok());
    /// ```
    pub fn handle_spawn(&mut self) -> Result<(), OutOfTurn> {
        match self.phase {
            Phase::Idle => Ok(()),
            Phase::Busy(_) | Phase::Staying | Phase::Over => Err(OutOfTurn),
        }
    }

    /// The shell has started the command of the last [`Supervisor::handle_spawn`].
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// assert!(shepherd.handle_spawn().is_err());
    /// ```
    pub fn handle_started(&mut self, now: Time, id: CommandId, terms: Terms) {
        assert_eq!(self.phase, Phase::Idle, "a command was started beside another");
        self.phase = Phase::Busy(Command::new(now, id, terms));
    }

    /// The client wants the child's group to get a signal.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_signal(id, 10);
    /// assert_eq!(shepherd.poll_action(), Some(Action::SignalGroup(10)));
    /// ```
    pub fn handle_signal(&mut self, id: CommandId, signal: u8) {
        if self.command(id).is_some_and(|command| command.child == Child::Lives) {
            self.actions.push_back(Action::SignalGroup(signal));
        }
    }

    /// The client wants the command stopped, for this reason.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_stop(now, id, Reason::IdleTimeout);
    /// assert_eq!(shepherd.deadline(), Some(now.after(Terms::DEFAULT.grace)));
    /// ```
    pub fn handle_stop(&mut self, now: Time, id: CommandId, reason: Reason) {
        if self.command(id).is_some() {
            self.ask(now, reason);
        }
    }

    /// The client wants the command killed.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_kill(now, id);
    /// assert_eq!(shepherd.poll_action(), Some(Action::Strike));
    /// ```
    pub fn handle_kill(&mut self, now: Time, id: CommandId) {
        if self.command(id).is_some() {
            self.kill(now, Reason::Killed);
        }
    }

    /// The client wants the command to live on without it.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_detach(id);
    /// assert_eq!(shepherd.poll_action(), Some(Action::Detached(id)));
    /// assert_eq!(shepherd.poll_action(), Some(Action::LetGo));
    /// ```
    pub fn handle_detach(&mut self, id: CommandId) {
        if self.command(id).is_some() {
            self.actions.extend([Action::Detached(id), Action::LetGo]);
            self.phase = Phase::Staying;
            self.client = Client::Gone;
        }
    }

    /// This signal has stopped the child, and the client is to hear of it.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_child_stopped(19);
    /// assert_eq!(shepherd.poll_action(), Some(Action::Stopped(id, 19)));
    /// ```
    pub fn handle_child_stopped(&mut self, signal: u8) {
        if let Some(id) = self.living_child() {
            self.actions.push_back(Action::Stopped(id, signal));
        }
    }

    /// The stopped child goes on.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_child_continued();
    /// assert_eq!(shepherd.poll_action(), Some(Action::Continued(id)));
    /// ```
    pub fn handle_child_continued(&mut self) {
        if let Some(id) = self.living_child() {
            self.actions.push_back(Action::Continued(id));
        }
    }

    /// The lane is closed, or the client has ended, or it spoke nonsense.
    ///
    /// ```
    /// use netrunner_core::Time;
    /// use netrunner_core::supervise::{Action, Supervisor};
    ///
    /// let mut shepherd = Supervisor::new();
    /// shepherd.handle_client_gone(Time::from_nanos(0));
    /// assert_eq!(shepherd.poll_action(), Some(Action::LetGo));
    /// assert_eq!(shepherd.poll_action(), Some(Action::Quit));
    /// ```
    pub fn handle_client_gone(&mut self, now: Time) {
        if self.client == Client::Gone {
            return;
        }
        self.client = Client::Gone;
        self.actions.push_back(Action::LetGo);
        match self.phase {
            Phase::Idle => self.quit(),
            Phase::Busy(_) => self.ask(now, Reason::Stopped),
            Phase::Staying | Phase::Over => {}
        }
    }

    /// The child has ended and is not reaped; something else lives.
    ///
    /// Where nothing else lives, [`Supervisor::handle_empty`] says so instead.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms { leftovers: Leftovers::Keep, ..Terms::DEFAULT });
    /// shepherd.handle_child_ended(now);
    /// let settled = shepherd.deadline().expect("it waits a little");
    /// shepherd.handle_timeout(settled);
    /// assert_eq!(shepherd.poll_action(), Some(Action::NoteLeftovers));
    /// assert_eq!(shepherd.poll_action(), Some(Action::Report(Reason::Exited, Fate::Leaving)));
    /// ```
    pub fn handle_child_ended(&mut self, now: Time) {
        let Phase::Busy(command) = &mut self.phase else { return };
        let first = core::mem::replace(&mut command.child, Child::Ended) == Child::Lives;
        match (command.ladder, command.terms.leftovers) {
            (Ladder::Calm, Leftovers::Stop | Leftovers::Keep) => {
                command.reason.get_or_insert(Reason::Exited);
                command.ladder = Ladder::Settling { until: now.after(SETTLING) };
            }
            (Ladder::Calm, Leftovers::Wait) => command.note_at = Some(now.after(SETTLING)),
            (Ladder::Asked { kill_at, .. }, _)
                if first && command.terms.leftover_signal.is_some() =>
            {
                let again_at = Some(now.after(HANGING_UP));
                command.ladder = Ladder::Asked { kill_at, again_at };
            }
            // What was below it has come up to where it can be seen.
            (Ladder::Killing { tell_at, swept, .. }, _) if first => {
                let pause = SWEEP_PAUSE;
                command.ladder = Ladder::Killing { again_at: now, pause, tell_at, swept };
            }
            (Ladder::Settling { .. } | Ladder::Asked { .. } | Ladder::Killing { .. }, _) => {}
        }
    }

    /// The last sweep has found direct children alone. Each of them wakes the shell when it ends, so
    /// looking again soon would only take from them the time that a thousand of them need to end. What
    /// one of them had below it and the sweep has missed comes up then, and is found by the next sweep.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_kill(now, id);
    /// let soon = shepherd.deadline();
    /// shepherd.handle_shallow_sweep(now);
    /// assert!(shepherd.deadline() > soon);
    /// ```
    pub fn handle_shallow_sweep(&mut self, now: Time) {
        let Phase::Busy(command) = &mut self.phase else { return };
        if let Ladder::Killing { again_at, pause, .. } = &mut command.ladder {
            *pause = (*pause).max(SWEEP_PAUSE_MAX);
            *again_at = now.after(*pause);
        }
    }

    /// Nothing lives any more; at most the child is left to be reaped.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms::DEFAULT);
    /// shepherd.handle_empty();
    /// assert_eq!(shepherd.poll_action(), Some(Action::Report(Reason::Exited, Fate::Idle)));
    /// ```
    pub fn handle_empty(&mut self) {
        match &mut self.phase {
            Phase::Busy(command) => {
                let reason = command.reason.unwrap_or(Reason::Exited);
                match self.client {
                    Client::Here => {
                        self.actions.push_back(Action::Report(reason, Fate::Idle));
                        self.phase = Phase::Idle;
                    }
                    Client::Gone => self.quit(),
                }
            }
            Phase::Staying => self.quit(),
            Phase::Idle | Phase::Over => {}
        }
    }

    /// Time has passed.
    ///
    /// ```
    /// # use netrunner_core::{Time, message::*, spawn::*, supervise::*};
    /// # use core::time::Duration;
    /// # let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
    /// shepherd.handle_started(now, id, Terms { timeout: Some(Duration::ZERO), ..Terms::DEFAULT });
    /// shepherd.handle_timeout(now);
    /// assert_eq!(shepherd.poll_action(), Some(Action::SignalTree(15)));
    /// ```
    pub fn handle_timeout(&mut self, now: Time) {
        let Phase::Busy(command) = &mut self.phase else { return };
        match command.ladder {
            Ladder::Calm => {
                if command.note_at.take_if(|at| *at <= now).is_some() {
                    command.note_leftovers(&mut self.actions);
                }
                if command.timeout_at.is_some_and(|at| at <= now) {
                    self.ask(now, Reason::Timeout);
                } else if command.handle_at.take_if(|at| *at <= now).is_some() {
                    self.actions.push_back(Action::Handle(command.id));
                }
            }
            Ladder::Settling { until } if until <= now => match command.terms.leftovers {
                Leftovers::Keep => {
                    let reason = command.reason.unwrap_or(Reason::Exited);
                    command.note_leftovers(&mut self.actions);
                    self.actions.push_back(Action::Report(reason, Fate::Leaving));
                    self.actions.push_back(Action::LetGo);
                    self.client = Client::Gone;
                    self.phase = Phase::Staying;
                }
                Leftovers::Stop | Leftovers::Wait => self.ask(now, Reason::Exited),
            },
            Ladder::Asked { kill_at, .. } if kill_at <= now => self.kill(now, Reason::Stopped),
            Ladder::Asked { kill_at, again_at: Some(at) } if at <= now => {
                command.ladder = Ladder::Asked { kill_at, again_at: None };
                match command.child {
                    Child::Lives => self.actions.push_back(Action::SignalTree(SIGWINCH)),
                    Child::Ended => command.signal_tree(&mut self.actions),
                }
            }
            Ladder::Killing { again_at, pause, tell_at, swept } => {
                if tell_at.is_some_and(|at| at <= now) && swept >= FEWEST_SWEEPS {
                    self.tell(now);
                } else if again_at <= now {
                    let longest = tell_at.map_or(SWEEP_PAUSE_LATE, |_| SWEEP_PAUSE_MAX);
                    let pause = (pause * 2).min(longest);
                    let (again_at, swept) = (now.after(pause), swept.saturating_add(1));
                    command.ladder = Ladder::Killing { again_at, pause, tell_at, swept };
                    self.actions.push_back(Action::Sweep);
                }
            }
            Ladder::Settling { .. } | Ladder::Asked { .. } => {}
        }
    }

    /// The command, if a request about `id` is still to be heeded: after the last word there is none.
    fn command(&mut self, id: CommandId) -> Option<&mut Command> {
        let heard = self.client == Client::Here;
        match &mut self.phase {
            Phase::Busy(command) if heard && command.id == id => Some(command),
            Phase::Busy(_) | Phase::Idle | Phase::Staying | Phase::Over => None,
        }
    }

    /// The command whose child lives and whose client listens.
    fn living_child(&self) -> Option<CommandId> {
        match &self.phase {
            Phase::Busy(command) => {
                let told = self.client == Client::Here && command.child == Child::Lives;
                told.then_some(command.id)
            }
            Phase::Idle | Phase::Staying | Phase::Over => None,
        }
    }

    fn ask(&mut self, now: Time, reason: Reason) {
        let Phase::Busy(command) = &mut self.phase else { return };
        command.ask(now, reason, &mut self.actions);
    }

    fn kill(&mut self, now: Time, reason: Reason) {
        let Phase::Busy(command) = &mut self.phase else { return };
        command.kill(now, reason, &mut self.actions);
    }

    /// Sweeping has taken too long: the client hears of it, and the sweeping goes on.
    fn tell(&mut self, now: Time) {
        let Phase::Busy(command) = &mut self.phase else { return };
        let pause = SWEEP_PAUSE_LATE;
        let again_at = now.after(pause);
        command.ladder = Ladder::Killing { again_at, pause, tell_at: None, swept: 0 };
        if self.client == Client::Here {
            let reason = command.reason.unwrap_or(Reason::Exited);
            self.actions.extend([Action::Report(reason, Fate::Leaving), Action::LetGo]);
            self.client = Client::Gone;
        }
    }

    fn quit(&mut self) {
        self.phase = Phase::Over;
        self.actions.push_back(Action::Quit);
    }
}
