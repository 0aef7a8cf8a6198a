//! What a child does to have a terminal, done by processes of their own: this file's tests once more, each in
//! a process that only does the child's part.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use netrunner_pty::{Modes, Pair, WinSize, attach, lead_session, open};
use rustix::fs::{Mode, OFlags};
use rustix::process::getpid;
use rustix::pty::ptsname;
use rustix::termios::{isatty, tcgetpgrp, tcgetsid};

/// Names the terminal to the process that is to have it.
const TERMINAL: &str = "NETRUNNER_PTY_TEST_TERMINAL";

/// Runs the test of this name in a process of its own, as the child. Returns what it showed.
fn shown_by_child(test: &str) -> String {
    let Pair { mut manager, subsidiary } = open(WinSize::new(24, 80), &Modes::raw()).unwrap();
    let name = ptsname(&manager, Vec::new()).unwrap().into_string().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(TERMINAL, name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    drop(subsidiary);
    let mut shown = String::new();
    manager.read_to_string(&mut shown).unwrap();
    assert!(status.success(), "{status}: {shown}");
    shown
}

/// The terminal of the child, for which it is not yet the controlling one.
fn terminal() -> Option<OwnedFd> {
    let name = std::env::var_os(TERMINAL)?;
    Some(rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap())
}

/// That it is the session's, and its foreground is this process.
fn check_session(terminal: impl AsFd) {
    let terminal = terminal.as_fd();
    assert_eq!(tcgetsid(terminal).unwrap(), getpid());
    assert_eq!(tcgetpgrp(terminal).unwrap(), getpid());
    File::options().write(true).open("/dev/tty").unwrap().write_all(b"by name, ").unwrap();
}

#[test]
fn a_child_leads_a_session_on_its_terminal() {
    let Some(terminal) = terminal() else {
        let shown = shown_by_child("a_child_leads_a_session_on_its_terminal");
        return assert_eq!(shown, "by name, ");
    };
    lead_session(&terminal).unwrap();
    check_session(&terminal);
    assert!(!isatty(std::io::stdin()));
    // Twice it can't.
    assert_eq!(lead_session(&terminal).unwrap_err().raw_os_error(), Some(1));
}

#[test]
fn an_attached_child_has_the_terminal_for_all_three_streams() {
    let Some(terminal) = terminal() else {
        let shown = shown_by_child("an_attached_child_has_the_terminal_for_all_three_streams");
        // Around it the test runner has its say.
        return assert!(shown.contains("by name, out, err"), "{shown}");
    };
    attach(&terminal).unwrap();
    check_session(std::io::stdin());
    assert!(isatty(std::io::stdin()) && isatty(std::io::stdout()) && isatty(std::io::stderr()));
    assert_eq!(rustix::io::write(rustix::stdio::stdout(), b"out, "), Ok(5));
    assert_eq!(rustix::io::write(rustix::stdio::stderr(), b"err"), Ok(3));
}
