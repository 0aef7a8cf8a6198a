//! `Pipeline`: what flows, who ends whom, and whose failure counts.

use std::fs;
use std::time::{Duration, Instant};

use netrunner_sync::{Command, Pipeline, PipelineOutput, Reason};
use netrunner_tests::lock::Locks;
use netrunner_tests::pattern;
use netrunner_tests::wait::{PATIENCE, reached_within};

use crate::harness::*;

fn line(scripts: &[&str]) -> Pipeline {
    let mut stages = scripts.iter().map(|script| puppet(script));
    let first = Pipeline::new(stages.next().expect("a stage"));
    stages.fold(first, Pipeline::pipe)
}

fn output(scripts: &[&str]) -> PipelineOutput {
    line(scripts).output().expect("it starts")
}

fn code(output: &PipelineOutput, at: usize) -> Option<i32> {
    output.stages[at].as_ref().expect("it ran").status.code()
}

#[test]
fn bytes_flow_from_each_to_the_next_and_none_is_lost() {
    arena(|| {
        let found = output(&["spew 5000000 eprint one", "cat eprint two", "cat eprint three"]);
        pattern::check(found.stdout(), 5_000_000);
        assert_eq!(found.failed(), None);
        let errors: Vec<_> = found
            .stages
            .iter()
            .map(|stage| stage.as_ref().expect("it ran").stderr.clone())
            .collect();
        assert_eq!(errors, [&b"one\n"[..], b"two\n", b"three\n"]);
        assert!(found.stages[0].as_ref().expect("it ran").stdout.is_empty());

        let mut first = puppet("cat");
        first.input("from here");
        let mut both = puppet("print out eprint err");
        both.stderr_to_stdout();
        assert_eq!(
            Pipeline::new(first).pipe(puppet("cat")).run().expect("run").stdout(),
            b"from here"
        );
        let merged = Pipeline::new(both).pipe(puppet("cat")).run().expect("run");
        assert_eq!(merged.stdout(), b"out\nerr\n");
    });
}

#[test]
fn a_reader_that_has_enough_is_no_failure_of_who_wrote_to_it() {
    arena(|| {
        let mut head = Command::new("head");
        head.args(["-c", "3"]);
        let found = Pipeline::new(Command::new("yes")).pipe(head).run().expect("a success");
        assert_eq!(found.stdout(), b"y\ny");
        // At the end of the line it is.
        let found = output(&["exit 0", "die PIPE"]);
        assert_eq!(found.failed(), Some(1));
        assert_eq!(output(&["exit 141", "exit 0"]).failed(), None);
    });
}

#[test]
fn the_last_failure_counts_and_stops_nobody() {
    arena(|| {
        let found = output(&["exit 3", "exit 4", "cat exit 0"]);
        assert_eq!((found.failed(), code(&found, 0), code(&found, 1)), (Some(1), Some(3), Some(4)));
        assert!(found.judge().expect_err("a failure").to_string().contains("code 4"));
        // The one behind reads to the end of what there is.
        let found = output(&["print all exit 1", "cat"]);
        assert_eq!((found.stdout(), found.failed()), (&b"all\n"[..], Some(0)));
    });
}

#[test]
fn one_that_cannot_be_started_ends_the_others() {
    arena(|| {
        let locks = Locks::new("running");
        let missing = Pipeline::new(puppet("lock-in running sleep forever"))
            .pipe(Command::new("no-such-program"))
            .pipe(puppet("lock-in running sleep forever"));
        let found = missing.output().expect("it starts");
        locks.assert_free();
        assert_eq!(found.failed(), Some(1));
        assert!(found.judge().expect_err("a failure").is_exec());
        wait_no_puppets(PATIENCE);
    });
}

#[test]
fn one_that_runs_out_of_time_ends_the_others_with_all_that_they_started() {
    arena(|| {
        let locks = Locks::new("running");
        let busy = "lock-in running daemon [ setsid lock-in running sleep forever ] sleep forever";
        let mut late = puppet(busy);
        late.timeout(Duration::from_millis(300));
        let line = Pipeline::new(puppet(busy)).pipe(late).pipe(puppet(busy));
        let found = line.output().expect("it starts");
        locks.assert_free();
        let reasons: Vec<_> = found
            .stages
            .iter()
            .map(|stage| stage.as_ref().expect("it ran").report.reason)
            .collect();
        assert_eq!(reasons, [Reason::Stopped, Reason::Timeout, Reason::Stopped]);
        assert_eq!(found.failed(), Some(1));
        assert!(found.judge().expect_err("a failure").is_timeout());
    });
}

#[test]
fn a_killed_shepherd_ends_the_others() {
    arena(|| {
        let running =
            line(&["lock a sleep forever", "lock b sleep forever"]).start().expect("start");
        let child = lock("b").wait_held();
        lock("a").wait_held();
        signal(shepherd_of(child), libc::SIGKILL);
        let found = running.wait();
        assert_eq!(found.failed(), Some(1));
        assert!(found.judge().expect_err("a failure").is_shepherd_lost());
        lock("a").assert_free();
        lock("b").wait_free(GRACE_AND_2S);
    });
}

#[test]
fn all_are_stopped_by_a_handle_or_by_a_drop() {
    arena(|| {
        let locks = Locks::new("running");
        let start = || line(&["lock-in running sleep forever"; 3]).start().expect("start");
        let running = start();
        locks.wait_held(3);
        let running = running.wait_deadline(Instant::now()).expect_err("they are at work");
        running.handle().stop_all();
        let found = running.wait_deadline(Instant::now() + PATIENCE).expect("in time");
        locks.assert_free();
        assert_eq!(found.stages.len(), 3);
        let running = start();
        locks.wait_held(3);
        drop(running);
        locks.wait_free(GRACE_AND_2S);
        assert!(reached_within(PATIENCE, || puppets().is_empty()));
    });
}

#[test]
fn a_stage_has_no_other_streams_than_its_place_gives_it() {
    arena(|| {
        let mut fed = puppet("touch ran cat");
        fed.input("text");
        let error = Pipeline::new(puppet("exit 0")).pipe(fed).output().expect_err("two inputs");
        assert!(error.is_invalid_input());
        let mut away = puppet("touch ran");
        away.stdout(fs::File::create("out").expect("create"));
        let error = Pipeline::new(away).pipe(puppet("cat")).output().expect_err("two outputs");
        assert!(error.is_invalid_input());
        assert!(!fs::exists("ran").expect("look"));
    });
}

#[test]
fn one_that_finds_no_room_for_all_ends_and_says_so() {
    arena(|| {
        let limit = fd_count() as u64 + 60;
        netrunner_tests::sys::set_soft_limit(libc::RLIMIT_NOFILE, limit).expect("a limit");
        let found = line(&["cat"; 20]).output();
        match found {
            Ok(found) => assert!(found.failed().is_some() && found.stages.len() == 20),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
        }
        assert!(line(&["print a", "cat"]).run().is_ok());
    });
}
