//! Job control: who has the terminal while a command uses the client's, and what follows when its
//! child stops.
//!
//! Toward the child the shepherd is what a shell is toward its jobs: the child's group is handed the
//! terminal, and when the child stops, the terminal goes back to the client's group, which is
//! stopped as well, so that the shell above sees a stopped job. The shell's word that it goes on is
//! a `SIGCONT` to the client's group; the shepherd is in that group for exactly as long as it waits
//! for the word.
//!
//! [`JobControl`] decides, the shepherd's shell performs the [`Deed`]s in order:
//!
//! ```text
//!  the child stopped, and the    by TTIN, TTOU             by TSTP              by another signal
//!  terminal is with …
//!   its group                    go on (handed meanwhile)  client stops too     client stops too
//!   the client's group           hand over, go on          tell                 tell
//!   another command of it        tell, look again          tell                 tell
//!   a stranger (the shell)       tell, client stops too    tell                 tell
//! ```
//!
//! Where no shell would continue a stopped client (its group is orphaned), it is never stopped: the
//! child goes on after a TSTP, which the kernel itself does not let stop an orphaned group, and is
//! told to be stopped after anything else.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Time;
use crate::message::Pid;
use crate::wire::{Reader, WireError, Writer};

/// The part of a request to spawn that is about the client's terminal.
///
/// ```
/// use netrunner_core::message::Pid;
/// use netrunner_core::terminal::{Handover, Terminal};
///
/// let editor = Terminal { client_group: Pid(4711), handover: Handover::AtStart };
/// assert_ne!(editor, Terminal { handover: Handover::Never, ..editor });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The client's process group.
    pub client_group: Pid,
    /// When the child's group gets the terminal.
    pub handover: Handover,
}

/// When the child's group gets the terminal.
///
/// ```
/// use netrunner_core::Time;
/// use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
///
/// // A child that reads from its terminal (SIGTTIN) and is never to have it.
/// let mut job = JobControl::new(Handover::Never);
/// job.handle_stopped(Time::from_nanos(0), 21, Holder::Client, Overseer::Shell);
/// assert_eq!(job.poll_deed(), Some(Deed::TellStopped(21)));
/// assert_eq!(job.poll_deed(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Before the program is executed, if the client's group has it then; else on demand.
    AtStart,
    /// When the child has stopped for want of it.
    OnDemand,
    /// Never.
    Never,
}

/// Who has the terminal: whose group is in the foreground.
///
/// ```
/// use netrunner_core::Time;
/// use netrunner_core::terminal::{Handover, Holder, JobControl, Overseer};
///
/// // Another command of the same client has it, so this one waits, and looks again.
/// let mut job = JobControl::new(Handover::OnDemand);
/// job.handle_stopped(Time::from_nanos(0), 21, Holder::Kin, Overseer::Shell);
/// assert!(job.deadline().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The child's group, or another below the child.
    Child,
    /// The client's group.
    Client,
    /// A group of another command of the same client.
    Kin,
    /// Anybody else, or nobody.
    Stranger,
}

/// Who continues the client's group when it is stopped.
///
/// ```
/// use netrunner_core::Time;
/// use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
///
/// // Nobody would continue the client, so its child is not left stopped (SIGTSTP).
/// let mut job = JobControl::new(Handover::AtStart);
/// # let signal = if cfg!(target_os = "linux") { 20 } else { 18 };
/// job.handle_stopped(Time::from_nanos(0), signal, Holder::Child, Overseer::Nobody);
/// assert_eq!(job.poll_deed(), Some(Deed::Continue));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overseer {
    /// A process of the session outside the group, as a shell with job control is.
    Shell,
    /// Nobody: the group is orphaned.
    Nobody,
}

