//! P9 for what a command writes: exactly as much as was allowed, and told apart from an exit.

use std::io::{self, Read};
use std::time::Duration;

use netrunner_sync::{Command, Event, Excess, Output, Reason, Stdio};
use netrunner_tests::pattern;
use netrunner_tests::wait::PATIENCE;

use crate::harness::*;

/// How long a command may be silent where it is to be found silent.
const IDLE: Duration = Duration::from_millis(300);

/// How long it may be where it must not: no pause of the machine is so long.
const LONG_IDLE: Duration = Duration::from_secs(3);

#[track_caller]
fn assert_limited(output: &Output, size: usize, limit: usize) {
    pattern::check(&output.stdout, size.min(limit));
    let report = &output.report;
    assert_eq!(report.io.stdout, size.min(limit) as u64);
    if size > limit {
        assert_eq!(report.reason, Reason::OutputLimit, "{size} of {limit}");
        assert!(report.io.discarded > 0, "{size} of {limit}: {:?}", report.io);
    } else {
        assert_eq!((report.reason, output.status.code()), (Reason::Exited, Some(0)));
        assert_eq!(report.io.discarded, 0);
    }
}

/// Limits, each met exactly and missed by one byte.
fn for_each_limit(test: impl Fn(usize, usize)) {
    for limit in [0, 1, 4_096, 65_536, 200_000] {
        for size in [limit, limit + 1] {
            test(size, limit);
        }
    }
    test(10_000_000, 100_000);
}

#[test]
fn exactly_so_many_bytes_are_kept() {
    arena(|| {
        for_each_limit(|size, limit| {
            let mut command = puppet(&format!("spew {size}"));
            command.max_output(limit as u64);
            assert_limited(&command.output().expect("output"), size, limit);
            match command.run() {
                Ok(output) => assert!(size <= limit && output.stdout.len() == size),
                Err(error) => assert!(size > limit && error.is_output_limit(), "{error}"),
            }
            off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
            let child = command.spawn().expect("spawn");
            assert_limited(&child.wait_with_output().expect("wait_with_output"), size, limit);
        });
    });
}

#[test]
fn exactly_so_many_bytes_come_as_events() {
    arena(|| {
        for_each_limit(|size, limit| {
            let mut command = puppet(&format!("spew {size}"));
            let mut stdout = Vec::new();
            for event in command.max_output(limit as u64).events().expect("events") {
                match event.expect("an event") {
                    Event::Stdout(bytes) => stdout.extend(bytes),
                    Event::Exited(report) => {
                        let too_much = report.reason == Reason::OutputLimit;
                        assert_eq!(too_much, size > limit, "{report:?}");
                        assert_eq!(report.io.stdout, size.min(limit) as u64);
                    }
                    other @ (Event::Stderr(_) | _) => panic!("{other:?}"),
                }
            }
            pattern::check(&stdout, size.min(limit));
        });
    });
}

#[test]
fn lines_end_at_the_limit() {
    arena(|| {
        let mut command = puppet("print one print two sleep forever");
        let mut lines = command.max_output(6).lines().expect("lines");
        assert_eq!(lines.next().expect("an item").expect("a line"), "one");
        assert_eq!(lines.next().expect("an item").expect("a line"), "tw");
        assert!(lines.next().expect("an item").expect_err("the limit").is_output_limit());
        assert!(lines.next().is_none());
    });
}

#[test]
fn a_stream_read_by_hand_ends_at_the_limit() {
    arena(|| {
        for_each_limit(|size, limit| {
            let mut command = puppet(&format!("spew {size}"));
            off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
            let mut child = command.max_output(limit as u64).spawn().expect("spawn");
            let mut read = Vec::new();
            // Closed after the end: a terminal would be hung up by it.
            let mut outlet = outlet(&mut child);
            outlet.read_to_end(&mut read).expect("read");
            pattern::check(&read, size.min(limit));
            let status = child.wait().expect("wait");
            let reason = child.report().expect("a report").reason;
            if size > limit {
                assert_eq!(reason, Reason::OutputLimit);
            } else {
                assert_eq!((reason, status.code()), (Reason::Exited, Some(0)));
            }
        });
    });
}

