//! `netrunner run` as process 1 of a PID namespace, as in a container: what tini and dumb-init are there for.
//! Every case is theirs as well, which shows that it is one.

use std::fs;
use std::process::Command;

use crate::harness::*;

/// What can be process 1: its words before the command.
fn inits() -> Vec<Vec<&'static str>> {
    let mut inits = vec![vec![NETRUNNER, "run", "--"]];
    for other in ["tini", "dumb-init"] {
        match Command::new(other).arg("--version").output() {
            Ok(_) => inits.push(vec![other, "--"]),
            Err(error) => eprintln!("SKIPPED: {other} can't be had for comparison: {error}"),
        }
    }
    inits
}

/// This command below it, in a namespace of their own.
fn below(init: &[&str], command: &[&str]) -> Command {
    let mut unshare = fresh("unshare");
    unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.args(init).args(command);
    unshare
}

fn possible() -> bool {
    let tried = below(&[], &["true"]).output();
    let possible = tried.is_ok_and(|tried| tried.status.success());
    if !possible {
        eprintln!("SKIPPED: no PID namespaces of a user's own here");
    }
    possible
}

/// Runs this with each of them, if there can be namespaces.
fn each(case: impl Fn(&[&str])) {
    if possible() {
        inits().iter().for_each(|init| case(init));
    }
}

/// The children of a process: number, name and state.
fn children(parent: u32) -> Vec<(u32, String, char)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let state = fields.next().and_then(|state| state.chars().next()).unwrap();
        if fields.next() == Some(&parent.to_string()) {
            let (pid, name) = head.split_once(" (").unwrap();
            found.push((pid.parse().unwrap(), name.to_owned(), state));
        }
    }
    found
}

/// Process 1 of what was started, by its number outside.
fn one(started: &Live) -> u32 {
    let [(pid, ..)] = children(started.pid())[..] else { panic!("it has one child") };
    pid
}

#[test]
fn the_code_is_that_of_the_command() {
    each(|init| {
        for code in [0, 1, 7, 126, 127, 255] {
            end(below(init, &["sh", "-c", &format!("exit {code}")])).expect(code);
        }
        for signal in [1, 6, 9, 15] {
            end(below(init, &["sh", "-c", &format!("kill -{signal} $$")])).expect(128 + signal);
        }
        // As a shell says it; dumb-init has a code of its own for both.
        let [missing, no_program] = if init[0] == "dumb-init" { [2, 2] } else { [127, 126] };
        end(below(init, &["/no/such/program"])).expect(missing);
        end(below(init, &["/etc/passwd"])).expect(no_program);
    });
}

/// The kernel takes none to process 1 that it has no function for, and both have none.
#[test]
fn signals_go_on_to_the_command() {
    each(|init| {
        for signal in [1, 2, 3, 10, 12, 14, 15, 28, 34, 64] {
            let script = format!("trap 'exit 40' {signal}; echo up; while :; do sleep 0.01; done");
            let mut live = Live::start(below(init, &["sh", "-c", &script]));
            live.expect_line("up");
            crate::harness::signal(one(&live), signal);
            live.end().expect(40);
        }
    });
}

#[test]
fn a_command_that_does_not_listen_ends_by_the_signals_default() {
    each(|init| {
        let mut live = Live::start(below(init, &["sh", "-c", "echo up; exec sleep 600"]));
        live.expect_line("up");
        signal(one(&live), 15);
        live.end().expect(128 + 15);
    });
}

#[test]
fn orphans_of_the_command_are_reaped() {
    each(|init| {
        // Each of the inner shells leaves one, and the command looks until none is there, zombie or not.
        let leave = "for i in 1 2 3 4 5 6 7 8; do sh -c 'sleep 0.05 &'; done";
        let count = "count() { n=0; for s in /proc/[0-9]*/stat; do \
            read -r line 2>/dev/null < $s && case $line in *'(sleep)'*) n=$((n + 1));; esac; done; }";
        // A file that goes while it is looked at is a failed `read`, and no failure of the whole.
        let wait = "count; while [ $n != 0 ]; do count; done; exit 0";
        end(below(init, &["sh", "-c", &format!("{count}; {leave}; {wait}")])).expect(0);
    });
}

/// As a `docker exec` leaves one, which no shepherd adopts.
#[test]
fn orphans_of_others_are_reaped() {
    each(|init| {
        let mut live = Live::start(below(init, &["sh", "-c", "echo up; exec tail -f /dev/null"]));
        live.expect_line("up");
        let one = one(&live);
        for _ in 0..3 {
            let mut other = fresh("nsenter");
            other.args([&format!("--target={one}"), "--user", "--preserve-credentials", "--pid"]);
            // Quiet, so that nobody waits for the end of its output.
            other.args(["sh", "-c", "sleep 600 >/dev/null 2>&1 &"]);
            end(other).expect(0);
            let orphan = || children(one).into_iter().find(|(_, name, _)| name == "sleep");
            until("it is adopted", || orphan().is_some());
            let (pid, ..) = orphan().expect("it sleeps");
            signal(pid, 9);
            until("it is reaped", || state(pid).is_none());
        }
        signal(one, 15);
        live.end().expect(128 + 15);
    });
}

#[test]
fn what_the_command_leaves_is_gone_with_process_1() {
    each(|init| {
        // It holds the output, whose end is waited for.
        let ended = end(below(init, &["sh", "-c", "setsid sleep 600 & exit 5"]));
        ended.expect(5);
    });
}
