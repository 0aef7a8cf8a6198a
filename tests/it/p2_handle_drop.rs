//! P2: dropping a `Child` never blocks and never fails; the watcher stops the whole tree and reaps.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use netrunner_sync::{Reason, Stdio};
use netrunner_tests::lock::Locks;
use netrunner_tests::wait::{scaled, wait_until};

use crate::harness::*;

/// Far below any grace that the tests use with it, far above what a drop takes.
const AT_ONCE: Duration = Duration::from_millis(250);

mod drop_stops {
    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let child = puppet(shape.script).spawn().expect("spawn");
        shape.wait_alive();
        super::drop_at_once(child);
        shape.wait_gone(GRACE_AND_2S);
        wait_no_puppets(GRACE_AND_2S);
    }

    each_shape!(check);
}

mod drop_stops_although_the_shepherd_is_stopped {
    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let child = puppet(shape.script).spawn().expect("spawn");
        shape.wait_alive();
        let shepherd = shepherd_of(child.id());
        signal(shepherd, libc::SIGSTOP);
        wait_state(shepherd, 'T');
        super::drop_at_once(child);
        shape.wait_gone(GRACE_AND_2S);
        wait_no_puppets(GRACE_AND_2S);
        wait_gone(shepherd, GRACE_AND_2S);
    }

    each_shape!(check);
}

#[track_caller]
fn drop_at_once(child: netrunner_sync::Child) {
    let began = Instant::now();
    drop(child);
    assert!(began.elapsed() < scaled(AT_ONCE), "the drop took {:?}", began.elapsed());
}

#[test]
fn drop_does_not_wait_for_the_grace() {
    arena(|| {
        let child = puppet("ignore HUP ignore TERM lock leader sleep forever")
            .grace(Duration::from_secs(3))
            .spawn();
        let child = child.expect("spawn");
        lock("leader").wait_held();
        drop_at_once(child);
        lock("leader").assert_held();
        lock("leader").wait_free(Duration::from_secs(3) + GRACE_AND_2S);
    });
}

#[test]
fn a_client_that_dies_after_the_drop_changes_nothing() {
    arena(|| {
        let client = client(
            "quiet spawn [ ignore TERM lock leader fork [ setsid lock below sleep forever ] sleep forever ] \
             pid pid await go drop touch dropped sleep forever",
        );
        lock("leader").wait_held();
        lock("below").wait_held();
        let shepherd = shepherd_of(wait_pid_file("pid"));
        signal(shepherd, libc::SIGSTOP);
        wait_state(shepherd, 'T');
        std::fs::write("go", "").expect("tell the client to drop");
        wait_file("dropped");
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        lock("leader").assert_free();
        lock("below").assert_free();
    });
}

