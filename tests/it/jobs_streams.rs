//! `Jobs`: their inputs and outputs. Nothing is lost, nothing is mixed inside a line, and memory is
//! bounded by what is kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::sync::mpsc::channel;
use std::time::Duration;

use netrunner_sync::{Command, Jobs, Reason, Stdio, Stream, WinSize};
use netrunner_tests::pattern;

use crate::harness::*;
use crate::p7_memory::{LITTLE, in_little_memory};

#[test]
fn every_byte_in_and_out_of_each_job_is_its_own() {
    arena(|| {
        let mut jobs = Jobs::new(8);
        let input = |n: usize| -> Vec<u8> { vec![b'a' + n as u8; 200_000 + n] };
        for n in 0..20 {
            // More than pipes hold, both ways at once.
            let mut command = puppet("cat espew 300000");
            command.input(input(n));
            jobs.push(command);
        }
        let mut told = 0;
        for finished in jobs {
            let output = finished.result.expect("it ran");
            assert!(output.stdout == input(finished.id.index()));
            pattern::check(&output.stderr, 300_000);
            assert_eq!(output.report.io.stdin, output.stdout.len() as u64);
            told += 1;
        }
        assert_eq!(told, 20);
    });
}

#[test]
fn a_job_reads_nothing_unless_it_is_given_something() {
    arena(|| {
        let mut jobs = Jobs::new(2);
        jobs.push(puppet("count"));
        let mut given = puppet("count");
        given.input("four");
        jobs.push(given);
        jobs.in_order(true);
        let out: Vec<_> = jobs.map(|finished| finished.result.expect("it ran").stdout).collect();
        assert_eq!(out, [b"0\n", b"4\n"]);
    });
}

/// A script that writes its lines a byte or some at a time, so that those of several mix if they can.
fn slow_lines(n: usize) -> String {
    let mut script = String::new();
    for line in 0..40 {
        for part in 0..3 {
            script.push_str(&format!("write {n}-{line}-{part}; "));
        }
        script.push_str("print end ");
    }
    script
}

#[test]
fn lines_of_many_jobs_are_never_mixed() {
    arena(|| {
        let (sender, lines) = channel();
        let mut jobs = Jobs::new(8);
        jobs.on_line(move |line| {
            sender.send((line.id.index(), line.stream, line.line.to_vec())).unwrap();
        });
        for n in 0..8 {
            jobs.push(puppet(&format!("{} eprint oh write half", slow_lines(n))));
        }
        for finished in jobs {
            let output = finished.result.expect("it ran");
            assert!(output.stdout.is_empty() && output.stderr.is_empty());
            assert!(output.report.io.stdout > 500);
        }
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, stream, line) in lines.try_iter() {
            let line = String::from_utf8(line).expect("text");
            found.entry((index, stream == Stream::Stderr)).or_default().push(line);
        }
        for n in 0..8 {
            let mut expected: Vec<_> = (0..40)
                .map(|line| format!("{n}-{line}-0;{n}-{line}-1;{n}-{line}-2;end\n"))
                .collect();
            expected.push("half".to_owned());
            assert_eq!(found[&(n, false)], expected);
            assert_eq!(found[&(n, true)], ["oh\n"]);
        }
    });
}

#[test]
fn a_line_is_told_while_the_job_still_runs() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        jobs.on_line(|line| {
            assert_eq!(line.line, b"ready\n");
            fs::write("go", "").expect("let it end");
        });
        jobs.push(puppet("print ready await go"));
        assert!(jobs.next().expect("told").is_success());
    });
}

#[test]
fn long_outputs_go_to_files_that_have_no_name() {
    arena(|| {
        let mut jobs = Jobs::new(4);
        jobs.spill(10_000).in_order(true);
        for count in [0, 9_999, 10_000, 1_000_000] {
            jobs.push(puppet(&format!("both {count}")));
        }
        for (finished, count) in jobs.zip([0_u64, 9_999, 10_000, 1_000_000]) {
            let output = finished.result.expect("it ran");
            let streams =
                [(output.stdout, output.stdout_file), (output.stderr, output.stderr_file)];
            for (kept, file) in streams {
                let mut all = kept;
                assert_eq!(file.is_some(), count > 10_000);
                if let Some(file) = file {
                    assert!(all.is_empty());
                    assert_eq!(file.len(), count);
                    file.reader().read_to_end(&mut all).expect("read it");
                }
                pattern::check(&all, count as usize);
            }
            assert_eq!(output.report.io.stdout, count);
        }
        // TMPDIR of the arena.
        let left = fs::read_dir(std::env::temp_dir()).expect("look").count();
        assert_eq!(left, 0);
    });
}

