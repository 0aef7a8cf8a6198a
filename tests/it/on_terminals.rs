//! The promises' tests once more, with a terminal for each puppet that they run.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use netrunner_sync::{Child, Command, PtyModes, Signal, WinSize};
use netrunner_tests::pattern;

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

/// Whether anything of this arena was given a terminal, or has said why not.
static SEEN: AtomicBool = AtomicBool::new(false);

/// Notes that this arena has something on a terminal, or cannot.
pub(crate) fn see() {
    SEEN.store(true, Ordering::Relaxed);
}

/// At the end of a body: one that has run nothing on a terminal has shown nothing of terminals.
#[track_caller]
pub(crate) fn assert_seen() {
    assert!(!on_terminals() || SEEN.load(Ordering::Relaxed), "nothing was run on a terminal");
}

/// Gives a command its terminal.
pub(crate) fn connect(command: &mut Command) {
    if on_terminals() {
        see();
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

/// The same without taking it.
#[track_caller]
pub(crate) fn shown(child: &Child) -> Box<dyn Read + '_> {
    let stdout = child.stdout.as_ref().map(|it| Box::new(it) as Box<dyn Read>);
    let shown = child.pty.as_ref().map(|it| Box::new(it) as Box<dyn Read>);
    stdout.or(shown).expect("an output")
}

/// A read of it with a deadline.
#[track_caller]
pub(crate) fn read_deadline(child: &Child, buffer: &mut [u8], at: Instant) -> io::Result<usize> {
    match (&child.stdout, &child.pty) {
        (Some(stdout), _) => stdout.read_deadline(buffer, at),
        (None, pty) => pty.as_ref().expect("an output").read_deadline(buffer, at),
    }
}

/// Where a puppet reads from: its standard input, or what is typed on its terminal.
#[track_caller]
pub(crate) fn inlet(child: &Child) -> Box<dyn Write + '_> {
    let stdin = child.stdin.as_ref().map(|it| Box::new(it) as Box<dyn Write>);
    let typed = child.pty.as_ref().map(|it| Box::new(it) as Box<dyn Write>);
    stdin.or(typed).expect("an input")
}

/// What a puppet is fed: the pattern, and on a terminal, which acts upon some of its bytes, letters.
pub(crate) fn fed(len: usize) -> Vec<u8> {
    if !on_terminals() {
        return pattern::bytes(len);
    }
    (0..len).map(|place| b'a' + (place % 23) as u8).collect()
}

/// That it came back.
#[track_caller]
pub(crate) fn check_fed(found: &[u8], len: usize) {
    if !on_terminals() {
        return pattern::check(found, len);
    }
    assert!(found == fed(len), "{} bytes of {len}, or wrong ones", found.len());
}

/// What comes by either way of what was written to both outputs: on a terminal all of it by the one.
pub(crate) fn both<'a>(stdout: &'a str, stderr: &'a str) -> (Vec<u8>, Vec<u8>) {
    if on_terminals() {
        ([stdout, stderr].concat().into(), Vec::new())
    } else {
        (stdout.into(), stderr.into())
    }
}
