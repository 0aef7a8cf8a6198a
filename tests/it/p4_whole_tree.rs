//! P4: stop and kill reach the group and every descendant, and `wait` returning means that nothing
//! is left.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use netrunner_sync::{Reason, Signal, Stdio};
use netrunner_tests::lock::Locks;
use netrunner_tests::wait::{scaled, wait_until};

use crate::harness::*;

mod stop_reaches {
    use netrunner_sync::Reason;

    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let mut child = puppet(shape.script).spawn().expect("spawn");
        shape.wait_alive();
        let status = child.stop().expect("stop");
        shape.assert_gone();
        assert_no_puppets();
        assert!(!status.success());
        assert_eq!(child.report().expect("report").reason, Reason::Stopped);
    }

    each_shape!(check);
}

mod kill_reaches {
    use netrunner_sync::Reason;

    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let mut child =
            puppet(shape.script).grace(std::time::Duration::from_secs(60)).spawn().expect("spawn");
        shape.wait_alive();
        child.kill().expect("kill");
        let status = child.wait().expect("wait");
        shape.assert_gone();
        assert_no_puppets();
        assert!(!status.success());
        assert_eq!(child.report().expect("report").reason, Reason::Killed);
    }

    each_shape!(check);
}

mod timeout_reaches {
    use std::time::Duration;

    use netrunner_sync::Reason;

    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let limit = netrunner_tests::wait::scaled(Duration::from_secs(1));
        let mut child = puppet(shape.script).timeout(limit).spawn().expect("spawn");
        shape.wait_alive();
        child.wait().expect("wait");
        shape.assert_gone();
        assert_no_puppets();
        assert_eq!(child.report().expect("report").reason, Reason::Timeout);
    }

    each_shape!(check);
}

/// A storm is on, its size bounded; then `end` ends it and nothing may be left, nor anything outside
/// be hit.
fn ride_out(storm: &str, end: impl FnOnce(netrunner_sync::Child)) {
    let mut canary = Canary::new();
    let mut command = puppet(&format!("{storm} touch raging sleep forever"));
    off_terminals(&mut command, |it| it.stdout(Stdio::null()));
    let child = command.spawn().expect("spawn");
    wait_file("raging");
    end(child);
    wait_no_puppets(GRACE_AND_2S * 3);
    canary.assert_unharmed();
}

#[test]
fn a_fork_storm_is_stopped_and_hits_nobody_else() {
    arena(|| {
        ride_out("storm 6000 12", |mut child| {
            child.stop().expect("stop");
            assert_no_puppets();
        });
    });
}

#[test]
fn a_fork_storm_of_sessions_is_stopped_and_hits_nobody_else() {
    arena(|| {
        ride_out("storm-setsid 6000 12", |mut child| {
            child.stop().expect("stop");
            assert_no_puppets();
        });
    });
}

#[test]
fn a_fork_storm_is_killed_and_hits_nobody_else() {
    arena(|| {
        ride_out("storm-setsid 6000 12", |mut child| {
            child.kill().expect("kill");
            child.wait().expect("wait");
            assert_no_puppets();
        });
    });
}

#[test]
fn a_fork_storm_dies_with_its_handle() {
    arena(|| ride_out("ignore TERM storm-setsid 6000 12", drop));
}

#[test]
fn a_fork_storm_dies_with_its_shepherd() {
    arena(|| {
        ride_out("storm-setsid 6000 12", |mut child| {
            signal(shepherd_of(child.id()), libc::SIGKILL);
            assert!(child.wait().expect_err("no status").is_shepherd_lost());
        });
    });
}

#[test]
fn a_fork_storm_dies_with_the_client() {
    arena(|| {
        let mut canary = Canary::new();
        let client =
            client("quiet spawn [ storm-setsid 6000 12 touch raging sleep forever ] sleep forever");
        wait_file("raging");
        client.kill();
        wait_nothing_left(GRACE_AND_2S * 3);
        canary.assert_unharmed();
    });
}

#[test]
fn the_ladder_goes_stop_signal_then_continue_then_kill() {
    arena(|| {
        let mut child =
            puppet("note TERM notes note CONT notes note INT notes lock leader sleep forever")
                .spawn()
                .expect("spawn");
        lock("leader").wait_held();
        let began = Instant::now();
        let status = child.stop().expect("stop");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!(began.elapsed() >= GRACE, "killed after {:?}, before its grace", began.elapsed());
        let notes = std::fs::read_to_string("notes").expect("notes");
        let notes: Vec<i32> = notes.lines().map(|line| line.parse().expect("a signal")).collect();
        assert!(notes.contains(&libc::SIGTERM) && notes.contains(&libc::SIGCONT), "got {notes:?}");
        assert!(!notes.contains(&libc::SIGINT), "got {notes:?}");
    });
}

