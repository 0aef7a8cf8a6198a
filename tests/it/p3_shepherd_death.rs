//! P3: the shepherd dies, and the child and all below it with it; the client gets a typed error,
//! never a made-up status, never a hang. Also: what the guardian's death does (nothing).

use std::io::Read as _;
use std::time::{Duration, Instant};

use netrunner_sync::{Error, Reason, Stdio};
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::{scaled, wait_until};

use netrunner_tests::lacks::Lack;

use crate::harness::*;

mod sigkill_of_the_shepherd_takes_along {
    use crate::harness::*;
    use crate::shapes::{Shape, each_shape};

    fn check(shape: &Shape) {
        let mut child = puppet(shape.script).spawn().expect("spawn");
        shape.wait_alive();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        let error = child.wait().expect_err("there is no honest status");
        assert!(error.is_shepherd_lost(), "{error:?}");
        shape.wait_gone(GRACE_AND_2S);
        wait_no_puppets(GRACE_AND_2S);
    }

    each_shape!(check);
}

fn assert_lost(error: &Error) {
    assert!(error.is_shepherd_lost(), "{error:?}");
    assert!(!error.is_failure() && !error.is_timeout() && !error.is_not_found(), "{error:?}");
}

#[test]
fn every_way_to_wait_tells_of_the_lost_shepherd() {
    arena(|| {
        let mut child = puppet("lock leader sleep forever").spawn().expect("spawn");
        let handle = child.handle();
        lock("leader").wait_held();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        assert_lost(&child.wait_timeout(GRACE_AND_2S).expect_err("wait_timeout"));
        assert_lost(&child.wait_deadline(Instant::now()).expect_err("wait_deadline"));
        assert_lost(&child.try_wait().expect_err("try_wait"));
        assert_lost(&child.wait().expect_err("wait"));
        assert_lost(&handle.wait().expect_err("wait by a handle"));
        lock("leader").wait_free(GRACE_AND_2S);
        // What is left to do is to drop it.
        drop(child);
    });
}

