//! Bad input of every kind: a typed error, nothing started, nothing leaked (P6, P9).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use netrunner_sync::{Command, CommandExt as _, Error, Input, Signal, Stdio};

use crate::harness::*;

/// Spawn, output and status of what `command` makes fail alike, start nothing and leak nothing.
fn refused(mut command: impl FnMut() -> Command) -> Error {
    // Guardian and pool stay, so they must be there before the count.
    puppet("exit 0").status().expect("warm up");
    let before = fd_count();
    let spawned = command().spawn().expect_err("spawn");
    let output = command().output().expect_err("output");
    let status = command().status().expect_err("status");
    assert_eq!(spawned.kind(), output.kind(), "{spawned:?}, {output:?}");
    assert_eq!(spawned.kind(), status.kind(), "{spawned:?}, {status:?}");
    assert!(spawned.output().is_none());
    wait_fd_count(before);
    assert_no_puppets();
    assert!(!std::path::Path::new("started").exists(), "something ran");
    spawned
}

fn invalid(command: impl FnMut() -> Command) {
    let error = refused(command);
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.is_invalid_input());
    assert_eq!(std::io::Error::from(error).kind(), ErrorKind::InvalidInput);
}

fn starts() -> Command {
    puppet("touch started")
}

#[test]
fn nul_bytes_are_invalid_wherever_they_stand() {
    arena(|| {
        invalid(|| Command::new("a\0b"));
        invalid(|| Command::new("\0"));
        invalid(|| {
            let mut command = starts();
            command.arg("a\0b");
            command
        });
        invalid(|| {
            let mut command = starts();
            command.env("KEY\0", "value");
            command
        });
        invalid(|| {
            let mut command = starts();
            command.env("KEY", "val\0ue");
            command
        });
        invalid(|| {
            let mut command = starts();
            command.current_dir("a\0b");
            command
        });
        invalid(|| {
            let mut command = starts();
            command.arg0("a\0b");
            command
        });
    });
}

#[test]
fn an_empty_program_is_not_found() {
    arena(|| {
        let error = refused(|| Command::new(""));
        let by_std = std::process::Command::new("").spawn().expect_err("std");
        assert_eq!(error.kind(), by_std.kind(), "{error:?}");
    });
}

#[test]
fn a_missing_directory_is_told_from_a_missing_program() {
    arena(|| {
        let directory = refused(|| {
            let mut command = starts();
            command.current_dir("no-such-dir");
            command
        });
        let program = refused(|| Command::new("./no-such-program"));
        assert!(directory.is_not_found() && program.is_not_found());
        assert!(directory.to_string().contains("`no-such-dir`"), "{directory}");
        assert!(program.to_string().contains("`./no-such-program`"), "{program}");
        assert!(!directory.to_string().contains("puppet"), "{directory}");
        let both = refused(|| {
            let mut command = Command::new("./no-such-program");
            command.current_dir("no-such-dir");
            command
        });
        assert!(both.to_string().contains("`no-such-dir`"), "the directory comes first: {both}");
    });
}

#[test]
fn an_empty_directory_name_is_not_found() {
    arena(|| {
        let error = refused(|| {
            let mut command = starts();
            command.current_dir("");
            command
        });
        assert!(error.is_not_found(), "{error:?}");
    });
}

#[test]
fn what_cannot_be_executed_says_why() {
    arena(|| {
        fs::write("no-permission", "#!/bin/sh\ntouch started\n").expect("write");
        assert!(refused(|| Command::new("./no-permission")).is_permission_denied());

        let executable = |name: &str, content: &[u8]| {
            fs::write(name, content).expect("write");
            fs::set_permissions(name, fs::Permissions::from_mode(0o755))
                .expect("make it executable");
        };
        executable("garbage", b"\x7fgarbage");
        assert_eq!(refused(|| Command::new("./garbage")).raw_os_error(), Some(libc::ENOEXEC));
        executable("no-interpreter", b"#!/no/such/interpreter\n");
        assert!(refused(|| Command::new("./no-interpreter")).is_not_found());
        executable("cut-off", &fs::read("/bin/true").expect("a program")[..60]);
        refused(|| Command::new("./cut-off"));

        assert!(refused(|| Command::new("/")).is_permission_denied());
        assert_eq!(refused(|| Command::new("/etc/passwd/x")).raw_os_error(), Some(libc::ENOTDIR));
        let long = "x".repeat(5000);
        assert_eq!(
            refused(|| Command::new(format!("/{long}"))).raw_os_error(),
            Some(libc::ENAMETOOLONG)
        );

        std::os::unix::fs::symlink("loop", "loop").expect("a loop");
        assert_eq!(refused(|| Command::new("./loop")).raw_os_error(), Some(libc::ELOOP));
    });
}

