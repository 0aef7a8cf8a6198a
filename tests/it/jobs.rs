//! `Jobs`: who runs when, who is tried again, and what the caller is told of each.

use std::fs;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::{Duration, Instant};

use netrunner_sync::{Command, Finished, JobId, Jobs, Reason, Retries};
use netrunner_tests::procs;
use netrunner_tests::wait::{PATIENCE, reached_within, scaled};

use crate::harness::*;

/// Drives the jobs until this is so; none may be over before.
#[track_caller]
pub(crate) fn drive_until(jobs: &mut Jobs, what: &str, mut reached: impl FnMut() -> bool) {
    let reached = reached_within(PATIENCE, || {
        assert!(jobs.next_timeout(Duration::from_millis(5)).is_pending(), "a job is over");
        reached()
    });
    assert!(reached, "{what}: {jobs:?}");
}

/// All that is still to come, by the index of the job.
pub(crate) fn all(jobs: &mut Jobs) -> Vec<(usize, Finished)> {
    jobs.map(|finished| (finished.id.index(), finished)).collect()
}

fn indices(jobs: &mut Jobs) -> Vec<usize> {
    all(jobs).into_iter().map(|(index, _)| index).collect()
}

fn exists(name: String) -> bool {
    fs::exists(name).expect("look for a file")
}

#[test]
fn no_more_run_at_a_time_than_may_and_each_that_ends_lets_the_next_one_start() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        for n in 0..7 {
            jobs.push(puppet(&format!("touch started-{n} await go-{n}")));
        }
        assert_eq!((jobs.running(), jobs.waiting()), (0, 7));
        let started = |n: i32| exists(format!("started-{n}"));
        drive_until(&mut jobs, "three have started", || (0..3).all(started));
        assert_eq!((jobs.running(), jobs.waiting(), puppets().len()), (3, 4, 3));
        for n in 0..7 {
            fs::write(format!("go-{n}"), "").expect("let one go");
            let finished = jobs.next().expect("one is over");
            assert_eq!(finished.id.index(), n as usize);
            assert!(finished.is_success(), "{finished:?}");
            if n + 3 < 7 {
                drive_until(&mut jobs, "the next one has started", || started(n + 3));
                assert_eq!(puppets().len(), 3);
            }
        }
        assert!(jobs.next().is_none());
        assert!(jobs.next().is_none());
    });
}

#[test]
fn results_come_as_they_end_or_in_the_order_of_the_pushes() {
    arena(|| {
        for in_order in [false, true] {
            let mut jobs = Jobs::new(3);
            jobs.in_order(in_order);
            jobs.push(puppet("await two-is-over"));
            jobs.push(puppet("await two-is-over"));
            jobs.push(puppet("touch two-is-over exit 3"));
            let found = all(&mut jobs);
            let order: Vec<_> = found.iter().map(|(index, _)| *index).collect();
            if in_order {
                assert_eq!(order, [0, 1, 2]);
            } else {
                assert_eq!(order.len(), 3);
                // The others saw its file only while it ran; it may be told last, but never twice.
                assert!(order.contains(&2), "{order:?}");
            }
            let code = |index| {
                let (_, finished) = found.iter().find(|(at, _)| *at == index).expect("told");
                finished.result.as_ref().expect("it ran").status.code()
            };
            assert_eq!([code(0), code(1), code(2)], [Some(0), Some(0), Some(3)]);
            fs::remove_file("two-is-over").expect("for the next round");
        }
    });
}

#[test]
fn a_result_is_kept_back_only_where_the_order_is_asked_for() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        jobs.in_order(true);
        jobs.push(puppet("touch zero await go"));
        jobs.push(puppet("touch one"));
        drive_until(&mut jobs, "the second is over", || {
            exists("one".into()) && puppets().len() == 1
        });
        fs::write("go", "").expect("let the first go");
        assert_eq!(indices(&mut jobs), [0, 1]);

        let mut jobs = Jobs::new(2);
        jobs.push(puppet("await go-again"));
        jobs.push(puppet("touch three"));
        assert_eq!(jobs.next().expect("the quick one").id.index(), 1);
        fs::write("go-again", "").expect("let the other go");
        assert_eq!(indices(&mut jobs), [0]);
    });
}

#[test]
fn the_order_can_be_asked_for_and_given_up_between_results() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        let push = |jobs: &mut Jobs| {
            jobs.push_with_priority(puppet("exit 0"), 0);
            jobs.push_with_priority(puppet("exit 0"), 1);
        };
        push(&mut jobs);
        assert_eq!(indices(&mut jobs), [1, 0]);
        push(&mut jobs);
        assert_eq!(indices(jobs.in_order(true)), [2, 3]);
        push(&mut jobs);
        assert_eq!(indices(jobs.in_order(false)), [5, 4]);
    });
}

