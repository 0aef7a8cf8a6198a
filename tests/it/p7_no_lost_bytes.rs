//! P7: all output written before the exit can be read after it; feeding stdin while reading both
//! outputs never deadlocks; data flows only as fast as it is read.

use std::fs::File;
use std::io::{Read, Write as _};
use std::time::Duration;

use netrunner_sync::{Input, Stdio};
use netrunner_tests::pattern;
use netrunner_tests::procs::Proc;
use netrunner_tests::wait::wait_until;

use crate::harness::*;

const SIZES: [usize; 8] =
    [0, 1, 16 * 1024, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1 << 20, 4 << 20];

#[test]
fn stdout_of_every_size_is_complete() {
    arena(|| {
        for size in SIZES {
            let output = puppet(&format!("spew {size}")).output().expect("output");
            pattern::check(&output.stdout, size);
            assert!(output.stderr.is_empty());
        }
    });
}

#[test]
fn both_outputs_of_every_size_are_complete() {
    arena(|| {
        for size in SIZES {
            let output = puppet(&format!("both {size} exit 3")).output().expect("output");
            pattern::check(&output.stdout, size);
            pattern::check(&output.stderr, size);
            assert_eq!(output.status.code(), Some(3));
        }
    });
}

#[test]
fn one_output_after_the_other_does_not_deadlock() {
    arena(|| {
        let output = puppet("espew 1000000 spew 1000000 espew 0").output().expect("output");
        pattern::check(&output.stdout, 1_000_000);
        pattern::check(&output.stderr, 1_000_000);
    });
}

#[test]
fn input_of_every_size_comes_back_complete() {
    arena(|| {
        for size in SIZES {
            let output = puppet("cat").input(fed(size)).output().expect("output");
            check_fed(&output.stdout, size);
        }
    });
}

#[test]
fn input_goes_on_while_the_other_output_is_full() {
    arena(|| {
        let output = puppet("espew 300000 ecat spew 300000")
            .input(pattern::bytes(0))
            .output()
            .expect("output");
        pattern::check(&output.stdout, 300_000);
        pattern::check(&output.stderr, 300_000);
        let output =
            puppet("spew 300000 cat").input(pattern::bytes(500_000)).output().expect("output");
        pattern::check(&output.stdout[..300_000], 300_000);
        pattern::check(&output.stdout[300_000..], 500_000);
    });
}

#[test]
fn a_child_that_never_reads_its_input_is_no_error() {
    arena(|| {
        let output = puppet("print done exit 4").input(vec![1; 1 << 20]).output().expect("output");
        assert_eq!(output.stdout, b"done\n");
        assert_eq!(output.status.code(), Some(4));
    });
}

#[test]
fn a_child_that_closes_its_input_early_goes_on() {
    arena(|| {
        let output =
            puppet("close 0 spew 200000 exit 4").input(vec![1; 1 << 20]).output().expect("output");
        pattern::check(&output.stdout, 200_000);
        assert_eq!(output.status.code(), Some(4));
    });
}

#[test]
fn input_from_a_file_a_reader_and_text() {
    arena(|| {
        std::fs::write("input", fed(200_000)).expect("write");
        let output =
            puppet("cat").input(File::open("input").expect("open")).output().expect("from a file");
        check_fed(&output.stdout, 200_000);
        let reader = std::io::Cursor::new(fed(300_000));
        let output = puppet("cat").input(Input::reader(reader)).output().expect("from a reader");
        check_fed(&output.stdout, 300_000);
        assert_eq!(puppet("cat").input("text").output().expect("from text").stdout, b"text");
        assert_eq!(
            puppet("cat").input(String::from("text")).output().expect("from a string").stdout,
            b"text"
        );
        assert_eq!(puppet("count").input("").output().expect("of nothing").stdout, b"0\n");
    });
}

#[test]
fn a_slow_reader_as_input_loses_nothing() {
    arena(|| {
        struct Drip(usize);
        impl Read for Drip {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if self.0 == 50 {
                    return Ok(0);
                }
                // Slower than the child reads, so that it waits in between.
                std::thread::sleep(Duration::from_millis(2));
                buffer[0] = fed(50)[self.0];
                self.0 += 1;
                Ok(1)
            }
        }
        let output = puppet("cat").input(Input::reader(Drip(0))).output().expect("output");
        check_fed(&output.stdout, 50);
    });
}

#[test]
fn text_input_is_replayed_for_the_second_run() {
    arena(|| {
        let mut command = puppet("cat");
        command.input("again");
        for _ in 0..3 {
            assert_eq!(command.output().expect("output").stdout, b"again");
        }
    });
}