#[test]
fn too_many_and_too_long_arguments_are_an_error_and_not_a_crash() {
    arena(|| {
        let error = refused(|| {
            let mut command = starts();
            command.arg("x".repeat(3 << 20));
            command
        });
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG), "{error:?}");
        let error = refused(|| {
            let mut command = starts();
            command.args(std::iter::repeat_n("argument-of-some-length", 400_000));
            command
        });
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG), "{error:?}");
        let error = refused(|| {
            let mut command = starts();
            command.env("BIG", "x".repeat(3 << 20));
            command
        });
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG), "{error:?}");
        // The lane still works after it.
        assert_eq!(puppet("exit 6").status().expect("the next").code(), Some(6));
    });
}

#[test]
fn as_many_arguments_as_the_kernel_takes_are_taken() {
    arena(|| {
        let words: Vec<String> = (0..50_000).map(|number| format!("{number:08}")).collect();
        let output = puppet("args").args(&words).output().expect("output");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.lines().eq(words.iter().map(String::as_str)));
    });
}

#[test]
fn descriptor_numbers_out_of_range_are_invalid() {
    arena(|| {
        for number in [0, 1, 2, -1, i32::MIN, i32::MAX, 1 << 24] {
            invalid(|| {
                let mut command = starts();
                command.fd(number, File::open("/dev/null").expect("open"));
                command
            });
        }
        invalid(|| {
            let mut command = starts();
            command
                .fd(5, File::open("/dev/null").expect("open"))
                .fd(5, File::open("/dev/zero").expect("open"));
            command
        });
    });
}

#[test]
fn what_was_consumed_is_not_there_for_a_second_spawn() {
    arena(|| {
        let null = || File::options().read(true).write(true).open("/dev/null").expect("open");
        let second_is_invalid = |mut command: Command| {
            command.spawn().expect("the first").wait().expect("wait");
            let error = command.spawn().expect_err("the second");
            assert!(error.is_invalid_input(), "{error:?}");
        };
        let mut command = puppet("exit 0");
        command.stdout(Stdio::from(null()));
        second_is_invalid(command);
        let mut command = puppet("exit 0");
        command.stdin(Stdio::from(null()));
        second_is_invalid(command);
        let mut command = puppet("exit 0");
        command.fd(4, null());
        second_is_invalid(command);
        let mut command = puppet("cat");
        command.input(null());
        second_is_invalid(command);
        let mut command = puppet("cat");
        command.input(Input::reader(std::io::empty()));
        second_is_invalid(command);
    });
}

#[test]
fn a_directory_as_a_stream_is_the_childs_trouble_only() {
    arena(|| {
        let output =
            puppet("exit 4").stdin(File::open("/").expect("open")).output().expect("output");
        assert_eq!(output.status.code(), Some(4));
    });
}

#[test]
fn a_directory_without_search_permission_is_refused() {
    arena(|| {
        if !is_root() {
            return;
        }
        fs::create_dir("closed").expect("a directory");
        fs::set_permissions("closed", fs::Permissions::from_mode(0o700)).expect("close it");
        let error = refused(|| {
            let mut command = starts();
            command.current_dir("closed").uid(65534).gid(65534);
            command
        });
        // std changes the directory after the user, as this must.
        assert!(error.is_permission_denied(), "{error:?}");
        assert!(error.to_string().contains("`closed`"), "{error}");
    });
}

#[test]
fn strange_but_valid_words_come_through() {
    arena(|| {
        let words: [&[u8]; 6] =
            [b"", b" ", b"a b\tc", b"\xff\xfe\x01", "\u{1F415}".as_bytes(), b"--\n"];
        let mut command = puppet("args");
        for word in words {
            command.arg(OsStr::from_bytes(word));
        }
        let output = command.output().expect("output");
        let mut wanted = Vec::new();
        for word in words {
            wanted.extend_from_slice(word);
            wanted.push(b'\n');
        }
        assert_eq!(output.stdout, wanted);
    });
}

#[test]
fn no_signal_is_made_of_nonsense() {
    for text in [
        "",
        "SIG",
        "NOSUCH",
        "0",
        "-1",
        "65",
        "999999999999",
        "RTMIN+99",
        "SIGRTMIN-1",
        "TERM ",
        "15 ",
    ] {
        assert!(text.parse::<Signal>().is_err(), "{text:?}");
    }
    for number in [i32::MIN, -1, 0, 65, i32::MAX] {
        assert!(Signal::try_from(number).is_err(), "{number}");
    }
    for (text, number) in [("TERM", 15), ("SIGTERM", 15), ("15", 15), ("KILL", 9)] {
        assert_eq!(text.parse::<Signal>().expect("a signal").as_raw(), number);
    }
}
