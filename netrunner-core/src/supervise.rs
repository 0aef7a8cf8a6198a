//! The shepherd's half: what it does next with its command.
//!
//! The shell (the shepherd's event loop) tells a [`Supervisor`] what happened, performs the
//! [`Action`]s that it asks for in order, and calls [`Supervisor::handle_timeout`] no later than
//! [`Supervisor::deadline`]. The machine never learns process numbers: it knows whether the child
//! lives, whether anything else lives, and what time it is.
//!
//! The ladder of a command, every rung reached by the shepherd's own clock:
//!
//! ```text
//!           child ends, others live           20 ms over
//!   Calm ───────────────────────▶ Settling ───────────────┐
//!    │ stop, timeout, client gone                         ▼
//!    ├──────────────────────────────────────────────▶  Asked  stop signal + CONT to the tree
//!    │ kill                                               │ grace over, or kill
//!    └───────────────────────────────────────────────▶ Killing  sweep after sweep until nothing
//!                                                             lives, or the client is told what does
//! ```

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Time;
use crate::delays::{SWEEP_PAUSE, SWEEP_PAUSE_LATE, SWEEP_PAUSE_MAX};
use crate::message::{CommandId, Fate, Reason};
use crate::spawn::{Leftovers, Terms};

pub use crate::delays::{HANDLE_AFTER, HANGING_UP, SETTLING, SWEEPING};

/// Those that have the same number on every system that NetRunner runs on, and SIGCONT.
const SIGKILL: u8 = 9;
const SIGWINCH: u8 = 28;
const SIGCONT: u8 = if cfg!(target_os = "linux") { 18 } else { 19 };

/// What the machine asks its shell to do, in order.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfTurn;

/// The state of one shepherd.
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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Command {
    id: CommandId,
    terms: Terms,
    timeout_at: Option<Time>,
    child: Child,
    reason: Option<Reason>,
    ladder: Ladder,
    /// When the client gets the child's pidfd, unless the ladder has begun by then.
    handle_at: Option<Time>,
    /// When what is waited for counts as left over.
    note_at: Option<Time>,
    leftovers: Noted,
}

