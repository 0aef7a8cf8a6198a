//! The ends of `Daemon`s: dropped, stopped in whatever they are at, in order, and with their client
//! (P1, P2, P4).

use std::fs;
use std::time::{Duration, Instant};

use netrunner_sync::{Daemon, DaemonState, Daemons, Ready, Reason, Restart, Signal};
use netrunner_tests::wait::{PATIENCE, scaled, wait_until};

use crate::daemon::{eager, start};
use crate::harness::*;

/// Far below any grace that the tests use with it, far above what a drop takes.
const AT_ONCE: Duration = Duration::from_millis(250);

/// One that does not want to end, with somebody below that left the group.
const STUBBORN: &str = "ignore TERM lock leader fork [ setsid ignore TERM lock below sleep forever ] \
                        await below sleep forever";

#[test]
fn a_drop_stops_the_whole_tree_and_does_not_wait_for_it() {
    arena(|| {
        let daemon = Daemon::builder(puppet(STUBBORN)).restart(Restart::always()).start();
        let daemon = daemon.expect("start");
        lock("leader").wait_held();
        lock("below").wait_held();
        let began = Instant::now();
        drop(daemon);
        assert!(began.elapsed() < scaled(AT_ONCE), "the drop took {:?}", began.elapsed());
        lock("leader").wait_free(GRACE_AND_2S);
        lock("below").wait_free(GRACE_AND_2S);
        wait_no_puppets(GRACE_AND_2S);
    });
}

#[test]
fn a_stop_returns_when_nothing_is_left() {
    arena(|| {
        let daemon = Daemon::builder(puppet(STUBBORN)).restart(Restart::always()).start();
        let daemon = daemon.expect("start");
        lock("below").wait_held();
        assert!(!daemon.stop().expect("stop").success());
        assert_no_puppets();
        let health = daemon.health();
        assert_eq!((health.state, health.run), (DaemonState::Over, 1));
        assert_eq!(health.last.expect("told").reason, Reason::Stopped);
        assert!(!daemon.stop().expect("again is fine").success());
        assert!(daemon.signal(Signal::TERM).is_err());
        assert_eq!(
            daemon.wait_timeout(Duration::ZERO).expect("wait").map(|it| it.success()),
            Some(false)
        );
    });
}

#[test]
fn a_kill_does_not_wait_for_any_grace() {
    arena(|| {
        let mut command = puppet(STUBBORN);
        command.grace(Duration::from_secs(60));
        let daemon = Daemon::builder(command).restart(eager()).start().expect("start");
        lock("below").wait_held();
        std::thread::scope(|scope| {
            // It cuts a stop short that waits for the grace.
            let stop = scope.spawn(|| daemon.stop());
            wait_until("the stop to begin", PATIENCE, || {
                daemon.health().state == DaemonState::Stopping
            });
            daemon.kill().expect("kill");
            stop.join().expect("no panic").expect("stop");
        });
        assert_no_puppets();
    });
}

#[test]
fn a_stop_in_the_pause_before_a_restart_is_at_once() {
    arena(|| {
        let slow =
            Restart::always().pause(Duration::from_secs(600)).longest(Duration::from_secs(600));
        let paused = || {
            let builder = Daemon::builder(puppet("exit 3")).restart(slow);
            let daemon = builder.start().expect("start");
            wait_until("the pause", PATIENCE, || daemon.health().state == DaemonState::Pausing);
            daemon
        };
        let daemon = paused();
        assert_eq!(daemon.health().pid, None);
        assert!(!daemon.wait_ready_timeout(Duration::ZERO).expect("it may come back"));
        assert!(daemon.signal(Signal::TERM).unwrap_err().raw_os_error() == Some(libc::ESRCH));
        assert_eq!(daemon.stop().expect("stop").code(), Some(3));
        let daemon = paused();
        daemon.kill().expect("kill");
        assert_eq!(daemon.wait().expect("wait").code(), Some(3));
        let mut daemons = Daemons::new();
        daemons.push(paused());
        drop(paused());
        assert_eq!(daemons.stop().remove(0).expect("stop").code(), Some(3));
    });
}