#[test]
fn the_higher_priority_starts_first() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        for (name, priority) in [("c", 0), ("d", 0), ("a", 7), ("e", -7), ("b", 7)] {
            jobs.push_with_priority(puppet(&format!("print {name}")), priority);
        }
        let out: Vec<u8> =
            jobs.flat_map(|finished| finished.result.expect("it ran").stdout).collect();
        assert_eq!(String::from_utf8_lossy(&out), "a\nb\nc\nd\ne\n");
    });
}

#[test]
fn more_can_be_pushed_at_any_time() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        assert!(jobs.next().is_none());
        jobs.push(puppet("exit 1"));
        jobs.push(puppet("exit 1"));
        let mut told = Vec::new();
        while let Some(finished) = jobs.next() {
            if told.len() < 3 {
                jobs.push(puppet("exit 1"));
            }
            told.push(finished.id);
        }
        assert_eq!(told.len(), 5);
        jobs.push(puppet("exit 1"));
        assert_eq!(indices(&mut jobs), [5]);
    });
}

#[test]
fn a_command_that_cannot_be_started_is_a_result_and_disturbs_no_other() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        jobs.push(Command::new("no-such-program"));
        jobs.push(puppet("print fine"));
        let mut bad = puppet("exit 0");
        bad.arg("a\0b");
        jobs.push(bad);
        let mut lost = puppet("exit 0");
        lost.current_dir("/no/such/directory");
        jobs.push(lost);
        let mut found = all(&mut jobs);
        found.sort_by_key(|(index, _)| *index);
        let [missing, fine, invalid, nowhere] = found.try_into().expect("four results");
        assert!(missing.1.result.expect_err("no program").is_exec());
        assert_eq!(fine.1.result.expect("it ran").stdout, b"fine\n");
        assert!(invalid.1.result.expect_err("no argument").is_invalid_input());
        assert!(nowhere.1.result.expect_err("no directory").is_not_found());
    });
}

#[test]
fn the_first_failure_stops_the_rest_with_all_that_is_below_it() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        jobs.fail_fast(true);
        jobs.push(puppet(
            "ignore TERM lock a fork [ setsid ignore TERM lock b sleep forever ] wait",
        ));
        jobs.push(puppet("lock c daemon [ lock d sleep forever ] sleep forever"));
        jobs.push(puppet("await fail exit 9"));
        jobs.push(puppet("touch never-to-run"));
        let locks = ["a", "b", "c", "d"].map(lock);
        drive_until(&mut jobs, "all run", || locks.iter().all(|lock| lock.holder().is_some()));
        fs::write("fail", "").expect("let one fail");
        let mut found = all(&mut jobs);
        // Nothing is left when the last is told.
        locks.iter().for_each(netrunner_tests::lock::Lock::assert_free);
        found.sort_by_key(|(index, _)| *index);
        let [one, two, failed, waited] = found.try_into().expect("four results");
        for (_, stopped) in [one, two] {
            let output = stopped.result.expect("it ran");
            assert_eq!(output.report.reason, Reason::Stopped);
        }
        assert_eq!(failed.1.result.expect("it ran").status.code(), Some(9));
        assert!(waited.1.result.expect_err("it did not").is_not_run());
        assert!(!exists("never-to-run".into()));
        // And so it stays.
        jobs.push(puppet("touch never-to-run"));
        assert!(jobs.next().expect("told").result.expect_err("not run").is_not_run());
        assert!(!exists("never-to-run".into()));
    });
}

#[test]
fn a_failure_leaves_the_rest_alone_by_default() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        for n in 0..6 {
            jobs.push(puppet(&format!("exit {}", n % 2)));
        }
        let good = jobs.filter(Finished::is_success).count();
        assert_eq!(good, 3);
    });
}

/// A script that succeeds when it is run for the third time.
const THIRD_TIME: &str = "echo x >> tries-$0; [ $(wc -l < tries-$0) = 3 ]";

fn third_time(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", THIRD_TIME, name]);
    command
}