#[test]
fn a_stopped_child_can_obey_the_stop_signal() {
    arena(|| {
        // The handler can only run once it is continued.
        let mut child = puppet("on TERM 17 lock leader stop sleep forever")
            .grace(Duration::from_secs(30))
            .spawn()
            .expect("spawn");
        wait_state(child.id(), 'T');
        let began = Instant::now();
        let status = child.stop().expect("stop");
        assert_eq!(status.code(), Some(17));
        assert!(began.elapsed() < scaled(Duration::from_secs(10)));
        assert_eq!(child.report().expect("report").reason, Reason::Stopped);
    });
}

#[test]
fn the_stop_signal_is_the_one_that_was_chosen() {
    arena(|| {
        let mut child = puppet("ignore TERM on INT 18 lock leader sleep forever")
            .stop_signal(Signal::INT)
            .grace(Duration::from_secs(30))
            .spawn()
            .expect("spawn");
        lock("leader").wait_held();
        assert_eq!(child.stop().expect("stop").code(), Some(18));
        assert_eq!(child.report().expect("report").reason, Reason::Stopped);
    });
}

#[test]
fn an_obedient_tree_does_not_wait_for_the_grace() {
    arena(|| {
        // The leader, and whoever is in between, obeys first: what is below moves while it is asked to
        // end, and must be asked all the same.
        let below = "fork [ setsid fork [ setsid lock-in locks sleep forever ] lock-in locks sleep forever ] ";
        let script = format!("{} lock-in locks sleep forever", below.repeat(6));
        for _ in 0..15 {
            let locks = Locks::new("locks");
            let mut child = puppet(&script).grace(Duration::from_secs(20)).spawn().expect("spawn");
            locks.wait_held(13);
            let began = Instant::now();
            child.stop().expect("stop");
            let took = began.elapsed();
            locks.assert_free();
            assert!(took < scaled(Duration::from_secs(10)), "stop took {took:?}");
            std::fs::remove_dir_all("locks").expect("clean up");
        }
    });
}

#[test]
fn a_signal_goes_to_the_whole_group() {
    arena(|| {
        let mut child = puppet(
            "note USR1 leader-notes fork [ note USR1 below-notes lock below sleep forever ] lock leader sleep forever",
        )
        .spawn()
        .expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        child.signal(Signal::USR1).expect("signal");
        for notes in ["leader-notes", "below-notes"] {
            wait_until(notes, GRACE_AND_2S, || {
                std::fs::read_to_string(notes).is_ok_and(|text| text == "10\n")
            });
        }
        assert!(child.try_wait().expect("try_wait").is_none());
        child.kill().expect("kill");
        child.wait().expect("wait");
    });
}

#[test]
fn a_kill_cuts_the_grace_short() {
    arena(|| {
        let child = puppet("note TERM notes lock leader sleep forever")
            .grace(Duration::from_secs(60))
            .spawn();
        let child = child.expect("spawn");
        lock("leader").wait_held();
        let handle = child.handle();
        let stopper = std::thread::spawn({
            let handle = child.handle();
            move || handle.stop()
        });
        wait_until("the stop signal", GRACE_AND_2S, || {
            std::fs::read("notes").is_ok_and(|notes| !notes.is_empty())
        });
        handle.kill().expect("kill");
        let status = stopper.join().expect("join").expect("stop");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        // The first cause wins.
        assert_eq!(child.report().expect("report").reason, Reason::Stopped);
    });
}

#[test]
fn stop_from_many_threads_is_one_stop() {
    arena(|| {
        let child = puppet("ignore TERM lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let handle = child.handle();
                std::thread::spawn(
                    move || if number % 2 == 0 { handle.stop() } else { handle.wait() },
                )
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().expect("join").expect("status").signal(), Some(libc::SIGKILL));
        }
        lock("leader").assert_free();
    });
}

on_terminals_too! {
    a_fork_storm_is_stopped_and_hits_nobody_else
    a_fork_storm_of_sessions_is_stopped_and_hits_nobody_else
    a_fork_storm_is_killed_and_hits_nobody_else
    a_fork_storm_dies_with_its_handle
    a_fork_storm_dies_with_its_shepherd
    a_fork_storm_dies_with_the_client
    the_ladder_goes_stop_signal_then_continue_then_kill
    a_stopped_child_can_obey_the_stop_signal
    the_stop_signal_is_the_one_that_was_chosen
    an_obedient_tree_does_not_wait_for_the_grace
    a_signal_goes_to_the_whole_group
    a_kill_cuts_the_grace_short
    stop_from_many_threads_is_one_stop
}
