//! The client's terminal beside a command that uses it: performs what `netrunner-core`'s
//! [`JobControl`] decides, and finds out for it who has the terminal.
//!
//! All signals are blocked here, SIGTTOU among them, so every call works from the background too.
//! Errors of the calls are dropped: the terminal may be hung up at any moment, and then there is
//! nobody left to hand it to.

use netrunner_core::Time;
use netrunner_core::message::Pid;
use netrunner_core::spawn::Spawn;
use netrunner_core::supervise::Supervisor;
use netrunner_core::terminal::{Deed, Handover, Holder, JobControl};

use crate::lineage::{guardian, is_below, overseer};
use crate::sys::Fd;
use crate::sys::abi::{SIGCONT, SIGHUP, Termios};
use crate::sys::calls::{group_of, kill_group, now, own_pid, set_session};
use crate::sys::tty::{self, Change};

/// A command that has to do with the client's terminal.
pub(crate) struct Job {
    control: JobControl,
    handover: Handover,
    /// None where there is no controlling terminal: then there is nothing to hand over.
    terminal: Option<Fd>,
    client_group: Pid,
    /// Our own group, the guardian's.
    home: Option<Pid>,
    /// As the client left the terminal.
    client_modes: Option<Termios>,
    /// As the child left it when it stopped.
    child_modes: Option<Termios>,
}

/// What the client's group has let know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Silent,
    /// It was sent SIGCONT, or the client passes one on.
    GoesOn,
}

/// What becomes of the terminal's modes when the command has it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modes {
    /// As the client left them: the child had no chance to put them right.
    Restore,
    /// As the child left them: `stty` is a command too.
    Keep,
}

/// Whether the terminal changed hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Back,
    /// It is somebody else's, or nobody is left to have it.
    NotOurs,
}

impl Job {
    /// For a command that is about to be started; none for one without a terminal.
    pub(crate) fn of(spawn: &Spawn<'_>, passed: &[Fd]) -> Option<Job> {
        let asked = spawn.terminal?;
        let terminal = controlling_terminal(passed);
        let handover = if terminal.is_some() { asked.handover } else { Handover::Never };
        let mut job = Job {
            control: JobControl::new(handover),
            handover,
            terminal,
            client_group: asked.client_group,
            home: group_of(own_pid()),
            client_modes: None,
            child_modes: None,
        };
        if job.holder(None) == Holder::Client {
            job.client_modes = job.modes();
        }
        Some(job)
    }

    /// The terminal that the child takes for its group before it executes its program, if the
    /// client's group has it then.
    pub(crate) fn at_start(&self) -> Option<(i32, Pid)> {
        let terminal = self.terminal.as_ref()?;
        (self.handover == Handover::AtStart).then(|| (terminal.number(), self.client_group))
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.control.deadline()
    }

    /// Looks whether the child was stopped or continued, and does what follows, also from what the
    /// client has let know and from the time that has passed.
    pub(crate) fn control(
        &mut self,
        child: Pid,
        pidfd: &Fd,
        client: Client,
        machine: &mut Supervisor,
    ) {
        if client == Client::GoesOn {
            self.control.handle_client_continued(self.holder(Some(child)));
            self.perform(child, pidfd, machine);
        }
        while let Some(change) = tty::change_of(child) {
            let holder = self.holder(Some(child));
            match change {
                Change::Stopped(signal) => {
                    let overseer = overseer(self.client_group);
                    self.control.handle_stopped(now(), signal, holder, overseer);
                }
                Change::Continued => self.control.handle_continued(holder),
            }
            self.perform(child, pidfd, machine);
        }
        let now = now();
        if self.deadline().is_some_and(|at| at <= now) {
            let (holder, overseer) = (self.holder(Some(child)), overseer(self.client_group));
            self.control.handle_timeout(now, holder, overseer);
            self.perform(child, pidfd, machine);
        }
    }

    /// The client is gone, and the command is being stopped. Whoever else is in the client's group, a
    /// shell script for one, goes on at once: it gets the terminal now, and a SIGCONT, should it have
    /// been stopped for touching it in the meantime.
    ///
    /// The child then is in the background, and must not be stopped for putting the terminal right as
    /// its last deed. In a session of another than its origin its group is orphaned, and gets EIO
    /// instead.
    pub(crate) fn see_client_gone(self, child: Pid) {
        let client_group = self.client_group;
        if self.give_back(child, Modes::Restore) == Given::Back {
            let _ = kill_group(client_group, SIGCONT);
        }
        let _ = set_session();
    }

