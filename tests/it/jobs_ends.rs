//! `Jobs`: how they are ended from outside, and what is left of them when somebody dies.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use netrunner_sync::{Jobs, Reason, Retries, Shepherds};
use netrunner_tests::lock::Locks;
use netrunner_tests::procs;
use netrunner_tests::sys;
use netrunner_tests::wait::{PATIENCE, reached_within};

use crate::harness::*;
use crate::jobs::{all, drive_until};

/// Jobs that run, each with something below it that left its group, and one that waits.
fn busy(count: usize) -> (Jobs, Locks) {
    let locks = Locks::new("running");
    let mut jobs = Jobs::new(count);
    for _ in 0..count {
        jobs.push(puppet(
            "lock-in running daemon [ setsid lock-in running sleep forever ] sleep forever",
        ));
    }
    jobs.push(puppet("touch never-to-run"));
    assert_eq!(jobs.start(), count);
    locks.wait_held(2 * count);
    (jobs, locks)
}

#[test]
fn another_thread_stops_all_while_a_result_is_waited_for() {
    arena(|| {
        let (mut jobs, locks) = busy(5);
        let handle = jobs.handle();
        let stopper = thread::spawn(move || {
            // Widens the race: the main thread is in its wait by then.
            thread::sleep(Duration::from_millis(30));
            handle.stop_all();
        });
        let mut reasons = Vec::new();
        for (_, finished) in all(&mut jobs) {
            match finished.result {
                Ok(output) => reasons.push(output.report.reason),
                Err(error) => assert!(error.is_not_run(), "{error:?}"),
            }
        }
        locks.assert_free();
        assert_eq!(reasons, [Reason::Stopped; 5]);
        assert!(!fs::exists("never-to-run").expect("look"));
        stopper.join().expect("join");
    });
}

#[test]
fn a_stop_of_all_works_while_nobody_asks_for_a_result() {
    arena(|| {
        let (jobs, locks) = busy(3);
        jobs.handle().stop_all();
        locks.wait_free(GRACE_AND_2S);
        drop(jobs);
    });
}

#[test]
fn one_job_is_stopped_or_taken_out_of_the_queue_and_no_other() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        let running = jobs.push(puppet("lock a sleep forever"));
        jobs.push(puppet("lock b await go"));
        let waiting = jobs.push(puppet("touch never-to-run"));
        drive_until(&mut jobs, "two run", || {
            lock("a").holder().is_some() && lock("b").holder().is_some()
        });
        let handle = jobs.handle();
        handle.stop(waiting);
        let first = jobs.next().expect("told");
        assert_eq!(first.id, waiting);
        assert!(first.result.expect_err("it did not run").is_not_run());
        handle.kill(running);
        let second = jobs.next().expect("told");
        assert_eq!(second.id, running);
        assert_eq!(second.result.expect("it ran").report.reason, Reason::Killed);
        lock("b").assert_held();
        // One that is over is left alone.
        handle.stop(running);
        fs::write("go", "").expect("let it go");
        assert!(jobs.next().expect("told").is_success());
        assert!(jobs.next().is_none());
        assert!(!fs::exists("never-to-run").expect("look"));
    });
}

#[test]
fn one_that_is_stopped_in_the_pause_before_another_try_tells_what_the_last_came_to() {
    arena(|| {
        for stop_all in [true, false] {
            let mut jobs = Jobs::new(1);
            jobs.retries(Retries::new(1).pause(Duration::from_secs(3600)));
            let id = jobs.push(puppet("print tried exit 4"));
            let waits = |jobs: &mut Jobs| {
                assert!(jobs.next_timeout(Duration::from_millis(5)).is_pending());
                (jobs.running(), jobs.waiting()) == (0, 1)
            };
            assert!(reached_within(PATIENCE, || waits(&mut jobs)), "{jobs:?}");
            let handle = jobs.handle();
            if stop_all {
                handle.stop_all()
            } else {
                handle.stop(id)
            }
            let output = jobs.next().expect("told").result.expect("it ran");
            assert_eq!((output.status.code(), &output.stdout[..]), (Some(4), &b"tried\n"[..]));
            assert!(jobs.next().is_none());
        }
    });
}

#[test]
fn dropping_the_jobs_stops_all_that_run() {
    arena(|| {
        let (jobs, locks) = busy(4);
        drop(jobs);
        locks.wait_free(GRACE_AND_2S);
        wait_no_puppets(GRACE_AND_2S);
        // The watcher has heard what became of each: their shepherds are there for the next.
        assert!(
            !reuses_shepherds() || reached_within(PATIENCE, || Shepherds::idle() >= 4),
            "{}",
            Shepherds::idle()
        );
    });
}

#[test]
fn a_stop_at_any_moment_reaches_each_job() {
    arena(|| {
        let mut random = random();
        for _ in 0..100 {
            let mut jobs = Jobs::new(4);
            for _ in 0..8 {
                jobs.push(puppet("sleep forever"));
            }
            let handle = jobs.handle();
            let pause = Duration::from_micros(random.below(4_000));
            let stopper = thread::spawn(move || {
                // Widens the race: requests are being sent, or answers heard.
                thread::sleep(pause);
                handle.kill_all();
            });
            assert_eq!(jobs.by_ref().count(), 8);
            stopper.join().expect("join");
        }
        wait_no_puppets(GRACE_AND_2S);
    });
}

