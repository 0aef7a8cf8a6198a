//! P7 in bulk: 64 MiB through chains and inherited pipes (the streams of one command are in
//! `p7_arrangements`), sizes around every buffer in every order of reading and writing, and output that
//! is complete however soon the child ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process;
use std::time::Duration;

use netrunner_sync::{ChildStdout, Input, Leftovers, Stdio};
use netrunner_tests::lacks::Lack;
use netrunner_tests::pattern;

use crate::harness::*;
use crate::p7_arrangements::size;

/// The period of the pattern.
const PERIOD: usize = 251;

/// As [`pattern::bytes`], by copying.
fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = pattern::bytes(PERIOD).repeat(len / PERIOD + 1);
    bytes.truncate(len);
    bytes
}

/// As [`pattern::check`], by comparing whole periods.
#[track_caller]
fn check(found: &[u8], len: usize) {
    let period = pattern::bytes(PERIOD);
    if !found.chunks(PERIOD).all(|chunk| chunk == &period[..chunk.len()]) {
        pattern::check(found, len);
    }
    assert_eq!(found.len(), len);
}

fn pipe() -> (File, OwnedFd) {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    (reader.into(), writer)
}

#[test]
fn bulk_arrives_in_a_file_a_pipe_and_the_other_stream() {
    arena(|| {
        let cat = |script: &str| {
            let mut command = puppet(script);
            command.input(bytes(size()));
            command
        };
        // To a file.
        let status = cat("cat").stdout(File::create("out").expect("create")).status();
        assert!(status.expect("status").success());
        check(&std::fs::read("out").expect("read"), size());
        // On the other stream, and merged into the first.
        let output = cat("ecat").output().expect("output");
        check(&output.stderr, size());
        let output = cat("ecat").stderr_to_stdout().output().expect("output");
        check(&output.stdout, size());
        // Into a pipe of our own.
        let (mut reader, writer) = pipe();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        assert!(cat("cat").stdout(writer).status().expect("status").success());
        check(&reading.join().expect("join").expect("read"), size());
    });
}

/// The pipe of an output that has proved to be long has more room, and no other has.
#[test]
fn only_a_long_output_gets_a_larger_pipe() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        const LONG: usize = 256 << 10;
        let mut child =
            puppet(&format!("spew {}", size())).stdout(Stdio::piped()).spawn().expect("spawned");
        let mut stdout = child.stdout.take().expect("piped");
        let room = |stdout: &ChildStdout| rustix::pipe::fcntl_getpipe_size(stdout).expect("a pipe");
        let born_with = room(&stdout);
        let mut piece = vec![0; LONG - 1];
        stdout.read_exact(&mut piece).expect("read");
        assert_eq!(room(&stdout), born_with);
        stdout.read_exact(&mut piece[..1]).expect("read");
        let may_grow = !lacks(Lack::PipeSize);
        assert_eq!(room(&stdout), if may_grow { LONG } else { born_with });
        drop(stdout);
        child.kill().expect("killed");
        child.wait().expect("waited");
    });
}

