//! P6: no descriptor reaches a child unless it was passed on purpose; none stays open in the client;
//! no file stays behind.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use netrunner_sync::{Command, CommandExt as _, Stdio};
use netrunner_tests::procs;
use netrunner_tests::sys;
use netrunner_tests::wait::wait_until;

use crate::harness::*;

/// The descriptor numbers that a puppet finds open.
fn numbers(fds: &[u8]) -> Vec<i32> {
    String::from_utf8_lossy(fds)
        .lines()
        .map(|line| line.split(' ').next().expect("a number").parse().expect("a number"))
        .collect()
}

#[test]
fn a_child_has_three_descriptors() {
    arena(|| {
        for _ in 0..3 {
            let output = puppet("fds").output().expect("output");
            assert_eq!(
                numbers(&output.stdout),
                [0, 1, 2],
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
    });
}

#[test]
fn a_child_has_none_of_the_descriptors_that_the_client_left_open_across_exec() {
    arena(|| {
        let files: Vec<File> = (0..300).map(|_| File::open("/dev/null").expect("open")).collect();
        for file in &files {
            sys::keep_across_exec(file).expect("as a careless program does");
        }
        for _ in 0..3 {
            let output = puppet("fds").output().expect("output");
            assert_eq!(
                numbers(&output.stdout),
                [0, 1, 2],
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
    });
}

fn all_piped(command: &mut netrunner_sync::Command) -> &mut netrunner_sync::Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

#[test]
fn a_child_has_three_descriptors_among_many_others() {
    arena(|| {
        let mut bystanders = Vec::new();
        for _ in 0..10 {
            let mut command = puppet("lock-in . sleep forever");
            off_terminals(&mut command, all_piped);
            bystanders.push(command.spawn().expect("spawn"));
            let output = puppet("fds").output().expect("output");
            assert_eq!(
                numbers(&output.stdout),
                [0, 1, 2],
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        for mut bystander in bystanders {
            bystander.kill().expect("kill");
            bystander.wait().expect("wait");
        }
    });
}

#[test]
fn a_passed_descriptor_has_its_number_and_is_the_only_one() {
    arena(|| {
        std::fs::write("passed", "passed\n").expect("write");
        for number in [3, 4, 7, 10, 255, 1000] {
            let file = File::open("passed").expect("open");
            let output =
                puppet(&format!("fds read-fd {number}")).fd(number, file).output().expect("output");
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            assert!(text.ends_with("passed\n"), "{number}: {text}");
            assert_eq!(numbers(text.trim_end_matches("passed\n").as_bytes()), [0, 1, 2, number]);
        }
    });
}

#[test]
fn passed_descriptors_can_swap_and_fill_a_whole_range() {
    arena(|| {
        // Whatever numbers the client or the shepherd use for them, each lands where it belongs.
        let range: Vec<RawFd> = (3..40).collect();
        let mut files: Vec<(RawFd, File)> = Vec::new();
        for number in &range {
            let name = format!("file-{number}");
            std::fs::write(&name, format!("{number}\n")).expect("write");
            files.push((*number, File::open(&name).expect("open")));
        }
        files.reverse();
        let mut script = String::new();
        let mut wanted = String::new();
        for number in &range {
            script.push_str(&format!("read-fd {number} "));
            wanted.push_str(&format!("{number}\n"));
        }
        let mut command = puppet(&script);
        for (number, file) in files {
            command.fd(number, file);
        }
        let output = command.output().expect("output");
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted);
    });
}

#[test]
fn two_descriptors_trade_places() {
    arena(|| {
        std::fs::write("a", "a\n").expect("write");
        std::fs::write("b", "b\n").expect("write");
        let (a, b) = (File::open("a").expect("open"), File::open("b").expect("open"));
        let (at_a, at_b) = (a.as_raw_fd(), b.as_raw_fd());
        assert!(at_a >= 3 && at_b >= 3);
        let output =
            puppet(&format!("read-fd {at_b} read-fd {at_a}")).fd(at_b, a).fd(at_a, b).output();
        assert_eq!(output.expect("output").stdout, b"a\nb\n");
    });
}

#[test]
fn a_passed_descriptor_is_released_in_the_client_by_the_spawn() {
    arena(|| {
        let (mut reader, writer) = UnixStream::pair().expect("a socket pair");
        let mut command = puppet("exit 0");
        command.fd(5, OwnedFd::from(writer));
        command.spawn().expect("spawn").wait().expect("wait");
        reader.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        assert_eq!(reader.read(&mut [0]).expect("the end"), 0);
        drop(command);
    });
}

#[test]
fn a_stream_that_was_given_away_reaches_its_end_while_the_command_lives() {
    arena(|| {
        let (mut reader, writer) = UnixStream::pair().expect("a socket pair");
        let mut command = puppet("print through");
        command.stdout(OwnedFd::from(writer));
        command.spawn().expect("spawn").wait().expect("wait");
        reader.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("to the end");
        assert_eq!(text, "through\n");
        drop(command);
    });
}

#[test]
fn guardian_and_shepherds_hold_nothing_of_the_client() {
    arena(|| {
        let (mut reader, writer) = UnixStream::pair().expect("a socket pair");
        sys::keep_across_exec(&File::from(OwnedFd::from(writer.try_clone().expect("clone"))))
            .expect("careless");
        // Guardian and shepherd start while it is open here.
        let mut command = puppet("lock leader sleep forever");
        off_terminals(&mut command, |it| it.stdin(Stdio::piped()));
        let mut child = command.spawn().expect("spawn");
        lock("leader").wait_held();
        puppet("exit 0").status().expect("another shepherd, or the guardian's work");
        drop(writer);
        reader.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        assert_eq!(reader.read(&mut [0]).expect("the end"), 0, "somebody holds it open");
        child.kill().expect("kill");
        child.wait().expect("wait");
    });
}

#[test]
fn closing_stdin_reaches_a_child_although_others_were_spawned_meanwhile() {
    arena(|| {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    for round in 0..15 {
                        let mut command = puppet("cat");
                        command.stdin(Stdio::piped()).stdout(Stdio::piped());
                        let mut child = command.spawn().expect("spawn");
                        let text = format!("{number} {round}");
                        let mut stdin = child.stdin.take().expect("stdin");
                        stdin.write_all(text.as_bytes()).expect("write");
                        drop(stdin);
                        let mut back = String::new();
                        child
                            .stdout
                            .take()
                            .expect("stdout")
                            .read_to_string(&mut back)
                            .expect("read");
                        assert_eq!(back, text);
                        assert!(child.wait().expect("wait").success());
                    }
                });
            }
        });
    });
}

