//! P9 for a command that writes nothing: silence is told apart from an exit, and from a client that
//! does not read.

use std::io::{self, Read};
use std::time::Duration;

use netrunner_sync::{Event, Excess, Input, Reason, Stdio};
use netrunner_tests::pattern;
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::{PATIENCE, wait_until};

use crate::harness::*;

/// How long a command may be silent where it is to be found silent.
const IDLE: Duration = Duration::from_millis(300);

/// How long it may be where it must not: no pause of the machine is so long.
const LONG_IDLE: Duration = Duration::from_secs(3);

#[test]
fn silence_is_told_apart_and_what_was_written_is_kept() {
    arena(|| {
        let mut command = puppet("print early eprint more sleep forever");
        command.idle_timeout(IDLE);
        let output = command.output().expect("output");
        assert_eq!(output.report.reason, Reason::IdleTimeout);
        let all: (&[u8], &[u8]) =
            if on_terminals() { (b"early\nmore\n", b"") } else { (b"early\n", b"more\n") };
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), all);
        let error = command.run().expect_err("run");
        assert!(error.is_timeout() && !error.is_output_limit(), "{error}");
        assert_eq!(error.output().expect("its output").stdout, all.0);

        let mut lines = command.lines().expect("lines");
        assert_eq!(lines.next().expect("an item").expect("a line"), "early");
        if on_terminals() {
            assert_eq!(lines.next().expect("an item").expect("a line"), "more");
        }
        assert!(lines.next().expect("an item").expect_err("silence").is_timeout());

        let last = command.events().expect("events").last().expect("an item");
        let Ok(Event::Exited(report)) = last else { panic!("{last:?}") };
        assert_eq!(report.reason, Reason::IdleTimeout);

        off_terminals(&mut command, |it| it.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let output = command.spawn().expect("spawn").wait_with_output().expect("output");
        assert_eq!((output.report.reason, output.stdout.as_slice()), (Reason::IdleTimeout, all.0));
        assert!(!command.status().expect("status").success());
    });
}

#[test]
fn a_spawned_command_that_is_silent_is_stopped_though_nobody_waits() {
    arena(|| {
        let mut command = puppet("lock a print early sleep forever");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.idle_timeout(IDLE).spawn().expect("spawn");
        let mut line = [0; 6];
        let mut outlet = outlet(&mut child);
        outlet.read_exact(&mut line).expect("read");
        lock("a").wait_free(PATIENCE);
        assert!(!child.wait().expect("wait").success());
        assert_eq!(child.report().expect("a report").reason, Reason::IdleTimeout);
    });
}

#[test]
fn a_command_without_outputs_is_silent() {
    arena(|| {
        let mut command = puppet("close 1 close 2 sleep forever");
        let output = command.idle_timeout(IDLE).output().expect("output");
        assert_eq!(output.report.reason, Reason::IdleTimeout);
        // So is one whose client does not want to hear of it.
        let mut command = puppet("sleep forever");
        command.stdout(Stdio::piped()).idle_timeout(IDLE);
        let mut child = command.spawn().expect("spawn");
        drop(child.stdout.take());
        child.wait().expect("wait");
        assert_eq!(child.report().expect("a report").reason, Reason::IdleTimeout);
    });
}

