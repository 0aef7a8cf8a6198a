//! `netrunner jobs`: how it is ended, and what is left then.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::harness::{Folder, Live, end, fresh, netrunner, state, until};
use crate::jobs::{begin, number_in};

/// A job that tells its number and that of something below it that has left its group.
fn job(folder: &Folder, name: &str, then: &str) -> String {
    let (own, below) = (folder.path(name), folder.path(&format!("{name}-below")));
    format!("setsid sh -c 'echo $$ > {below}; exec sleep 1000' & echo $$ > {own}; {then}\n")
}

#[track_caller]
fn numbers(folder: &Folder, names: &[&str]) -> Vec<u32> {
    let both = |name: &&str| [number_in(folder, name), number_in(folder, &format!("{name}-below"))];
    names.iter().flat_map(both).collect()
}

#[track_caller]
fn all_gone(numbers: &[u32]) {
    // By now: `netrunner` ends after them.
    for number in numbers {
        let left = state(*number).filter(|state| *state != 'Z');
        assert_eq!(left, None, "{number} lives");
    }
}

/// Waits until `netrunner` deals with signals itself.
#[track_caller]
fn holds_signals(live: &Live) {
    until("INT is held back", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", live.pid())).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        u64::from_str_radix(blocked, 16).unwrap() & 1 << (libc::SIGINT - 1) != 0
    });
}

#[test]
fn the_first_failure_stops_the_rest_if_that_is_asked_for() {
    let folder = Folder::new();
    let (go, never) = (folder.path("go"), folder.path("never"));
    let list = job(&folder, "a", "sleep 1000")
        + &format!("while ! [ -e {go} ]; do sleep 0.01; done; exit 1\ntouch {never}\n");
    let mut live = begin(&["-j2", "--fail-fast"]);
    live.write(&list);
    let numbers = numbers(&folder, &["a"]);
    std::fs::write(&go, "").unwrap();
    // Also while the list is open.
    let ended = live.end().expect(2);
    all_gone(&numbers);
    assert!(!folder.has("never"), "{ended:?}");
    assert!(ended.stderr.contains("`exit 1`") || ended.stderr.contains("exited with code 1"));
    assert!(ended.stderr.contains(", 1 not run"), "{ended:?}");
}

#[test]
fn an_interrupt_starts_nothing_more_and_stops_what_runs() {
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        let folder = Folder::new();
        let never = folder.path("never");
        let list = job(&folder, "a", "sleep 1000")
            + &job(&folder, "b", "sleep 1000")
            + &format!("touch {never}\n");
        let mut live = begin(&["-j2"]);
        live.write(&list);
        let numbers = numbers(&folder, &["a", "b"]);
        live.signal(number);
        let ended = live.end().expect(2);
        all_gone(&numbers);
        assert!(!folder.has("never"), "{ended:?}");
        assert!(ended.stderr.contains("2 failed, 1 not run"), "{ended:?}");
    }
}

#[test]
fn the_second_signal_kills() {
    let folder = Folder::new();
    let ready = folder.path("ready");
    let deaf = format!("trap '' TERM; touch {ready}; while :; do sleep 0.1; done\n");
    let mut live = begin(&["-j2", "--grace", "1h"]);
    live.write(&deaf);
    until("it runs", || folder.has("ready"));
    live.signal(libc::SIGINT);
    // Two that come before one was taken are one to the kernel.
    until("it is killed", || {
        live.signal_if_alive(libc::SIGINT);
        live.has_ended()
    });
    live.end().expect(1);
}

#[test]
fn an_interrupt_before_anything_has_failed_is_told_as_such() {
    // The list is still to come.
    let live = begin(&[]);
    holds_signals(&live);
    live.signal(libc::SIGINT);
    live.end().expect(130);
}

#[test]
fn under_nohup_a_hangup_says_nothing() {
    let mut command = fresh("sh");
    let script =
        "trap '' HUP; exec \"$0\" jobs --progress off -- ::: 'echo on; sleep 0.3; echo off'";
    command.args(["-c", script, crate::harness::NETRUNNER]).stdin(Stdio::null());
    let live = Live::start(command);
    holds_signals(&live);
    live.signal(libc::SIGHUP);
    assert_eq!(live.end().expect(0).stdout, "on\noff\n");
}

#[test]
fn a_killed_run_leaves_nothing_and_a_resumed_one_completes_it() {
    let folder = Folder::new();
    let (log, out) = (folder.path("log"), folder.path("out"));
    std::fs::create_dir(&out).unwrap();
    let count = 150;
    let script = format!(
        "setsid sleep 1000 & echo $! > {out}/below-$$; sleep 0.02; echo x >> {out}/done-{{}}"
    );
    let values: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let run = || {
        let mut command = netrunner(["jobs", "-j4", "--progress", "off", "--job-log", &log]);
        command.args(["--resume", "--", "sh", "-c", &script, ":::"]).args(&values);
        command
    };
    let mut kills = 0_u64;
    for round in 0..50 {
        let mut live = Live::start(run());
        thread::sleep(Duration::from_millis(10 + 7 * (round % 8)));
        live.signal_if_alive(libc::SIGKILL);
        kills += u64::from(live.end().status.code().is_none());
        // They hold nothing of ours, so look for each.
        for entry in std::fs::read_dir(&out).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(shell) = name.strip_prefix("below-") else { continue };
            let below = std::fs::read_to_string(format!("{out}/{name}")).unwrap_or_default();
            for pid in [shell, below.trim()].into_iter().filter_map(|pid| pid.parse().ok()) {
                until("all of it is gone", || matches!(state(pid), None | Some('Z')));
            }
        }
    }
    assert!(kills > 25, "{kills}");
    end(run()).expect(0);
    let done: BTreeSet<String> = std::fs::read_dir(&out)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix("done-").map(str::to_owned)
        })
        .collect();
    assert_eq!(done, values.iter().cloned().collect());
    // And then there is nothing more to do.
    let before = std::fs::read_dir(&out).unwrap().count();
    end(run()).expect(0);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), before);
}