#[test]
fn shepherds_and_guardian_gather_no_descriptors() {
    arena(|| {
        let mut watched = puppet("lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        for _ in 0..10 {
            puppet("exit 0").output().expect("warm up");
        }
        let guardian = guardian_of(watched.id());
        let counts = || {
            let mut pids: Vec<u32> = others()
                .iter()
                .filter(|p| p.ppid == guardian && p.comm != "puppet")
                .map(|p| p.pid)
                .collect();
            pids.push(guardian);
            pids.into_iter().map(|pid| procs::descriptors(pid).len()).max().unwrap_or(0)
        };
        let before = counts();
        for _ in 0..300 {
            let mut command = puppet("exit 0");
            off_terminals(&mut command, |it| it.stdin(Stdio::piped()));
            command.output().expect("output");
            assert!(Command::new("/no/such/program").output().is_err());
        }
        assert!(counts() <= before + 3, "{before} descriptors before, {} after", counts());
        watched.kill().expect("kill");
        watched.wait().expect("wait");
    });
}

#[test]
fn failed_spawns_leak_nothing() {
    arena(|| {
        let fail = || {
            let mut command = Command::new("/no/such/program");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            assert!(command.spawn().expect_err("spawn").is_not_found());
            assert!(
                puppet("exit 0")
                    .current_dir("/no/such/dir")
                    .output()
                    .expect_err("output")
                    .is_not_found()
            );
            assert!(puppet("exit 0").arg("a\0b").output().expect_err("output").is_invalid_input());
        };
        (0..10).for_each(|_| fail());
        let descriptors = fd_count();
        (0..200).for_each(|_| fail());
        wait_fd_count(descriptors);
        assert_no_puppets();
    });
}

