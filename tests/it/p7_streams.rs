//! P7 and P9 for `lines` and `events`: everything comes, only when it is asked for, and the outcome
//! comes last.

use std::io::{self, Read};
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use netrunner_sync::{Event, Events, Input, Leftovers, Lines, Reason, Report, Stdio};
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::{PATIENCE, wait_until};
use netrunner_tests::{pattern, sys};

use crate::harness::*;

/// All that comes, with the report at the end.
#[track_caller]
fn collect(events: Events) -> (Vec<u8>, Vec<u8>, Report) {
    let (mut stdout, mut stderr, mut end) = (Vec::new(), Vec::new(), None);
    for event in events {
        assert!(end.is_none(), "an event after the end");
        match event.expect("an event") {
            Event::Stdout(bytes) => stdout.extend(bytes),
            Event::Stderr(bytes) => stderr.extend(bytes),
            Event::Exited(report) => end = Some(report),
            other => panic!("{other:?}"),
        }
    }
    (stdout, stderr, end.expect("the end"))
}

#[track_caller]
fn line(lines: &mut Lines) -> String {
    lines.next().expect("a line").expect("a good line")
}

/// A reader that never returns while its sender lives.
struct Stuck(mpsc::Receiver<()>);

impl Read for Stuck {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(0)
    }
}

/// A reader that yields one word and then fails.
struct Failing(bool);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.0, true) {
            return Err(io::Error::other("the disk is on fire"));
        }
        buffer[..5].copy_from_slice(b"half\n");
        Ok(5)
    }
}

fn assert_reader_failed(error: &netrunner_sync::Error) {
    let text = error.to_string();
    assert!(text.contains("read the input") && text.contains("on fire"), "{text}");
    assert_eq!(error.output().expect("its output").status.code(), Some(0));
}

#[test]
fn lines_come_while_the_command_runs() {
    arena(|| {
        let mut lines = puppet("print one await go print two").lines().expect("lines");
        assert_eq!(line(&mut lines), "one");
        assert!(lines.report().is_none());
        std::fs::write("go", "").expect("write");
        assert_eq!(line(&mut lines), "two");
        assert!(lines.next().is_none() && lines.next().is_none());
        let report = lines.report().expect("a report");
        assert_eq!((report.reason, report.status.code()), (Reason::Exited, Some(0)));
        assert_eq!((report.pid, report.io.stdout), (lines.handle().id(), 8));
    });
}

#[test]
fn lines_have_no_line_ends() {
    arena(|| {
        let text = "one\r\n\n\rtwo\r\r\nthree\n\nlast\r";
        let lines = puppet("cat").input(text).lines().expect("lines");
        let lines: Vec<String> = lines.map(|line| line.expect("a line")).collect();
        assert_eq!(lines, ["one", "", "\rtwo\r", "three", "", "last\r"]);
        assert_eq!(puppet("print").arg("").lines().expect("lines").count(), 1);
        assert_eq!(puppet("exit 0").lines().expect("lines").count(), 0);
    });
}

#[test]
fn lines_of_every_length_are_whole() {
    arena(|| {
        let sizes = [0, 1, 4_095, 65_535, 65_536, 65_537, 3_000_000];
        let text: String = sizes.iter().map(|&size| "x".repeat(size) + "\n").collect();
        let lines = puppet("cat").input(text).lines().expect("lines");
        let found: Vec<usize> = lines.map(|line| line.expect("a line").len()).collect();
        assert_eq!(found, sizes);
    });
}

#[test]
fn a_line_that_is_not_utf8_is_an_error_and_the_iteration_goes_on() {
    arena(|| {
        let mut lines = puppet("cat").input(b"good\n\xff\xfe\nfine\n").lines().expect("lines");
        assert_eq!(line(&mut lines), "good");
        let error = lines.next().expect("an item").expect_err("an error");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!error.is_failure() && error.output().is_none());
        let cause = std::error::Error::source(&error).expect("a cause");
        let cause = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let cause = cause.and_then(|cause| cause.downcast_ref::<std::string::FromUtf8Error>());
        assert_eq!(cause.expect("the bytes").as_bytes(), b"\xff\xfe");
        assert_eq!(line(&mut lines), "fine");
        assert!(lines.next().is_none());
    });
}

