//! What `std::process` does, done alike: each test runs the same command by both and compares.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use netrunner_sync::{Child, Command, CommandExt, Stdio};

use crate::harness::*;

/// Builds the same command twice and compares outcome and output.
macro_rules! same {
    ($program:expr $(, $method:ident ( $($arg:expr),* ))*) => {{
        let by_std = {
            let mut command = std::process::Command::new($program);
            $(command.$method($($arg),*);)*
            command.output().map(|output| (output.status, output.stdout, output.stderr))
        };
        let by_us = {
            let mut command = Command::new($program);
            $(command.$method($($arg),*);)*
            command.output().map(|output| (output.status, output.stdout, output.stderr))
        };
        match (by_std, by_us) {
            (Ok(by_std), Ok(by_us)) => {
                assert_eq!(by_us.0, by_std.0);
                assert_eq!(String::from_utf8_lossy(&by_us.1), String::from_utf8_lossy(&by_std.1));
                assert_eq!(String::from_utf8_lossy(&by_us.2), String::from_utf8_lossy(&by_std.2));
            }
            (Err(by_std), Err(by_us)) => {
                assert_eq!(by_us.kind(), by_std.kind());
                assert_eq!(by_us.raw_os_error(), by_std.raw_os_error());
            }
            (by_std, by_us) => panic!("std: {by_std:?}, NetRunner: {by_us:?}"),
        }
    }};
}

#[test]
fn statuses_and_outputs() {
    arena(|| {
        same!("/bin/true");
        same!("/bin/false");
        same!("sh", args(["-c", "echo out; echo err >&2; exit 3"]));
        same!("sh", args(["-c", "kill -9 $$"]));
        same!("cat");
        same!("/no/such/program");
        same!("no-such-program");
        same!("/etc/passwd");
    });
}

#[test]
fn environments() {
    arena(|| {
        same!(PUPPET, arg("env"));
        same!(PUPPET, arg("env"), env_clear());
        same!(PUPPET, arg("env"), env("A", "1"), env("B", "2"), env_remove("A"));
        same!(PUPPET, arg("env"), env_remove("HOME"), env("HOME", "/elsewhere"));
        same!(PUPPET, arg("env"), env_clear(), envs([("X", "1"), ("Y", "2")]), env_remove("X"));
        same!(PUPPET, arg("env"), env("X", "1"), env_clear(), env("Z", ""));
        same!(PUPPET, arg("env"), env_clear(), env("EMPTY", ""), env("EQUALS", "a=b=c"));
        same!(PUPPET, arg("env"), env_remove("NEVER_THERE"));
    });
}

#[test]
fn lookup_in_the_childs_path() {
    arena(|| {
        std::fs::create_dir_all("a").expect("a");
        std::fs::create_dir_all("b").expect("b");
        let here = std::env::current_dir().expect("here");
        for dir in ["a", "b"] {
            let tool = format!("{dir}/tool");
            std::fs::write(&tool, format!("#!/bin/sh\necho {dir} \"$0\"\n")).expect("write");
            std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
        let (a, b) = (here.join("a").display().to_string(), here.join("b").display().to_string());
        let system = "/usr/bin:/bin";
        same!("tool", env("PATH", format!("{a}:{b}:{system}")));
        same!("tool", env("PATH", format!("{b}:{a}:{system}")));
        same!("tool", env("PATH", system));
        same!("tool", env("PATH", format!("/no/such:{b}:{system}")));
        same!("sh", args(["-c", "echo $PATH"]), env_remove("PATH"));
        same!("sh", args(["-c", "echo found"]), env_clear());
        same!("a/tool");
        same!("./a/tool");
        same!("tool", current_dir("a"), env("PATH", format!(".:{system}")));
        same!("tool", current_dir("a"), env("PATH", format!(":{system}")));
        // The search goes on after EACCES and reports it if nothing else is found.
        std::fs::set_permissions("a/tool", std::fs::Permissions::from_mode(0o644)).expect("mode");
        same!("tool", env("PATH", format!("{a}:{b}:{system}")));
        same!("tool", env("PATH", format!("{a}:{system}")));
        // A file where a directory should be.
        same!("tool", env("PATH", format!("{b}/tool:{b}:{system}")));
    });
}

#[test]
fn working_directories() {
    arena(|| {
        std::fs::create_dir_all("sub/deeper").expect("directories");
        std::fs::copy(PUPPET, "sub/local").expect("copy");
        same!(PUPPET, arg("cwd"));
        same!(PUPPET, arg("cwd"), current_dir("sub"));
        same!(PUPPET, arg("cwd"), current_dir("sub/deeper"));
        same!(PUPPET, arg("cwd"), current_dir("/"));
        same!(PUPPET, arg("cwd"), current_dir("/no/such/dir"));
        same!(PUPPET, arg("cwd"), current_dir("/etc/passwd"));
        // Relative to the new directory, as on every Unix.
        same!("./local", arg("cwd"), current_dir("sub"));
        same!("sub/local", arg("cwd"), current_dir("sub"));
    });
}

#[test]
fn names_given_by_arg0() {
    arena(|| {
        same!(PUPPET, arg("exe"), arg0("another-name"));
        same!("sh", args(["-c", "echo $0"]), arg0("shell"));
        same!(PUPPET, arg("exe"));
        same!("puppet", arg("exe"), env("PATH", Path::new(PUPPET).parent().expect("a directory")));
    });
}

#[test]
fn umask_and_limits_are_those_of_the_client_at_first() {
    arena(|| {
        same!(PUPPET, arg("umask"));
        same!("sh", args(["-c", "ulimit -a"]));
        same!("cat", arg("/proc/self/oom_score_adj"));
        same!("sh", args(["-c", "cat /proc/self/stat | cut -d' ' -f19"]));
    });
}

#[test]
fn the_signal_mask_is_empty_and_the_dispositions_are_default() {
    arena(|| {
        netrunner_tests::sys::block(&[libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD]);
        for _ in 0..2 {
            let output = Command::new("cat").arg("/proc/self/status").output().expect("output");
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            let line = |key: &str| {
                let line = text.lines().find(|line| line.starts_with(key)).expect("a line");
                u64::from_str_radix(line.split_whitespace().nth(1).expect("a mask"), 16)
                    .expect("a mask")
            };
            assert_eq!(line("SigBlk"), 0, "{text}");
            assert_eq!(
                line("SigIgn"),
                0,
                "SIGPIPE, which std ignores here, and all others: {text}"
            );
            assert_eq!(line("SigCgt"), 0, "{text}");
        }
    });
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    arena(|| {
        let script = "ignore HUP output [ exec cat /proc/self/status ]";
        let text = run_client(script);
        let line = text.lines().find(|line| line.starts_with("SigIgn")).expect("a line");
        assert_eq!(
            line.split_whitespace().nth(1),
            Some("0000000000000001"),
            "as under nohup: {line}"
        );
    });
}

#[test]
fn a_child_leads_a_group_of_its_own() {
    arena(|| {
        let output = puppet("pid pgid").output().expect("output");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], lines[1]);
    });
}

