//! The promises' tests once more, with a terminal for each puppet that they run.

use std::cell::Cell;
use std::io::Read;
use std::process;

use netrunner_sync::{Child, Command, PtyModes, Signal, WinSize};

thread_local! {
    static TERMINALS: Cell<bool> = const { Cell::new(false) };
}

/// Tells an arena that its commands run on terminals of their own.
const TERMINALS_VARIABLE: &str = "NETRUNNER_TEST_TERMINALS";

/// Does a test once more, with a terminal for each puppet that it runs.
pub(crate) fn on_a_terminal(test: fn()) {
    TERMINALS.set(true);
    test();
}

/// Whether this arena's commands run on terminals of their own.
pub(crate) fn on_terminals() -> bool {
    std::env::var_os(TERMINALS_VARIABLE).is_some()
}

/// Each of these tests once more, on terminals.
macro_rules! on_terminals_too {
    ($($name:ident)*) => {
        mod on_a_terminal {
            $(#[test]
            fn $name() {
                crate::on_terminals::on_a_terminal(super::$name);
            })*
        }
    };
}

pub(crate) use on_terminals_too;

/// Tells an arena that is about to start.
pub(crate) fn tell(arena: &mut process::Command) {
    if TERMINALS.get() {
        arena.env(TERMINALS_VARIABLE, "yes");
    }
}

/// Gives a puppet its terminal.
pub(crate) fn connect(command: &mut Command) {
    if on_terminals() {
        // What they write comes out as they wrote it.
        let modes = PtyModes::new().echo(false).crlf(false);
        // The stop that the promises speak of; that of a terminal has tests of its own.
        command.pty(WinSize::new(24, 80)).pty_modes(modes).stop_signal(Signal::TERM);
    }
}

/// Sets streams of a puppet that has no terminal instead.
pub(crate) fn off_terminals(command: &mut Command, set: impl FnOnce(&mut Command) -> &mut Command) {
    if !on_terminals() {
        set(command);
    }
}

/// What a puppet writes: its standard output, or what its terminal shows.
#[track_caller]
pub(crate) fn outlet(child: &mut Child) -> Box<dyn Read> {
    let stdout = child.stdout.take().map(|it| Box::new(it) as Box<dyn Read>);
    let shown = child.pty.take().map(|it| Box::new(it) as Box<dyn Read>);
    stdout.or(shown).expect("an output")
}