#[test]
fn a_failed_outcome_is_the_last_line() {
    arena(|| {
        let mut lines = puppet("print out write rest eprint why exit 3").lines().expect("lines");
        assert_eq!(line(&mut lines), "out");
        let (last, why) = both("rest", "why\n");
        assert_eq!(line(&mut lines).as_bytes(), last.trim_ascii_end());
        let error = lines.next().expect("an item").expect_err("the failure");
        assert!(error.is_failure(), "{error}");
        let output = error.output().expect("the output");
        assert_eq!((output.stderr.clone(), output.report.status.code()), (why, Some(3)));
        assert!(lines.next().is_none() && lines.next().is_none());
        assert_eq!(lines.report().expect("a report").status.code(), Some(3));

        let mut lines = puppet("print early sleep forever")
            .timeout(Duration::from_millis(500))
            .lines()
            .expect("lines");
        assert_eq!(line(&mut lines), "early");
        assert!(lines.next().expect("an item").expect_err("a timeout").is_timeout());
        assert!(lines.next().is_none());
    });
}

#[test]
fn a_program_that_is_not_there_fails_before_the_first_item() {
    arena(|| {
        let mut command = netrunner_sync::Command::new("/no/such/program");
        connect(&mut command);
        assert!(command.lines().expect_err("no lines").is_not_found());
        assert!(command.events().expect_err("no events").is_not_found());
    });
}

#[test]
fn events_of_both_outputs_are_complete_and_end_with_the_outcome() {
    arena(|| {
        for size in [0, 1, 65_536, 65_537, 1_000_000] {
            let events = puppet(&format!("both {size} exit 3")).events().expect("events");
            let (stdout, stderr, report) = collect(events);
            pattern::check(&stdout, size);
            pattern::check(&stderr, size);
            assert_eq!((report.reason, report.status.code()), (Reason::Exited, Some(3)));
            assert_eq!((report.io.stdout, report.io.stderr), (size as u64, size as u64));
        }
        let mut events = puppet("exit 0").events().expect("events");
        assert!(matches!(events.next(), Some(Ok(Event::Exited(_)))));
        assert!(events.next().is_none() && events.next().is_none());
    });
}

#[test]
fn one_output_does_not_starve_the_other() {
    arena(|| {
        let mut command = netrunner_sync::Command::new("sh");
        command.args(["-c", "cat /dev/zero >&2 & exec cat /dev/zero"]).grace(GRACE);
        let mut events = command.events().expect("events");
        let mut count = [0; 2];
        for _ in 0..60 {
            // So that both pipes are full again, and both have something to say.
            std::thread::sleep(Duration::from_millis(3));
            match events.next().expect("an item").expect("an event") {
                Event::Stdout(_) => count[0] += 1,
                Event::Stderr(_) => count[1] += 1,
                other @ (Event::Exited(_) | _) => panic!("{other:?}"),
            }
        }
        assert!(count[0] > 15 && count[1] > 15, "{count:?}");
    });
}

#[test]
fn merged_outputs_come_as_one() {
    arena(|| {
        let mut command = puppet("print 1 eprint 2 print 3 eprint 4");
        let lines = command.stderr_to_stdout().lines().expect("lines");
        let lines: Vec<String> = lines.map(|line| line.expect("a line")).collect();
        assert_eq!(lines, ["1", "2", "3", "4"]);
    });
}

#[test]
fn nothing_is_read_that_nobody_asked_for() {
    arena(|| {
        let mut command = puppet("print first spew 1000000 touch written");
        let mut lines = command.lines().expect("lines");
        assert_eq!(line(&mut lines), "first");
        let pid = lines.handle().id();
        // In the middle of it: more than the pipe and the buffer hold.
        wait_until("a child that waits", PATIENCE, || {
            Proc::get(pid).is_some_and(|proc| proc.state == 'S')
        });
        std::thread::sleep(GRACE);
        assert!(!std::path::Path::new("written").exists(), "somebody read ahead");
        // The pattern has a line end in each of its periods.
        assert!(
            lines.by_ref().filter(|line| line.as_ref().is_ok_and(|l| !l.is_empty())).count() > 0
        );
        assert!(std::path::Path::new("written").exists());
        assert_eq!(lines.report().expect("a report").io.stdout, 1_000_006);
    });
}

#[test]
fn dropped_early_the_command_is_stopped_at_once() {
    arena(|| {
        let before = {
            puppet("exit 0").output().expect("output");
            fd_count()
        };
        let mut lines = puppet("lock a print x sleep forever").lines().expect("lines");
        assert_eq!(line(&mut lines), "x");
        lock("a").assert_held();
        drop(lines);
        lock("a").wait_free(PATIENCE);
        let mut events = puppet("lock b print x sleep forever").events().expect("events");
        assert!(matches!(events.next(), Some(Ok(Event::Stdout(_)))));
        lock("b").assert_held();
        drop(events);
        lock("b").wait_free(PATIENCE);
        // One that was never asked for anything.
        drop(puppet("sleep forever").events().expect("events"));
        wait_no_puppets(PATIENCE);
        wait_fd_count(before);
    });
}