#[test]
fn the_limit_is_the_same_however_it_is_read() {
    arena(|| {
        let mut command = puppet("spew 100000");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.max_output(50_000).spawn().expect("spawn");
        let mut read = vec![0; 10];
        let (mut first, mut second) = ([0; 3], [0; 7]);
        let mut buffers = [io::IoSliceMut::new(&mut first), io::IoSliceMut::new(&mut second)];
        let count = shown(&child).read_vectored(&mut buffers).expect("read_vectored");
        assert!((1..=10).contains(&count));
        read[..3].copy_from_slice(&first);
        read[3..].copy_from_slice(&second);
        read.truncate(count);
        let far = std::time::Instant::now() + PATIENCE;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match read_deadline(&child, &mut buffer, far).expect("read_deadline") {
                0 => break,
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
        pattern::check(&read, 50_000);
        assert_eq!(shown(&child).read(&mut buffer).expect("read"), 0);
        child.wait().expect("wait");
        assert_eq!(child.report().expect("a report").reason, Reason::OutputLimit);
    });
}

#[test]
fn the_limit_is_for_each_output() {
    arena(|| {
        let mut command = puppet("both 1000");
        let output = command.max_output(1000).output().expect("output");
        assert_eq!(output.report.reason, Reason::Exited);
        pattern::check(&output.stdout, 1000);
        pattern::check(&output.stderr, 1000);
        let output = puppet("spew 999 espew 1001 sleep forever").max_output(1000).output();
        let output = output.expect("output");
        assert_eq!(output.report.reason, Reason::OutputLimit);
        pattern::check(&output.stdout, 999);
        pattern::check(&output.stderr, 1000);
        // Merged they are one.
        let mut command = puppet("spew 600 espew 600 sleep forever");
        let output = command.stderr_to_stdout().max_output(1000).output().expect("output");
        assert_eq!((output.report.reason, output.stdout.len()), (Reason::OutputLimit, 1000));
    });
}

#[test]
fn one_byte_too_many_counts_also_of_a_command_that_has_ended() {
    arena(|| {
        // It exits by itself before anybody could stop it.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let output = puppet("write 12345").max_output(4).output().expect("output");
                        assert_eq!(output.stdout, b"1234");
                        assert_eq!(output.report.reason, Reason::OutputLimit);
                    }
                });
            }
        });
        // Unread, too.
        let mut command = puppet("write 12345");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.max_output(4).spawn().expect("spawn");
        assert_eq!(child.wait().expect("wait").code(), Some(0));
        assert_eq!(child.report().expect("a report").reason, Reason::OutputLimit);
        let mut read = Vec::new();
        outlet(&mut child).read_to_end(&mut read).expect("read");
        assert_eq!(read, b"1234");
    });
}

#[test]
fn a_command_that_writes_on_while_it_is_stopped_is_killed_after_its_grace() {
    arena(|| {
        let mut command = puppet("ignore TERM spew 100000000000");
        let output = command.max_output(100_000).output().expect("output");
        pattern::check(&output.stdout, 100_000);
        assert_eq!(output.report.reason, Reason::OutputLimit);
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(output.status.signal(), Some(9));
    });
}

#[test]
fn excess_is_discarded_where_that_was_asked_for() {
    arena(|| {
        let mut command = puppet("both 1000000 touch written exit 5");
        command.max_output(1000).excess(Excess::Discard);
        let output = command.output().expect("output");
        pattern::check(&output.stdout, 1000);
        pattern::check(&output.stderr, 1000);
        assert_eq!((output.report.reason, output.status.code()), (Reason::Exited, Some(5)));
        assert_eq!(output.report.io.discarded, 2 * 999_000);

        let mut lines = command.lines().expect("lines");
        let count: usize = lines.by_ref().filter_map(Result::ok).map(|line| line.len()).sum();
        assert!(count <= 1000);
        assert_eq!(lines.report().expect("a report").io.discarded, 2 * 999_000);
    });
}