#[test]
fn what_was_written_before_the_exit_is_read_after_it() {
    arena(|| {
        // What fits into any pipe, so that the child ends before anybody reads: of a user with many
        // pipes a new one holds a single page (pipe(7)).
        let mut command = puppet("spew 4000 espew 4000");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.stderr(Stdio::piped()).spawn().expect("spawn");
        assert!(child.wait().expect("wait").success());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        outlet(&mut child).read_to_end(&mut stdout).expect("read");
        child.stderr.take().expect("stderr").read_to_end(&mut stderr).expect("read");
        pattern::check(&stdout, 4_000);
        pattern::check(&stderr, 4_000);

        let mut child = command.spawn().expect("spawn");
        assert!(child.wait().expect("wait").success());
        let output = child.wait_with_output().expect("output");
        pattern::check(&output.stdout, 4_000);
        pattern::check(&output.stderr, 4_000);
    });
}

#[test]
fn what_was_written_before_a_kill_is_kept() {
    arena(|| {
        let output = puppet("spew 50000 die KILL").output().expect("output");
        pattern::check(&output.stdout, 50_000);
        let output = puppet("spew 50000 sleep forever")
            .timeout(Duration::from_millis(700))
            .output()
            .expect("output");
        pattern::check(&output.stdout, 50_000);
    });
}

#[test]
fn a_child_that_nobody_reads_waits() {
    arena(|| {
        let mut command = puppet("spew 1000000 touch written sleep forever");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.spawn().expect("spawn");
        // Asleep, in the middle of it, and not because it is done.
        wait_until("a full pipe", GRACE_AND_2S, || {
            std::fs::read_to_string(format!("/proc/{}/wchan", child.id()))
                .is_ok_and(|wchan| wchan.contains("pipe"))
                || Proc::get(child.id()).is_some_and(|proc| proc.state == 'S')
        });
        assert!(child.wait_timeout(GRACE).expect("wait").is_none());
        assert!(!std::path::Path::new("written").exists(), "somebody read what nobody asked for");
        let mut all = vec![0; 1_000_000];
        let mut outlet = outlet(&mut child);
        outlet.read_exact(&mut all).expect("read");
        pattern::check(&all, 1_000_000);
        wait_file("written");
        child.stop().expect("stop");
    });
}

#[test]
fn reads_and_writes_by_hand_move_everything() {
    arena(|| {
        let mut command = puppet("cat");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawn");
        let mut stdin = child.stdin.take().expect("stdin");
        let writer = std::thread::spawn(move || stdin.write_all(&pattern::bytes(3_000_000)));
        let mut back = Vec::new();
        child.stdout.take().expect("stdout").read_to_end(&mut back).expect("read");
        writer.join().expect("join").expect("write");
        pattern::check(&back, 3_000_000);
        assert!(child.wait().expect("wait").success());
    });
}

#[test]
fn a_child_may_feed_another() {
    arena(|| {
        let mut command = puppet("spew 500000");
        let mut first = command.stdout(Stdio::piped()).spawn().expect("spawn");
        let mut command = puppet("count");
        let output = command.stdin(first.stdout.take().expect("stdout")).output().expect("output");
        assert_eq!(output.stdout, b"500000\n");
        assert!(first.wait().expect("wait").success());
    });
}

#[test]
fn merged_outputs_keep_their_order() {
    arena(|| {
        let output = puppet("print 1 eprint 2 print 3 eprint 4")
            .stderr_to_stdout()
            .output()
            .expect("output");
        assert_eq!(output.stdout, b"1\n2\n3\n4\n");
        assert!(output.stderr.is_empty());
    });
}

#[test]
fn eight_threads_move_a_megabyte_each_both_ways() {
    arena(|| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..3 {
                        let output = puppet("cat").input(fed(1 << 20)).output().expect("output");
                        check_fed(&output.stdout, 1 << 20);
                    }
                });
            }
        });
    });
}

on_terminals_too! {
    stdout_of_every_size_is_complete
    a_child_that_never_reads_its_input_is_no_error
    a_child_that_closes_its_input_early_goes_on
    text_input_is_replayed_for_the_second_run
    what_was_written_before_a_kill_is_kept
    a_child_that_nobody_reads_waits
    merged_outputs_keep_their_order
    input_of_every_size_comes_back_complete
    input_from_a_file_a_reader_and_text
    a_slow_reader_as_input_loses_nothing
    what_was_written_before_the_exit_is_read_after_it
    eight_threads_move_a_megabyte_each_both_ways
}
