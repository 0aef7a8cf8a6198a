//! P4, when the leader ends by itself and descendants are alive: stopped, waited for or kept, as
//! the command says.

use std::time::{Duration, Instant};

use netrunner_sync::{Leftovers, Reason, Stdio};
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::{scaled, wait_until};

use crate::harness::*;

/// The leader waits until what it leaves behind is alive.
const LEAVES_ONE: &str = "daemon [ setsid lock below sleep forever ] await below exit 5";

#[test]
fn leftovers_are_stopped_before_wait_returns() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let mut child = puppet(LEAVES_ONE).spawn().expect("spawn");
        let status = child.wait().expect("wait");
        lock("below").assert_free();
        assert_no_puppets();
        assert_eq!(status.code(), Some(5));
        let report = child.report().expect("report");
        assert_eq!(report.reason, Reason::Exited);
        assert_eq!(report.leftovers.len(), 1, "{report:?}");
        assert_eq!(report.leftovers[0].name, "puppet");
    });
}

#[test]
fn leftovers_are_told_by_their_own_pids() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let mut child = puppet(
            "ignore HUP fork [ lock a sleep forever ] daemon [ lock b sleep forever ] \
             daemon [ setsid lock c stop sleep forever ] await a await b await c await go",
        )
        .spawn()
        .expect("spawn");
        let mut pids: Vec<u32> = ["a", "b", "c"].map(|name| lock(name).wait_held()).to_vec();
        std::fs::write("go", "").expect("let the leader end");
        assert!(child.wait().expect("wait").success());
        assert_no_puppets();
        let mut told: Vec<u32> =
            child.report().expect("report").leftovers.iter().map(|one| one.pid).collect();
        pids.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, pids);
    });
}

#[test]
fn leftovers_that_ignore_the_stop_signal_are_killed_after_the_grace() {
    arena(|| {
        if PORTABLE && on_terminals() {
            return skip("what stays in the group is hung up with its session");
        }
        let mut child =
            puppet("daemon [ setsid note TERM notes lock below sleep forever ] await below exit 5")
                .spawn()
                .expect("spawn");
        let status = child.wait().expect("wait");
        lock("below").assert_free();
        assert_eq!(status.code(), Some(5), "the leader's status is its own");
        assert_eq!(
            std::fs::read_to_string("notes").expect("notes"),
            "15\n",
            "the polite signal comes first"
        );
    });
}

#[test]
fn what_ends_within_the_settling_time_is_no_leftover() {
    arena(|| {
        // The leader and the one below end together.
        for _ in 0..20 {
            let output = puppet("daemon [ exit 0 ] exit 0").output().expect("output");
            assert!(output.report.leftovers.is_empty(), "{:?}", output.report);
        }
    });
}

#[test]
fn zombies_are_no_leftovers() {
    arena(|| {
        let output =
            puppet("fork [ exit 1 ] fork [ exit 2 ] sleep 0.05 exit 0").output().expect("output");
        assert!(output.report.leftovers.is_empty(), "{:?}", output.report);
    });
}

#[test]
fn output_does_not_wait_for_a_leftover_that_holds_the_pipe() {
    arena(|| {
        let began = Instant::now();
        let output =
            puppet("print early fork [ setsid lock below sleep forever ] await below exit 0")
                .output()
                .expect("output");
        assert!(began.elapsed() < scaled(Duration::from_secs(10)));
        assert_eq!(output.stdout, b"early\n");
        lock("below").assert_free();
    });
}

#[test]
fn wait_waits_for_leftovers_that_it_was_told_to_wait_for() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let mut child = puppet("daemon [ setsid lock below await go ] await below exit 5")
            .leftovers(Leftovers::Wait)
            .spawn()
            .expect("spawn");
        let below = lock("below").wait_held();
        let leader = child.id();
        wait_until("the leader's end", GRACE_AND_2S, || {
            Proc::get(leader).is_none_or(|proc| proc.is_zombie())
        });
        assert!(child.wait_timeout(GRACE * 2).expect("wait").is_none(), "it should wait");
        lock("below").assert_held();
        std::fs::write("go", "").expect("let it end");
        assert_eq!(child.wait().expect("wait").code(), Some(5));
        let report = child.report().expect("report");
        assert_eq!(report.reason, Reason::Exited);
        assert_eq!(report.leftovers.iter().map(|one| one.pid).collect::<Vec<_>>(), [below]);
        lock("below").assert_free();
        assert_no_puppets();
    });
}