#[test]
fn excess_is_discarded_when_the_reader_has_gone_home() {
    arena(|| {
        let mut command = puppet("spew 3000000 touch written exit 5");
        command.stdout(Stdio::piped()).max_output(1000).excess(Excess::Discard);
        let mut child = command.spawn().expect("spawn");
        let mut head = Vec::new();
        child.stdout.take().expect("stdout").read_to_end(&mut head).expect("read");
        pattern::check(&head, 1000);
        assert_eq!(child.wait().expect("wait").code(), Some(5));
        assert!(std::path::Path::new("written").exists());
        let report = child.report().expect("a report");
        assert_eq!((report.reason, report.io.stdout), (Reason::Exited, 1000));
        assert!(report.io.discarded <= 2_999_000);
    });
}

#[test]
fn a_stream_that_is_dropped_before_its_limit_is_closed() {
    arena(|| {
        use std::os::unix::process::ExitStatusExt as _;
        let mut command = puppet("default PIPE spew 1000000 exit 3");
        command.stdout(Stdio::piped()).max_output(500_000).idle_timeout(LONG_IDLE);
        let mut child = command.spawn().expect("spawn");
        child.stdout.take().expect("stdout").read_exact(&mut [0; 10]).expect("read");
        assert_eq!(child.wait().expect("wait").signal(), Some(13));
    });
}

#[test]
fn no_descriptor_is_left_of_a_limit() {
    arena(|| {
        puppet("exit 0").output().expect("output");
        let before = fd_count();
        // What fits into any pipe, as some of them are not read.
        for script in ["spew 4000", "spew 10 exit 1", "close 1 close 2 exit 0"] {
            let mut command = puppet(script);
            command.max_output(1000).idle_timeout(LONG_IDLE);
            command.output().expect("output");
            command.lines().expect("lines").for_each(drop);
            drop(command.events().expect("events"));
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("spawn").wait().expect("wait");
            drop(command.spawn().expect("spawn"));
            let mut child = command.spawn().expect("spawn");
            let stdout = std::os::fd::OwnedFd::from(child.stdout.take().expect("stdout"));
            drop(child);
            drop(stdout);
        }
        wait_fd_count(before);
    });
}

#[test]
fn a_limit_that_cannot_be_held_is_invalid_input() {
    arena(|| {
        let file = || Stdio::from(std::fs::File::create("out").expect("create"));
        let invalid = |set: &dyn Fn(&mut Command)| {
            let mut command = puppet("exit 0");
            set(&mut command);
            let error = command.spawn().expect_err("spawn");
            assert!(error.is_invalid_input(), "{error}");
            error.to_string()
        };
        let text = invalid(&|command| {
            command.max_output(1);
        });
        assert!(text.contains("max_output"), "{text}");
        let text = invalid(&|command| {
            command.idle_timeout(IDLE);
        });
        assert!(text.contains("idle_timeout"), "{text}");
        invalid(&|command| {
            command.max_output(1).stdout(Stdio::null()).stderr(Stdio::null());
        });
        invalid(&|command| {
            command.idle_timeout(IDLE).stdout(file()).stderr_to_stdout();
        });
        invalid(&|command| {
            command.max_output(1).stdout(file()).stderr(Stdio::piped());
        });
        invalid(&|command| {
            command.max_output(1).stdout(Stdio::piped()).stderr(file());
        });

        let mut command = puppet("exit 0");
        assert!(command.max_output(1).status().expect_err("status").is_invalid_input());
        let mut command = puppet("exit 0");
        command.max_output(1).stdout(file()).stderr(Stdio::null());
        assert!(command.output().expect_err("output").is_invalid_input());
        // Nothing was consumed, so that the command can be mended.
        assert!(command.lines().expect_err("lines").is_invalid_input());
        assert!(command.stdout(Stdio::piped()).output().expect("output").status.success());

        // One pipe is enough where nothing was said about the other.
        let mut command = puppet("exit 0");
        let mut child = command.stdout(Stdio::piped()).max_output(1).spawn().expect("spawn");
        child.wait().expect("wait");
        let mut command = puppet("exit 0");
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).idle_timeout(LONG_IDLE);
        assert!(command.status().expect("status").success());
    });
}

on_terminals_too! {
    the_limit_is_the_same_however_it_is_read
    exactly_so_many_bytes_are_kept
    exactly_so_many_bytes_come_as_events
    lines_end_at_the_limit
    a_stream_read_by_hand_ends_at_the_limit
    one_byte_too_many_counts_also_of_a_command_that_has_ended
    a_command_that_writes_on_while_it_is_stopped_is_killed_after_its_grace
}
