//! P1: the client dies in any way, at any instant, and all that it started is gone within
//! grace + 2 s.

use std::time::{Duration, Instant};

use netrunner_tests::lock::Locks;
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::{PATIENCE, wait_until};

use netrunner_tests::lacks::Lack;

use crate::harness::*;

mod sigkill_takes_along {
    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let client = client(&format!("quiet spawn [ {} ] sleep forever", shape.script));
        shape.wait_alive();
        client.kill();
        shape.wait_gone(GRACE_AND_2S);
        wait_nothing_left(GRACE_AND_2S);
    }

    each_shape!(check);
}

mod sigkill_takes_along_while_the_shepherd_is_stopped {
    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let client = client(&format!("quiet spawn [ {} ] pid pid sleep forever", shape.script));
        shape.wait_alive();
        let shepherd = shepherd_of(wait_pid_file("pid"));
        signal(shepherd, libc::SIGSTOP);
        wait_state(shepherd, 'T');
        client.kill();
        shape.wait_gone(GRACE_AND_2S);
        wait_nothing_left(GRACE_AND_2S);
    }

    each_shape!(check);
}

mod death_of_client_and_shepherd_together_takes_along {
    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let mut client = client(&format!("quiet spawn [ {} ] pid pid sleep forever", shape.script));
        shape.wait_alive();
        let shepherd = shepherd_of(wait_pid_file("pid"));
        client.shoot();
        // On a busy machine it may have seen the client's end by now, and be done.
        let _ = netrunner_tests::sys::kill(shepherd as i32, libc::SIGKILL);
        client.end();
        shape.wait_gone(GRACE_AND_2S);
        wait_nothing_left(GRACE_AND_2S);
    }

    each_shape!(check);
}

/// Clients in batches, each SIGKILLed at an instant of its own within `window`. Three tests share
/// the instants: 200 altogether, or `NETRUNNER_TEST_KILLS`.
fn kill_at_random_instants(script: &str, window: Duration) {
    const BATCH: u64 = 6;
    let all: u64 = match std::env::var("NETRUNNER_TEST_KILLS") {
        Ok(number) => number.parse().expect("NETRUNNER_TEST_KILLS is a number"),
        Err(_unset) => 200,
    };
    let first = time_to_the_first_child(script, BATCH);
    // Half of the instants come before a child runs in a batch like this, however slow the machine.
    let window = window.max(first * 2);
    println!("a first child of {BATCH} clients ran after {first:?}; kills within {window:?}");
    let mut random = random();
    let mut left = all.div_ceil(3);
    let locks = Locks::new("locks");
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        std::thread::scope(|scope| {
            for _ in 0..batch {
                let instant = Duration::from_micros(random.below(window.as_micros() as u64));
                scope.spawn(move || {
                    let client = client(script);
                    // Not a wait for anything: the instant is the point.
                    std::thread::sleep(instant);
                    client.kill();
                });
            }
        });
        wait_nothing_left(GRACE_AND_2S);
        locks.assert_free();
    }
    assert!(!locks.all().is_empty(), "no child ever ran: the instants are all too early");
    if let Ok(failed) = std::fs::read_to_string("client-failed") {
        panic!("a client failed before it was killed: {failed}");
    }
}

/// How long a batch of clients takes until each has a child that runs its program.
fn time_to_the_first_child(script: &str, batch: u64) -> Duration {
    let began = Instant::now();
    let started = (0..batch).map(|number| {
        let locks = Locks::new(format!("{number}/locks"));
        (client(&format!("chdir {number} {script}")), locks)
    });
    let started: Vec<_> = started.collect();
    for (_, locks) in &started {
        wait_until("a first child", PATIENCE, || !locks.all().is_empty());
    }
    let took = began.elapsed();
    started.into_iter().for_each(|(client, _)| client.kill());
    wait_nothing_left(GRACE_AND_2S);
    took
}

#[test]
fn nothing_survives_a_kill_at_random_instants_around_the_first_spawn() {
    arena(|| {
        kill_at_random_instants(
            "quiet spawn [ lock-in locks daemon [ setsid lock-in locks sleep forever ] sleep forever ] \
             spawn [ lock-in locks sleep forever ] sleep forever",
            Duration::from_millis(50),
        );
    });
}

#[test]
fn nothing_survives_a_kill_at_random_instants_of_a_run_with_leftovers() {
    arena(|| {
        kill_at_random_instants(
            "quiet threads 2 [ churn-spawn forever \
             [ lock-in locks daemon [ setsid ignore TERM lock-in locks sleep forever ] sleep 0.005 ] ]",
            Duration::from_millis(700),
        );
    });
}

