//! Drives a command on its terminal: types, and waits for what is shown.

use std::io::Write as _;

use netrunner_sync::{Child, ChildPty, Command, Control, Pattern, WinSize};
use netrunner_tests::wait::{PATIENCE, wait_until};

pub(crate) const SIZE: WinSize = WinSize::new(24, 80);

/// A command on a terminal of its own.
pub(crate) struct Driver {
    pub(crate) child: Child,
}

impl Driver {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Driver {
        let child = command.pty(SIZE).spawn().expect("spawn");
        Driver { child }
    }

    pub(crate) fn pty(&self) -> &ChildPty {
        self.child.pty.as_ref().expect("a terminal")
    }

    /// Waits until this is shown, after what was expected before. Returns what came before it.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) -> String {
        let expected = self.pty().expect(text, PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        String::from_utf8_lossy(&expected.before).into_owned()
    }

    /// Waits for the end, after which nothing is shown but this.
    #[track_caller]
    pub(crate) fn expect_end(&self) {
        let end = self.pty().expect(Pattern::end(), PATIENCE);
        end.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Types it, and Enter.
    #[track_caller]
    pub(crate) fn line(&self, text: &str) {
        let mut pty = self.pty();
        pty.write_all(text.as_bytes()).expect("type");
        pty.write_all(b"\n").expect("type");
    }

    #[track_caller]
    pub(crate) fn send(&self, control: Control) {
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
}