#[test]
fn a_stop_ends_the_waiting_for_leftovers() {
    arena(|| {
        let mut child = puppet(LEAVES_ONE).leftovers(Leftovers::Wait).spawn().expect("spawn");
        let leader = child.id();
        wait_until("the leader's end", GRACE_AND_2S, || {
            Proc::get(leader).is_none_or(|proc| proc.is_zombie())
        });
        let status = child.stop().expect("stop");
        lock("below").assert_free();
        assert_eq!(status.code(), Some(5), "the leader's status is its own");
    });
}

#[test]
fn a_timeout_ends_the_waiting_for_leftovers() {
    arena(|| {
        if PORTABLE && on_terminals() {
            return skip("what stays in the group is hung up with its session");
        }
        let output = puppet(LEAVES_ONE)
            .leftovers(Leftovers::Wait)
            .timeout(scaled(Duration::from_secs(1)))
            .output()
            .expect("output");
        lock("below").assert_free();
        assert_eq!(output.report.reason, Reason::Timeout);
    });
}

#[test]
fn kept_leftovers_live_on_and_are_listed() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let mut command = puppet("daemon [ setsid lock below await go ] await below exit 5");
        off_terminals(&mut command, |it| it.stdin(Stdio::null()));
        let mut child = command.leftovers(Leftovers::Keep).spawn().expect("spawn");
        let below = lock("below").wait_held();
        assert_eq!(child.wait().expect("wait").code(), Some(5));
        let report = child.report().expect("report");
        assert_eq!(report.leftovers.iter().map(|one| one.pid).collect::<Vec<_>>(), [below]);
        drop(child);
        std::thread::sleep(GRACE * 2);
        lock("below").assert_held();
        // And they are reaped.
        std::fs::write("go", "").expect("let it end");
        wait_gone(below, GRACE_AND_2S);
    });
}

#[test]
fn kept_leftovers_outlive_the_client() {
    arena(|| {
        if PORTABLE && on_terminals() {
            return skip("what stays in the group is hung up with its session");
        }
        let mut client = client(
            "quiet leftovers keep spawn [ daemon [ setsid lock below await go ] await below exit 5 ] wait 5 exit 0",
        );
        let below = lock("below").wait_held();
        assert!(client.end().success());
        std::thread::sleep(GRACE * 2);
        lock("below").assert_held();
        std::fs::write("go", "").expect("let it end");
        wait_gone(below, GRACE_AND_2S);
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn output_does_not_wait_for_a_kept_process_that_holds_the_pipe() {
    arena(|| {
        if PORTABLE && on_terminals() {
            return skip("what stays in the group is hung up with its session");
        }
        let began = Instant::now();
        let output = puppet("print early fork [ setsid lock below await go ] await below exit 0")
            .leftovers(Leftovers::Keep)
            .output()
            .expect("output");
        assert!(began.elapsed() < scaled(Duration::from_secs(10)));
        assert_eq!(output.stdout, b"early\n");
        lock("below").assert_held();
        std::fs::write("go", "").expect("let it end");
        wait_no_puppets(GRACE_AND_2S);
    });
}

#[test]
fn keep_keeps_nothing_of_a_command_that_was_stopped() {
    arena(|| {
        let mut child =
            puppet("daemon [ setsid lock below sleep forever ] lock leader sleep forever")
                .leftovers(Leftovers::Keep)
                .spawn()
                .expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        child.stop().expect("stop");
        lock("below").assert_free();
        assert_no_puppets();
    });
}

on_terminals_too! {
    leftovers_are_told_by_their_own_pids
    leftovers_are_stopped_before_wait_returns
    leftovers_that_ignore_the_stop_signal_are_killed_after_the_grace
    what_ends_within_the_settling_time_is_no_leftover
    zombies_are_no_leftovers
    output_does_not_wait_for_a_leftover_that_holds_the_pipe
    wait_waits_for_leftovers_that_it_was_told_to_wait_for
    a_stop_ends_the_waiting_for_leftovers
    a_timeout_ends_the_waiting_for_leftovers
    kept_leftovers_live_on_and_are_listed
    kept_leftovers_outlive_the_client
    output_does_not_wait_for_a_kept_process_that_holds_the_pipe
    keep_keeps_nothing_of_a_command_that_was_stopped
}