#[test]
fn input_is_fed_while_nobody_asks_for_an_item() {
    arena(|| {
        let script = "count touch counted";
        let input = fed(1_000_000);
        let mut lines = puppet(script).input(input.clone()).lines().expect("lines");
        wait_file("counted");
        assert_eq!(line(&mut lines), "1000000");
        assert!(lines.next().is_none());
        assert_eq!(lines.report().expect("a report").io.stdin, 1_000_000);
        std::fs::remove_file("counted").expect("remove");

        let reader = Input::reader(io::Cursor::new(input));
        let events = puppet(script).input(reader).events().expect("events");
        wait_file("counted");
        let (stdout, _, report) = collect(events);
        assert_eq!((stdout.as_slice(), report.io.stdin), (&b"1000000\n"[..], 1_000_000));
    });
}

#[test]
fn input_and_output_move_together() {
    arena(|| {
        let input = fed(4 << 20);
        let events = puppet("cat").input(input).events().expect("events");
        check_fed(&collect(events).0, 4 << 20);
    });
}

#[test]
fn an_item_has_a_deadline() {
    arena(|| {
        let past = Instant::now();
        let mut lines = puppet("print one await go print two").lines().expect("lines");
        let one = lines.next_timeout(PATIENCE);
        assert!(matches!(one, Poll::Ready(Some(Ok(line))) if line == "one"));
        assert!(lines.next_deadline(past).is_pending());
        assert!(lines.next_timeout(Duration::from_millis(20)).is_pending());
        std::fs::write("go", "").expect("write");
        let two = lines.next_timeout(PATIENCE);
        assert!(matches!(two, Poll::Ready(Some(Ok(line))) if line == "two"));
        assert!(matches!(lines.next_timeout(PATIENCE), Poll::Ready(None)));
        assert!(matches!(lines.next_deadline(past), Poll::Ready(None)));

        let mut events = puppet("print one sleep forever").events().expect("events");
        let one = events.next_timeout(PATIENCE);
        assert!(matches!(one, Poll::Ready(Some(Ok(Event::Stdout(_))))));
        assert!(events.next_deadline(past).is_pending());
        assert!(events.next_timeout(Duration::from_millis(20)).is_pending());
        events.handle().kill().expect("kill");
        let Poll::Ready(Some(Ok(Event::Exited(report)))) = events.next_timeout(PATIENCE) else {
            panic!("no end");
        };
        assert_eq!(report.reason, Reason::Killed);
    });
}

#[test]
fn a_deadline_in_the_past_still_gives_what_is_there() {
    arena(|| {
        let past = Instant::now();
        let mut events = puppet("print here touch done sleep forever").events().expect("events");
        wait_file("done");
        assert!(matches!(events.next_deadline(past), Poll::Ready(Some(Ok(Event::Stdout(_))))));
        assert!(events.next_deadline(past).is_pending());
    });
}

#[test]
fn another_thread_may_wait_and_stop_meanwhile() {
    arena(|| {
        let mut lines = puppet("print one await go sleep forever").lines().expect("lines");
        let handle = lines.handle();
        let waiter = std::thread::spawn(move || handle.wait());
        assert_eq!(line(&mut lines), "one");
        let handle = lines.handle();
        let stopper = std::thread::spawn(move || handle.stop());
        let error = lines.next().expect("an item").expect_err("it was stopped");
        let output = error.output().expect("its output");
        assert_eq!(output.report.reason, Reason::Stopped);
        assert_eq!(waiter.join().expect("join").expect("wait"), output.status);
        assert_eq!(stopper.join().expect("join").expect("stop"), output.status);
        assert_eq!(lines.handle().report().as_ref(), lines.report());
    });
}

#[test]
fn what_is_kept_and_writes_for_ever_keeps_nobody() {
    arena(|| {
        let script = "fork [ lock kept exec cat /dev/zero ] await go exit 0";
        let go = || {
            lock("kept").wait_held();
            std::fs::write("go", "").expect("write");
        };
        let stop_kept = |report: &Report| {
            assert_eq!(report.leftovers.len(), 1);
            // It may have found its pipe closed before.
            let _ = sys::kill(report.leftovers[0].pid as i32, libc_kill());
            lock("kept").wait_free(PATIENCE);
            std::fs::remove_file("go").expect("remove");
        };
        let mut command = puppet(script);
        command.leftovers(Leftovers::Keep);

        let mut events = command.events().expect("events");
        go();
        events.handle().wait().expect("wait");
        // What a pipe holds is all that may still come, however much is written meanwhile.
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(3));
            let event = events.next().expect("an item").expect("an event");
            if let Event::Exited(report) = event {
                stop_kept(&report);
                break;
            }
        }
        assert!(events.next().is_none());

        let mut lines = command.lines().expect("lines");
        go();
        lines.by_ref().for_each(drop);
        stop_kept(lines.report().expect("a report"));

        let waiter = std::thread::spawn(move || command.output().expect("output").report);
        go();
        stop_kept(&waiter.join().expect("join"));
    });
}