#[test]
fn a_waiting_thread_is_woken_by_the_death_of_the_shepherd() {
    arena(|| {
        let child = puppet("lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        let handle = child.handle();
        let waiter = std::thread::spawn(move || handle.wait());
        signal(shepherd_of(child.id()), libc::SIGKILL);
        assert_lost(&waiter.join().expect("join").expect_err("wait"));
    });
}

#[test]
fn the_error_carries_what_was_read_before() {
    arena(|| {
        let killer = std::thread::spawn(|| {
            let child = lock("leader").wait_held();
            signal(shepherd_of(child), libc::SIGKILL);
        });
        let error = puppet("print before eprint aside lock leader sleep forever")
            .output()
            .expect_err("output");
        killer.join().expect("killer");
        assert_lost(&error);
        let output = error.output().expect("what was read");
        assert_eq!((output.stdout.clone(), output.stderr.clone()), both("before\n", "aside\n"));
        assert_eq!(output.report.reason, Reason::ShepherdLost);
        wait_no_puppets(GRACE_AND_2S);
    });
}

#[test]
fn the_pipes_reach_their_end_when_the_shepherd_dies() {
    arena(|| {
        let mut command = puppet(
            "print before lock leader daemon [ setsid lock below sleep forever ] sleep forever",
        );
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.spawn().expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        let mut text = String::new();
        outlet(&mut child).read_to_string(&mut text).expect("read to the end");
        assert_eq!(text, "before\n");
        assert_lost(&child.wait().expect_err("wait"));
    });
}

#[test]
fn the_next_command_runs_after_a_shepherd_died() {
    arena(|| {
        for _ in 0..5 {
            let mut child = puppet("lock leader sleep forever").spawn().expect("spawn");
            let held = lock("leader").wait_held();
            assert_eq!(held, child.id());
            signal(shepherd_of(child.id()), libc::SIGKILL);
            assert_lost(&child.wait().expect_err("wait"));
            lock("leader").wait_free(GRACE_AND_2S);
            assert_eq!(puppet("exit 6").status().expect("the next command").code(), Some(6));
        }
    });
}

#[test]
fn killed_idle_shepherds_harm_no_later_command() {
    arena(|| {
        if !reuses_shepherds() {
            return;
        }
        // Some shepherds for the pool.
        let mut children: Vec<_> =
            (0..4).map(|_| puppet("sleep forever").spawn().expect("spawn")).collect();
        let guardian = guardian_of(children[0].id());
        for child in &mut children {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
        for idle in others().iter().filter(|proc| proc.ppid == guardian) {
            signal(idle.pid, libc::SIGKILL);
            wait_gone(idle.pid, GRACE_AND_2S);
        }
        let end = Instant::now() + scaled(GRACE_AND_2S);
        loop {
            match puppet("exit 6").status() {
                Ok(status) => break assert_eq!(status.code(), Some(6)),
                // Nobody can know how far a shepherd came that died while idle.
                Err(error) if error.is_shepherd_lost() => assert!(Instant::now() < end, "{error}"),
                Err(error) => panic!("{error:?}"),
            }
        }
    });
}

#[test]
fn a_stopped_shepherd_makes_no_wait_with_deadline_late() {
    arena(|| {
        let mut child = puppet("lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        let shepherd = shepherd_of(child.id());
        signal(shepherd, libc::SIGSTOP);
        wait_state(shepherd, 'T');
        let began = Instant::now();
        assert!(child.wait_timeout(Duration::from_millis(200)).expect("wait").is_none());
        assert!(child.try_wait().expect("try_wait").is_none());
        assert!(began.elapsed() < scaled(Duration::from_secs(2)), "late: {:?}", began.elapsed());
        signal(shepherd, libc::SIGCONT);
        assert!(child.stop().is_ok());
        lock("leader").assert_free();
    });
}

#[test]
fn kill_under_a_stopped_shepherd_returns_at_once_and_comes_true() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let mut child = puppet(
            "ignore TERM lock leader daemon [ setsid lock below sleep forever ] sleep forever",
        )
        .spawn()
        .expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        let shepherd = shepherd_of(child.id());
        signal(shepherd, libc::SIGSTOP);
        wait_state(shepherd, 'T');
        let began = Instant::now();
        child.kill().expect("kill");
        assert!(
            began.elapsed() < scaled(Duration::from_millis(500)),
            "kill took {:?}",
            began.elapsed()
        );
        // With a status or with a lost shepherd, but it ends.
        match child.wait_timeout(GRACE_AND_2S) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the kill never came true"),
            Err(error) => assert_lost(&error),
        }
        wait_no_puppets(GRACE_AND_2S);
        lock("leader").assert_free();
        lock("below").assert_free();
    });
}

#[test]
fn stop_under_a_stopped_shepherd_ends() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let mut child = puppet("ignore TERM lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        let shepherd = shepherd_of(child.id());
        signal(shepherd, libc::SIGSTOP);
        wait_state(shepherd, 'T');
        let began = Instant::now();
        if let Err(error) = child.stop() {
            assert_lost(&error);
        }
        assert!(began.elapsed() < scaled(GRACE_AND_2S), "stop took {:?}", began.elapsed());
        wait_no_puppets(GRACE_AND_2S);
        lock("leader").assert_free();
    });
}

#[test]
fn a_running_command_ends_as_it_should_after_the_guardian_was_killed() {
    arena(|| {
        let mut command = puppet("lock leader await go print after exit 9");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.spawn().expect("spawn");
        lock("leader").wait_held();
        let guardian = guardian_of(child.id());
        signal(guardian, libc::SIGKILL);
        wait_gone(guardian, GRACE_AND_2S);
        assert!(child.wait_timeout(GRACE).expect("wait").is_none(), "it should go on");
        std::fs::write("go", "").expect("let it end");
        let mut text = String::new();
        outlet(&mut child).read_to_string(&mut text).expect("read");
        assert_eq!(text, "after\n");
        assert_eq!(child.wait().expect("wait").code(), Some(9));
    });
}