#[test]
fn reading_input_is_no_sign_of_life() {
    arena(|| {
        struct Drip;
        impl Read for Drip {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                std::thread::sleep(Duration::from_millis(5));
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let mut command = puppet("print early count");
        let output = command.input(Input::reader(Drip)).idle_timeout(IDLE).output();
        assert_eq!(output.expect("output").report.reason, Reason::IdleTimeout);
    });
}

#[test]
fn any_byte_on_either_output_is_a_sign_of_life() {
    arena(|| {
        // For longer than the limit, by turns.
        let script = "print x sleep 0.7 eprint x sleep 0.7 ".repeat(4);
        let mut command = puppet(&script);
        command.idle_timeout(LONG_IDLE);
        let output = command.output().expect("output");
        assert_eq!((output.report.reason, output.stdout.len()), (Reason::Exited, 8));
        // Discarded ones, too.
        command.max_output(1).excess(Excess::Discard);
        let output = command.output().expect("output");
        assert_eq!((output.report.reason, output.report.io.discarded), (Reason::Exited, 14));
    });
}

#[test]
fn a_client_that_reads_slowly_does_not_make_its_command_idle() {
    arena(|| {
        let mut command = puppet("spew 1000000");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.idle_timeout(IDLE).spawn().expect("spawn");
        wait_until("a full pipe", PATIENCE, || {
            Proc::get(child.id()).is_some_and(|proc| proc.state == 'S')
        });
        std::thread::sleep(IDLE * 4);
        assert_eq!(child.try_wait().expect("try_wait"), None);
        let mut read = Vec::new();
        outlet(&mut child).read_to_end(&mut read).expect("read");
        pattern::check(&read, 1_000_000);
        assert_eq!(child.wait().expect("wait").code(), Some(0));
        assert_eq!(child.report().expect("a report").reason, Reason::Exited);
    });
}

#[test]
fn time_in_which_nobody_asks_for_an_item_does_not_count() {
    arena(|| {
        // Silent for longer than the limit while the caller is away, and not a moment longer.
        let mut command = puppet("print one await go print two print three");
        let mut lines = command.idle_timeout(LONG_IDLE).lines().expect("lines");
        assert_eq!(lines.next().expect("an item").expect("a line"), "one");
        std::thread::sleep(LONG_IDLE + IDLE);
        std::fs::write("go", "").expect("write");
        assert_eq!(lines.next().expect("an item").expect("a line"), "two");
        assert_eq!(lines.next().expect("an item").expect("a line"), "three");
        assert!(lines.next().is_none());
    });
}

#[test]
fn time_with_and_without_a_caller_adds_up() {
    arena(|| {
        use std::task::Poll;
        let mut command = puppet("print one sleep forever");
        let mut events = command.idle_timeout(IDLE).events().expect("events");
        assert!(matches!(events.next(), Some(Ok(Event::Stdout(_)))));
        // Many short looks are as good as a long one: the clock goes on where it stood.
        let end = loop {
            match events.next_timeout(Duration::from_millis(10)) {
                Poll::Pending => std::thread::sleep(Duration::from_millis(1)),
                Poll::Ready(item) => break item.expect("an item").expect("an event"),
            }
        };
        let Event::Exited(report) = end else { panic!("{end:?}") };
        assert_eq!(report.reason, Reason::IdleTimeout);
    });
}

#[test]
fn a_stream_that_another_reads_is_not_listened_to() {
    arena(|| {
        let mut command = puppet("print one await go print two");
        command.stdout(Stdio::piped()).idle_timeout(IDLE);
        let mut child = command.spawn().expect("spawn");
        let stdout = std::os::fd::OwnedFd::from(child.stdout.take().expect("stdout"));
        std::thread::sleep(IDLE * 3);
        std::fs::write("go", "").expect("write");
        let mut text = String::new();
        std::fs::File::from(stdout).read_to_string(&mut text).expect("read");
        assert_eq!(text, "one\ntwo\n");
        assert_eq!(child.wait().expect("wait").code(), Some(0));
    });
}

#[test]
fn the_limits_end_when_the_command_is_detached() {
    arena(|| {
        let mut command = puppet("lock a await go");
        command.stdout(Stdio::piped()).idle_timeout(IDLE);
        let mut child = command.spawn().expect("spawn");
        lock("a").wait_held();
        let stdout = child.stdout.take();
        child.detach();
        std::thread::sleep(IDLE * 3);
        lock("a").assert_held();
        std::fs::write("go", "").expect("write");
        lock("a").wait_free(PATIENCE);
        drop(stdout);
    });
}

on_terminals_too! {
    silence_is_told_apart_and_what_was_written_is_kept
    a_spawned_command_that_is_silent_is_stopped_though_nobody_waits
    reading_input_is_no_sign_of_life
    a_client_that_reads_slowly_does_not_make_its_command_idle
    time_in_which_nobody_asks_for_an_item_does_not_count
    time_with_and_without_a_caller_adds_up
}
