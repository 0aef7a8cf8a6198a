//! The client's terminal, as far as the client has to do with it: when a command gets it, and how it
//! comes back when the shepherd that was to bring it back is lost.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Weak;

use netrunner_core::message::Pid;
use netrunner_core::terminal::{Handover, Terminal};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::termios::{OptionalActions, Termios};

/// What of a command's streams counts for the terminal.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// The first of 0 to 2 that is a terminal, with its modes.
    terminal: Option<(OwnedFd, Termios)>,
    /// Whether 0 is.
    is_input: bool,
    /// Whether 1 is a pipe: what reads it may be another member of the client's group that wants
    /// the terminal, as a pager does.
    leads_on: bool,
}

/// What a command has to do with a terminal.
#[derive(Debug)]
pub(crate) enum Tie {
    Nothing,
    /// It may have the client's.
    Lent(Lent),
    /// It has its own. This is the manager, as long as anybody holds that.
    Own(Weak<OwnedFd>),
}

/// The terminal while a command may have it.
#[derive(Debug)]
pub(crate) struct Lent {
    terminal: OwnedFd,
    modes: Termios,
    group: rustix::process::Pid,
}

impl Streams {
    /// The stream `number` of the command is this terminal. A copy that can't be had is done without:
    /// it is needed only if the shepherd is lost.
    pub(crate) fn add_terminal(&mut self, number: i32, fd: BorrowedFd<'_>, modes: Termios) {
        self.is_input |= number == 0;
        if self.terminal.is_none() {
            let copy = rustix::io::fcntl_dupfd_cloexec(fd, 3).ok();
            self.terminal = copy.map(|copy| (copy, modes));
        }
    }

    /// The stream `number` is no terminal.
    pub(crate) fn add_other(&mut self, number: i32, fd: BorrowedFd<'_>) {
        if number == 1 && self.is_input {
            let mode = rustix::fs::fstat(fd).map_or(0, |stat| stat.st_mode);
            let kind = FileType::from_raw_mode(mode);
            self.leads_on = matches!(kind, FileType::Fifo | FileType::Socket);
        }
    }

    /// The stream `number` is a new pipe.
    pub(crate) fn add_pipe(&mut self, number: i32) {
        self.leads_on |= number == 1;
    }

    /// Whether there is a terminal to ask for although no stream is one.
    pub(crate) fn find_terminal(&mut self) -> bool {
        if self.terminal.is_none() {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let opened = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok();
            let opened = opened.and_then(|fd| crate::lane::above_stdio(fd).ok());
            self.terminal = opened.and_then(|fd| {
                let modes = rustix::termios::tcgetattr(&fd).ok()?;
                Some((fd, modes))
            });
        }
        self.terminal.is_some()
    }

    /// What is asked of the shepherd, where the command has been told `foreground`, or nothing.
    pub(crate) fn request(&self, foreground: Option<bool>) -> Terminal {
        let handover = match foreground {
            Some(false) => Handover::Never,
            Some(true) => Handover::AtStart,
            None if self.is_input && !self.leads_on => Handover::AtStart,
            None => Handover::OnDemand,
        };
        let group = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
        Terminal { client_group: Pid(group), handover }
    }

    /// What is to be taken back if the shepherd is lost: the controlling terminal, where the client
    /// is in its foreground.
    pub(crate) fn lend(&mut self, foreground: Option<bool>) -> Option<Lent> {
        if foreground == Some(false) {
            return None;
        }
        let (terminal, modes) = self.terminal.take()?;
        let group = rustix::process::getpgrp();
        let has_it = rustix::termios::tcgetpgrp(&terminal) == Ok(group);
        has_it.then_some(Lent { terminal, modes, group })
    }
}

impl Lent {
    /// Takes the terminal back from a command whose shepherd is dead. Its group, `child`, is dead or
    /// being killed; one that lives and is another is no business of ours: the shell has the terminal.
    ///
    /// Errors are dropped: a terminal that is hung up is nobody's.
    pub(crate) fn take_back(&self, child: u32) {
        let Ok(holder) = rustix::termios::tcgetpgrp(&self.terminal) else { return };
        let is_child = holder.as_raw_nonzero().get().unsigned_abs() == child;
        let is_empty = || {
            let asked = rustix::process::test_kill_process_group(holder);
            asked == Err(rustix::io::Errno::SRCH)
        };
        if !is_child && (holder == self.group || !is_empty()) {
            return;
        }
        // From the background both calls stop whoever has SIGTTOU not blocked.
        crate::sys::with_signals_blocked(|| {
            let terminal = self.terminal.as_fd();
            let _ = rustix::termios::tcsetattr(terminal, OptionalActions::Now, &self.modes);
            let _ = rustix::termios::tcsetpgrp(terminal, self.group);
        });
    }
}
