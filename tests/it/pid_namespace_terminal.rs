//! Foreground jobs in a PID namespace: the terminal and its signals are theirs as without one.

use std::fs::File;

use crate::harness::*;
use crate::pid_namespace::possible;
use crate::terminal::{CTRL_C, on_terminal};

#[test]
fn the_terminals_signals_go_to_the_command_and_to_what_is_below_it() {
    arena(|| {
        if !possible() {
            return;
        }
        let mut on = on_terminal(
            "namespace spawn [ fork [ note INT below lock below sleep forever ] await below \
             touch up sleep forever ] pid child wait-signal INT",
        );
        wait_file("up");
        on.wait_foreground(wait_pid_file("child"));
        on.type_in(CTRL_C);
        on.finish();
        lock("below").assert_free();
    });
}

#[test]
fn of_two_jobs_the_first_has_the_terminal_and_the_second_gets_it_after() {
    arena(|| {
        if !possible() {
            return;
        }
        let mut on = on_terminal(
            "namespace spawn [ read-line ] pid first spawn [ read-line ] pid second \
             wait-stopped TTIN touch told other wait 0 wait 0 await look",
        );
        let (first, second) = (wait_pid_file("first"), wait_pid_file("second"));
        wait_file("told");
        on.wait_foreground(first);
        on.type_in("one\n");
        on.wait_foreground(second);
        on.type_in("two\n");
        on.wait_foreground(on.pid());
        drop(File::create("look").expect("a file"));
        on.finish();
    });
}

#[test]
fn the_terminal_comes_back_from_a_lost_shepherd() {
    arena(|| {
        if !possible() {
            return;
        }
        let on = on_terminal(
            "namespace spawn [ touch up sleep forever ] pid child wait-any-error touch lost await look",
        );
        wait_file("up");
        let child = wait_pid_file("child");
        on.wait_foreground(child);
        signal(shepherd_of(child), libc::SIGKILL);
        wait_file("lost");
        on.wait_foreground(on.pid());
        drop(File::create("look").expect("a file"));
        on.finish();
    });
}