#[test]
fn bulk_runs_through_a_chain_of_commands() {
    arena(|| {
        let mut first = puppet("cat");
        let mut first = first.input(bytes(size())).stdout(Stdio::piped()).spawn().expect("spawn");
        let mut second = puppet("cat");
        let mut second = second
            .stdin(first.stdout.take().expect("stdout"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let third = puppet("cat").stdin(second.stdout.take().expect("stdout")).output();
        check(&third.expect("output").stdout, size());
        assert!(first.wait().expect("wait").success() && second.wait().expect("wait").success());
    });
}

/// The client's own streams are pipes, and its commands inherit them.
#[test]
fn bulk_runs_through_inherited_pipes() {
    arena(|| {
        for script in ["spawn [ cat ] wait 0", "spawn [ ecat ] wait 0"] {
            let mut client = process::Command::new(CLIENT);
            client.args(netrunner_tests::script::split(script));
            client.stdin(process::Stdio::piped()).stdout(process::Stdio::piped());
            client.stderr(process::Stdio::piped());
            let mut client = client.spawn().expect("start a client");
            let mut stdin = client.stdin.take().expect("stdin");
            let writing = std::thread::spawn(move || stdin.write_all(&bytes(size())));
            let output = client.wait_with_output().expect("output");
            writing.join().expect("join").expect("write");
            assert!(output.status.success(), "{}", output.status);
            let (full, empty) = match script.contains("ecat") {
                false => (output.stdout, output.stderr),
                true => (output.stderr, output.stdout),
            };
            check(&full, size());
            assert!(empty.is_empty());
        }
    });
}

/// What a script does with N bytes of input, and what comes out for `input`, N, on each stream.
struct Probe {
    script: &'static str,
    stdout: &'static [Piece],
    stderr: &'static [Piece],
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    /// What the script spews.
    Spewed,
    /// The input, come back.
    Input,
}

use Piece::{Input as Fed, Spewed};

const PROBES: [Probe; 12] = [
    Probe { script: "spew N cat", stdout: &[Spewed, Fed], stderr: &[] },
    Probe { script: "cat spew N", stdout: &[Fed, Spewed], stderr: &[] },
    Probe { script: "espew N cat", stdout: &[Fed], stderr: &[Spewed] },
    Probe { script: "cat espew N", stdout: &[Fed], stderr: &[Spewed] },
    Probe { script: "both N cat", stdout: &[Spewed, Fed], stderr: &[Spewed] },
    Probe { script: "cat both N", stdout: &[Fed, Spewed], stderr: &[Spewed] },
    Probe { script: "ecat spew N", stdout: &[Spewed], stderr: &[Fed] },
    Probe {
        script: "spew N espew N spew N espew N ecat",
        stdout: &[Spewed, Spewed],
        stderr: &[Spewed, Spewed, Fed],
    },
    // Streams that are closed early, and an input that nobody reads.
    Probe { script: "close 0 both N", stdout: &[Spewed], stderr: &[Spewed] },
    Probe { script: "close 1 espew N", stdout: &[], stderr: &[Spewed] },
    Probe { script: "close 2 cat", stdout: &[Fed], stderr: &[] },
    Probe { script: "both N", stdout: &[Spewed], stderr: &[Spewed] },
];

#[test]
fn no_order_of_reading_and_writing_deadlocks() {
    arena(|| {
        for size in [16 << 10, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 1 << 20, 4 << 20] {
            std::thread::scope(|scope| {
                for probe in &PROBES {
                    scope.spawn(move || probe.run(size));
                }
            });
        }
    });
}

impl Probe {
    fn run(&self, size: usize) {
        let script = self.script.replace('N', &size.to_string());
        let fed = bytes(size);
        let command = |input: Input| {
            let mut command = puppet(&script);
            command.input(input).timeout(Duration::from_secs(40));
            command
        };
        self.check(size, &command(fed.clone().into()).output().expect("from memory"));
        let reader = Input::reader(std::io::Cursor::new(fed.clone()));
        self.check(size, &command(reader).output().expect("from a reader"));
        // Fed in the background, read by one thread.
        let mut command = command(fed.into());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
        self.check(size, &child.wait_with_output().expect("the rest"));
    }

    #[track_caller]
    fn check(&self, size: usize, output: &netrunner_sync::Output) {
        assert!(output.status.success(), "{}: {}", self.script, output.status);
        for (found, pieces) in [(&output.stdout, self.stdout), (&output.stderr, self.stderr)] {
            // Each piece begins the pattern anew.
            assert_eq!(found.len(), pieces.len() * size, "{}: {pieces:?}", self.script);
            found.chunks(size).for_each(|piece| check(piece, size));
        }
    }
}

#[test]
fn eight_threads_read_all_that_a_thousand_children_wrote_before_their_end() {
    arena(|| {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for round in 0..125 {
                        // Of any length that a pipe or a terminal holds: the end overtakes the reader.
                        let size = (thread * 997 + round * 131) % 4_000;
                        let script = format!("both {size}");
                        let mut command = puppet(&script);
                        command.stderr(Stdio::piped());
                        let output = match round % 3 {
                            0 => command.output().expect("output"),
                            1 => {
                                off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
                                command.spawn().expect("spawn").wait_with_output().expect("output")
                            }
                            _ => {
                                off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
                                let mut child = command.spawn().expect("spawn");
                                assert!(child.wait().expect("wait").success());
                                child.wait_with_output().expect("after the end")
                            }
                        };
                        check(&output.stdout, size);
                        check(&output.stderr, size);
                    }
                });
            }
        });
    });
}

/// A grandchild that is kept holds the pipe open, but what the child wrote is all there, and soon.
#[test]
fn a_kept_holder_of_the_pipe_takes_nothing_from_the_output() {
    arena(|| {
        if !is_promised_everywhere() {
            return;
        }
        let script = "daemon [ setsid lock kept sleep forever ] await kept spew 1000000";
        for round in 0..2 {
            let mut command = puppet(script);
            command.leftovers(Leftovers::Keep).stdout(Stdio::piped());
            let output = match round {
                0 => command.output().expect("output"),
                _ => command.spawn().expect("spawn").wait_with_output().expect("output"),
            };
            check(&output.stdout, 1_000_000);
            assert_eq!(output.report.leftovers.len(), 1);
            lock("kept").assert_held();
            signal(output.report.leftovers[0].pid, libc::SIGKILL);
            lock("kept").wait_free(GRACE_AND_2S);
            std::fs::remove_file("kept").expect("for the next round");
        }
    });
}

on_terminals_too! {
    eight_threads_read_all_that_a_thousand_children_wrote_before_their_end
}