#[test]
fn default_streams() {
    arena(|| {
        // Of output: no input, both outputs captured. Of spawn and status: inherited.
        assert_eq!(puppet("count").output().expect("output").stdout, b"0\n");
        let child = puppet("exit 0").spawn().expect("spawn");
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        let output =
            puppet("print lost eprint kept").stdout(Stdio::null()).output().expect("output");
        assert!(output.stdout.is_empty());
        assert_eq!(output.stderr, b"kept\n");
        let mut command = puppet("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("spawn");
        assert!(child.stdin.is_some() && child.stdout.is_some() && child.stderr.is_some());
        assert!(child.wait_with_output().expect("output").status.success());
    });
}

#[test]
fn wait_closes_stdin_first() {
    arena(|| {
        let mut child = puppet("cat exit 5").stdin(Stdio::piped()).spawn().expect("spawn");
        assert_eq!(child.wait().expect("wait").code(), Some(5));
    });
}

#[test]
fn try_wait_leaves_stdin_open() {
    arena(|| {
        let mut command = puppet("cat");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawn");
        assert!(child.try_wait().expect("try_wait").is_none());
        child.stdin.as_mut().expect("stdin").write_all(b"still open").expect("write");
        drop(child.stdin.take());
        let mut text = String::new();
        child.stdout.as_mut().expect("stdout").read_to_string(&mut text).expect("read");
        assert_eq!(text, "still open");
        assert!(child.wait().expect("wait").success());
    });
}

#[test]
fn inherited_streams_are_the_clients() {
    arena(|| {
        assert_eq!(run_client("spawn [ print inherited ] wait 0"), "inherited\n");
    });
}

#[test]
fn streams_from_files() {
    arena(|| {
        std::fs::write("in", "from a file").expect("write");
        let mut command = puppet("cat eprint aside");
        command
            .stdin(std::fs::File::open("in").expect("open"))
            .stdout(std::fs::File::create("out").expect("create"))
            .stderr(std::fs::File::create("err").expect("create"));
        assert!(command.status().expect("status").success());
        assert_eq!(std::fs::read_to_string("out").expect("out"), "from a file");
        assert_eq!(std::fs::read_to_string("err").expect("err"), "aside\n");
    });
}

#[test]
fn a_command_can_be_run_many_times() {
    arena(|| {
        let mut command = puppet("print again");
        for _ in 0..5 {
            assert_eq!(command.output().expect("output").stdout, b"again\n");
        }
        command.arg("print").arg("more");
        assert_eq!(command.output().expect("output").stdout, b"again\nmore\n");
    });
}

#[test]
fn what_was_set_can_be_read_back() {
    let mut command = Command::new("program");
    command
        .arg("one")
        .args(["two", "three"])
        .env("A", "1")
        .env_remove("B")
        .current_dir("/somewhere");
    let mut std_command = std::process::Command::new("program");
    std_command
        .arg("one")
        .args(["two", "three"])
        .env("A", "1")
        .env_remove("B")
        .current_dir("/somewhere");
    assert_eq!(command.get_program(), std_command.get_program());
    assert!(command.get_args().eq(std_command.get_args()));
    assert!(command.get_envs().eq(std_command.get_envs()));
    assert_eq!(command.get_current_dir(), std_command.get_current_dir());
}

#[test]
fn debug_output_never_shows_a_value_of_the_environment() {
    let mut command = Command::new("program");
    command.arg("argument").env("TOKEN", "very-secret");
    let text = format!("{command:?} {command:#?}");
    assert!(text.contains("program") && text.contains("argument"), "{text}");
    assert!(!text.contains("very-secret"), "{text}");
}

#[test]
fn types_can_be_shared_among_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Command>();
    shared::<Child>();
    shared::<netrunner_sync::ChildHandle>();
    shared::<netrunner_sync::ChildStdin>();
    shared::<netrunner_sync::Output>();
    shared::<netrunner_sync::Error>();
}

#[test]
fn a_pid_is_the_childs() {
    arena(|| {
        let mut command = puppet("pid");
        let child = command.stdout(Stdio::piped()).spawn().expect("spawn");
        let pid = child.id();
        let output = child.wait_with_output().expect("output");
        assert_eq!(output.stdout, format!("{pid}\n").into_bytes());
        assert_eq!(output.report.pid, pid);
    });
}