#[test]
fn a_handle_does_not_keep_the_child_alive_and_learns_its_true_end() {
    arena(|| {
        let child = puppet("lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        let handle = child.handle();
        assert_eq!(handle.id(), child.id());
        assert!(handle.try_wait().expect("try_wait").is_none());
        assert!(handle.report().is_none());
        drop(child);
        let status = handle.wait_timeout(GRACE_AND_2S).expect("wait").expect("it must end");
        lock("leader").assert_free();
        let reason = handle.report().expect("report").reason;
        match (status.signal(), reason) {
            (Some(libc::SIGTERM), Reason::Stopped) => {}
            // With the handle goes the manager, and the hang-up is quicker than the stop.
            (Some(libc::SIGHUP), Reason::Exited | Reason::Stopped) if on_terminals() => {}
            _ => panic!("{status:?}, {reason:?}"),
        }
        assert_eq!(handle.wait().expect("wait again"), status);
    });
}

#[test]
fn a_panicking_thread_stops_its_child() {
    arena(|| {
        let thread = std::thread::spawn(|| {
            let _child =
                puppet("lock leader fork [ setsid lock below sleep forever ] sleep forever")
                    .spawn();
            lock("leader").wait_held();
            lock("below").wait_held();
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        wait_no_puppets(GRACE_AND_2S);
        lock("leader").assert_free();
        lock("below").assert_free();
    });
}

#[test]
fn a_child_goes_on_when_the_thread_that_spawned_it_ends() {
    arena(|| {
        let spawner =
            std::thread::spawn(|| puppet("lock leader await go exit 7").spawn().expect("spawn"));
        let mut child = spawner.join().expect("the spawner");
        lock("leader").wait_held();
        // The death of the thread would have shown by now, were the signal bound to it.
        assert!(child.wait_timeout(GRACE).expect("wait").is_none());
        std::fs::write("go", "").expect("let it end");
        assert_eq!(child.wait().expect("wait").code(), Some(7));
    });
}

#[test]
fn a_child_goes_on_when_the_thread_that_spawned_the_first_command_ends() {
    arena(|| {
        // Guardian and watcher were made by that thread as well.
        let first = std::thread::spawn(|| puppet("exit 0").status().expect("status"));
        assert!(first.join().expect("join").success());
        let mut child = puppet("lock leader await go exit 8").spawn().expect("spawn");
        lock("leader").wait_held();
        std::fs::write("go", "").expect("let it end");
        assert_eq!(child.wait().expect("wait").code(), Some(8));
    });
}

#[test]
fn a_hundred_threads_spawn_and_drop() {
    arena(|| {
        let locks = Locks::new("locks");
        puppet("exit 0").status().expect("warm up");
        std::thread::scope(|scope| {
            for number in 0..100 {
                scope.spawn(move || {
                    let script = if number % 2 == 0 {
                        "lock-in locks sleep forever"
                    } else {
                        "lock-in locks fork [ setsid ignore TERM lock-in locks sleep forever ] sleep forever"
                    };
                    let mut command = puppet(script);
                    off_terminals(&mut command, |it| it.stdin(Stdio::null()).stdout(Stdio::piped()));
                    let child = command.spawn().expect("spawn");
                    if number % 3 == 0 {
                        // Some of them are dropped long before their program runs.
                        wait_until("the child's lock", GRACE_AND_2S * 5, || {
                            locks_of(child.id()).holder().is_some()
                        });
                    }
                    drop(child);
                });
            }
        });
        wait_no_puppets(GRACE_AND_2S * 5);
        locks.assert_free();
        assert!(puppet("exit 3").status().expect("afterwards").code() == Some(3));
    });
}

fn locks_of(pid: u32) -> netrunner_tests::lock::Lock {
    netrunner_tests::lock::Lock::at(format!("locks/{pid}"))
}

#[test]
fn dropping_a_child_that_has_ended_is_quiet() {
    arena(|| {
        let mut canary = Canary::new();
        for _ in 0..50 {
            let child = puppet("exit 0").spawn().expect("spawn");
            wait_until("its end", GRACE_AND_2S, || {
                child.handle().try_wait().expect("try_wait").is_some()
            });
            drop(child);
        }
        canary.assert_unharmed();
        wait_no_puppets(GRACE_AND_2S);
    });
}

#[test]
fn a_detached_child_lives_on_without_its_handle() {
    arena(|| {
        // A terminal is hung up with its handle.
        let mut command = puppet("ignore HUP lock leader await go");
        off_terminals(&mut command, |it| it.stdin(Stdio::null()));
        // Long enough for the child to get as far as the detach.
        let timeout = scaled(Duration::from_millis(500));
        command.timeout(timeout);
        let child = command.spawn().expect("spawn");
        lock("leader").wait_held();
        let pid = child.id();
        assert_eq!(child.detach(), pid);
        // Past the grace and past the timeout, which ends with the detach.
        std::thread::sleep(timeout + GRACE * 2);
        lock("leader").assert_held();
        std::fs::write("go", "").expect("let it end");
        wait_gone(pid, GRACE_AND_2S);
    });
}

#[test]
fn an_input_that_fails_leaves_nothing() {
    arena(|| {
        struct GivesUp;
        impl std::io::Read for GivesUp {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                lock("leader").wait_held();
                Err(std::io::Error::other("the reader gives up"))
            }
        }
        let mut command = puppet("lock leader cat exit 5");
        command.input(netrunner_sync::Input::reader(GivesUp));
        // Error or outcome: the library's choice. It must come back, and leave nothing.
        let _ = command.output();
        wait_no_puppets(GRACE_AND_2S);
    });
}

on_terminals_too! {
    drop_does_not_wait_for_the_grace
    a_client_that_dies_after_the_drop_changes_nothing
    a_handle_does_not_keep_the_child_alive_and_learns_its_true_end
    a_panicking_thread_stops_its_child
    a_child_goes_on_when_the_thread_that_spawned_it_ends
    a_child_goes_on_when_the_thread_that_spawned_the_first_command_ends
    a_hundred_threads_spawn_and_drop
    dropping_a_child_that_has_ended_is_quiet
    a_detached_child_lives_on_without_its_handle
    an_input_that_fails_leaves_nothing
}