#[test]
fn a_stop_is_heard_by_one_who_waits_for_a_pause_to_pass() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        jobs.retries(Retries::new(1).pause(Duration::from_secs(3600)));
        jobs.push(puppet("touch tried exit 4"));
        let handle = jobs.handle();
        let stopper = thread::spawn(move || {
            wait_file("tried");
            // Widens the race: the main thread waits for the pause by then.
            thread::sleep(Duration::from_millis(100));
            handle.stop_all();
            Instant::now()
        });
        assert_eq!(jobs.by_ref().count(), 1);
        let over = Instant::now();
        let stopped = stopper.join().expect("join");
        // Unheard it would be seen when a look at the clock is due, after ten seconds.
        assert!(over.duration_since(stopped) < Duration::from_secs(8));
    });
}

#[test]
fn jobs_that_were_asked_for_and_dropped_at_once_leave_nothing() {
    arena(|| {
        let locks = Locks::new("running");
        for _ in 0..20 {
            let mut jobs = Jobs::new(8);
            for _ in 0..8 {
                jobs.push(puppet("lock-in running sleep forever"));
            }
            // Sent, and not an answer heard.
            assert!(jobs.next_deadline(Instant::now()).is_pending());
            drop(jobs);
        }
        wait_no_puppets(GRACE_AND_2S);
        locks.wait_free(GRACE_AND_2S);
    });
}

#[test]
fn a_killed_shepherd_is_the_loss_of_its_own_job() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        let lost = jobs.push(puppet("lock a sleep forever"));
        jobs.push(puppet("lock b await go"));
        assert_eq!(jobs.start(), 2);
        let child = lock("a").wait_held();
        lock("b").wait_held();
        signal(shepherd_of(child), libc::SIGKILL);
        let finished = jobs.next().expect("told");
        assert_eq!(finished.id, lost);
        assert!(finished.result.expect_err("nobody knows").is_shepherd_lost());
        lock("a").wait_free(GRACE_AND_2S);
        fs::write("go", "").expect("let it go");
        assert!(jobs.next().expect("told").is_success());
    });
}

#[test]
fn a_lost_job_is_tried_again_where_that_was_asked_for() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        jobs.retries(1);
        jobs.push(puppet("lock a touch once await go print done"));
        assert_eq!(jobs.start(), 1);
        wait_file("once");
        let first = lock("a").wait_held();
        signal(shepherd_of(first), libc::SIGKILL);
        fs::write("go", "").expect("let the second go");
        let output = jobs.next().expect("told").result.expect("the second try");
        assert_ne!(output.report.pid, first);
        assert_eq!(output.stdout, b"done\n");
    });
}

#[test]
fn dead_shepherds_in_the_pool_cost_no_job() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        let count = 12;
        for round in 0..5 {
            let mut jobs = Jobs::new(count);
            for n in 0..count {
                jobs.push(puppet(&format!("print {n}")));
            }
            assert!(jobs.by_ref().all(|finished| finished.is_success()), "round {round}");
            assert!(Shepherds::idle() > 0);
            let shepherds: Vec<_> =
                others().into_iter().filter(|proc| proc.comm == "nr-shepherd").collect();
            assert!(!shepherds.is_empty());
            for shepherd in shepherds {
                signal(shepherd.pid, libc::SIGKILL);
            }
        }
    });
}

#[test]
fn a_dead_guardian_costs_no_job() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        for _ in 0..3 {
            jobs.push(puppet("lock-in running await go"));
        }
        let locks = Locks::new("running");
        assert_eq!(jobs.start(), 3);
        locks.wait_held(3);
        let child = locks.all()[0].wait_held();
        signal(guardian_of(child), libc::SIGKILL);
        for n in 0..6 {
            jobs.push(puppet(&format!("print {n}")));
        }
        fs::write("go", "").expect("let them go");
        let found = all(&mut jobs);
        assert_eq!(found.len(), 9);
        assert!(found.iter().all(|(_, finished)| finished.is_success()), "{found:?}");
    });
}

#[test]
fn nothing_survives_a_client_with_many_jobs() {
    arena(|| {
        let locks = Locks::new("running");
        let script = "jobs 60 [ lock-in running daemon [ setsid lock-in running sleep forever ] \
                      ignore TERM sleep forever ]";
        let client = client(script);
        locks.wait_held(120);
        client.kill();
        locks.wait_free(GRACE_AND_2S);
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn nothing_survives_a_client_that_dies_while_jobs_come_and_go() {
    arena(|| {
        let mut random = random();
        for _ in 0..15 {
            let script = "jobs 100 [ fork [ setsid sleep forever ] ]";
            let client = client(script);
            thread::sleep(Duration::from_millis(random.below(60)));
            client.kill();
            wait_nothing_left(GRACE_AND_2S);
        }
    });
}

#[test]
fn in_a_forked_copy_of_the_client_the_jobs_are_not_its_own() {
    arena(|| {
        let (mut jobs, locks) = busy(2);
        match sys::fork().expect("fork") {
            sys::Forked::Copy => {
                jobs.handle().stop_all();
                // All are told, and nothing is read that is not the copy's.
                let not_ours = jobs.by_ref().filter(|finished| finished.result.is_err()).count();
                drop(jobs);
                sys::exit_now(not_ours as i32);
            }
            sys::Forked::Origin(pid) => {
                let copy = sys::wait_any(true);
                assert_eq!(copy, sys::Waited::Reaped(pid, sys::Ended::Code(3)));
            }
        }
        assert_eq!(locks.all().iter().filter(|lock| lock.holder().is_some()).count(), 4);
        jobs.handle().kill_all();
        let told = jobs.by_ref().count();
        assert_eq!(told, 3);
        locks.assert_free();
        assert_eq!(procs::descendants(std::process::id()).len(), 0);
    });
}
