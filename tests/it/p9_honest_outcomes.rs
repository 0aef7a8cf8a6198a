//! P9: exit code, signal and core flag stay distinct; a failed spawn names its step; reasons are told
//! apart; partial output is never thrown away.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use netrunner_sync::{Command, CommandExt as _, Reason};

use crate::harness::*;

#[test]
fn every_exit_code_comes_through() {
    arena(|| {
        for code in [0, 1, 2, 42, 124, 126, 127, 128, 137, 143, 255] {
            let output = puppet(&format!("exit {code}")).output().expect("output");
            assert_eq!(output.status.code(), Some(code));
            assert_eq!(output.status.signal(), None, "exit {code} is no signal");
            assert_eq!(output.report.reason, Reason::Exited);
            assert_eq!(output.report.status, output.status);
        }
    });
}

#[test]
fn a_signal_is_no_exit_code() {
    arena(|| {
        for (name, number) in [
            ("TERM", libc::SIGTERM),
            ("KILL", libc::SIGKILL),
            ("HUP", libc::SIGHUP),
            ("INT", libc::SIGINT),
            ("PIPE", libc::SIGPIPE),
            ("USR1", libc::SIGUSR1),
            ("ALRM", libc::SIGALRM),
            ("SEGV", libc::SIGSEGV),
            ("40", 40),
        ] {
            let output = puppet(&format!("die {name}")).output().expect("output");
            assert_eq!(output.status.signal(), Some(number), "{name}");
            assert_eq!(output.status.code(), None, "{name}");
            // From outside, as far as we are concerned.
            assert_eq!(output.report.reason, Reason::Exited, "{name}");
        }
    });
}

#[test]
fn a_signal_from_outside_is_an_exit_and_ours_is_not() {
    arena(|| {
        let mut child = puppet("lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        signal(child.id(), libc::SIGTERM);
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGTERM));
        assert_eq!(child.report().expect("report").reason, Reason::Exited);
    });
}

#[test]
fn run_is_the_only_judge() {
    arena(|| {
        assert!(puppet("print all exit 0").run().is_ok());
        let error = puppet("print half eprint why exit 3").run().expect_err("run");
        assert!(error.is_failure());
        let output = error.output().expect("output");
        assert_eq!((output.stdout.clone(), output.stderr.clone()), both("half\n", "why\n"));
        assert_eq!(output.status.code(), Some(3));
        assert!(
            error.to_string().contains(PUPPET) || error.to_string().contains("puppet"),
            "{error}"
        );
        assert!(error.to_string().contains('3'), "{error}");

        let error = puppet("die TERM").run().expect_err("run");
        assert!(error.is_failure());
        assert!(error.to_string().contains("TERM"), "{error}");

        let error = puppet("print half sleep forever")
            .timeout(Duration::from_millis(500))
            .run()
            .expect_err("run");
        assert!(error.is_timeout() && !error.is_failure());
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.output().expect("output").stdout, b"half\n");
    });
}

#[test]
fn a_timeout_is_told_apart_from_an_exit_even_when_the_child_exits_well() {
    arena(|| {
        let output = puppet("on TERM 0 sleep forever")
            .timeout(Duration::from_millis(500))
            .output()
            .expect("output");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.report.reason, Reason::Timeout);
        let error = puppet("on TERM 0 sleep forever")
            .timeout(Duration::from_millis(500))
            .run()
            .expect_err("run");
        assert!(error.is_timeout());
    });
}

#[test]
fn a_failed_spawn_names_its_step_its_object_and_its_cause() {
    arena(|| {
        let error = Command::new("/no/such/program").spawn().expect_err("spawn");
        assert!(error.is_not_found());
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let text = error.to_string();
        assert!(text.contains("`/no/such/program`") && text.contains("No such file"), "{text}");

        let error = puppet("exit 0").current_dir("/no/such/dir").spawn().expect_err("spawn");
        assert!(error.is_not_found());
        let text = error.to_string();
        assert!(text.contains("directory") && text.contains("`/no/such/dir`"), "{text}");
        assert!(!text.contains(PUPPET), "not the program is missing: {text}");

        let error = puppet("exit 0").current_dir("/etc/passwd").spawn().expect_err("spawn");
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
        assert!(error.to_string().contains("`/etc/passwd`"), "{error}");

        let error = Command::new("/etc/passwd").spawn().expect_err("spawn");
        assert!(error.is_permission_denied());

        let error = Command::new("no-such-program-anywhere").spawn().expect_err("spawn");
        assert!(error.is_not_found());
        assert!(error.to_string().contains("`no-such-program-anywhere`"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    });
}

#[test]
fn spawn_output_and_status_fail_alike() {
    arena(|| {
        for program in ["/no/such/program", "/etc/passwd", "/etc", "no-such-program-anywhere"] {
            let mut command = Command::new(program);
            connect(&mut command);
            let spawned = command.spawn().expect_err("spawn");
            let status = command.status().expect_err("status");
            let output = command.output().expect_err("output");
            assert_eq!(spawned.raw_os_error(), status.raw_os_error(), "{program}");
            assert_eq!(spawned.raw_os_error(), output.raw_os_error(), "{program}");
            assert_eq!(spawned.to_string(), output.to_string());
            assert!(spawned.output().is_none() && output.output().is_none(), "nothing ran");
        }
    });
}

#[test]
fn a_refused_step_before_the_exec_names_itself() {
    arena(|| {
        if !is_root() {
            return;
        }
        // Without privileges, none may be taken.
        let output = run_client("become 65534 try-output [ exit 0 ] output [ ids ]");
        assert!(output.contains("Uid: 65534"), "{output}");
        let error = puppet("exit 0")
            .rlimit(netrunner_sync::Resource::NOFILE, 100, 50)
            .spawn()
            .expect_err("a soft limit above the hard one");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(error.to_string().contains("limit"), "{error}");
    });
}

#[test]
fn the_report_tells_what_was_used() {
    arena(|| {
        let output = puppet("spew 1000000 sleep 0.1").output().expect("output");
        let report = output.report;
        assert!(report.pid > 1);
        assert!(report.wall >= Duration::from_millis(100), "{report:?}");
        assert!(report.wall < Duration::from_secs(60), "{report:?}");
        assert!(report.usage.user + report.usage.system > Duration::ZERO, "{report:?}");
        assert!(report.usage.max_rss > 100_000 && report.usage.max_rss < 1 << 30, "{report:?}");
    });
}

#[test]
fn peak_memory_is_the_childs_and_not_the_clients() {
    arena(|| {
        let mut ballast = vec![0_u8; 400 << 20];
        // Touched, page by page, so that it is really there.
        ballast.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        let output = puppet("exit 0").output().expect("output");
        assert!(output.report.usage.max_rss < 100 << 20, "{:?}", output.report);
        assert_eq!(std::hint::black_box(&ballast).len(), 400 << 20);
    });
}

on_terminals_too! {
    run_is_the_only_judge
    every_exit_code_comes_through
    a_signal_is_no_exit_code
    a_signal_from_outside_is_an_exit_and_ours_is_not
    a_timeout_is_told_apart_from_an_exit_even_when_the_child_exits_well
    a_failed_spawn_names_its_step_its_object_and_its_cause
    spawn_output_and_status_fail_alike
    a_refused_step_before_the_exec_names_itself
    the_report_tells_what_was_used
    peak_memory_is_the_childs_and_not_the_clients
}