fn libc_kill() -> i32 {
    netrunner_sync::Signal::KILL.as_raw()
}

#[test]
fn a_reader_that_fails_is_reported() {
    arena(|| {
        let failing = || Input::reader(Failing(false));
        let error = puppet("cat").input(failing()).output().expect_err("output");
        assert_reader_failed(&error);
        assert_eq!(error.output().expect("its output").stdout, b"half\n");

        let mut command = puppet("cat");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let child = command.input(failing()).spawn().expect("spawn");
        assert_reader_failed(&child.wait_with_output().expect_err("wait_with_output"));

        let mut lines = puppet("cat").input(failing()).lines().expect("lines");
        assert_eq!(line(&mut lines), "half");
        assert_reader_failed(&lines.next().expect("an item").expect_err("lines"));
        assert!(lines.next().is_none() && lines.report().is_some());

        let mut events = puppet("cat").input(failing()).events().expect("events");
        assert_eq!(
            events.next().expect("an item").expect("a piece"),
            Event::Stdout(b"half\n".into())
        );
        assert_reader_failed(&events.next().expect("an item").expect_err("events"));
        assert!(matches!(events.next(), Some(Ok(Event::Exited(_)))));
        assert!(events.next().is_none());
    });
}

#[test]
fn a_reader_that_is_stuck_keeps_nobody_and_no_pipe() {
    arena(|| {
        puppet("exit 0").output().expect("output");
        let before = fd_count();
        let (_never, stuck) = mpsc::channel();
        let output = puppet("print done").input(Input::reader(Stuck(stuck))).output();
        assert_eq!(output.expect("output").stdout, b"done\n");
        let (_never, stuck) = mpsc::channel();
        let mut lines =
            puppet("print done").input(Input::reader(Stuck(stuck))).lines().expect("lines");
        assert_eq!(line(&mut lines), "done");
        assert!(lines.next().is_none());
        drop(lines);
        let (_never, stuck) = mpsc::channel();
        let mut command = puppet("exit 0");
        let mut child = command.input(Input::reader(Stuck(stuck))).spawn().expect("spawn");
        child.wait().expect("wait");
        drop(child);
        // Of each one bell is left, as long as its reader is stuck: the two threads share it. It is an
        // eventfd, or a pipe.
        wait_fd_count(before + if PORTABLE { 6 } else { 3 });
    });
}

#[test]
fn a_lost_shepherd_is_the_last_item() {
    arena(|| {
        let mut events = puppet("print x sleep forever").events().expect("events");
        assert!(matches!(events.next(), Some(Ok(Event::Stdout(_)))));
        signal(shepherd_of(events.handle().id()), libc_kill());
        let error = events.next().expect("an item").expect_err("an error");
        assert!(error.is_shepherd_lost(), "{error}");
        assert!(events.next().is_none());

        let mut lines = puppet("print x write y sleep forever").lines().expect("lines");
        assert_eq!(line(&mut lines), "x");
        signal(shepherd_of(lines.handle().id()), libc_kill());
        let mut rest: Vec<_> = lines.by_ref().collect();
        let error = rest.pop().expect("an item").expect_err("an error");
        assert!(error.is_shepherd_lost(), "{error}");
        wait_no_puppets(PATIENCE);
    });
}

on_terminals_too! {
    lines_come_while_the_command_runs
    lines_of_every_length_are_whole
    a_line_that_is_not_utf8_is_an_error_and_the_iteration_goes_on
    a_program_that_is_not_there_fails_before_the_first_item
    merged_outputs_come_as_one
    nothing_is_read_that_nobody_asked_for
    dropped_early_the_command_is_stopped_at_once
    an_item_has_a_deadline
    a_deadline_in_the_past_still_gives_what_is_there
    another_thread_may_wait_and_stop_meanwhile
    a_reader_that_fails_is_reported
    a_reader_that_is_stuck_keeps_nobody_and_no_pipe
    a_lost_shepherd_is_the_last_item
    a_failed_outcome_is_the_last_line
    input_is_fed_while_nobody_asks_for_an_item
    input_and_output_move_together
}