#[test]
fn nothing_survives_a_kill_at_random_instants_around_exits() {
    arena(|| {
        kill_at_random_instants(
            "threads 3 [ churn forever [ lock-in locks print something ] ]",
            Duration::from_millis(150),
        );
    });
}

#[test]
fn twenty_children_die_with_their_client() {
    arena(|| {
        let locks = Locks::new("locks");
        let client = client(
            "quiet threads 20 [ spawn [ ignore TERM lock-in locks fork [ setsid lock-in locks sleep forever ] \
             sleep forever ] sleep forever ]",
        );
        locks.wait_held(40);
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        locks.assert_free();
    });
}

#[test]
fn children_die_when_the_client_execs() {
    arena(|| {
        let script = format!(
            "quiet spawn [ lock leader fork [ setsid ignore TERM lock below sleep forever ] sleep forever ] \
             await go exec {PUPPET} lock successor sleep forever"
        );
        let client = client(&script);
        lock("leader").wait_held();
        lock("below").wait_held();
        std::fs::write("go", "").expect("tell the client to exec");
        let successor = lock("successor").wait_held();
        assert_eq!(successor, client.pid(), "an exec keeps the process");
        // The process lives on, and yet the client is gone.
        lock("leader").wait_free(GRACE_AND_2S);
        lock("below").wait_free(GRACE_AND_2S);
        lock("successor").assert_held();
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
    });
}