/// Whether what outlived the child is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Noted {
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Child {
    Lives,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ladder {
    Calm,
    Settling { until: Time },
    Asked { kill_at: Time, again_at: Option<Time> },
    Killing { again_at: Time, pause: Duration, tell_at: Option<Time> },
}

impl Default for Supervisor {
    fn default() -> Self {
        Supervisor::new()
    }
}

impl Supervisor {
    /// A shepherd without a command, with its client there.
    pub fn new() -> Supervisor {
        Supervisor { phase: Phase::Idle, client: Client::Here, actions: VecDeque::new() }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Supervisor::handle_timeout`] is due; never while there is nothing to wait for.
    pub fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Idle | Phase::Staying | Phase::Over => None,
            Phase::Busy(command) => match command.ladder {
                Ladder::Calm => {
                    earlier(command.timeout_at, earlier(command.note_at, command.handle_at))
                }
                Ladder::Settling { until } => Some(until),
                Ladder::Asked { kill_at, again_at } => earlier(Some(kill_at), again_at),
                Ladder::Killing { again_at, tell_at, .. } => earlier(Some(again_at), tell_at),
            },
        }
    }

    /// What the guardian is to know.
    pub fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Idle | Phase::Over => Standing::Idle,
            Phase::Busy(command) => Standing::Busy(command.terms.grace),
            Phase::Staying => Standing::Kept,
        }
    }

    /// Whether the client is still listened to.
    pub fn client_is_here(&self) -> bool {
        self.client == Client::Here
    }

    /// A request to spawn arrived. `Err` means that a command is still there.
    pub fn handle_spawn(&mut self) -> Result<(), OutOfTurn> {
        match self.phase {
            Phase::Idle => Ok(()),
            Phase::Busy(_) | Phase::Staying | Phase::Over => Err(OutOfTurn),
        }
    }

    /// The shell has started the command of the last [`Supervisor::handle_spawn`].
    pub fn handle_started(&mut self, now: Time, id: CommandId, terms: Terms) {
        assert_eq!(self.phase, Phase::Idle, "a command was started beside another");
        let command = Command {
            id,
            terms,
            timeout_at: terms.timeout.map(|timeout| now.after(timeout)),
            child: Child::Lives,
            reason: None,
            ladder: Ladder::Calm,
            handle_at: Some(now.after(HANDLE_AFTER)),
            note_at: None,
            leftovers: Noted::No,
        };
        self.phase = Phase::Busy(command);
    }

    /// The client wants the child's group to get a signal.
    pub fn handle_signal(&mut self, id: CommandId, signal: u8) {
        if self.command(id).is_some_and(|command| command.child == Child::Lives) {
            self.actions.push_back(Action::SignalGroup(signal));
        }
    }

    /// The client wants the command stopped, for this reason.
    pub fn handle_stop(&mut self, now: Time, id: CommandId, reason: Reason) {
        if self.command(id).is_some() {
            self.ask(now, reason);
        }
    }

    /// The client wants the command killed.
    pub fn handle_kill(&mut self, now: Time, id: CommandId) {
        if self.command(id).is_some() {
            self.kill(now, Reason::Killed);
        }
    }

    /// The client wants the command to live on without it.
    pub fn handle_detach(&mut self, id: CommandId) {
        if self.command(id).is_some() {
            self.actions.extend([Action::Detached(id), Action::LetGo]);
            self.phase = Phase::Staying;
            self.client = Client::Gone;
        }
    }

    /// This signal has stopped the child, and the client is to hear of it.
    pub fn handle_child_stopped(&mut self, signal: u8) {
        if let Some(id) = self.living_child() {
            self.actions.push_back(Action::Stopped(id, signal));
        }
    }

    /// The stopped child goes on.
    pub fn handle_child_continued(&mut self) {
        if let Some(id) = self.living_child() {
            self.actions.push_back(Action::Continued(id));
        }
    }

    /// The lane is closed, or the client has ended, or it spoke nonsense.
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
            (Ladder::Killing { tell_at, .. }, _) if first => {
                command.ladder = Ladder::Killing { again_at: now, pause: SWEEP_PAUSE, tell_at };
            }
            (Ladder::Settling { .. } | Ladder::Asked { .. } | Ladder::Killing { .. }, _) => {}
        }
    }

    /// The last sweep has found direct children alone. Each of them wakes the shell when it ends, so
    /// looking again soon would only take from them the time that a thousand of them need to end. What
    /// one of them had below it and the sweep has missed comes up then, and is found by the next sweep.
    pub fn handle_shallow_sweep(&mut self, now: Time) {
        let Phase::Busy(command) = &mut self.phase else { return };
        if let Ladder::Killing { again_at, pause, .. } = &mut command.ladder {
            *pause = (*pause).max(SWEEP_PAUSE_MAX);
            *again_at = now.after(*pause);
        }
    }

    /// Nothing lives any more; at most the child is left to be reaped.
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
            Ladder::Killing { again_at, pause, tell_at } => {
                // Time in which this shepherd was stopped, or starved, has killed nobody, and does not count.
                let late = now.since(again_at);
                let tell_at = tell_at.map(|at| at.after(late));
                if tell_at.is_some_and(|at| at <= now) {
                    self.tell(now);
                } else if again_at <= now {
                    let longest = tell_at.map_or(SWEEP_PAUSE_LATE, |_| SWEEP_PAUSE_MAX);
                    let pause = (pause * 2).min(longest);
                    command.ladder = Ladder::Killing { again_at: now.after(pause), pause, tell_at };
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
        command.ladder = Ladder::Killing { again_at: now.after(pause), pause, tell_at: None };
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

impl Command {
    /// Begins the stop ladder, unless it has begun.
    fn ask(&mut self, now: Time, reason: Reason, actions: &mut VecDeque<Action>) {
        match self.ladder {
            Ladder::Calm | Ladder::Settling { .. } => {}
            Ladder::Asked { .. } | Ladder::Killing { .. } => return,
        }
        self.reason.get_or_insert(reason);
        if self.signal() == SIGKILL {
            return self.kill(now, reason, actions);
        }
        self.note_leftovers(actions);
        self.signal_tree(actions);
        let again = self.child == Child::Lives && self.terms.leftover_signal.is_some();
        let again_at = again.then(|| now.after(HANGING_UP));
        self.ladder = Ladder::Asked { kill_at: now.after(self.terms.grace), again_at };
    }

    /// What asks those to end that live now.
    fn signal(&self) -> u8 {
        match self.child {
            Child::Lives => self.terms.stop_signal,
            Child::Ended => self.terms.leftover_signal.unwrap_or(self.terms.stop_signal),
        }
    }

    fn signal_tree(&self, actions: &mut VecDeque<Action>) {
        actions.push_back(Action::SignalTree(self.signal()));
        // A stopped process acts on the signal when it goes on.
        actions.push_back(Action::SignalTree(SIGCONT));
    }

    /// Begins to sweep, unless that has begun.
    fn kill(&mut self, now: Time, reason: Reason, actions: &mut VecDeque<Action>) {
        match self.ladder {
            Ladder::Calm | Ladder::Settling { .. } | Ladder::Asked { .. } => {}
            Ladder::Killing { .. } => return,
        }
        self.reason.get_or_insert(reason);
        self.note_leftovers(actions);
        // A command that is one process, or one group, ends by the one call, and its end is heard of. To
        // look for others first would take longer than it does. The first sweep comes as soon as the
        // child has ended beside others, and very soon in any case.
        actions.push_back(match self.child {
            Child::Lives => Action::Strike,
            Child::Ended => Action::Sweep,
        });
        self.ladder = Ladder::Killing {
            again_at: now.after(SWEEP_PAUSE),
            pause: SWEEP_PAUSE,
            tell_at: Some(now.after(SWEEPING)),
        };
    }

    /// Has what outlived the child written down, ahead of the first signal that it gets from here.
    fn note_leftovers(&mut self, actions: &mut VecDeque<Action>) {
        if (self.child, self.leftovers) == (Child::Ended, Noted::No) {
            self.leftovers = Noted::Yes;
            actions.push_back(Action::NoteLeftovers);
        }
    }
}

/// The earlier of two times; none is never.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
