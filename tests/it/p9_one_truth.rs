//! P9 and P5 under races: whoever waits, stops, kills or drops at the same time learns one truth.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Barrier;

use netrunner_sync::{ChildHandle, Error, Reason, Report, Stdio};

use crate::harness::*;

#[track_caller]
fn report(handle: &ChildHandle) -> Report {
    handle.report().expect("a report after the wait")
}

#[test]
fn every_waiter_gets_the_same_outcome() {
    arena(|| {
        for _ in 0..20 {
            let mut command = puppet("read-line exit 7");
            off_terminals(&mut command, |it| it.stdin(Stdio::piped()));
            let mut child = command.spawn().expect("spawn");
            // The end of a pipe comes with the wait.
            child.pty.iter().for_each(|pty| pty.send_eof().expect("type"));
            let handle = child.handle();
            let barrier = Barrier::new(9);
            std::thread::scope(|scope| {
                let waiters: Vec<_> = (0..8)
                    .map(|number| {
                        let (handle, barrier) = (handle.clone(), &barrier);
                        scope.spawn(move || {
                            barrier.wait();
                            match number % 4 {
                                0 => handle.wait(),
                                1 => loop {
                                    if let Some(status) = handle.try_wait()? {
                                        break Ok(status);
                                    }
                                    std::thread::yield_now();
                                },
                                _ => loop {
                                    let soon = std::time::Duration::from_millis(number);
                                    if let Some(status) = handle.wait_timeout(soon)? {
                                        break Ok(status);
                                    }
                                },
                            }
                        })
                    })
                    .collect();
                barrier.wait();
                assert_eq!(child.wait().expect("wait").code(), Some(7));
                for waiter in waiters {
                    assert_eq!(waiter.join().expect("join").expect("wait").code(), Some(7));
                }
            });
            assert_eq!(report(&handle).reason, Reason::Exited);
        }
    });
}

/// What a thread does to a command that it shares with others.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Wait,
    Stop,
    Kill,
    Signal,
    Drop,
}

#[test]
fn wait_stop_kill_drop_and_exit_race_to_one_truth() {
    arena(|| {
        let mut random = random();
        let scripts = [
            "exit 7",
            "sleep 0.002 exit 7",
            "sleep forever",
            "spew 100000",
            "fork [ sleep forever ] exit 7",
        ];
        for round in 0..250 {
            let script = scripts[random.below(scripts.len() as u64) as usize];
            let deeds: Vec<Deed> = (0..4)
                .map(|_| match random.below(5) {
                    0 => Deed::Stop,
                    1 => Deed::Kill,
                    2 => Deed::Signal,
                    3 => Deed::Drop,
                    _ => Deed::Wait,
                })
                .collect();
            // Somebody has to end the one that sleeps for ever.
            let pauses: Vec<u64> = (0..5).map(|_| random.below(3_000)).collect();
            race(&format!("round {round}: {script}: {deeds:?}"), script, &deeds, &pauses);
        }
        wait_no_puppets(GRACE_AND_2S);
    });
}

#[track_caller]
fn race(what: &str, script: &str, deeds: &[Deed], pauses: &[u64]) {
    let mut command = puppet(script);
    off_terminals(&mut command, |it| it.stdout(Stdio::null()));
    let child = command.spawn().expect("spawn");
    let handle = child.handle();
    let child = std::sync::Mutex::new(Some(child));
    let barrier = Barrier::new(deeds.len() + 1);
    let waited = std::thread::scope(|scope| {
        let threads: Vec<_> = deeds
            .iter()
            .zip(pauses)
            .map(|(&deed, &pause)| {
                let (handle, barrier, child) = (handle.clone(), &barrier, &child);
                scope.spawn(move || {
                    barrier.wait();
                    std::thread::sleep(std::time::Duration::from_micros(pause));
                    match deed {
                        Deed::Wait => handle.wait().map(Some),
                        Deed::Stop => handle.stop().map(Some),
                        Deed::Kill => handle.kill().map(|()| None),
                        // ESRCH after the end.
                        Deed::Signal => {
                            let sent = handle.signal(netrunner_sync::Signal::WINCH);
                            let gone = sent.is_err_and(|error| error.raw_os_error() != Some(3));
                            assert!(!gone, "an error that is not ESRCH");
                            Ok(None)
                        }
                        Deed::Drop => {
                            drop(child.lock().expect("lock").take());
                            Ok(None)
                        }
                    }
                })
            })
            .collect();
        barrier.wait();
        std::thread::sleep(std::time::Duration::from_micros(*pauses.last().expect("a pause")));
        // At the latest now it ends.
        handle.kill().expect("kill");
        let threads = threads.into_iter().map(|thread| thread.join().expect("join"));
        threads.collect::<Result<Vec<_>, Error>>().expect(what)
    });
    let status = handle.wait().expect(what);
    for other in waited.into_iter().flatten() {
        assert_eq!(other, status, "{what}");
    }
    let report = report(&handle);
    assert_eq!(report.status, status, "{what}");
    assert_eq!(handle.try_wait().expect(what), Some(status), "{what}");
    // The reason fits the status, whichever came first.
    if report.reason == Reason::Exited {
        // With a dropped handle goes the manager, and the hang-up may be quicker than the stop.
        let hung_up = on_terminals() && status.signal() == Some(libc::SIGHUP);
        assert!(matches!(status.code(), Some(0 | 7)) || hung_up, "{what}: {report:?}");
    } else {
        assert!(matches!(report.reason, Reason::Stopped | Reason::Killed), "{what}: {report:?}");
    }
    if let Some(mut child) = child.into_inner().expect("lock") {
        assert_eq!(child.wait().expect(what), status, "{what}");
        assert_eq!(child.report(), Some(&report), "{what}");
    }
}

on_terminals_too! {
    every_waiter_gets_the_same_outcome
    wait_stop_kill_drop_and_exit_race_to_one_truth
}
