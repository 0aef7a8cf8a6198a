//! Exit codes, timeouts and leftovers.

use crate::harness::{Folder, Live, after, end, netrunner, script, signal, state, until};

#[test]
fn the_exit_code_is_the_commands_own() {
    for code in [0, 1, 7, 124, 125, 126, 127, 137, 255] {
        let ended = end(script(&[], &format!("exit {code}"))).expect(code);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    }
}

#[test]
fn a_death_by_a_signal_is_128_and_the_signal() {
    for number in [1, 2, 9, 11, 15, libc::SIGRTMIN() + 3, libc::SIGRTMAX()] {
        end(script(&["--rlimit", "CORE=0"], &format!("kill -{number} $$"))).expect(128 + number);
    }
}

#[test]
fn a_program_that_is_not_there_is_127() {
    for program in ["no-such-program", "/no/such/program", ""] {
        end(netrunner(["run", "--", program])).expect(127).says(&[program]);
    }
    // The same error number as for a directory that is not there, which is none of the program.
    end(netrunner(["run", "--cwd", "/", "--", "./no-such-program"])).expect(127);
}

#[test]
fn a_program_that_cannot_be_executed_is_126() {
    let folder = Folder::new();
    let text = folder.write("text", "#!/bin/sh\n");
    end(netrunner(["run", "--", &text])).expect(126).says(&[&text, "Permission denied"]);
    end(netrunner(["run", "--", "/"])).expect(126).says(&["`/`"]);

    let garbage = folder.write("garbage", "\u{7f}ELF, but not really");
    end(after(&format!("chmod +x {garbage}"), &["--", &garbage])).expect(126).says(&[&garbage]);
}

#[test]
fn a_timeout_is_124_however_the_command_takes_it() {
    // Obeys, obeys with a code of its own, and does not.
    let obeys = "exec sleep 1000";
    let answers = "trap 'exit 0' TERM; sleep 1000 & wait";
    let ignores = "trap '' TERM; sleep 1000 & wait; sleep 1000";
    for text in [obeys, answers, ignores] {
        end(script(&["--timeout", "0.2", "--grace", "200ms"], text)).expect(124);
    }
    end(script(&["--timeout", "0"], obeys)).expect(124);
}

#[test]
fn a_timeout_that_is_far_away_changes_nothing() {
    for timeout in ["1h", "100000d", "18446744073709551615"] {
        let options = ["--timeout", timeout, "--grace", timeout];
        end(script(&options, "exit 3")).expect(3);
    }
}

#[test]
fn the_stop_signal_is_the_one_that_was_asked_for() {
    let text = "trap 'echo got USR1; exit 0' USR1; trap '' TERM; sleep 1000 & wait";
    let ended = end(script(&["--timeout", "300ms", "--signal", "USR1"], text)).expect(124);
    assert_eq!(ended.stdout, "got USR1\n");
}

#[test]
fn leftovers_are_stopped() {
    // The end of file on stdout, which the leftover holds, comes; so it is gone.
    end(script(&[], "sleep 1000 & exit 3")).expect(3);
    end(script(&["--leftovers", "stop"], "setsid sleep 1000 & exit 3")).expect(3);
    end(script(&["--grace", "100ms"], "trap '' TERM; sleep 1000 & exit 3")).expect(3);
}

#[test]
fn leftovers_are_waited_for() {
    let folder = Folder::new();
    let go_on = folder.path("go-on");
    let text =
        format!("(until [ -e {go_on} ]; do sleep 0.01; done; echo late) & echo early; exit 3");
    let mut live = Live::start(script(&["--leftovers", "wait"], &text));
    live.expect_line("early");
    // netrunner can't end before the file is there; if it did, `late` would never come.
    folder.write("go-on", "");
    live.expect_line("late");
    live.end().expect(3);
}

#[test]
fn leftovers_are_kept() {
    let text = "sleep 1000 > /dev/null 2>&1 & echo $!; exit 3";
    let ended = end(script(&["--leftovers", "keep"], text)).expect(3);
    let pid: u32 = ended.stdout.trim().parse().unwrap();
    assert!(matches!(state(pid), Some('S' | 'R')), "{:?}", state(pid));
    signal(pid, libc::SIGKILL);
    // Not only dead: somebody has stayed to reap it.
    until("the kept process is reaped", || state(pid).is_none());
}

#[test]
fn nothing_outlives_netrunner() {
    let text = "trap '' TERM HUP; setsid sleep 1000 & sleep 1000 & echo ready; wait; wait";
    let mut live = Live::start(script(&["--grace", "100ms"], text));
    live.expect_line("ready");
    live.signal(libc::SIGKILL);
    let ended = live.end();
    assert_eq!(ended.status.code(), None, "{ended:?}");
}