#[test]
fn what_failed_is_tried_again_after_its_pause_while_others_run() {
    arena(|| {
        let (sender, starts) = channel();
        let mut jobs = Jobs::new(1);
        let pause = Duration::from_millis(40);
        jobs.retries(Retries::new(2).pause(pause));
        jobs.on_start(move |id, tries| sender.send((id.index(), tries, Instant::now())).unwrap());
        jobs.push(third_time("a"));
        jobs.push(puppet("print meanwhile"));
        let found = all(&mut jobs);
        assert!(found.iter().all(|(_, finished)| finished.is_success()), "{found:?}");
        // One may run at a time, and the one that waits for its pause is none of them.
        assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 0]);
        let starts: Vec<_> = starts.try_iter().collect();
        let order: Vec<_> = starts.iter().map(|(index, tries, _)| (*index, *tries)).collect();
        assert_eq!(order, [(0, 1), (1, 1), (0, 2), (0, 3)]);
        assert!(starts[2].2 - starts[0].2 >= pause);
        assert!(starts[3].2 - starts[2].2 >= 2 * pause);
    });
}

#[test]
fn each_start_has_an_end_before_the_next_takes_its_place() {
    arena(|| {
        let (sender, told) = channel();
        let other = sender.clone();
        let mut jobs = Jobs::new(1);
        jobs.retries(Retries::new(1).pause(Duration::ZERO));
        jobs.on_start(move |id, tries| other.send((id.index(), tries, None)).unwrap());
        jobs.on_end(move |id, tries, result| {
            let code = result.as_ref().map_or(Some(-1), |output| output.status.code());
            sender.send((id.index(), tries, code)).unwrap();
        });
        jobs.push(puppet("exit 3"));
        jobs.push(puppet("exit 0"));
        jobs.push(Command::new("no-such-program"));
        let invalid = jobs.push(Command::new("a\0b")); // refused, and never started
        let found = all(&mut jobs);
        assert!(found.iter().any(|(index, _)| *index == invalid.index()));
        let expected = [
            [(0, 1, None), (0, 1, Some(3))],
            [(1, 1, None), (1, 1, Some(0))],
            [(2, 1, None), (2, 1, Some(-1))],
            [(0, 2, None), (0, 2, Some(3))],
        ];
        let mut told: Vec<_> = told.try_iter().collect();
        // When the second try of the first comes is up to its pause.
        assert!(told.chunks(2).all(|pair| expected.iter().any(|known| known == pair)), "{told:?}");
        told.sort_unstable();
        let mut all: Vec<_> = expected.concat();
        all.sort_unstable();
        assert_eq!(told, all);
    });
}

#[test]
fn the_last_try_is_what_is_told() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        jobs.retries(Retries::new(1).pause(Duration::ZERO));
        jobs.push(third_time("b"));
        assert!(!jobs.next().expect("told").is_success());
        assert_eq!(fs::read_to_string("tries-b").expect("the tries"), "x\nx\n");
        assert!(jobs.next().is_none());
    });
}

#[test]
fn what_cannot_change_is_not_tried_again() {
    arena(|| {
        let (sender, starts) = channel();
        let mut jobs = Jobs::new(4);
        jobs.retries(Retries::new(5).pause(Duration::ZERO));
        jobs.on_start(move |id, _| sender.send(id.index()).unwrap());
        jobs.push(Command::new("no-such-program"));
        let mut once = puppet("exit 1");
        once.fd(3, fs::File::open("/dev/null").expect("a file"));
        jobs.push(once);
        let stopped = jobs.push(puppet("lock stopped sleep forever"));
        drive_until_told(&mut jobs, &[0, 1]);
        lock("stopped").wait_held();
        jobs.handle().stop(stopped);
        drive_until_told(&mut jobs, &[2]);
        // And what the only try came to is told, not that there can't be another one.
        let mut once = puppet("exit 1");
        once.fd(3, fs::File::open("/dev/null").expect("a file"));
        jobs.push(once);
        let output = jobs.next().expect("told").result.expect("it ran");
        assert_eq!(output.status.code(), Some(1));
        let mut started: Vec<_> = starts.try_iter().collect();
        started.sort_unstable();
        // The program was looked for by the shepherd, once.
        assert_eq!(started, [0, 1, 2, 3]);
    });
}

#[track_caller]
fn drive_until_told(jobs: &mut Jobs, indices: &[usize]) {
    let mut told: Vec<_> = jobs.take(indices.len()).map(|finished| finished.id.index()).collect();
    told.sort_unstable();
    assert_eq!(told, indices);
}