/// The guardian that was let go of hears of an exec by its lane alone.
#[test]
fn children_die_when_a_client_execs_that_has_let_go_of_their_guardian() {
    arena(|| {
        let script = format!(
            "quiet spawn [ lock leader fork [ setsid ignore TERM lock below sleep forever ] sleep forever ] \
             refresh touch ready await go exec {PUPPET} lock successor sleep forever"
        );
        let client = client(&script);
        let child = lock("leader").wait_held();
        lock("below").wait_held();
        wait_file("ready");
        let shepherd = shepherd_of(child);
        signal(shepherd, libc::SIGSTOP);
        wait_state(shepherd, 'T');
        std::fs::write("go", "").expect("tell the client to exec");
        lock("successor").wait_held();
        lock("leader").wait_free(GRACE_AND_2S);
        lock("below").wait_free(GRACE_AND_2S);
        lock("successor").assert_held();
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn a_client_that_execs_itself_runs_commands_again() {
    arena(|| {
        let out = run_client(
            "quiet spawn [ lock first sleep forever ] await first exec-client spawn [ exit 4 ] wait 4 output [ print again ]",
        );
        assert_eq!(out, "again\n");
        lock("first").wait_free(GRACE_AND_2S);
    });
}

#[test]
fn children_die_with_the_first_process_although_a_raw_fork_of_it_lives() {
    arena(|| {
        let client = client(
            "quiet spawn [ lock leader fork [ setsid ignore TERM lock below sleep forever ] sleep forever ] \
             fork [ touch forked await end ] sleep forever",
        );
        lock("leader").wait_held();
        lock("below").wait_held();
        wait_file("forked");
        client.kill();
        // Without pidfds only the end of lane and lifeline tells, and the fork holds both.
        if !lacks(Lack::Pidfd) {
            lock("leader").wait_free(GRACE_AND_2S);
            lock("below").wait_free(GRACE_AND_2S);
        }
        assert!(others().iter().any(|proc| proc.comm == "client"), "the fork should live");
        std::fs::write("end", "").expect("end the fork");
        wait_nothing_left(GRACE_AND_2S);
        lock("leader").assert_free();
        lock("below").assert_free();
    });
}

#[test]
fn a_raw_fork_of_the_client_has_a_guardian_of_its_own() {
    arena(|| {
        let client = client(
            "quiet spawn [ lock first sleep forever ] \
             fork [ spawn [ lock second sleep forever ] output-to out [ print here ] touch both await end ] \
             await both touch ready sleep forever",
        );
        wait_file("ready");
        assert_eq!(std::fs::read_to_string("out").expect("out"), "here\n");
        let (first, second) = (lock("first").wait_held(), lock("second").wait_held());
        assert_ne!(guardian_of(first), guardian_of(second));
        client.kill();
        // As above.
        if !lacks(Lack::Pidfd) {
            lock("first").wait_free(GRACE_AND_2S);
        }
        lock("second").assert_held();
        std::fs::write("end", "").expect("end the fork");
        wait_nothing_left(GRACE_AND_2S);
        lock("first").assert_free();
        lock("second").assert_free();
    });
}

#[test]
fn children_die_when_the_client_aborts() {
    arena(|| {
        let mut client = client("quiet spawn [ lock leader sleep forever ] await go abort");
        lock("leader").wait_held();
        std::fs::write("go", "").expect("tell the client to abort");
        assert!(!client.end().success());
        wait_nothing_left(GRACE_AND_2S);
        lock("leader").assert_free();
    });
}

#[test]
fn children_die_when_the_client_exits_without_dropping_anything() {
    arena(|| {
        let mut client =
            client("quiet spawn [ ignore TERM lock leader sleep forever ] lose await go exit 0");
        lock("leader").wait_held();
        std::fs::write("go", "").expect("tell the client to exit");
        assert!(client.end().success());
        wait_nothing_left(GRACE_AND_2S);
        lock("leader").assert_free();
    });
}

#[test]
fn children_die_with_a_client_whose_guardian_was_killed_before() {
    arena(|| {
        let client = client(
            "quiet spawn [ ignore TERM lock leader sleep forever ] touch ready sleep forever",
        );
        let child = lock("leader").wait_held();
        wait_file("ready");
        let guardian = guardian_of(child);
        signal(guardian, libc::SIGKILL);
        wait_gone(guardian, GRACE_AND_2S);
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        lock("leader").assert_free();
    });
}

#[test]
fn a_child_that_is_being_stopped_dies_with_the_client() {
    arena(|| {
        let client = client(
            "quiet grace 2000 spawn [ note HUP told note TERM told lock leader sleep forever ] \
             await go drop sleep forever",
        );
        lock("leader").wait_held();
        std::fs::write("go", "").expect("tell the client to drop");
        wait_until("the stop signal", GRACE_AND_2S, || {
            std::fs::read("told").is_ok_and(|told| !told.is_empty())
        });
        // It stands in its grace now.
        client.kill();
        wait_nothing_left(Duration::from_secs(2) + GRACE_AND_2S);
        lock("leader").assert_free();
    });
}

#[test]
fn a_detached_child_outlives_its_client_and_is_reaped() {
    arena(|| {
        // A terminal ends with the client, and tells so.
        let mut client = client(
            "quiet spawn [ ignore HUP lock leader sleep forever ] await leader detach exit 0",
        );
        let child = lock("leader").wait_held();
        assert!(client.end().success());
        // Long enough for a wrong stop to have happened.
        std::thread::sleep(GRACE * 2);
        lock("leader").assert_held();
        let shepherd = shepherd_of(child);
        signal(child, libc::SIGTERM);
        wait_gone(child, GRACE_AND_2S);
        wait_gone(shepherd, GRACE_AND_2S);
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn what_a_killed_shepherd_had_kept_dies_also_without_a_client() {
    arena(|| {
        // A terminal ends with the client, and tells so.
        let mut client = client(
            "quiet spawn [ ignore HUP lock leader daemon [ setsid lock below sleep forever ] \
                                 sleep forever ] await go detach exit 0",
        );
        let child = lock("leader").wait_held();
        lock("below").wait_held();
        std::fs::write("go", "").expect("tell the client to go");
        assert!(client.end().success());
        signal(shepherd_of(child), libc::SIGKILL);
        wait_nothing_left(GRACE_AND_2S);
        lock("leader").assert_free();
        lock("below").assert_free();
    });
}

#[test]
fn a_stopped_client_delays_no_timeout() {
    arena(|| {
        let client = client(
            "quiet timeout 1000 spawn [ lock leader sleep forever ] touch ready sleep forever",
        );
        let child = lock("leader").wait_held();
        wait_file("ready");
        signal(client.pid(), libc::SIGSTOP);
        wait_state(client.pid(), 'T');
        lock("leader").wait_free(Duration::from_secs(1) + GRACE_AND_2S);
        assert!(Proc::get(child).is_none_or(|proc| proc.is_zombie()));
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
    });
}

on_terminals_too! {
    nothing_survives_a_kill_at_random_instants_around_the_first_spawn
    nothing_survives_a_kill_at_random_instants_of_a_run_with_leftovers
    nothing_survives_a_kill_at_random_instants_around_exits
    twenty_children_die_with_their_client
    children_die_when_the_client_execs
    a_client_that_execs_itself_runs_commands_again
    children_die_with_the_first_process_although_a_raw_fork_of_it_lives
    a_raw_fork_of_the_client_has_a_guardian_of_its_own
    children_die_when_the_client_aborts
    children_die_when_the_client_exits_without_dropping_anything
    children_die_with_a_client_whose_guardian_was_killed_before
    what_a_killed_shepherd_had_kept_dies_also_without_a_client
    a_child_that_is_being_stopped_dies_with_the_client
    a_detached_child_outlives_its_client_and_is_reaped
    a_stopped_client_delays_no_timeout
}
