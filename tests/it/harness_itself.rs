//! The guards of these tests, each broken once: a test that cannot fail is a defect.

use std::process::Command;
use std::time::{Duration, Instant};

use netrunner_tests::lock::Lock;
use netrunner_tests::script;
use netrunner_tests::sys;
use netrunner_tests::wait::{PATIENCE, reached_within};

use crate::harness::*;

/// Runs a puppet in an arena below this one; its exit code and what it said.
fn nested(body_limit: &str, count_limit: &str, puppet: &str) -> (Option<i32>, String) {
    let output = Command::new(ARENA)
        .args([body_limit, count_limit, PUPPET])
        .args(script::split(puppet))
        .output()
        .expect("run an arena");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_arena_with_nothing_left_is_content() {
    arena(|| {
        let (code, said) = nested("10", "10", "daemon [ setsid sleep 0.1 ] fork [ exit 3 ] exit 0");
        assert_eq!((code, said.as_str()), (Some(0), ""));
    });
}

#[test]
fn an_arena_reports_names_and_ends_a_survivor() {
    arena(|| {
        let (code, said) =
            nested("10", "0.3", "daemon [ setsid lock below sleep forever ] await below exit 0");
        assert_eq!(code, Some(101));
        assert!(said.contains("SURVIVORS") && said.contains("lock below sleep forever"), "{said}");
        lock("below").assert_free();
    });
}

#[test]
fn an_arena_reports_and_ends_a_body_that_hangs() {
    arena(|| {
        let began = Instant::now();
        let (code, said) = nested("0.3", "10", "fork [ setsid stop ] lock leader sleep forever");
        assert_eq!(code, Some(101));
        assert!(said.contains("hangs") && said.contains("lock leader"), "{said}");
        assert!(began.elapsed() < PATIENCE);
        lock("leader").assert_free();
    });
}

#[test]
fn an_arena_passes_a_bad_end_on() {
    arena(|| {
        assert_eq!(nested("10", "10", "exit 7").0, Some(7));
        assert_eq!(nested("10", "10", "die TERM").0, Some(101));
    });
}

#[test]
fn an_arena_whose_runner_dies_takes_everything_along() {
    arena(|| {
        // The runner of the arena is a puppet, which is killed.
        let words = format!(
            "exec {ARENA} 60 60 {PUPPET} daemon [ setsid lock below sleep forever ] lock leader sleep forever"
        );
        let mut runner = std_puppet(&format!("lock runner fork [ {words} ] sleep forever"))
            .spawn()
            .expect("start the runner");
        lock("leader").wait_held();
        lock("below").wait_held();
        runner.kill().expect("kill the runner");
        runner.wait().expect("reap the runner");
        wait_nothing_left(PATIENCE);
        lock("leader").assert_free();
        lock("below").assert_free();
    });
}

#[test]
fn a_lock_is_held_until_its_process_is_gone_and_by_that_process_alone() {
    arena(|| {
        // Its copy must not hold it, its exec must not lose it, a stop must not free it.
        let script = format!(
            "lock a fork [ lock b sleep forever ] await b exec {PUPPET} stop sleep forever"
        );
        let mut puppet = std_puppet(&script).spawn().expect("start");
        let b = lock("b").wait_held();
        wait_state(puppet.id(), 'T');
        assert_eq!(lock("a").holder(), Some(puppet.id()));
        assert_ne!(b, puppet.id());
        puppet.kill().expect("kill");
        puppet.wait().expect("wait");
        lock("a").assert_free();
        lock("b").assert_held();
        signal(b, libc::SIGKILL);
        lock("b").wait_free(PATIENCE);
        assert!(!Lock::at("never").is_free(), "what was never taken proves nothing");
    });
}

#[test]
fn a_canary_notices_a_signal_and_a_stop() {
    let noticed = |number: i32| {
        let mut canary = Canary::new();
        canary.assert_unharmed();
        signal(canary.pid(), number);
        let harmed = || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| canary.assert_unharmed()))
                .is_err()
        };
        assert!(reached_within(PATIENCE, harmed), "signal {number} went unnoticed");
        drop(canary);
        std::fs::remove_file("canary-notes").expect("a clean start for the next");
    };
    arena(|| {
        for number in [libc::SIGTERM, libc::SIGCONT, libc::SIGSTOP, libc::SIGKILL] {
            noticed(number);
        }
    });
}

#[test]
fn a_storm_is_one_and_is_bounded() {
    arena(|| {
        let mut puppet =
            std_puppet("storm-setsid 500 5 touch raging sleep forever").spawn().expect("start");
        wait_file("raging");
        // The puppet, and after 500 forks the last of each of the five chains, asleep.
        let steady = || {
            let storm = puppets();
            storm.len() == 6 && storm.iter().all(|proc| proc.state == 'S')
        };
        assert!(reached_within(PATIENCE, steady), "{:#?}", puppets());
        let before: Vec<u32> = puppets().iter().map(|proc| proc.pid).collect();
        std::thread::sleep(Duration::from_millis(50));
        let after: Vec<u32> = puppets().iter().map(|proc| proc.pid).collect();
        assert_eq!(before, after, "it should be over");
        for pid in after {
            // The canary of a storm that nobody watches: it ends here.
            let _ = sys::kill(pid as i32, libc::SIGKILL);
        }
        puppet.wait().expect("wait");
    });
}

#[test]
fn a_process_that_outlives_the_client_is_seen() {
    arena(|| {
        let mut puppet =
            std_puppet("daemon [ setsid lock below sleep forever ] await below exit 0")
                .spawn()
                .expect("start");
        puppet.wait().expect("wait");
        assert_eq!(puppets().len(), 1);
        assert_eq!(others().len(), 1);
        signal(lock("below").wait_held(), libc::SIGKILL);
        wait_nothing_left(PATIENCE);
    });
}