#[test]
fn a_timeout_ends_its_own_job_only() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        jobs.timeout(scaled(Duration::from_millis(100)));
        let late = jobs.push(puppet("lock late fork [ lock below sleep forever ] sleep forever"));
        let mut patient = puppet("await late-is-over");
        patient.timeout(PATIENCE);
        jobs.push(patient);
        let first = jobs.next().expect("one is over");
        assert_eq!(first.id, late);
        assert_eq!(first.result.expect("it ran").report.reason, Reason::Timeout);
        lock("late").assert_free();
        lock("below").assert_free();
        fs::write("late-is-over", "").expect("let the other end");
        assert!(jobs.next().expect("the other").is_success());
    });
}

#[test]
fn a_deadline_in_the_past_never_waits_and_loses_nothing() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        assert!(matches!(jobs.next_deadline(Instant::now()), Poll::Ready(None)));
        jobs.push(puppet("await go"));
        let past = Instant::now();
        for _ in 0..10 {
            assert!(jobs.next_deadline(past).is_pending());
        }
        fs::write("go", "").expect("let it end");
        let mut found = None;
        let told = reached_within(PATIENCE, || match jobs.next_deadline(past) {
            Poll::Ready(finished) => {
                found = finished;
                true
            }
            Poll::Pending => false,
        });
        assert!(told && found.expect("a result").is_success());
    });
}

#[test]
fn a_nudge_brings_the_one_who_waits_back_and_is_remembered() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        jobs.push(puppet("await go"));
        jobs.start();
        let handle = jobs.handle();
        let nudger = std::thread::spawn({
            let handle = handle.clone();
            move || {
                // Widens the race: the other one waits by then.
                std::thread::sleep(Duration::from_millis(30));
                handle.nudge();
            }
        });
        assert!(jobs.next_timeout(Duration::from_secs(3600)).is_pending());
        nudger.join().expect("join");
        handle.nudge();
        // Not for who starts them.
        jobs.start();
        assert!(jobs.next_timeout(Duration::from_secs(3600)).is_pending());
        fs::write("go", "").expect("let it end");
        handle.nudge();
        // Nor does it keep a result from who waits for nothing else.
        assert!(jobs.next().expect("told").is_success());
    });
}

/// The threads of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("the own threads").count()
}

#[test]
fn thousands_of_jobs_take_one_thread_and_leave_nothing() {
    arena(|| {
        let count = 2_000;
        let (before, fds) = (threads(), fd_count());
        let mut jobs = Jobs::new(50);
        for _ in 0..count {
            jobs.push(Command::new("true"));
        }
        let mut told = Vec::new();
        let mut most = 0;
        for finished in jobs.by_ref() {
            assert!(finished.is_success(), "{finished:?}");
            told.push(finished.id);
            most = most.max(threads());
        }
        told.sort_unstable();
        assert_eq!(
            told.iter().map(JobId::index).collect::<Vec<_>>(),
            (0..count).collect::<Vec<_>>()
        );
        // The watcher.
        assert_eq!(most, before + 1);
        drop(jobs);
        // Poller and idle shepherds are the crate's, and stay as they are.
        netrunner_sync::Shepherds::max_idle(0);
        wait_until_few(fds + 10);
    });
}

#[track_caller]
fn wait_until_few(most: usize) {
    if !reached_within(PATIENCE, || fd_count() <= most) {
        panic!("more than {most} descriptors: {:#?}", procs::descriptors(std::process::id()));
    }
}

#[test]
fn all_are_started_together_and_run_at_the_same_time() {
    arena(|| {
        let count = 200;
        let before = threads();
        let mut jobs = Jobs::new(count);
        for _ in 0..count {
            jobs.push(puppet("lock-in running sleep forever"));
        }
        let locks = netrunner_tests::lock::Locks::new("running");
        assert_eq!(jobs.start(), count);
        assert_eq!(threads(), before + 1);
        locks.wait_held(count);
        let handle = jobs.handle();
        handle.kill_all();
        for finished in &mut jobs {
            assert_eq!(finished.result.expect("it ran").report.reason, Reason::Killed);
        }
        locks.assert_free();
    });
}

#[test]
fn a_start_that_fails_is_told_and_not_waited_for() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        jobs.push(Command::new("no-such-program"));
        jobs.push(puppet("lock a sleep forever"));
        jobs.push(puppet("lock b sleep forever"));
        jobs.push(puppet("lock c sleep forever"));
        // The one that failed has made room.
        assert_eq!(jobs.start(), 3);
        assert!(jobs.next().expect("told").result.expect_err("no program").is_not_found());
        for name in ["a", "b", "c"] {
            lock(name).wait_held();
        }
        jobs.handle().stop_all();
        assert_eq!(jobs.count(), 3);
    });
}
