//! `Jobs` with tokens of their own; those of a real make are the command line's tests' matter.

use std::fs;
use std::time::Duration;

use netrunner_sync::{Command, Finished, Jobs, Jobserver, Reason, Retries};
use netrunner_tests::lock::Locks;

use crate::harness::*;
use crate::jobs::drive_until;

/// Takes so many tokens out of its pipe, as it is told of it, and then does something.
fn taker(tokens: u32, then: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!(
        "auth=${{MAKEFLAGS##*--jobserver-auth=}}; pipe=${{auth#fifo:}}; \
         [ \"$pipe\" = \"$auth\" ] && pipe=/proc/self/fd/${{auth%,*}}; \
         head -c {tokens} \"$pipe\"; echo; {then}"
    );
    command.args(["-c", &script]);
    // Of the tests themselves, which may run under a make.
    for name in ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS"] {
        command.env(name, "");
    }
    command
}

fn with(tokens: usize, fifo: bool) -> Jobs {
    let mut jobs = Jobs::new(64);
    jobs.jobserver(Jobserver::new(tokens).expect("tokens").fifo(fifo));
    jobs
}

#[test]
fn each_job_needs_a_token() {
    arena(|| {
        let locks = Locks::new("running");
        let mut jobs = with(2, false);
        for _ in 0..5 {
            jobs.push(puppet("lock-in running await go"));
        }
        drive_until(&mut jobs, "two run", || {
            locks.all().iter().filter(|lock| lock.holder().is_some()).count() == 2
        });
        assert!(jobs.next_timeout(Duration::from_millis(50)).is_pending());
        assert_eq!((jobs.running(), jobs.waiting(), locks.all().len()), (2, 3, 2));
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.filter(Finished::is_success).count(), 5);
    });
}

#[test]
fn a_job_takes_what_is_free_by_descriptor_or_by_path() {
    arena(|| {
        for fifo in [false, true] {
            let mut jobs = with(4, fifo);
            jobs.push(taker(3, "exit 0"));
            let output = jobs.next().expect("told").result.expect("it ran");
            assert_eq!(output.stdout, b"+++\n", "{output:?}");
        }
    });
}

#[test]
fn tokens_are_free_again_however_their_job_ends() {
    arena(|| {
        let mut jobs = with(4, false);
        jobs.timeout(Duration::from_millis(300));
        for end in ["exit 0", "exit 1", "kill -KILL $$", "setsid sleep 1000 & sleep 1000"] {
            let mut command = taker(3, end);
            command.grace(Duration::from_millis(50));
            jobs.push(command);
            let output = jobs.next().expect("told").result.expect("it ran");
            assert_eq!(output.stdout, b"+++\n", "{end}");
        }
        // Nor are there more than before.
        jobs.push(taker(4, "exit 0"));
        let output = jobs.next().expect("told").result.expect("it ran");
        assert_eq!(output.report.reason, Reason::Timeout);
    });
}

#[test]
fn what_one_leaves_in_its_pipe_is_for_the_others() {
    arena(|| {
        let mut jobs = with(4, false);
        jobs.push(puppet("await taken"));
        jobs.push(taker(2, "touch taken"));
        assert_eq!(jobs.filter(Finished::is_success).count(), 2);
    });
}

#[test]
fn a_job_can_make_no_tokens() {
    arena(|| {
        let mut jobs = with(2, false);
        let forge = taker(0, "printf ++++++++ > /proc/self/fd/101; touch forged; sleep 0.2");
        jobs.push(forge);
        let locks = Locks::new("running");
        for _ in 0..4 {
            jobs.push(puppet("await forged lock-in running await go"));
        }
        drive_until_forged(&mut jobs);
        jobs.next().expect("the forger");
        drive_until(&mut jobs, "two run", || {
            locks.all().iter().filter(|lock| lock.holder().is_some()).count() == 2
        });
        assert!(jobs.next_timeout(Duration::from_millis(50)).is_pending());
        assert_eq!(jobs.running(), 2);
        fs::write("go", "").expect("let them go");
        assert_eq!(jobs.count(), 4);
    });
}

#[track_caller]
fn drive_until_forged(jobs: &mut Jobs) {
    drive_until(jobs, "there are forged ones", || fs::exists("forged").expect("look"));
    assert!(jobs.running() <= 2, "{jobs:?}");
}

#[test]
fn another_try_has_a_pipe_too() {
    arena(|| {
        let mut jobs = with(3, false);
        jobs.retries(Retries::new(3).pause(Duration::ZERO));
        jobs.push(taker(2, "echo x >> tries; [ $(wc -l < tries) = 3 ]"));
        let output = jobs.next().expect("told").result.expect("it ran");
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"++\n"[..]));
        assert_eq!(fs::read_to_string("tries").expect("the tries").lines().count(), 3);
    });
}
