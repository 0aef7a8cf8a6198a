//! The terminal that `netrunner` is on while its command has one of its own (`--pty`): as raw as it
//! must be for every key to get through, its size followed, and as it was before on each way out.
//! What is typed on it is read by `keyboard`.
//!
//! A shell with job control shares it with us. So nothing of it is touched unless we are in its
//! foreground, and it is put right before we are stopped.
//!
//! A SIGKILL of `netrunner` itself leaves it raw: nobody is left who knows how it was, but for the
//! shell, which puts its own modes back.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use netrunner_sync::{ChildHandle, WinSize};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use crate::sys::Taken;

/// Where there is no terminal to take it from.
const SIZE: WinSize = WinSize::new(24, 80);

pub(crate) struct Outer {
    /// The size that was asked for; else it is that of this terminal.
    fixed: Option<WinSize>,
    keyboard: Option<Keyboard>,
}

/// Standard input, where that is a terminal.
struct Keyboard {
    terminal: OwnedFd,
    modes: Mutex<Modes>,
}

#[derive(Default)]
struct Modes {
    /// As they were before.
    before: Option<Termios>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    AsBefore,
    Raw,
    /// As before, and nothing is to be changed any more.
    Over,
}

impl Outer {
    pub(crate) fn new(size: Option<WinSize>) -> Outer {
        Outer { fixed: size, keyboard: Keyboard::of(stdin()) }
    }

    /// The size that the command's terminal is to have now.
    pub(crate) fn size(&self) -> WinSize {
        self.fixed.or_else(found_size).unwrap_or(SIZE)
    }

    pub(crate) fn has_keyboard(&self) -> bool {
        self.keyboard.is_some()
    }

    /// Makes it raw, if it is ours to read now, and tells whether it is.
    pub(crate) fn take(&self) -> bool {
        self.keyboard.as_ref().is_some_and(Keyboard::take)
    }

    /// Whether a read of it is an error because a shell has it.
    pub(crate) fn is_away(&self) -> bool {
        self.keyboard.as_ref().is_some_and(|keyboard| !keyboard.is_foreground())
    }

    /// Puts it right for good.
    pub(crate) fn end(&self) {
        if let Some(keyboard) = &self.keyboard {
            keyboard.put_right(State::Over);
        }
    }

    /// Does what a signal means for it. True if that was all: the command is not told.
    pub(crate) fn takes(&self, taken: Taken, child: &ChildHandle) -> bool {
        match taken.number {
            // Of the terminal's own; one that somebody has sent goes on, too.
            libc::SIGWINCH => {
                self.fit(child);
                !taken.sent
            }
            libc::SIGCONT => {
                // Somebody else had it meanwhile, and may have left it otherwise.
                self.take();
                self.fit(child);
                false
            }
            // The command is in a session of its own, where nobody could make it go on: it waits as
            // soon as its terminal is full, which we do not read meanwhile.
            libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => {
                if let Some(keyboard) = &self.keyboard {
                    keyboard.put_right(State::AsBefore);
                }
                // Of the whole process, and at once; an error is not possible for oneself.
                let this = rustix::process::getpid();
                let _ = rustix::process::kill_process(this, rustix::process::Signal::STOP);
                true
            }
            _ => false,
        }
    }

    /// An error is that of a terminal that is hung up.
    fn fit(&self, child: &ChildHandle) {
        if self.fixed.is_none() {
            let _ = child.resize(self.size());
        }
    }
}

impl Keyboard {
    fn of(stream: BorrowedFd<'_>) -> Option<Keyboard> {
        tcgetattr(stream).ok()?;
        let terminal = rustix::io::fcntl_dupfd_cloexec(stream, 3).ok()?;
        Some(Keyboard { terminal, modes: Mutex::default() })
    }

    fn take(&self) -> bool {
        let mut modes = self.lock();
        if modes.state == State::Over || !self.is_foreground() {
            return false;
        }
        if modes.before.is_none() {
            modes.before = tcgetattr(&self.terminal).ok();
        }
        if let Some(mut raw) = modes.before.clone() {
            raw.make_raw();
            // Also where it is raw already: a shell may have had it while we were stopped.
            if tcsetattr(&self.terminal, OptionalActions::Now, &raw).is_ok() {
                modes.state = State::Raw;
            }
        }
        true
    }

    fn put_right(&self, state: State) {
        let mut modes = self.lock();
        if let (State::Raw, Some(before)) = (modes.state, &modes.before) {
            // One that a shell has taken back has the shell's modes; of one that is hung up there
            // is nothing to put right.
            if self.is_foreground() {
                let _ = tcsetattr(&self.terminal, OptionalActions::Now, before);
            }
        }
        modes.state = state;
    }

    /// A terminal of another session, or of none, has no shell that could take it away.
    fn is_foreground(&self) -> bool {
        tcgetpgrp(&self.terminal).map_or(true, |group| group == rustix::process::getpgrp())
    }

    fn lock(&self) -> MutexGuard<'_, Modes> {
        self.modes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found_size() -> Option<WinSize> {
    [stdin(), stdout(), stderr()].into_iter().find_map(|stream| {
        let size = rustix::termios::tcgetwinsize(stream).ok()?;
        let size = WinSize::new(size.ws_row, size.ws_col);
        // One that nobody has told its size says that it has none.
        (!size.is_empty()).then_some(size)
    })
}

/// Our own standard input, to be read by somebody else.
pub(crate) fn standard_input() -> io::Result<File> {
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(stdin(), 3)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Borrowed;
    use netrunner_sync::{Child, Command};
    use rustix::termios::LocalModes;
    use std::os::fd::AsFd;
    use std::sync::Arc;

    /// A terminal that nobody is in the foreground of.
    fn terminal() -> (Child, OwnedFd) {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").pty(SIZE).spawn().unwrap();
        let name = rustix::pty::ptsname(child.pty.as_ref().unwrap(), Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let end = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
        (child, end)
    }

    fn is_cooked(terminal: &OwnedFd) -> bool {
        tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    #[test]
    fn a_bug_leaves_no_raw_terminal() {
        let (_child, end) = terminal();
        let outer = Arc::new(Outer { fixed: None, keyboard: Keyboard::of(end.as_fd()) });
        let bug = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let borrowed = Borrowed(Arc::clone(&outer));
            assert!(borrowed.0.take() && !is_cooked(&end));
            // Not `panic!`, whose message would be on the test's stderr.
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(bug.is_err() && is_cooked(&end));
        assert!(!outer.take() && is_cooked(&end), "it is over");
    }
}