/// What is to be done, in order.
///
/// ```
/// use netrunner_core::Time;
/// use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
///
/// // A child that wants to read while its client has the terminal (SIGTTIN).
/// let mut job = JobControl::new(Handover::OnDemand);
/// job.handle_stopped(Time::from_nanos(0), 21, Holder::Client, Overseer::Shell);
/// assert_eq!(job.poll_deed(), Some(Deed::HandOver));
/// assert_eq!(job.poll_deed(), Some(Deed::Continue));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Give the terminal to the child's group, in the modes that the child left it in.
    HandOver,
    /// Give the terminal back to the client's group, in the modes that the client left it in.
    TakeBack,
    /// Send `SIGCONT` to the child's group.
    Continue,
    /// Join the client's group, and send it this signal.
    StopClient(u8),
    /// Send `SIGHUP` and `SIGCONT` to the client's group, as the kernel does to a stopped group that
    /// has become orphaned.
    HangUpClient,
    /// Leave the client's group.
    LeaveClient,
    /// Tell the client that this signal has stopped the child.
    TellStopped(u8),
    /// Tell the client that the child goes on.
    TellContinued,
}

/// The stop signals, which have the same numbers on every system that NetRunner runs on but for
/// `SIGTSTP`.
const SIGTSTP: u8 = if cfg!(target_os = "linux") { 20 } else { 18 };
const SIGTTIN: u8 = 21;
const SIGTTOU: u8 = 22;

/// How long a child that waits for another command's terminal waits until the next look. Nothing
/// tells when a terminal changes hands.
const LOOK: Duration = Duration::from_millis(100);

/// How long a client that is stopped waits until the next look whether the shell that is to continue
/// it still lives. The kernel would see that it does not, but for the shepherd in the client's group.
const LOOK_FOR_SHELL: Duration = Duration::from_secs(1);

/// Job control for one command.
///
/// ```
/// use netrunner_core::Time;
/// use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
///
/// // Ctrl-Z in an editor that a client has started from a shell (SIGTSTP).
/// let mut job = JobControl::new(Handover::AtStart);
/// # let tstp = if cfg!(target_os = "linux") { 20 } else { 18 };
/// job.handle_stopped(Time::from_nanos(0), tstp, Holder::Child, Overseer::Shell);
/// // `fg`.
/// job.handle_client_continued(Holder::Client);
/// let mut deeds = Vec::new();
/// while let Some(deed) = job.poll_deed() {
///     deeds.push(deed);
/// }
/// let stopped = [Deed::TakeBack, Deed::TellStopped(tstp), Deed::StopClient(tstp)];
/// let went_on = [Deed::LeaveClient, Deed::HandOver, Deed::Continue];
/// assert_eq!(deeds, [stopped, went_on].concat());
/// ```
#[derive(Clone, Debug)]
pub struct JobControl {
    handover: Handover,
    state: State,
    told: Told,
    deeds: VecDeque<Deed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The child runs, or is stopped and that is told.
    Calm,
    /// The client was stopped with the child, and its `SIGCONT` is awaited in its group.
    Suspended { look_at: Time },
    /// The child is stopped until the terminal comes back to the client's group.
    Waiting { look_at: Time },
    /// The client is gone: stops are the ladder's to deal with.
    Over,
}

/// What the client was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Runs,
    Stopped,
}

impl JobControl {
    /// For a command that has just been started.
    ///
    /// ```
    /// use netrunner_core::terminal::{Handover, JobControl};
    /// assert_eq!(JobControl::new(Handover::AtStart).deadline(), None);
    /// ```
    pub fn new(handover: Handover) -> JobControl {
        JobControl { handover, state: State::Calm, told: Told::Runs, deeds: VecDeque::new() }
    }

    /// The next thing to do.
    ///
    /// ```
    /// use netrunner_core::terminal::{Handover, JobControl};
    /// assert_eq!(JobControl::new(Handover::AtStart).poll_deed(), None);
    /// ```
    pub fn poll_deed(&mut self) -> Option<Deed> {
        self.deeds.pop_front()
    }