    /// The command has the terminal no more: the client's group gets it back, unless somebody else
    /// has it by now. A shell that has seen the client end takes it for itself, and may be editing a
    /// line already: its modes are none of ours.
    pub(crate) fn give_back(mut self, child: Pid, modes: Modes) -> Given {
        self.control.handle_over();
        self.leave();
        let Some(terminal) = &self.terminal else { return Given::NotOurs };
        let Ok(foreground) = tty::foreground(terminal) else { return Given::NotOurs };
        let ours = foreground == child
            || foreground != self.client_group
                && (tty::is_empty_group(foreground) || is_below(foreground, own_pid()));
        if !ours || self.handover == Handover::Never {
            return Given::NotOurs;
        }
        // The modes first: they are the client's as soon as it has the terminal.
        if modes == Modes::Restore {
            self.set_modes(self.client_modes);
        }
        match tty::set_foreground(terminal, self.client_group) {
            Ok(()) => Given::Back,
            Err(_) => Given::NotOurs,
        }
    }

    fn perform(&mut self, child: Pid, client: &Fd, machine: &mut Supervisor) {
        while let Some(deed) = self.control.poll_deed() {
            match deed {
                Deed::HandOver => {
                    self.client_modes = self.modes();
                    // Kept: a shell may take the terminal without our seeing it, as when a late
                    // SIGCONT of the client's has crossed the next stop.
                    self.set_modes(self.child_modes);
                    self.set_foreground(child);
                }
                Deed::TakeBack => {
                    self.child_modes = self.modes();
                    self.set_modes(self.client_modes);
                    self.set_foreground(self.client_group);
                }
                Deed::Continue => {
                    let _ = kill_group(child, SIGCONT);
                }
                Deed::StopClient(signal) => {
                    // Before the signal, so that the SIGCONT that follows it can't be missed. It fails
                    // where nobody is left in the group; then the client's end is the next we hear.
                    let _ = tty::join_group(Some(self.client_group));
                    self.signal_client(client, i32::from(signal));
                }
                Deed::HangUpClient => {
                    self.signal_client(client, SIGHUP);
                    self.signal_client(client, SIGCONT);
                }
                Deed::LeaveClient => {
                    self.go_home();
                }
                Deed::TellStopped(signal) => machine.handle_child_stopped(signal),
                Deed::TellContinued => machine.handle_child_continued(),
            }
        }
    }

    /// Sends a signal to the client's group, which we are in.
    fn signal_client(&self, client: &Fd, signal: i32) {
        if tty::signal_group_of(client, signal).is_err() {
            // Before Linux 6.9. We are in the group ourselves, so it is still this one.
            if group_of(own_pid()) == Some(self.client_group) {
                let _ = kill_group(self.client_group, signal);
            }
        }
    }

    /// Performs the one deed that is left when it is over.
    fn leave(&mut self) {
        while let Some(deed) = self.control.poll_deed() {
            if deed == Deed::LeaveClient {
                self.go_home();
            }
        }
    }

    /// Leaves the client's group for the one that we came from; for one of our own, where that has
    /// ended with the guardian.
    fn go_home(&self) {
        if tty::join_group(self.home).is_err() {
            let _ = tty::join_group(None);
        }
    }

    fn holder(&self, child: Option<Pid>) -> Holder {
        let Some(Ok(foreground)) = self.terminal.as_ref().map(tty::foreground) else {
            return Holder::Stranger;
        };
        if Some(foreground) == child || child.is_some() && is_below(foreground, own_pid()) {
            Holder::Child
        } else if foreground == self.client_group {
            Holder::Client
        } else if guardian().is_some_and(|guardian| is_below(foreground, guardian)) {
            Holder::Kin
        } else {
            Holder::Stranger
        }
    }

    fn modes(&self) -> Option<Termios> {
        tty::modes(self.terminal.as_ref()?).ok()
    }

    fn set_modes(&self, modes: Option<Termios>) {
        if let (Some(terminal), Some(modes)) = (&self.terminal, modes) {
            let _ = tty::set_modes(terminal, &modes);
        }
    }

    fn set_foreground(&self, group: Pid) {
        if let Some(terminal) = &self.terminal {
            let _ = tty::set_foreground(terminal, group);
        }
    }
}

/// The controlling terminal, as one of the child's streams or by its name. Only for this terminal
/// does the kernel tell a foreground group.
fn controlling_terminal(passed: &[Fd]) -> Option<Fd> {
    let stream = passed.iter().find(|fd| tty::foreground(fd).is_ok());
    match stream.map(|stream| stream.duplicate(3)) {
        Some(Ok(copy)) => Some(copy),
        Some(Err(_)) | None => tty::open_terminal().ok(),
    }
}
