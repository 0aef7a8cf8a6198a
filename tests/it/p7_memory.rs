//! P7: memory is bounded by what was asked to be kept, while gigabytes flow.

use std::io::Read;

use netrunner_sync::{Command, Event, Excess, Input, Stdio};
use netrunner_tests::procs;

use crate::harness::*;

/// More than all the memory that a test may take. A terminal is slower.
fn much() -> u64 {
    bulk(if on_terminals() { 1 << 28 } else { 1 << 30 }).max(2 * LITTLE)
}

/// What a body may take on top of what it had: buffers, and what the allocator keeps.
pub(crate) const LITTLE: u64 = 64 << 20;

/// The most memory that this process ever had resident, in bytes.
fn peak() -> u64 {
    let lines = procs::status_lines(std::process::id(), &["VmHWM"]);
    let kib = lines.first().and_then(|line| line.split(' ').nth(1)).expect("VmHWM");
    kib.parse::<u64>().expect("a number") << 10
}

#[track_caller]
pub(crate) fn in_little_memory(work: impl FnOnce()) {
    let before = peak();
    work();
    let more = peak() - before;
    assert!(more < LITTLE, "{more} bytes more");
}

fn flood() -> Command {
    let mut command = Command::new("head");
    command.args(["-c", &much().to_string(), "/dev/zero"]);
    connect(&mut command);
    command
}

#[test]
fn events_of_gigabytes_take_little_memory() {
    arena(|| {
        in_little_memory(|| {
            let mut count = 0;
            for event in flood().events().expect("events") {
                match event.expect("an event") {
                    Event::Stdout(bytes) => count += bytes.len() as u64,
                    Event::Exited(report) => assert_eq!(report.io.stdout, much()),
                    other @ (Event::Stderr(_) | _) => panic!("{other:?}"),
                }
            }
            assert_eq!(count, much());
        });
    });
}

#[test]
fn a_flood_of_lines_takes_little_memory() {
    arena(|| {
        in_little_memory(|| {
            let mut count = 0;
            let mut command = Command::new("sh");
            let expected = much() / 10_000;
            let text = "x".repeat(9_999);
            command.args(["-c", &format!("yes {text} | head -n {expected}")]);
            connect(&mut command);
            for line in command.lines().expect("lines") {
                count += line.expect("a line").len() as u64 + 1;
            }
            assert_eq!(count, 10_000 * expected);
        });
    });
}

#[test]
fn errors_of_gigabytes_beside_the_lines_take_little_memory() {
    arena(|| {
        in_little_memory(|| {
            let mut command = Command::new("sh");
            let flood = format!("head -c {} /dev/zero >&2", much());
            command.args(["-c", &format!("{flood}; echo end >&2; echo one; exit 1")]);
            let mut lines = command.lines().expect("lines");
            assert_eq!(lines.next().expect("an item").expect("a line"), "one");
            let error = lines.next().expect("an item").expect_err("the failure");
            let stderr = &error.output().expect("its output").stderr;
            assert_eq!(stderr.len(), 16 << 20);
            assert!(stderr.ends_with(b"\0end\n"), "the last of it is kept");
        });
    });
}

#[test]
fn discarded_gigabytes_take_little_memory() {
    arena(|| {
        in_little_memory(|| {
            let output = flood().max_output(5).excess(Excess::Discard).output().expect("output");
            assert_eq!(output.stdout, [0; 5]);
            assert!(output.status.success());
            assert_eq!(output.report.io.discarded, much() - 5);
            let mut command = flood();
            off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
            let status = command.idle_timeout(std::time::Duration::from_secs(30)).status();
            assert!(status.expect("status").success());
        });
    });
}

#[test]
fn gigabytes_of_input_take_little_memory() {
    arena(|| {
        in_little_memory(|| {
            let reader = Input::reader(std::io::repeat(b'x').take(much()));
            let mut command = Command::new("wc");
            let output = command.arg("-c").input(reader).output().expect("output");
            assert_eq!(output.stdout, format!("{}\n", much()).as_bytes());
            assert_eq!(output.report.io.stdin, much());
        });
    });
}

// Not gigabytes of input: a terminal edits what is typed byte by byte, which takes minutes.
on_terminals_too! {
    events_of_gigabytes_take_little_memory
    a_flood_of_lines_takes_little_memory
    discarded_gigabytes_take_little_memory
}
