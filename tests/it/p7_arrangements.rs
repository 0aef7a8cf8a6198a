//! P7 for every way to connect a command's streams: 64 MiB go in and come out byte for byte.

use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::thread;

use netrunner_sync::{Command, Event, Input, Stdio};
use netrunner_tests::pattern;

use crate::harness::*;

/// How much goes through the streams of a command.
pub(crate) fn size() -> usize {
    bulk(64 << 20) as usize
}

fn bytes() -> Vec<u8> {
    // The pattern has a period of 251; the whole byte by byte would take its time in a debug build.
    pattern::bytes(251 * 1024).into_iter().cycle().take(size()).collect()
}

fn cat() -> Command {
    Command::new("cat")
}

#[track_caller]
fn assert_same(what: &str, found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    // Only where they differ: in a debug build it would take longer than all of the moving.
    if found != expected {
        let at = found.iter().zip(expected).position(|(found, expected)| found != expected);
        panic!("{what}: at {at:?}");
    }
}

#[test]
fn from_every_input() {
    arena(|| {
        let bytes = bytes();
        let output = cat().input(bytes.clone()).output().expect("bytes");
        assert_same("bytes", &output.stdout, &bytes);
        assert_eq!(output.report.io.stdin, size() as u64);
        let reader = Input::reader(Cursor::new(bytes.clone()));
        let output = cat().input(reader).output().expect("a reader");
        assert_same("a reader", &output.stdout, &bytes);
        std::fs::write("in", &bytes).expect("write");
        let output = cat().input(File::open("in").expect("open")).output().expect("a file");
        assert_same("a file", &output.stdout, &bytes);

        let mut first = cat().input(bytes.clone()).stdout(Stdio::piped()).spawn().expect("spawn");
        let output = cat().stdin(first.stdout.take().expect("stdout")).output().expect("a pipe");
        assert_same("another command", &output.stdout, &bytes);
        assert!(first.wait().expect("wait").success());

        let mut command = cat();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("spawn");
        let mut stdin = child.stdin.take().expect("stdin");
        let given = bytes.clone();
        let writer = thread::spawn(move || stdin.write_all(&given));
        let output = child.wait_with_output();
        writer.join().expect("join").expect("write");
        let output = output.expect("by hand");
        assert_same("by hand", &output.stdout, &bytes);
        assert_eq!(output.report.io.stdin, size() as u64);
    });
}

#[test]
fn to_every_output() {
    arena(|| {
        let bytes = bytes();
        let mut command = cat();
        command.input(bytes.clone());

        let mut found = Vec::with_capacity(size());
        for event in command.events().expect("events") {
            if let Event::Stdout(piece) = event.expect("an event") {
                found.extend(piece);
            }
        }
        assert_same("events", &found, &bytes);

        let mut child = command.stdout(Stdio::piped()).spawn().expect("spawn");
        found.clear();
        child.stdout.take().expect("stdout").read_to_end(&mut found).expect("read");
        assert_same("by hand", &found, &bytes);
        assert!(child.wait().expect("wait").success());

        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        command.stdout(std::os::fd::OwnedFd::from(theirs));
        let mut child = command.spawn().expect("spawn");
        found.clear();
        ours.read_to_end(&mut found).expect("read");
        assert_same("a socket", &found, &bytes);
        assert!(child.wait().expect("wait").success());

        std::fs::write("out", "before").expect("write");
        command.stdout(File::options().append(true).open("out").expect("open"));
        assert!(command.status().expect("status").success());
        let appended = std::fs::read("out").expect("read");
        assert_eq!(&appended[..6], b"before");
        assert_same("an appended file", &appended[6..], &bytes);

        assert!(command.stdout(Stdio::null()).status().expect("status").success());
    });
}

#[test]
fn to_both_outputs_at_once() {
    arena(|| {
        let bytes = bytes();
        let mut command = Command::new("tee");
        command.arg("/dev/stderr").input(bytes.clone());
        let output = command.output().expect("output");
        assert_same("stdout", &output.stdout, &bytes);
        assert_same("stderr", &output.stderr, &bytes);
        drop(output);
        let output = command.stderr_to_stdout().output().expect("merged");
        assert_eq!(output.stdout.len(), 2 * size());
        drop(output);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for event in command.stderr(Stdio::piped()).events().expect("events") {
            match event.expect("an event") {
                Event::Stdout(piece) => stdout.extend(piece),
                Event::Stderr(piece) => stderr.extend(piece),
                Event::Exited(report) => assert_eq!(report.io.stderr, size() as u64),
                other => panic!("{other:?}"),
            }
        }
        assert_same("stdout of events", &stdout, &bytes);
        assert_same("stderr of events", &stderr, &bytes);
    });
}