#[test]
fn every_way_to_end_a_command_gives_its_descriptors_back() {
    arena(|| {
        let run = || {
            let piped = |script: &str| {
                let mut command = puppet(script);
                off_terminals(&mut command, all_piped);
                command.spawn().expect("spawn")
            };
            piped("exit 0").wait().expect("wait");
            piped("sleep forever").stop().expect("stop");
            let mut killed = piped("sleep forever");
            killed.kill().expect("kill");
            killed.wait().expect("wait");
            drop(piped("sleep forever"));
            let handle = piped("sleep forever").handle();
            handle.wait().expect("wait for the dropped one");
            piped("print x").wait_with_output().expect("output");
            puppet("sleep forever").timeout(Duration::from_millis(5)).output().expect("output");
            puppet("cat").input(vec![7; 100_000]).output().expect("output");
            let mut lost = piped("sleep forever");
            signal(shepherd_of(lost.id()), libc::SIGKILL);
            assert!(lost.wait().is_err());
        };
        (0..3).for_each(|_| run());
        wait_no_puppets(GRACE_AND_2S);
        let settled = || {
            // The pool may still be trimming what this brought.
            let mut last = fd_count();
            wait_until("a steady number of descriptors", GRACE_AND_2S * 3, || {
                std::thread::sleep(Duration::from_millis(300));
                let now = fd_count();
                std::mem::replace(&mut last, now) == now
            });
            fd_count()
        };
        let before = settled();
        (0..10).for_each(|_| run());
        wait_no_puppets(GRACE_AND_2S);
        // The size of the pool may differ by some lanes; ten rounds of nine commands would show.
        let after = settled();
        assert!(
            after <= before + 8,
            "{before} before, {after} after: {:#?}",
            procs::descriptors(std::process::id())
        );
    });
}

#[test]
fn no_file_stays_behind() {
    arena(|| {
        puppet("print x").output().expect("output");
        let mut child = puppet("lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        assert!(child.wait().is_err());
        puppet("exit 0").status().expect("status");
        let tmp = std::env::temp_dir();
        let left: Vec<_> =
            std::fs::read_dir(&tmp).expect("TMPDIR").map(|e| e.expect("entry").path()).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn write_then_exec_from_eight_threads_never_meets_a_busy_file() {
    arena(|| {
        std::fs::create_dir("programs").expect("a directory");
        let program = std::fs::read("/bin/true").expect("a small program");
        let program = &program;
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for round in 0..40 {
                        let path = format!("programs/{thread}-{round}");
                        let mut file = File::create(&path).expect("create");
                        file.write_all(program).expect("write");
                        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                        file.set_permissions(mode).expect("make it executable");
                        drop(file);
                        let path = std::path::absolute(&path).expect("path");
                        let mut command = Command::new(&path);
                        connect(&mut command);
                        // Where it is busybox, its name says what it does.
                        let status = command.arg0("true").status();
                        assert!(status.expect("no ETXTBSY").success());
                        std::fs::remove_file(&path).expect("remove");
                    }
                });
            }
        });
    });
}

on_terminals_too! {
    a_child_has_three_descriptors
    a_child_has_none_of_the_descriptors_that_the_client_left_open_across_exec
    a_child_has_three_descriptors_among_many_others
    a_passed_descriptor_has_its_number_and_is_the_only_one
    passed_descriptors_can_swap_and_fill_a_whole_range
    two_descriptors_trade_places
    a_passed_descriptor_is_released_in_the_client_by_the_spawn
    guardian_and_shepherds_hold_nothing_of_the_client
    shepherds_and_guardian_gather_no_descriptors
    failed_spawns_leak_nothing
    every_way_to_end_a_command_gives_its_descriptors_back
    no_file_stays_behind
    write_then_exec_from_eight_threads_never_meets_a_busy_file
}
