//! `--pid-namespace`: what is had is reported, and what can't be had is told before anything runs.

use std::process::Command;

use netrunner_sync::{Capability, capabilities};

use crate::harness::{Folder, NETRUNNER, end, script};

fn possible() -> bool {
    match capabilities().pid_namespace {
        Capability::Available => true,
        Capability::Missing(missing) => {
            eprintln!("SKIPPED: {}", missing.reason);
            false
        }
    }
}

#[test]
fn a_command_in_a_namespace_says_so_and_ends_as_without() {
    if !possible() {
        return;
    }
    let ended = end(script(&["--pid-namespace", "--report=json"], "echo $$; exit 3")).expect(3);
    assert_eq!(ended.stdout, "2\n");
    assert!(ended.stderr.contains("\"containment\":\"pid_namespace\""), "{ended:?}");
    end(script(&["--pid-namespace"], "kill -TERM $$")).expect(128 + 15);
    let ended = end(script(&["--pid-namespace", "--mount-proc"], "cat /proc/1/comm")).expect(0);
    assert_eq!(ended.stdout, "nr-init\n");
}

#[test]
fn a_proc_of_its_own_needs_a_namespace() {
    end(script(&["--mount-proc"], "true")).expect(125).says(&["--pid-namespace"]);
}

/// What forbids it is named, by the command that is refused and by the doctor, and what may do without does.
#[test]
fn a_limit_that_forbids_it_is_named_and_nothing_runs() {
    let folder = Folder::new();
    let limit = "/proc/sys/user/max_pid_namespaces";
    let inside = |words: &str| {
        let mut command = Command::new("unshare");
        let text = format!("echo 0 > {limit} && exec {NETRUNNER} {words}");
        command.args(["--user", "--map-root-user", "sh", "-c", &text]);
        command
    };
    if !inside("--version").output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("SKIPPED: no user namespaces here");
        return;
    }
    let touch = format!("-- touch {}", folder.path("ran"));
    let ended = end(inside(&format!("run --pid-namespace {touch}"))).expect(125);
    ended.says(&["PID namespace", limit, "is 0", "raise it"]);
    assert!(!folder.has("ran"));
    let found = end(inside("doctor")).expect(0).stdout;
    assert!(found.contains("no   pid_namespace"), "{found}");
    assert!(found.contains(limit), "{found}");
    let words = format!("run --pid-namespace --if-available --report=json {touch}");
    let ended = end(inside(&words)).expect(0);
    assert!(folder.has("ran"));
    assert!(ended.stderr.contains("\"containment\":\"tree\""), "{ended:?}");
}
