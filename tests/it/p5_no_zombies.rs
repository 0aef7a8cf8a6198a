//! P5: every descendant is reaped, and no signal is ever sent to a number that has been reaped.

use std::process;

use netrunner_sync::{Signal, Stdio};
use netrunner_tests::procs::{self, Proc};
use netrunner_tests::sys;
use netrunner_tests::wait::wait_until;

use crate::harness::*;

/// The zombies below this arena, the arena's own aside: it reaps what it gets.
fn zombies() -> Vec<Proc> {
    let arena = sys::ppid();
    let mut found = others();
    found.retain(|proc| proc.is_zombie() && proc.ppid != arena);
    found
}

#[test]
fn a_thousand_spawns_leave_no_zombie_and_no_descriptor() {
    arena(|| {
        let mut run = |number: u32| {
            let code = (number % 100) as i32;
            if number % 2 == 0 {
                let status = puppet(&format!("exit {code}")).status().expect("status");
                assert_eq!(status.code(), Some(code));
            } else {
                let mut command = puppet(&format!("print {number} exit {code}"));
                off_terminals(&mut command, |it| {
                    it.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
                });
                let output = command.spawn().expect("spawn").wait_with_output().expect("output");
                assert_eq!(output.status.code(), Some(code));
                assert_eq!(output.stdout, format!("{number}\n").into_bytes());
            }
        };
        // The first commands make what stays: guardian, watcher, pool.
        (0..20).for_each(&mut run);
        let descriptors = fd_count();
        let children = procs::all().iter().filter(|proc| proc.ppid == process::id()).count();
        (0..1000).for_each(&mut run);
        wait_fd_count(descriptors);
        wait_until("no zombie", GRACE_AND_2S, || zombies().is_empty());
        assert_eq!(procs::all().iter().filter(|proc| proc.ppid == process::id()).count(), children);
        assert_no_puppets();
    });
}

#[test]
fn a_long_running_child_does_not_gather_zombies() {
    arena(|| {
        let orphans = "daemon [ exit 0 ] ".repeat(30);
        let mut child =
            puppet(&format!("{orphans} daemon [ setsid exit 3 ] touch done sleep forever"))
                .spawn()
                .expect("spawn");
        wait_file("done");
        let shepherd = shepherd_of(child.id());
        wait_until("no zombie below the shepherd", GRACE_AND_2S, || {
            zombies_of(shepherd).is_empty()
        });
        child.stop().expect("stop");
    });
}

#[test]
fn neither_client_nor_guardian_keeps_a_zombie() {
    arena(|| {
        let mut child = puppet("lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        let guardian = guardian_of(child.id());
        assert_ne!(
            Proc::get(guardian).expect("guardian").ppid,
            process::id(),
            "wait(-1) would meet the guardian"
        );
        for _ in 0..10 {
            let mut other = puppet("sleep forever").spawn().expect("spawn");
            signal(shepherd_of(other.id()), libc::SIGKILL);
            assert!(other.wait().is_err());
        }
        wait_until("no zombie", GRACE_AND_2S, || zombies().is_empty());
        child.stop().expect("stop");
    });
}

#[test]
fn a_client_that_is_a_subreaper_keeps_no_zombie() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let client = client(
            "quiet subreaper spawn [ lock leader sleep forever ] touch ready await go stop \
             output-to out [ print again ] touch again sleep forever",
        );
        wait_file("ready");
        let child = lock("leader").wait_held();
        let guardian = guardian_of(child);
        signal(guardian, libc::SIGKILL);
        wait_gone(guardian, GRACE_AND_2S);
        std::fs::write("go", "").expect("go on");
        wait_file("again");
        wait_until("no zombie of the client", GRACE_AND_2S, || zombies_of(client.pid()).is_empty());
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn a_client_that_is_process_1_keeps_no_zombie() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        if !can_unshare() {
            return;
        }
        let mut unshare = process::Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", CLIENT]);
        let script = "quiet spawn [ lock leader sleep forever ] await leader shoot-guardian check-zombies stop \
                      output-to out [ print again ] spawn [ daemon [ sleep forever ] exit 3 ] wait 3 check-zombies";
        client_by(unshare, script).finish();
        assert_eq!(std::fs::read_to_string("out").expect("out"), "again\n");
    });
}

fn can_unshare() -> bool {
    let works = process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .stdout(process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skip("cannot make a pid namespace here");
    }
    works
}

#[test]
fn a_reused_pid_is_never_signalled() {
    arena(|| {
        if !can_unshare() {
            return;
        }
        let mut unshare = process::Command::new("unshare");
        // An arena as process 1: an init that reaps.
        unshare.args(["--pid", "--fork", "--mount-proc", ARENA, "30", "10", CLIENT]);
        client_by(unshare, "quiet spawn [ exit 0 ] wait-keep 0 take-pid 1").finish();
    });
}

#[test]
fn signals_after_the_end_are_refused_and_hit_nobody() {
    arena(|| {
        let mut canary = Canary::new();
        let mut child = puppet("exit 3").spawn().expect("spawn");
        assert_eq!(child.wait().expect("wait").code(), Some(3));
        let handle = child.handle();
        for _ in 0..3 {
            child.kill().expect("kill after the end");
            assert_eq!(child.stop().expect("stop after the end").code(), Some(3));
            assert_eq!(child.wait().expect("wait again").code(), Some(3));
            assert_eq!(handle.wait().expect("wait by a handle").code(), Some(3));
            let error = child.signal(Signal::USR1).expect_err("signal after the end");
            assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        }
        canary.assert_unharmed();
    });
}

#[test]
fn a_late_message_does_not_hit_the_next_command() {
    arena(|| {
        // A stop that crosses the end of its command on the lane meets a shepherd that may serve the
        // next one already.
        for _ in 0..200 {
            let child = puppet("exit 0").spawn().expect("spawn");
            let handle = child.handle();
            let killer = std::thread::spawn(move || {
                let _ = handle.kill();
            });
            drop(child);
            let next = puppet("exit 4").status().expect("the next command");
            assert_eq!(next.code(), Some(4));
            killer.join().expect("join");
        }
    });
}

on_terminals_too! {
    a_thousand_spawns_leave_no_zombie_and_no_descriptor
    a_long_running_child_does_not_gather_zombies
    neither_client_nor_guardian_keeps_a_zombie
    a_client_that_is_a_subreaper_keeps_no_zombie
    a_client_that_is_process_1_keeps_no_zombie
    a_reused_pid_is_never_signalled
    signals_after_the_end_are_refused_and_hit_nobody
    a_late_message_does_not_hit_the_next_command
}