#[test]
fn everything_works_after_the_guardian_was_killed() {
    arena(|| {
        let mut old =
            puppet("ignore TERM lock old fork [ setsid lock below sleep forever ] sleep forever")
                .spawn()
                .expect("spawn");
        lock("old").wait_held();
        lock("below").wait_held();
        for _ in 0..3 {
            let mut child = puppet("lock current sleep forever").spawn().expect("spawn");
            lock("current").wait_held();
            let guardian = guardian_of(child.id());
            if Proc::get(guardian).is_some_and(|proc| proc.comm != "arena") {
                signal(guardian, libc::SIGKILL);
                wait_gone(guardian, GRACE_AND_2S);
            }
            child.stop().expect("stop");
            lock("current").assert_free();
            assert_eq!(puppet("exit 6").status().expect("the next command").code(), Some(6));
            let output = puppet("cat").input("through").output().expect("output");
            assert_eq!(output.stdout, b"through");
        }
        old.stop().expect("stop");
        lock("old").assert_free();
        lock("below").assert_free();
        // A new guardian is there for new shepherds, and it works: it cleans up after one of them.
        let mut several: Vec<_> =
            (0..8).map(|_| puppet("sleep forever").spawn().expect("spawn")).collect();
        for child in &mut several {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
        assert_no_puppets();
    });
}

#[test]
fn a_new_guardian_cleans_up_as_the_first_did() {
    arena(|| {
        let mut first = puppet("lock first sleep forever").spawn().expect("spawn");
        lock("first").wait_held();
        let guardian = guardian_of(first.id());
        signal(guardian, libc::SIGKILL);
        wait_gone(guardian, GRACE_AND_2S);
        first.stop().expect("stop");
        // Enough at once that no pool of old shepherds can serve them all.
        let script =
            "lock-in locks daemon [ setsid ignore TERM lock-in locks sleep forever ] sleep forever";
        let locks = netrunner_tests::lock::Locks::new("locks");
        let children: Vec<_> = (0..12).map(|_| puppet(script).spawn().expect("spawn")).collect();
        locks.wait_held(24);
        let under_guardian: Vec<u32> = children
            .iter()
            .map(|child| shepherd_of(child.id()))
            .filter(|shepherd| {
                Proc::get(*shepherd).is_some_and(|proc| {
                    Proc::get(proc.ppid)
                        .is_some_and(|above| above.comm != "arena" && above.pid != 1)
                })
            })
            .collect();
        assert!(!under_guardian.is_empty(), "no new guardian was started");
        for shepherd in under_guardian {
            signal(shepherd, libc::SIGKILL);
        }
        drop(children);
        wait_no_puppets(GRACE_AND_2S);
        locks.assert_free();
    });
}

/// Whether this process has a pidfd of that one (`proc_pid_fdinfo(5)`).
fn holds_pidfd_of(pid: u32) -> bool {
    let line = format!("Pid:\t{pid}");
    std::fs::read_dir("/proc/self/fdinfo")
        .expect("fdinfo")
        .flatten()
        // The one that reads the directory is gone by now.
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .any(|info| info.lines().any(|it| it == line))
}

#[test]
fn guardian_and_shepherd_killed_together_end_in_an_error_and_take_the_child_along() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let mut child =
            puppet("ignore TERM lock leader fork [ lock below sleep forever ] sleep forever")
                .spawn()
                .expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        let (guardian, shepherd) = (guardian_of(child.id()), shepherd_of(child.id()));
        if !lacks(Lack::Pidfd) {
            // It comes once the command has lived for a while.
            wait_until("the pidfd", GRACE_AND_2S, || {
                assert_eq!(child.try_wait().expect("try_wait"), None);
                holds_pidfd_of(child.id())
            });
        }
        signal(guardian, libc::SIGKILL);
        signal(shepherd, libc::SIGKILL);
        assert_lost(&child.wait().expect_err("wait"));
        // The death signal ends the child; the watcher, through the pidfd, its group.
        lock("leader").wait_free(GRACE_AND_2S);
        // Else nobody does: the number may be another's by now. On a terminal the kernel hangs the group up,
        // as the end of a session's leader does.
        if !reaches_groups() && !on_terminals() {
            signal(lock("below").wait_held(), libc::SIGKILL);
        }
        lock("below").wait_free(GRACE_AND_2S);
        assert_eq!(puppet("exit 6").status().expect("the next command").code(), Some(6));
    });
}

/// Whether a watcher with a pidfd reaches more than that process.
fn reaches_groups() -> bool {
    !lacks(Lack::Pidfd) && netrunner_tests::sys::pidfds_reach_groups()
}

