//! Commands of the library that use the client's terminal. How it looks under a shell is tested with
//! the command line (`netrunner-sync/tests/cli/terminal.rs`); here the client leads its session.

use std::fs::File;
use std::io::Write as _;
use std::process::{Child, Command};

use netrunner_tests::wait::{PATIENCE, wait_until};
use netrunner_tests::{script, sys};

use crate::harness::*;

pub(crate) const CTRL_C: &str = "\x03";

/// A client that leads a session on a terminal.
pub(crate) struct OnTerminal {
    pub(crate) manager: File,
    client: Child,
}

/// Starts one. What it and its commands write is read by nobody, so it must be little.
pub(crate) fn on_terminal(script: &str) -> OnTerminal {
    let (manager, end) = sys::open_terminal().expect("a terminal");
    let copy = || end.try_clone().expect("a copy");
    let client = Command::new("setsid")
        .arg("-c")
        .arg(program(CLIENT))
        .args(["grace", &GRACE.as_millis().to_string()])
        .args(script::split(script))
        .stdin(copy())
        .stdout(copy())
        .stderr(copy())
        .spawn()
        .expect("setsid(1) starts");
    OnTerminal { manager, client }
}

impl OnTerminal {
    pub(crate) fn type_in(&mut self, text: &str) {
        self.manager.write_all(text.as_bytes()).expect("a terminal that is there");
    }

    #[track_caller]
    pub(crate) fn wait_foreground(&self, group: u32) {
        wait_until("the group in the foreground", PATIENCE, || {
            sys::foreground(&self.manager).is_ok_and(|it| it == group)
        });
    }

    /// The client's number, and its group's.
    pub(crate) fn pid(&self) -> u32 {
        self.client.id()
    }

    #[track_caller]
    pub(crate) fn finish(mut self) {
        let status = self.client.wait().expect("wait for the client");
        let failed = std::fs::read_to_string("client-failed").unwrap_or_default();
        assert!(status.success() && failed.is_empty(), "the client ended with {status}: {failed}");
    }
}

#[test]
fn the_terminals_signals_go_to_the_command_and_not_to_its_client() {
    arena(|| {
        let mut on = on_terminal("spawn [ touch up sleep forever ] pid child wait-signal INT");
        let child = wait_pid_file("child");
        wait_file("up");
        on.wait_foreground(child);
        on.type_in(CTRL_C);
        on.finish();
    });
}

#[test]
fn p8_a_background_command_that_reads_the_terminal_is_told_to_be_stopped() {
    arena(|| {
        let on = on_terminal(
            "foreground no spawn [ read-line ] pid child wait-stopped TTIN touch told await look kill",
        );
        wait_file("told");
        assert_eq!(sys::foreground(&on.manager).expect("a terminal"), on.pid());
        wait_state(wait_pid_file("child"), 'T');
        drop(File::create("look").expect("a file"));
        on.finish();
    });
}

#[test]
fn a_stopped_background_command_heeds_the_stop_ladder() {
    arena(|| {
        let on = on_terminal("foreground no spawn [ read-line ] wait-stopped TTIN stop");
        on.finish();
        assert_no_puppets();
    });
}

#[test]
fn of_two_commands_the_first_has_the_terminal_and_the_second_gets_it_after() {
    arena(|| {
        let mut on = on_terminal(
            "spawn [ read-line ] pid first spawn [ read-line ] pid second wait-stopped TTIN \
             touch told other wait 0 wait 0",
        );
        let (first, second) = (wait_pid_file("first"), wait_pid_file("second"));
        wait_file("told");
        on.wait_foreground(first);
        on.type_in("one\n");
        on.wait_foreground(second);
        on.type_in("two\n");
        on.finish();
    });
}

#[test]
fn a_command_without_the_terminal_among_its_streams_can_ask_for_it() {
    arena(|| {
        let on =
            on_terminal("quiet foreground yes spawn [ await done ] pid child wait 0 await look");
        on.wait_foreground(wait_pid_file("child"));
        drop(File::create("done").expect("a file"));
        on.wait_foreground(on.pid());
        drop(File::create("look").expect("a file"));
        on.finish();
    });
}

#[test]
fn without_a_terminal_there_is_nothing_to_ask_for() {
    arena(|| {
        run_client("foreground yes spawn [ exit 3 ] wait 3 foreground no spawn [ exit 4 ] wait 4");
    });
}

#[test]
fn the_terminal_comes_back_from_a_dropped_and_from_a_detached_command() {
    arena(|| {
        let on = on_terminal(
            "spawn [ touch up ignore TERM sleep forever ] pid dropped await drop drop \
             await detach spawn [ ignore HUP lock kept sleep 1 ] pid detached detach touch done \
             await look",
        );
        wait_file("up");
        on.wait_foreground(wait_pid_file("dropped"));
        drop(File::create("drop").expect("a file"));
        on.wait_foreground(on.pid());
        drop(File::create("detach").expect("a file"));
        wait_file("done");
        let foreground = sys::foreground(&on.manager).expect("a terminal");
        assert_eq!(foreground, on.pid(), "it is back when detach returns");
        drop(File::create("look").expect("a file"));
        on.finish();
    });
}

#[test]
fn p3_the_terminal_comes_back_from_a_lost_shepherd() {
    arena(|| {
        let on = on_terminal(
            "spawn [ touch up sleep forever ] pid child wait-any-error touch lost await look",
        );
        wait_file("up");
        let child = wait_pid_file("child");
        on.wait_foreground(child);
        signal(shepherd_of(child), libc::SIGKILL);
        wait_file("lost");
        assert_eq!(sys::foreground(&on.manager).expect("a terminal"), on.pid());
        drop(File::create("look").expect("a file"));
        on.finish();
    });
}