#[test]
fn a_drop_at_any_moment_of_restarts_leaves_nothing() {
    arena(|| {
        let mut random = random();
        for _ in 0..30 {
            let builder = Daemon::builder(puppet("fork [ setsid sleep 60 ] exit 1"));
            let daemon = builder.restart(eager()).start().expect("start");
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            drop(daemon);
        }
        wait_no_puppets(GRACE_AND_2S);
        let began = Instant::now();
        // No run begins after that.
        while began.elapsed() < Duration::from_millis(100) {
            assert_no_puppets();
        }
    });
}

#[test]
fn a_stop_in_the_middle_of_a_restart_ends_what_that_has_started() {
    arena(|| {
        for drops in [false, true] {
            let pause = Duration::from_millis(200);
            let builder = Daemon::builder(puppet("lock serving sleep forever"));
            let daemon = builder.restart(Restart::always().pause(pause)).start().expect("start");
            let pid = lock("serving").wait_held();
            let shepherd = shepherd_of(pid);
            signal(pid, libc::SIGKILL);
            wait_until("the pause", PATIENCE, || daemon.health().state == DaemonState::Pausing);
            // It is idle now, and gets the next run: which begins only when it goes on.
            signal(shepherd, libc::SIGSTOP);
            wait_state(shepherd, 'T');
            std::thread::sleep(pause * 2);
            assert_eq!(daemon.health().state, DaemonState::Pausing);
            let go_on = || {
                signal(shepherd, libc::SIGCONT);
                wait_state(shepherd, 'S');
            };
            if drops {
                drop(daemon);
                go_on();
            } else {
                std::thread::scope(|scope| {
                    let stop = scope.spawn(|| daemon.stop());
                    std::thread::sleep(pause);
                    go_on();
                    stop.join().expect("no panic").expect("stop");
                });
            }
            wait_no_puppets(GRACE_AND_2S);
            fs::remove_file("serving").expect("for the next round");
        }
    });
}

/// Three, each of which writes a line into `ends` before it ends.
fn three() -> Daemons {
    let mut daemons = Daemons::new();
    for name in ["database", "server", "proxy"] {
        let mut command = netrunner_sync::Command::new("sh");
        let script = format!(
            "trap 'sleep 0.1; echo {name} >> ends; exit 0' TERM; echo up; while :; do sleep 0.01; done"
        );
        command.args(["-c", &script]);
        let builder = Daemon::builder(command).restart(Restart::always());
        let daemon = daemons.push(builder.ready(Ready::line("up")).start().expect("start"));
        daemon.wait_ready().expect("ready");
    }
    daemons
}

const IN_ORDER: &str = "proxy\nserver\ndatabase\n";

#[test]
fn several_are_stopped_in_the_reverse_order_each_after_the_end_of_the_one_before() {
    arena(|| {
        let statuses = three().stop();
        assert_eq!(statuses.len(), 3);
        assert!(statuses.into_iter().all(|status| status.expect("stop").success()));
        assert_eq!(fs::read_to_string("ends").expect("their words"), IN_ORDER);
    });
}

#[test]
fn several_that_are_dropped_end_in_the_same_order_and_the_drop_does_not_wait() {
    arena(|| {
        let daemons = three();
        let began = Instant::now();
        drop(daemons);
        assert!(began.elapsed() < scaled(AT_ONCE), "the drop took {:?}", began.elapsed());
        wait_until("all ends", PATIENCE, || {
            fs::read_to_string("ends").is_ok_and(|ends| ends.len() == IN_ORDER.len())
        });
        assert_eq!(fs::read_to_string("ends").expect("their words"), IN_ORDER);
    });
}

#[test]
fn one_of_several_that_does_not_want_to_end_holds_the_others_up_for_its_grace_alone() {
    arena(|| {
        let mut daemons = Daemons::new();
        daemons.push(start("lock first sleep forever"));
        daemons.push(start(STUBBORN));
        lock("first").wait_held();
        lock("below").wait_held();
        drop(daemons);
        let held = reached_while_held();
        lock("first").wait_free(GRACE_AND_2S * 2);
        assert!(held, "the first ended before the second");
        wait_no_puppets(GRACE_AND_2S);
    });
}

/// Waits for the end of the stubborn one; whether the first was there until then.
fn reached_while_held() -> bool {
    let mut held = true;
    wait_until("the stubborn one's end", GRACE_AND_2S, || {
        let before = !lock("first").is_free();
        if !lock("below").is_free() {
            held &= before;
            return false;
        }
        true
    });
    held
}