/// The pidfd waits in the lane while nobody waits for the command, and is read when the shepherd has
/// died: the child has another parent by then, and is known by its session.
#[test]
fn the_childs_group_dies_although_its_pidfd_is_read_only_after_the_shepherd_died() {
    arena(|| {
        if lacks(Lack::Pidfd) {
            return skip("needs pidfds");
        }
        let mut child = puppet(
            "no-death-signal ignore TERM ignore HUP lock leader fork [ lock below sleep forever ] sleep forever",
        )
        .spawn()
        .expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        let (guardian, shepherd) = (guardian_of(child.id()), shepherd_of(child.id()));
        // It is sent when the command has lived for 100 ms, and nobody reads it here.
        std::thread::sleep(scaled(Duration::from_millis(500)));
        signal(guardian, libc::SIGKILL);
        signal(shepherd, libc::SIGKILL);
        wait_until("another parent", GRACE_AND_2S, || {
            Proc::get(child.id()).is_none_or(|proc| proc.ppid != shepherd)
        });
        assert_lost(&child.wait().expect_err("wait"));
        lock("leader").wait_free(GRACE_AND_2S);
        if !reaches_groups() {
            signal(lock("below").wait_held(), libc::SIGKILL);
        }
        lock("below").wait_free(GRACE_AND_2S);
    });
}

#[test]
fn shepherds_killed_under_load_never_hang_the_client() {
    arena(|| {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let runners: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut ended = 0;
                        let mut lost = 0;
                        for _ in 0..60 {
                            match puppet("print x").output() {
                                Ok(output) if output.status.success() => {
                                    assert_eq!(output.stdout, b"x\n");
                                    ended += 1;
                                }
                                Ok(output) => panic!("a made-up status: {output:?}"),
                                Err(error) => {
                                    assert_lost(&error);
                                    lost += 1;
                                }
                            }
                        }
                        (ended, lost)
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut random = random();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let ours = others();
                    // Guardians and shepherds. What a shepherd has just cloned still has its name: a kill
                    // of that is a child's honest end by a signal.
                    let cloned = |proc: &Proc| {
                        Proc::get(proc.ppid).is_none_or(|above| above.comm == "nr-shepherd")
                    };
                    let living: Vec<_> = ours
                        .iter()
                        .filter(|proc| proc.comm.starts_with("nr-") && !proc.is_zombie())
                        .filter(|proc| !cloned(proc))
                        .collect();
                    if !living.is_empty() {
                        let victim = living[random.below(living.len() as u64) as usize];
                        // It may have ended meanwhile.
                        let _ = netrunner_tests::sys::kill(victim.pid as i32, libc::SIGKILL);
                    }
                    std::thread::sleep(Duration::from_millis(3));
                }
            });
            let counts: Vec<(u32, u32)> =
                runners.into_iter().map(|runner| runner.join().expect("runner")).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            println!("(ended, lost) = {counts:?}");
        });
        wait_until("a command that works", GRACE_AND_2S, || {
            puppet("exit 6").status().is_ok_and(|status| status.code() == Some(6))
        });
        wait_no_puppets(GRACE_AND_2S);
    });
}

on_terminals_too! {
    the_error_carries_what_was_read_before
    the_childs_group_dies_although_its_pidfd_is_read_only_after_the_shepherd_died
    every_way_to_wait_tells_of_the_lost_shepherd
    a_waiting_thread_is_woken_by_the_death_of_the_shepherd
    the_pipes_reach_their_end_when_the_shepherd_dies
    the_next_command_runs_after_a_shepherd_died
    killed_idle_shepherds_harm_no_later_command
    a_stopped_shepherd_makes_no_wait_with_deadline_late
    kill_under_a_stopped_shepherd_returns_at_once_and_comes_true
    stop_under_a_stopped_shepherd_ends
    a_running_command_ends_as_it_should_after_the_guardian_was_killed
    everything_works_after_the_guardian_was_killed
    a_new_guardian_cleans_up_as_the_first_did
    guardian_and_shepherd_killed_together_end_in_an_error_and_take_the_child_along
    shepherds_killed_under_load_never_hang_the_client
}