#[test]
fn an_output_that_finds_no_place_stops_its_job_and_says_so() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        jobs.spill(0);
        jobs.push(puppet("print gone sleep forever"));
        let nowhere = "/no/such/directory";
        netrunner_tests::sys::set_var("TMPDIR", nowhere);
        let error = jobs.next().expect("told").result.expect_err("there is no place");
        assert!(error.to_string().contains("temporary file"), "{error}");
        let output = error.output().expect("it ran");
        assert_eq!((&output.stdout[..], output.report.reason), (&b"gone\n"[..], Reason::Stopped));

        // Nor does it find a place in memory.
        let mut endless = puppet("ignore TERM spew 1000000000");
        endless.grace(Duration::from_millis(300));
        jobs.push(endless);
        let error = jobs.next().expect("told").result.expect_err("there is no place");
        let output = error.output().expect("it ran");
        assert!(output.stdout.len() < 1 << 20, "{}", output.stdout.len());
        assert_eq!(output.report.reason, Reason::Stopped);
    });
}

#[test]
fn memory_is_bounded_by_what_is_kept() {
    arena(|| {
        in_little_memory(|| {
            let mut jobs = Jobs::new(4);
            jobs.spill(1 << 20);
            for _ in 0..6 {
                let mut command = Command::new("head");
                command.args(["-c", &LITTLE.to_string(), "/dev/zero"]);
                jobs.push(command);
            }
            let mut limited = Command::new("yes");
            limited.max_output(100_000);
            jobs.push(limited);
            let mut total = 0;
            for finished in jobs {
                let output = finished.result.expect("it ran");
                if output.report.reason == Reason::OutputLimit {
                    assert_eq!(output.stdout.len(), 100_000);
                } else {
                    total += output.stdout_file.expect("a file").len();
                }
            }
            assert_eq!(total, 6 * LITTLE);
        });
    });
}

#[test]
fn what_is_passed_through_comes_out_where_this_process_writes() {
    arena(|| {
        let mut jobs = Jobs::new(1);
        jobs.pass_through(true);
        jobs.push(puppet("print out-of-a-job eprint err-of-a-job"));
        let mut captured = puppet("print captured-all-the-same");
        captured.stdout(Stdio::piped());
        jobs.push(captured);
        jobs.in_order(true);
        let outputs: Vec<_> = jobs.map(|finished| finished.result.expect("it ran")).collect();
        assert!(outputs[0].stdout.is_empty() && outputs[0].stderr.is_empty());
        assert_eq!(outputs[1].stdout, b"captured-all-the-same\n");
        // The arena's log is what this process writes to.
        let log = fs::read_to_string("../log").expect("the log");
        assert!(log.contains("out-of-a-job") && log.contains("err-of-a-job"), "{log}");
    });
}

#[test]
fn jobs_may_have_terminals_of_their_own() {
    arena(|| {
        let mut jobs = Jobs::new(3);
        for n in 0..6 {
            let mut command = puppet("print shown cat");
            command.pty(WinSize::new(24, 80)).input(format!("typed {n}\n"));
            jobs.push(command);
        }
        let mut told = 0;
        for finished in jobs {
            let output = finished.result.expect("it ran");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("shown\r\n"), "{text:?}");
            let typed = format!("typed {}\r\n", finished.id.index());
            // By the terminal, and by the command.
            assert_eq!(text.matches(&typed).count(), 2, "{text:?}");
            told += 1;
        }
        assert_eq!(told, 6);
    });
}

#[test]
fn fewer_run_at_a_time_where_descriptors_are_short_and_none_is_lost() {
    arena(|| {
        let mut jobs = Jobs::new(100);
        for n in 0..100 {
            jobs.push(puppet(&format!("print {n}")));
        }
        let limit = fd_count() as u64 + 40;
        netrunner_tests::sys::set_soft_limit(libc::RLIMIT_NOFILE, limit).expect("a limit");
        let good = jobs.by_ref().filter(netrunner_sync::Finished::is_success).count();
        assert_eq!(good, 100);
    });
}