#[test]
fn a_client_that_is_killed_leaves_nothing_of_its_daemons() {
    arena(|| {
        let client = client(
            "serve [ lock one ignore TERM fork [ setsid lock below ignore TERM sleep forever ] sleep forever ] \
             serve [ lock two sleep forever ] serve [ fork [ setsid sleep forever ] exit 1 ] \
             await one await two await below touch served sleep forever",
        );
        wait_file("served");
        for name in ["one", "two", "below"] {
            lock(name).wait_held();
        }
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        for name in ["one", "two", "below"] {
            lock(name).assert_free();
        }
    });
}

#[test]
fn a_client_that_ends_by_itself_leaves_nothing_either() {
    arena(|| {
        for last in ["exit 0", "serve-drop exit 0", "abort"] {
            let mut client = client(&format!(
                "serve [ lock one sleep forever ] serve [ exit 1 ] await one {last}"
            ));
            client.end();
            wait_nothing_left(GRACE_AND_2S);
            fs::remove_file("one").expect("for the next round");
        }
    });
}

#[test]
fn in_a_forked_copy_a_daemon_is_nobodys_and_stays_unharmed() {
    arena(|| {
        let client = client(
            "serve [ lock one sleep forever ] await one serve-in-copy touch copied await go serve-drop",
        );
        wait_file("copied");
        lock("one").wait_held();
        fs::write("go", "").expect("let it go on");
        let out = client.finish();
        wait_nothing_left(GRACE_AND_2S);
        let error = "error 10 [] failed to reach `";
        let lines: Vec<&str> = out.lines().collect();
        let (last, errors) = lines.split_last().expect("told");
        assert_eq!(errors.len(), 5, "{out}");
        assert!(errors.iter().all(|line| line.starts_with(error)), "{out}");
        assert_eq!(*last, "Over []");
    });
}

#[test]
fn a_shepherd_that_is_stopped_hangs_neither_a_stop_nor_a_drop() {
    arena(|| {
        for drops in [false, true] {
            let builder = Daemon::builder(puppet(STUBBORN)).restart(Restart::always());
            let daemon = builder.start().expect("start");
            lock("below").wait_held();
            let shepherd = shepherd_of(daemon.id().expect("it runs"));
            signal(shepherd, libc::SIGSTOP);
            wait_state(shepherd, 'T');
            if drops {
                drop(daemon);
            } else {
                assert!(daemon.stop().unwrap_err().is_shepherd_lost());
            }
            lock("leader").wait_free(GRACE_AND_2S);
            lock("below").wait_free(GRACE_AND_2S);
            for name in ["leader", "below"] {
                fs::remove_file(name).expect("for the next round");
            }
        }
    });
}

#[test]
fn a_guardian_that_is_killed_is_replaced_for_a_restart() {
    arena(|| {
        let builder = Daemon::builder(puppet("lock serving sleep forever")).restart(eager());
        let daemon = builder.start().expect("start");
        let pid = lock("serving").wait_held();
        let guardian = guardian_of(pid);
        signal(guardian, libc::SIGKILL);
        wait_gone(guardian, PATIENCE);
        signal(pid, libc::SIGKILL);
        assert!(daemon.wait_run(2, scaled(PATIENCE)).expect("ready"));
        assert_ne!(lock("serving").wait_held(), pid);
    });
}

#[test]
fn what_could_not_be_ended_is_told_and_nothing_is_started_beside_it() {
    arena(|| {
        if !is_root() {
            return;
        }
        // A set-uid program of root's, run by a user whose shepherd may not touch it.
        fs::copy(PUPPET, "set-uid").expect("copy");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
        fs::set_permissions("set-uid", mode).expect("mode");
        let script = "become 0 ignore TERM sleep forever";
        let out = run_client(&format!(
            "become 65534 program ./set-uid timeout 100 serve [ {script} ] serve-wait"
        ));
        for puppet in others().iter().filter(|proc| proc.comm == "set-uid") {
            signal(puppet.pid, libc::SIGKILL);
        }
        assert!(out.contains("[is_unkillable]") && out.ends_with("runs: 1\n"), "{out}");
    });
}
