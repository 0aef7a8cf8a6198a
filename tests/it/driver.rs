//! Drives a command on its terminal: types, and waits for what is shown.

use std::io::Write as _;
use std::time::Instant;

use netrunner_sync::{Child, ChildPty, Command, Control, WinSize};
use netrunner_tests::wait::{PATIENCE, wait_until};

pub(crate) const SIZE: WinSize = WinSize::new(24, 80);

/// A command on a terminal of its own, with all that it has shown.
pub(crate) struct Driver {
    pub(crate) child: Child,
    shown: Vec<u8>,
    /// How far that was expected.
    at: usize,
}

impl Driver {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Driver {
        let child = command.pty(SIZE).spawn().expect("spawn");
        Driver { child, shown: Vec::new(), at: 0 }
    }

    pub(crate) fn pty(&self) -> &ChildPty {
        self.child.pty.as_ref().expect("a terminal")
    }

    /// Waits until this is shown, after what was expected before. Returns what came before it.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = &self.shown[self.at..];
            let found = new.windows(text.len()).position(|some| some == text.as_bytes());
            if let Some(found) = found {
                let before = String::from_utf8_lossy(&new[..found]).into_owned();
                self.at += found + text.len();
                return before;
            }
            let mut buffer = [0; 4096];
            match self.pty().read_deadline(&mut buffer, deadline) {
                Ok(0) => panic!("the end, and no {text:?} in {}", self.shown()),
                Ok(count) => self.shown.extend_from_slice(&buffer[..count]),
                Err(error) => panic!("{error}, and no {text:?} in {}", self.shown()),
            }
        }
    }

    /// Waits for the end, after which nothing is shown but this.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            match self.pty().read_deadline(&mut buffer, deadline) {
                Ok(0) => return,
                Ok(count) => self.shown.extend_from_slice(&buffer[..count]),
                Err(error) => panic!("{error}, and no end after {}", self.shown()),
            }
        }
    }

    /// Types it, and Enter.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) {
        let mut pty = self.pty();
        pty.write_all(text.as_bytes()).expect("type");
        pty.write_all(b"\n").expect("type");
    }

    #[track_caller]
    pub(crate) fn send(&mut self, control: Control) {
        self.pty().send(control).expect("type");
    }

    /// Waits until another group than the child's is in the foreground, or the child's again.
    #[track_caller]
    pub(crate) fn wait_for_job(&self, runs: bool) {
        let child = self.child.id();
        wait_until("a change of the foreground", PATIENCE, || {
            let group = self.pty().foreground().expect("ask");
            group.is_some_and(|group| (group != child) == runs)
        });
    }

    /// Waits until the terminal shows what is typed, or hides it.
    #[track_caller]
    pub(crate) fn wait_for_echo(&self, shows: bool) {
        wait_until("a change of the echo", PATIENCE, || {
            self.pty().is_echoing().expect("ask") == shows
        });
    }

    pub(crate) fn shown(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.shown))
    }
}
