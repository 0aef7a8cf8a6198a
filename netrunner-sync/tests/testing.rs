//! The helpers for tests, in tests: what their panics say, and what libtest captures.

use std::panic::{AssertUnwindSafe, catch_unwind};

use netrunner_sync::{Command, Output, testing};

fn shell(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

/// What it panics with.
#[track_caller]
fn panic_of(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("it should have panicked");
    *panic.downcast::<String>().expect("a message")
}

#[test]
fn a_panic_shows_the_difference_and_how_the_command_ended() {
    let output = shell("seq 9; echo why >&2; exit 3");
    testing::assert_stdout(&output, "1\n...\n9\n");
    testing::assert_stderr(&output, "w[..]y\n");
    let said = panic_of(|| testing::assert_stdout(&output, "1\n...\n8\nnine\n"));
    assert!(said.contains("  8\n- nine\n+ 9\nit ended by Exited: exit status: 3\n"), "{said}");
    assert!(said.contains("its standard error:\n    why\n"), "{said}");
    let said = panic_of(|| testing::assert_stderr(&output, ""));
    assert!(said.starts_with("standard error is not as expected\n"), "{said}");
    let said = panic_of(|| testing::assert_text("a\n", "b\n"));
    assert!(said.ends_with("- b\n+ a\n"), "{said}");
}

#[test]
fn success_is_an_exit_with_0_by_itself() {
    testing::assert_success(&shell("exit 0"));
    let said = panic_of(|| testing::assert_success(&shell("exit 3")));
    assert!(said.contains("it ended by Exited: exit status: 3"), "{said}");
    // It exits with 0, but only when it is told to.
    let mut stopped = Command::new("sh");
    stopped.args(["-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done"]);
    let mut events = stopped.events().unwrap();
    events.next().unwrap().unwrap();
    events.handle().stop().unwrap();
    let mut output = shell("exit 0");
    for event in events {
        if let netrunner_sync::Event::Exited(report) = event.unwrap() {
            assert!(report.status.success(), "{report:?}");
            output.report = report;
        }
    }
    let said = panic_of(|| testing::assert_success(&output));
    assert!(said.contains("Stopped"), "{said}");
}

#[test]
fn leftovers_are_named() {
    testing::assert_no_leftovers(&shell("sleep 0"));
    let leaves = "sleep 1000 > /dev/null 2>&1 &
        until [ $(cat /proc/$!/comm) = sleep ]; do :; done; echo $!";
    let output = shell(leaves);
    let said = panic_of(|| testing::assert_no_leftovers(&output));
    let pid = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with(&format!("left running:\n    {} `sleep`\n", pid.trim())), "{said}");
}

#[test]
fn what_is_shown_is_kept_as_well() {
    let script = "printf 'no end'; printf '\\377\\n' >&2; exit 3";
    let output = testing::shown(Command::new("sh").args(["-c", script])).unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"no end"[..], &b"\xff\n"[..]));
    assert_eq!(output.status.code(), Some(3));
}

/// Says to the tests below that they are run for another one.
const INNER: &str = "NETRUNNER_TESTING_INNER";

/// A command that shows what it writes, in a test that passes or fails.
fn inner(passes: bool) {
    if std::env::var_os(INNER).is_none() {
        return;
    }
    testing::shown(Command::new("sh").args(["-c", "echo o''ut; echo e''rr >&2"])).unwrap();
    assert!(passes);
}

#[test]
#[ignore = "not a test of its own: run by libtest_shows_the_output_of_failed_tests_only"]
fn inner_that_passes() {
    inner(true);
}

#[test]
#[ignore = "not a test of its own: run by libtest_shows_the_output_of_failed_tests_only"]
fn inner_that_fails() {
    inner(false);
}

#[test]
fn libtest_shows_the_output_of_failed_tests_only() {
    let run = |test: &str| {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        tests.args(["--exact", "--ignored", test]).env_remove("RUST_TEST_NOCAPTURE").env(INNER, "");
        let output = tests.stderr_to_stdout().output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let passed = run("inner_that_passes");
    assert!(passed.contains("1 passed") && !passed.contains("out\n"), "{passed}");
    let failed = run("inner_that_fails");
    assert!(failed.contains("1 failed"), "{failed}");
    assert!(failed.contains("out\n") && failed.contains("err\n"), "{failed}");
}
