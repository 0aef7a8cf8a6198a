//! P8: every blocking call has a form with a deadline, and nothing that a child does makes one late.

use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use netrunner_sync::{Reason, Stdio};
use netrunner_tests::wait::scaled;

use crate::harness::*;

const SHORT: Duration = Duration::from_millis(100);

#[track_caller]
fn assert_in_time(began: Instant, least: Duration) {
    let took = began.elapsed();
    assert!(took >= least, "too early: {took:?}");
    assert!(took < scaled(least + Duration::from_secs(2)), "too late: {took:?}");
}

#[test]
fn waits_with_a_deadline_keep_it() {
    arena(|| {
        let mut child = puppet("lock leader sleep forever").spawn().expect("spawn");
        let began = Instant::now();
        assert!(child.wait_timeout(SHORT).expect("wait").is_none());
        assert_in_time(began, SHORT);
        let began = Instant::now();
        assert!(child.wait_deadline(began + SHORT).expect("wait").is_none());
        assert_in_time(began, SHORT);
        let began = Instant::now();
        assert!(child.handle().wait_timeout(SHORT).expect("wait").is_none());
        assert_in_time(began, SHORT);
        assert!(child.wait_timeout(Duration::ZERO).expect("wait").is_none());
        assert!(child.wait_deadline(began).expect("a deadline in the past").is_none());
        child.stop().expect("stop");
    });
}

#[test]
fn a_read_keeps_its_deadline() {
    arena(|| {
        let mut command = puppet("print now sleep forever");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.spawn().expect("spawn");
        let mut buffer = [0; 100];
        let long = scaled(Duration::from_secs(10));
        let read = read_deadline(&child, &mut buffer, Instant::now() + long);
        assert_eq!(&buffer[..read.expect("what is there")], b"now\n");
        let began = Instant::now();
        let error =
            read_deadline(&child, &mut buffer, began + SHORT).expect_err("nothing is there");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_in_time(began, SHORT);
        child.kill().expect("kill");
        child.wait().expect("wait");
        let end = read_deadline(&child, &mut buffer, Instant::now() + SHORT);
        assert_eq!(end.expect("the end"), 0);
    });
}

