//! Signals that are sent to `netrunner`.

use std::process::Command;

use crate::harness::{Live, NETRUNNER, after, end, script, state, until};

/// A script that says which signals it gets, until the one that ends it.
fn tells(numbers: &[i32]) -> String {
    let traps: Vec<String> =
        numbers.iter().map(|number| format!("trap 'echo {number}' {number}")).collect();
    // `wait` returns for each signal; the sleep is in a session of its own, so that the group's
    // signals don't end it.
    format!("{}; setsid sleep 1000 & echo ready; while :; do wait; done", traps.join("; "))
}

#[test]
fn signals_go_on_to_the_command() {
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let numbers = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGABRT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGWINCH,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSYS,
        libc::SIGTRAP,
        first,
        first + 3,
        last,
    ];
    let mut live = Live::start(script(&[], &tells(&numbers)));
    live.expect_line("ready");
    for number in numbers {
        live.signal(number);
        live.expect_line(&number.to_string());
    }
    live.signal(libc::SIGKILL);
    live.end();
}

#[test]
fn faults_that_were_sent_go_on_to_the_command() {
    for number in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
        let mut live = Live::start(script(&["--rlimit", "CORE=0"], "echo ready; exec sleep 1000"));
        live.expect_line("ready");
        live.signal(number);
        live.end().expect(128 + number);
    }
}

#[test]
fn a_signal_that_ends_the_command_is_its_exit_code() {
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGRTMIN() + 3] {
        let mut live = Live::start(script(&["--report=json"], "echo ready; exec sleep 1000"));
        live.expect_line("ready");
        live.signal(number);
        let ended = live.end().expect(128 + number);
        // Passed on, so not our doing.
        assert!(ended.stderr.contains("\"reason\":\"exited\""), "{ended:?}");
    }
}

#[test]
fn the_second_interrupt_stops_and_the_third_kills() {
    let text = "trap 'echo INT' INT; trap 'echo TERM' TERM; setsid sleep 1000 & echo ready;
        while :; do wait; sleep 0.01; done";
    let mut live = Live::start(script(&["--grace", "60s", "--report=json"], text));
    live.expect_line("ready");
    live.signal(libc::SIGINT);
    live.expect_line("INT");
    live.signal(libc::SIGINT);
    live.expect_line("TERM");
    live.signal(libc::SIGINT);
    let ended = live.end().expect(137);
    assert_eq!(ended.stdout, "");
    // The first cause wins.
    assert!(ended.stderr.contains("\"reason\":\"stopped\""), "{ended:?}");
}

#[test]
fn the_second_interrupt_stops_also_what_ignores_interrupts() {
    let text = "trap '' INT; echo ready; sleep 1000 & wait";
    let mut live = Live::start(script(&[], text));
    live.expect_line("ready");
    live.signal(libc::SIGINT);
    live.signal(libc::SIGINT);
    // Two that come before one was taken are one to the kernel.
    until("it is stopped", || {
        live.signal_if_alive(libc::SIGINT);
        live.has_ended()
    });
    let code = live.end().code();
    assert!(code == 143 || code == 137, "{code}");
}

#[test]
fn what_was_ignored_stays_ignored_and_is_passed_on_all_the_same() {
    // As under nohup, and as the shell does it to INT and QUIT for `&`.
    let ignore = "trap '' HUP INT QUIT";
    let show = "sed -n 's/^SigIgn:\\t//p; s/^SigBlk:\\t//p' /proc/self/status";
    let ended = end(after(ignore, &["--", "sh", "-c", show])).expect(0);
    let masks: Vec<u64> =
        ended.stdout.lines().map(|line| u64::from_str_radix(line, 16).unwrap()).collect();
    let bit = |number: i32| 1u64 << (number - 1);
    let [blocked, ignored] = masks[..] else { panic!("{ended:?}") };
    assert_eq!(blocked, 0, "the command blocks nothing");
    let expected = bit(libc::SIGHUP) | bit(libc::SIGINT) | bit(libc::SIGQUIT);
    assert_eq!(ignored & expected, expected, "{ignored:x}");
    assert_eq!(ignored & bit(libc::SIGPIPE), 0, "{ignored:x}");

    let mut live = Live::start(after(ignore, &["--", "sh", "-c", "echo ready; exec sleep 1000"]));
    live.expect_line("ready");
    until("it is stopped", || {
        live.signal_if_alive(libc::SIGINT);
        live.has_ended()
    });
    live.end();
}

#[test]
fn a_signal_that_comes_before_the_command_is_not_lost() {
    // The shell's signal is pending when netrunner begins: no earlier moment exists.
    let text = "kill -TERM $$; exec \"$@\"";
    let mut command = Command::new("env");
    command.args([
        "--block-signal=TERM",
        "sh",
        "-c",
        text,
        "sh",
        NETRUNNER,
        "run",
        "--",
        "sleep",
        "1000",
    ]);
    end(command).expect(143);
}

#[test]
fn tstp_stops_both_and_cont_makes_both_go_on() {
    let mut live = Live::start(script(&[], "echo $$; exec sleep 1000"));
    let child: u32 = live.line().parse().unwrap();
    live.signal(libc::SIGTSTP);
    until("the command is stopped", || state(child) == Some('T'));
    until("netrunner is stopped", || state(live.pid()) == Some('T'));
    live.signal(libc::SIGCONT);
    until("the command goes on", || state(child) != Some('T'));
    until("netrunner goes on", || state(live.pid()) != Some('T'));
    live.signal(libc::SIGTERM);
    live.end().expect(143);
}

#[test]
fn a_stopped_netrunner_does_not_delay_a_timeout() {
    let mut live = Live::start(script(&["--timeout", "500ms"], "echo $$; exec sleep 1000"));
    let child: u32 = live.line().parse().unwrap();
    live.signal(libc::SIGSTOP);
    until("the command is gone", || state(child).is_none());
    live.signal(libc::SIGCONT);
    live.end().expect(124);
}
