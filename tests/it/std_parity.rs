//! What a program relies on that changes only its `use` line: when things are looked at, what can be
//! asked twice, what can be made of what, and how a command prints. Same commands by both are in
//! `api_parity`.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

use netrunner_sync::{
    ChildStderr, ChildStdin, ChildStdout, Command, CommandExt as _, Error, Stdio,
};
use netrunner_tests::sys;

use crate::harness::*;

fn text(output: netrunner_sync::Output) -> String {
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_environment_is_that_of_the_spawn() {
    arena(|| {
        let mut command = puppet("env");
        sys::set_var("NETRUNNER_LATE", "1");
        assert!(text(command.output().expect("output")).contains("NETRUNNER_LATE=1\n"));
        sys::set_var("NETRUNNER_LATE", "2");
        assert!(text(command.output().expect("again")).contains("NETRUNNER_LATE=2\n"));
    });
}

/// The shepherd keeps the last environment, and is sent only another one. It is told by what the command
/// sees, whoever of them has failed in between and however long they are.
#[test]
fn one_command_after_the_other_has_its_own_environment() {
    arena(|| {
        let seen = |value: &str| {
            let mut command = puppet("env");
            command.env_clear().env("NETRUNNER_VALUE", value);
            text(command.output().expect("output")) == format!("NETRUNNER_VALUE={value}\n")
        };
        let long = "x".repeat(100_000);
        for value in ["1", "1", "2", &long, &long, "1", "1"] {
            assert!(seen(value), "{:.9}", value);
            for program in ["/no/such/program", "no-such-program"] {
                let mut missing = Command::new(program);
                missing.env_clear().env("NETRUNNER_VALUE", "3");
                assert!(missing.output().expect_err("no such program").is_not_found());
                assert!(missing.spawn().expect_err("no such program").is_not_found());
            }
            assert!(seen(value), "{:.9}", value);
        }
    });
}

#[test]
fn the_clients_path_of_the_spawn_is_searched() {
    arena(|| {
        std::fs::create_dir("place").expect("a directory");
        std::fs::write("place/tool", "#!/bin/sh\necho found\n").expect("write");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions("place/tool", mode).expect("mode");
        let mut command = Command::new("tool");
        assert!(command.output().expect_err("not there yet").is_not_found());
        let place = std::env::current_dir().expect("here").join("place");
        let path = format!("{}:/usr/bin:/bin", place.display());
        sys::set_var("PATH", &path);
        assert_eq!(text(command.output().expect("output")), "found\n");
        sys::set_var("PATH", "/usr/bin:/bin");
        assert!(command.output().expect_err("gone again").is_not_found());
    });
}

#[test]
fn the_directory_is_that_of_the_spawn() {
    arena(|| {
        std::fs::create_dir("below").expect("a directory");
        let mut command = puppet("cwd");
        let first = text(command.output().expect("output"));
        std::env::set_current_dir("below").expect("chdir");
        let second = text(command.output().expect("output"));
        assert_eq!(second, format!("{}/below\n", first.trim_end()));
    });
}

#[test]
fn after_the_end_every_question_has_the_same_answer() {
    arena(|| {
        for (script, code, signal) in
            [("exit 7", Some(7), None), ("die KILL", None, Some(9)), ("exit 0", Some(0), None)]
        {
            let mut child = puppet(script).spawn().expect("spawn");
            let handle = child.handle();
            let status = child.wait().expect("wait");
            assert_eq!((status.code(), status.signal()), (code, signal));
            for _ in 0..3 {
                child.kill().expect("kill after the end");
                assert_eq!(child.wait().expect("wait"), status);
                assert_eq!(child.try_wait().expect("try_wait"), Some(status));
                assert_eq!(handle.wait().expect("the handle's wait"), status);
                assert_eq!(child.stop().expect("stop"), status);
            }
            drop(child);
            assert_eq!(handle.wait().expect("without the child"), status);
        }
    });
}

#[test]
fn a_command_prints_as_stds_but_for_values() {
    macro_rules! prints_alike {
        ($($method:ident ( $($arg:expr),* ))*) => {{
            let mut by_std = std::process::Command::new("pro gram");
            $(by_std.$method($($arg),*);)*
            let mut by_us = Command::new("pro gram");
            $(by_us.$method($($arg),*);)*
            let by_std = format!("{by_std:?}").replace("=\"value\"", "=…");
            assert_eq!(format!("{by_us:?}"), by_std);
        }};
    }
    prints_alike!(arg("x"));
    prints_alike!(arg("a b") arg("\"") arg("\u{1F415}") arg("\x01"));
    prints_alike!(current_dir("/some where"));
    prints_alike!(arg0("another"));
    prints_alike!(arg0("pro gram"));
    prints_alike!(env("KEY", "value") env("B", "value"));
    prints_alike!(env_remove("GONE") env_remove("TOO") env("KEY", "value"));
    prints_alike!(env("KEY", "value") env_clear());
    prints_alike!(env_clear() env("KEY", "value") env_remove("GONE"));
    prints_alike!(arg("x") current_dir("/d") arg0("n") env("KEY", "value") env_remove("GONE"));
}

#[test]
fn stdio_is_made_of_everything_that_has_a_descriptor() {
    arena(|| {
        let piped = || {
            let mut command = puppet("cat eprint aside");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("spawn")
        };
        // Our own ends as another command's streams.
        let mut child = piped();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut writer = puppet("print through");
        writer.stdout(Stdio::from(stdin.expect("stdin")));
        assert!(writer.status().expect("status").success());
        drop(writer);
        let reader = puppet("cat").stdin(Stdio::from(stdout.expect("stdout"))).output();
        assert_eq!(text(reader.expect("output")), "through\n");
        let aside = puppet("cat").stdin(Stdio::from(child.stderr.take().expect("stderr"))).output();
        assert_eq!(text(aside.expect("output")), "aside\n");
        assert!(child.wait().expect("wait").success());

        // std's ends as ours.
        let mut theirs = std_puppet("cat eprint aside");
        let stdio = std::process::Stdio::piped;
        let mut theirs =
            theirs.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().expect("spawn");
        let stdin = theirs.stdin.take().expect("stdin");
        assert!(puppet("print through").stdout(stdin).status().expect("status").success());
        let stdout = theirs.stdout.take().expect("stdout");
        assert_eq!(text(puppet("cat").stdin(stdout).output().expect("output")), "through\n");
        let stderr = theirs.stderr.take().expect("stderr");
        assert_eq!(text(puppet("cat").stdin(stderr).output().expect("output")), "aside\n");
        assert!(theirs.wait().expect("wait").success());

        // Ours as std's, by way of the descriptor.
        let mut child = puppet("print ours").stdout(Stdio::piped()).spawn().expect("spawn");
        let stdout = OwnedFd::from(child.stdout.take().expect("stdout"));
        let by_std = std_puppet("cat").stdin(stdout).output().expect("std's output");
        assert_eq!(by_std.stdout, b"ours\n");
        assert!(child.wait().expect("wait").success());
    });
}

#[test]
fn the_clients_own_outputs_can_be_crossed() {
    arena(|| {
        if std::env::var_os("NETRUNNER_CROSSED").is_some() {
            let mut crossed = puppet("print went-to-stderr eprint went-to-stdout");
            crossed.stdout(std::io::stderr()).stderr(std::io::stdout());
            assert!(crossed.status().expect("status").success());
            return;
        }
        // Once more in a process whose outputs are two different pipes.
        let itself = std::env::current_exe().expect("the test binary");
        let output = std::process::Command::new(itself)
            .args(["--exact", "std_parity::the_clients_own_outputs_can_be_crossed"])
            .args(["--nocapture", "--test-threads=1"])
            .env("NETRUNNER_CROSSED", "")
            .output()
            .expect("run it again");
        let (stdout, stderr) = (output.stdout, output.stderr);
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(stdout.contains("went-to-stdout") && stderr.contains("went-to-stderr"), "{stdout}");
    });
}

#[test]
fn streams_are_used_by_value_and_by_reference() {
    arena(|| {
        let mut command = puppet("cat");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawn");
        let stdin: &ChildStdin = child.stdin.as_ref().expect("stdin");
        let mut by_reference = stdin;
        by_reference.write_all(b"one ").expect("write");
        let parts = [IoSlice::new(b"two "), IoSlice::new(b"three")];
        assert_eq!(by_reference.write_vectored(&parts).expect("write"), 9);
        by_reference.flush().expect("flush");
        assert_eq!(stdin.as_fd().as_raw_fd(), stdin.as_raw_fd());

        let stdout: &ChildStdout = child.stdout.as_ref().expect("stdout");
        let mut by_reference = stdout;
        let mut first = [0; 4];
        by_reference.read_exact(&mut first).expect("read");
        let (mut second, mut third) = ([0; 4], [0; 5]);
        let mut parts = [IoSliceMut::new(&mut second), IoSliceMut::new(&mut third)];
        assert_eq!(by_reference.read_vectored(&mut parts).expect("read"), 9);
        assert_eq!((&first, &second, &third), (b"one ", b"two ", b"three"));
        assert!(child.wait_with_output().expect("output").status.success());
    });
}

#[test]
fn a_descriptor_taken_out_of_a_stream_blocks_again_and_one_put_in_does_not() {
    arena(|| {
        let mut command = puppet("read-line print late");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawn");
        let mut file = File::from(OwnedFd::from(child.stdout.take().expect("stdout")));
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        });
        child.stdin.take().expect("stdin").write_all(b"\n").expect("write");
        assert_eq!(reader.join().expect("join").expect("it waits, not WouldBlock"), "late\n");
        assert!(child.wait().expect("wait").success());

        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let stream = ChildStderr::from(OwnedFd::from(ours));
        let error = stream.read_deadline(&mut [0], std::time::Instant::now()).expect_err("empty");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_converted_command_of_std_does_the_same() {
    arena(|| {
        std::fs::create_dir("below").expect("a directory");
        let same = |theirs: &mut std::process::Command| {
            let by_std = theirs.output().expect("std's output");
            let by_us = Command::try_from(&*theirs).expect("convert").output().expect("output");
            assert_eq!(by_us.status, by_std.status);
            assert_eq!(
                String::from_utf8_lossy(&by_us.stdout),
                String::from_utf8_lossy(&by_std.stdout)
            );
        };
        same(&mut std_puppet("env cwd print \u{1F415} exit 3"));
        same(std_puppet("env").env("A", "1").env_remove("HOME").env("EMPTY", ""));
        same(std_puppet("env").env("LOST", "1").env_clear().env("KEPT", "2"));
        same(std_puppet("cwd").current_dir("below"));
        same(std::process::Command::new("sh").args(["-c", "echo $0 \"$@\"", "a", "b c"]));
    });
}

#[test]
fn what_cannot_be_seen_in_a_command_of_std_is_refused_by_name() {
    fn refused(name: &str, set: fn(&mut std::process::Command) -> &mut std::process::Command) {
        let mut theirs = std::process::Command::new("program");
        Command::try_from(&theirs).expect("plain");
        set(&mut theirs);
        let error: Error = Command::try_from(&theirs).expect_err("refused");
        assert!(error.is_invalid_input(), "{error:?}");
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
    refused("stdin", |theirs| theirs.stdin(std::process::Stdio::null()));
    refused("stdout", |theirs| theirs.stdout(std::process::Stdio::piped()));
    refused("stderr", |theirs| theirs.stderr(File::open("/dev/null").expect("open")));
    refused("arg0", |theirs| theirs.arg0("other"));
    refused("uid", |theirs| theirs.uid(0));
    refused("gid", |theirs| theirs.gid(0));
    refused("process_group", |theirs| theirs.process_group(0));

    let mut spoiled = ["a\0b", "program", "program"].map(std::process::Command::new);
    spoiled[1].arg("a\0b");
    spoiled[2].current_dir("a\0b");
    for theirs in spoiled {
        let error = Command::try_from(&theirs).expect_err("a NUL byte");
        assert!(error.is_invalid_input() && error.to_string().contains("NUL"), "{error}");
    }
}