#[test]
fn a_write_keeps_its_deadline() {
    arena(|| {
        let mut child =
            puppet("lock leader sleep forever").stdin(Stdio::piped()).spawn().expect("spawn");
        let stdin = child.stdin.take().expect("stdin");
        let big = vec![0; 1 << 20];
        let mut written = 0;
        let began = Instant::now();
        let error = loop {
            match stdin.write_deadline(&big, began + SHORT) {
                Ok(0) => panic!("a write of nothing"),
                Ok(len) => written += len,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(written >= 4096 && written < big.len(), "{written} bytes fit into the pipe");
        assert_in_time(began, SHORT);
        child.kill().expect("kill");
        child.wait().expect("wait");
    });
}

#[test]
fn a_grandchild_that_holds_the_pipes_does_not_keep_output() {
    arena(|| {
        let began = Instant::now();
        let output =
            puppet("daemon [ setsid ignore TERM lock below sleep forever ] await below print done")
                .output()
                .expect("output");
        assert_eq!(output.stdout, b"done\n");
        lock("below").assert_free();
        assert!(began.elapsed() < scaled(Duration::from_secs(10)));
    });
}

#[test]
fn a_timeout_ends_a_child_that_stopped_itself() {
    arena(|| {
        let began = Instant::now();
        let output = puppet("print before stop").timeout(SHORT * 5).output().expect("output");
        assert_eq!(output.report.reason, Reason::Timeout);
        assert_eq!(output.stdout, b"before\n");
        assert_in_time(began, SHORT * 5);
        assert_no_puppets();
    });
}

#[test]
fn a_timeout_ends_a_child_that_ignores_the_stop_signal_after_its_grace() {
    arena(|| {
        let began = Instant::now();
        let output = puppet("ignore TERM print before sleep forever")
            .timeout(SHORT * 5)
            .output()
            .expect("output");
        assert_eq!(output.report.reason, Reason::Timeout);
        assert_eq!(output.stdout, b"before\n");
        assert_in_time(began, SHORT * 5 + GRACE);
    });
}

#[test]
fn a_timeout_ends_output_while_the_child_floods_it() {
    arena(|| {
        let mut command = puppet("spew 10000000000");
        let began = Instant::now();
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        // What is kept is bounded by what the child writes in this time.
        let mut child = command.timeout(SHORT * 3).spawn().expect("spawn");
        std::io::copy(&mut shown(&child), &mut std::io::sink()).expect("read to the end");
        child.wait().expect("wait");
        assert_eq!(child.report().expect("report").reason, Reason::Timeout);
        assert_in_time(began, SHORT * 3);
    });
}

#[test]
fn a_timeout_ends_output_while_the_input_is_not_read() {
    arena(|| {
        let began = Instant::now();
        let output = puppet("sleep forever")
            .input(vec![0; 1 << 20])
            .timeout(SHORT * 3)
            .output()
            .expect("output");
        assert_eq!(output.report.reason, Reason::Timeout);
        assert_in_time(began, SHORT * 3);
    });
}

#[test]
fn no_timeout_strikes_after_the_end() {
    arena(|| {
        for _ in 0..20 {
            let output =
                puppet("exit 2").timeout(Duration::from_secs(600)).output().expect("output");
            assert_eq!(output.report.reason, Reason::Exited);
        }
        // The shepherds serve others now, and the old limits are none of theirs.
        let output = puppet("exit 2").timeout(SHORT * 3).output().expect("output");
        assert_eq!(output.status.code(), Some(2));
        let output = puppet("sleep 0.6 exit 2").output().expect("output");
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(output.report.reason, Reason::Exited);
    });
}

#[test]
fn timeouts_of_nothing_and_of_for_ever_are_taken() {
    arena(|| {
        let output = puppet("sleep forever").timeout(Duration::ZERO).output().expect("output");
        assert_eq!(output.report.reason, Reason::Timeout);
        let output =
            puppet("exit 2").timeout(Duration::MAX).grace(Duration::MAX).output().expect("output");
        assert_eq!(output.status.code(), Some(2));
        let mut child = puppet("sleep forever").grace(Duration::ZERO).spawn().expect("spawn");
        assert!(child.wait_timeout(Duration::from_millis(1)).expect("wait").is_none());
        child.stop().expect("stop");
        let mut child = puppet("exit 2").spawn().expect("spawn");
        assert_eq!(
            child.wait_timeout(Duration::MAX).expect("wait").expect("the end").code(),
            Some(2)
        );
    });
}

#[test]
fn one_thread_waits_while_another_asks_signals_and_kills() {
    arena(|| {
        let mut command = puppet("lock leader cat exit 1");
        off_terminals(&mut command, |it| it.stdin(Stdio::piped()));
        let mut child = command.spawn().expect("spawn");
        lock("leader").wait_held();
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let handle = child.handle();
                std::thread::spawn(move || handle.wait())
            })
            .collect();
        let handle = child.handle();
        for _ in 0..50 {
            assert!(handle.try_wait().expect("try_wait").is_none());
            handle.signal(netrunner_sync::Signal::CONT).expect("signal");
            inlet(&child).write_all(b"x").expect("write");
        }
        handle.kill().expect("kill");
        for waiter in waiters {
            assert!(!waiter.join().expect("join").expect("wait").success());
        }
        child.wait().expect("wait");
    });
}

// Not the deadline of a write: a terminal that edits lines drops what it has no room for. That of one
// that has none is in `pty_extremes`.
on_terminals_too! {
    a_read_keeps_its_deadline
    a_timeout_ends_output_while_the_child_floods_it
    one_thread_waits_while_another_asks_signals_and_kills
    waits_with_a_deadline_keep_it
    a_grandchild_that_holds_the_pipes_does_not_keep_output
    a_timeout_ends_a_child_that_stopped_itself
    a_timeout_ends_a_child_that_ignores_the_stop_signal_after_its_grace
    a_timeout_ends_output_while_the_input_is_not_read
    no_timeout_strikes_after_the_end
    timeouts_of_nothing_and_of_for_ever_are_taken
}