    /// When [`JobControl::handle_timeout`] is due.
    ///
    /// ```
    /// # use netrunner_core::Time;
    /// # use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
    /// # let now = Time::from_nanos(0);
    /// let mut job = JobControl::new(Handover::OnDemand);
    /// // The shell was quicker to take the terminal, and the client stops with its child.
    /// job.handle_stopped(now, 21, Holder::Stranger, Overseer::Shell);
    /// // Whether that shell still lives has to be looked at from time to time.
    /// assert!(job.deadline().is_some());
    /// ```
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Waiting { look_at } | State::Suspended { look_at } => Some(look_at),
            State::Calm | State::Over => None,
        }
    }

    /// This signal has stopped the child.
    ///
    /// ```
    /// # use netrunner_core::Time;
    /// # use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
    /// # let now = Time::from_nanos(0);
    /// let mut job = JobControl::new(Handover::AtStart);
    /// // Somebody has sent it SIGSTOP; the terminal goes to the client, which stops as by Ctrl-Z.
    /// job.handle_stopped(now, 19, Holder::Child, Overseer::Shell);
    /// assert_eq!(job.poll_deed(), Some(Deed::TakeBack));
    /// assert_eq!(job.poll_deed(), Some(Deed::TellStopped(19)));
    /// assert!(matches!(job.poll_deed(), Some(Deed::StopClient(_))));
    /// ```
    pub fn handle_stopped(&mut self, now: Time, signal: u8, holder: Holder, overseer: Overseer) {
        match self.state {
            State::Over => return,
            // It went on and has stopped again, and its going on was not seen.
            State::Suspended { .. } => self.leave_client(),
            State::Calm | State::Waiting { .. } => self.state = State::Calm,
        }
        let wants_terminal = signal == SIGTTIN || signal == SIGTTOU;
        if !wants_terminal {
            match (holder, overseer) {
                (Holder::Child, Overseer::Shell) => {
                    self.deeds.push_back(Deed::TakeBack);
                    self.tell_stopped(signal);
                    // Not SIGSTOP where it was that: it would stop the shepherd in the client's group.
                    self.stop_client(now, SIGTSTP);
                }
                (Holder::Child, Overseer::Nobody) if signal == SIGTSTP => {
                    self.deeds.push_back(Deed::Continue);
                }
                (Holder::Child, Overseer::Nobody)
                | (Holder::Client | Holder::Kin | Holder::Stranger, _) => self.tell_stopped(signal),
            }
            return;
        }
        match (holder, self.handover, overseer) {
            (Holder::Child, _, _) => self.deeds.push_back(Deed::Continue),
            (_, Handover::Never, _) => self.tell_stopped(signal),
            (Holder::Client, Handover::AtStart | Handover::OnDemand, _) => self.lend(),
            (Holder::Stranger, Handover::AtStart | Handover::OnDemand, Overseer::Shell) => {
                self.tell_stopped(signal);
                self.stop_client(now, signal);
            }
            (Holder::Kin, Handover::AtStart | Handover::OnDemand, _)
            | (Holder::Stranger, Handover::AtStart | Handover::OnDemand, Overseer::Nobody) => {
                self.tell_stopped(signal);
                self.state = State::Waiting { look_at: now.after(LOOK) };
            }
        }
    }

    /// Somebody has sent the child `SIGCONT`.
    ///
    /// ```
    /// # use netrunner_core::Time;
    /// # use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
    /// # let now = Time::from_nanos(0);
    /// let mut job = JobControl::new(Handover::Never);
    /// job.handle_stopped(now, 19, Holder::Stranger, Overseer::Nobody);
    /// job.handle_continued(Holder::Stranger);
    /// assert_eq!(job.poll_deed(), Some(Deed::TellStopped(19)));
    /// assert_eq!(job.poll_deed(), Some(Deed::TellContinued));
    /// ```
    pub fn handle_continued(&mut self, holder: Holder) {
        match self.state {
            State::Over => return,
            State::Suspended { .. } => {
                self.leave_client();
                if holder == Holder::Client && self.handover != Handover::Never {
                    self.deeds.push_back(Deed::HandOver);
                }
            }
            State::Calm | State::Waiting { .. } => self.state = State::Calm,
        }
        self.tell_continued();
    }

    /// The client's group got `SIGCONT` while the shepherd was in it.
    ///
    /// ```
    /// # use netrunner_core::Time;
    /// # use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
    /// # let now = Time::from_nanos(0);
    /// let mut job = JobControl::new(Handover::OnDemand);
    /// job.handle_stopped(now, 21, Holder::Stranger, Overseer::Shell);
    /// // `bg`: the shell keeps the terminal.
    /// job.handle_client_continued(Holder::Stranger);
    /// let deeds: Vec<Deed> = core::iter::from_fn(|| job.poll_deed()).collect();
    /// assert_eq!(deeds[2..], [Deed::LeaveClient, Deed::Continue]);
    /// ```
    pub fn handle_client_continued(&mut self, holder: Holder) {
        match self.state {
            State::Suspended { .. } => {
                self.leave_client();
                match holder {
                    Holder::Client => self.lend(),
                    // Continued in the background: as a job of a shell it runs there until it
                    // touches the terminal.
                    Holder::Child | Holder::Kin | Holder::Stranger => {
                        self.deeds.push_back(Deed::Continue);
                    }
                }
            }
            // Word of an older stop, which the child itself was quicker to tell of.
            State::Calm | State::Waiting { .. } | State::Over => {}
        }
    }

    /// Time has passed.
    ///
    /// ```
    /// # use netrunner_core::Time;
    /// # use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
    /// # let now = Time::from_nanos(0);
    /// let mut job = JobControl::new(Handover::OnDemand);
    /// job.handle_stopped(now, 21, Holder::Kin, Overseer::Shell);
    /// assert_eq!(job.poll_deed(), Some(Deed::TellStopped(21)));
    /// // By now the other command has given it back.
    /// let now = job.deadline().expect("it looks again");
    /// job.handle_timeout(now, Holder::Client, Overseer::Shell);
    /// assert_eq!(job.poll_deed(), Some(Deed::HandOver));
    /// ```
    pub fn handle_timeout(&mut self, now: Time, holder: Holder, overseer: Overseer) {
        match self.state {
            State::Waiting { look_at } if look_at <= now => match holder {
                Holder::Client => {
                    self.state = State::Calm;
                    self.lend();
                }
                Holder::Child | Holder::Kin | Holder::Stranger => {
                    self.state = State::Waiting { look_at: now.after(LOOK) };
                }
            },
            State::Suspended { look_at } if look_at <= now => match overseer {
                Overseer::Shell => {
                    self.state = State::Suspended { look_at: now.after(LOOK_FOR_SHELL) };
                }
                Overseer::Nobody => {
                    self.deeds.push_back(Deed::HangUpClient);
                    self.leave_client();
                    self.deeds.push_back(Deed::Continue);
                }
            },
            State::Waiting { .. } | State::Suspended { .. } | State::Calm | State::Over => {}
        }
    }

    /// The client is gone, or the command over.
    ///
    /// ```
    /// # use netrunner_core::Time;
    /// # use netrunner_core::terminal::{Deed, Handover, Holder, JobControl, Overseer};
    /// # let now = Time::from_nanos(0);
    /// let mut job = JobControl::new(Handover::AtStart);
    /// job.handle_over();
    /// job.handle_stopped(now, 19, Holder::Child, Overseer::Shell);
    /// assert_eq!(job.poll_deed(), None);
    /// ```
    pub fn handle_over(&mut self) {
        if matches!(self.state, State::Suspended { .. }) {
            self.leave_client();
        }
        self.state = State::Over;
    }

    fn lend(&mut self) {
        self.deeds.extend([Deed::HandOver, Deed::Continue]);
    }

    fn stop_client(&mut self, now: Time, signal: u8) {
        self.deeds.push_back(Deed::StopClient(signal));
        self.state = State::Suspended { look_at: now.after(LOOK_FOR_SHELL) };
    }

    fn leave_client(&mut self) {
        self.deeds.push_back(Deed::LeaveClient);
        self.state = State::Calm;
    }

    fn tell_stopped(&mut self, signal: u8) {
        self.deeds.push_back(Deed::TellStopped(signal));
        self.told = Told::Stopped;
    }

    fn tell_continued(&mut self) {
        if self.told == Told::Stopped {
            self.deeds.push_back(Deed::TellContinued);
            self.told = Told::Runs;
        }
    }
}

impl Terminal {
    pub(crate) fn encode(self, out: &mut Writer<'_>) {
        out.u32(self.client_group.0);
        out.u8(match self.handover {
            Handover::AtStart => 0,
            Handover::OnDemand => 1,
            Handover::Never => 2,
        });
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Terminal, WireError> {
        let client_group = Pid::decode(from)?;
        let handover = match from.u8()? {
            0 => Handover::AtStart,
            1 => Handover::OnDemand,
            2 => Handover::Never,
            _ => return Err(WireError::Malformed),
        };
        Ok(Terminal { client_group, handover })
    }
}
