//! What `SECURITY.md` says that holds: of another user, of a program with more rights than its caller, of
//! secrets in arguments and environments, and of a child that attacks its shepherd.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process;

use netrunner_sync::{Command, CommandExt as _, Daemon, Jobs, Resource};
use netrunner_tests::lacks::Lack;
use netrunner_tests::procs;

use crate::harness::*;

/// Two users that nobody else is.
const OWNER: u32 = 61_042;
const STRANGER: u32 = 61_043;

/// What works for a user against a process.
fn works(user: u32, pid: u32) -> String {
    let output = std_puppet(&format!("become {user} attack {pid}")).output().expect("run");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// A client of this user with a command that goes on; its processes by name.
fn processes_of(user: u32) -> (Client, [(&'static str, u32); 4]) {
    let rights = if user == 0 { String::new() } else { format!("become {user}") };
    let client = client(&format!("{rights} spawn [ sleep forever ] pid pid sleep forever"));
    let child = wait_pid_file("pid");
    fs::remove_file("pid").expect("make room for the next one");
    let (shepherd, guardian) = (shepherd_of(child), guardian_of(child));
    let client_itself = ("the client", client.pid());
    let all = [("the child", child), ("the shepherd", shepherd), ("the guardian", guardian)];
    (client, [client_itself, all[0], all[1], all[2]])
}

#[test]
fn another_user_can_do_nothing_to_what_runs() {
    arena(|| {
        if !is_root() {
            return;
        }
        for user in [0, OWNER] {
            let (client, processes) = processes_of(user);
            for (name, pid) in processes {
                assert_eq!(works(STRANGER, pid), "", "against {name} of {user}");
            }
            client.kill();
            wait_nothing_left(GRACE_AND_2S);
        }
    });
}

#[test]
fn the_owner_can_do_all_of_that() {
    // Else the test above would show nothing.
    arena(|| {
        if !is_root() || lacks(Lack::Pidfd) {
            return;
        }
        let (client, processes) = processes_of(OWNER);
        for (name, pid) in &processes[1..] {
            let works = works(OWNER, *pid);
            for what in ["a signal", "taking a descriptor", "opening its memory", "its limits"] {
                assert!(works.contains(what), "{what} against {name}: {works}");
            }
        }
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn no_lane_has_a_name_to_connect_to() {
    arena(|| {
        let child = puppet("sleep forever").spawn().expect("spawn");
        let (shepherd, guardian) = (shepherd_of(child.id()), guardian_of(child.id()));
        let mut sockets = 0;
        let named = fs::read_to_string("/proc/net/unix").expect("the sockets of this machine");
        for pid in [process::id(), shepherd, guardian] {
            for (_, target) in procs::descriptors(pid) {
                let Some(inode) = target.strip_prefix("socket:[") else { continue };
                let inode = inode.trim_end_matches(']');
                // The columns end with the inode and, where there is one, the name.
                let line = named.lines().find(|line| line.split_whitespace().nth(6) == Some(inode));
                let line = line.expect("a socket of this machine");
                assert_eq!(line.split_whitespace().nth(7), None, "{pid}: {line}");
                sockets += 1;
            }
        }
        assert!(sockets >= 4, "two lanes with two ends each, and only {sockets} sockets");
    });
}

#[test]
fn the_program_in_memory_is_sealed() {
    arena(|| {
        if lacks(Lack::Memfd) {
            return skip("the program is no memory file here");
        }
        let child = puppet("sleep forever").spawn().expect("spawn");
        let program = File::open(format!("/proc/{}/exe", shepherd_of(child.id()))).expect("open");
        let seals = rustix::fs::fcntl_get_seals(&program).expect("a memory file");
        let all = rustix::fs::SealFlags::WRITE
            | rustix::fs::SealFlags::GROW
            | rustix::fs::SealFlags::SHRINK
            | rustix::fs::SealFlags::SEAL;
        assert_eq!(seals, all);
    });
}

#[test]
fn a_set_uid_client_executes_nothing_that_its_callers_environment_names() {
    arena(|| {
        if !is_root() {
            return;
        }
        fs::write("evil", "#!/bin/sh\ntouch was-run\n").expect("write");
        fs::set_permissions("evil", Permissions::from_mode(0o755)).expect("mode");
        let evil = fs::canonicalize("evil").expect("its path");
        // The same client without the bit does run it, and fails: it is no guardian.
        for (mode, wanted) in [(0o755, false), (0o4755, true)] {
            fs::copy(program(CLIENT), "own-client").expect("copy");
            fs::set_permissions("own-client", Permissions::from_mode(mode)).expect("mode");
            // The puppet gives up root and executes the client.
            let puppet = program_of_puppets();
            let script = format!(
                "become {STRANGER} exec ./own-client program {} attempt output [ print done ] exit 0",
                puppet.display()
            );
            let output =
                std_puppet(&script).env("NETRUNNER_SHEPHERD", &evil).output().expect("run");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(told.contains("ok\n"), wanted, "{mode:o}: {output:?}");
            assert_eq!(fs::exists("was-run").expect("look"), !wanted, "{mode:o}");
            let _ = fs::remove_file("was-run");
        }
    });
}

/// Nobody may read it.
const SECRET: &str = "s3cr3t-0f-a-test";

fn with_secrets(script: &str) -> Command {
    let mut command = puppet(script);
    command.arg(SECRET).env("TOKEN", SECRET);
    command
}

/// Everything that says something about what became of a command with secrets.
fn words_about_secrets() -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |what: &dyn std::fmt::Debug| words.push(format!("{what:?} {what:#?}"));
    let mut failures: Vec<netrunner_sync::Error> = Vec::new();
    let mut missing = Command::new("no-such-program");
    failures.extend(missing.arg(SECRET).env("TOKEN", SECRET).output().err());
    failures.extend(missing.status().err());
    failures.extend(missing.spawn().err());
    failures.extend(with_secrets("exit 3").run().err());
    failures.extend(with_secrets("die KILL").run().err());
    failures.extend(with_secrets("sleep forever").timeout(GRACE / 4).run().err());
    failures.extend(with_secrets("spew 100 exit 0").max_output(10).run().err());
    failures.extend(with_secrets("exit 0").arg(format!("{SECRET}\0")).run().err());
    failures.extend(with_secrets("exit 0").env("NUL", format!("{SECRET}\0")).run().err());
    failures.extend(with_secrets("exit 0").arg("x".repeat(4_000_000)).run().err());
    failures.extend(with_secrets("exit 0").current_dir("/no/such/place").run().err());
    failures.extend(with_secrets("exit 0").rlimit(Resource::NOFILE, 5, 4).run().err());
    let mut child = with_secrets("sleep forever").spawn().expect("spawn");
    signal(shepherd_of(child.id()), libc::SIGKILL);
    failures.extend(child.wait().err());
    assert_eq!(failures.len(), 13, "all of them fail: {failures:?}");
    for error in &failures {
        add(error);
        add(&error.to_string());
    }
    add(&child);
    let output = with_secrets("exit 3").output().expect("run");
    add(&output);
    add(&output.report);
    let mut jobs = Jobs::new(1);
    jobs.push(with_secrets("exit 3"));
    let done = jobs.next().expect("told");
    add(&jobs);
    add(&done);
    let daemon = Daemon::builder(with_secrets("sleep forever")).start().expect("start");
    add(&daemon);
    add(&daemon.health());
    drop(daemon);
    words
}

#[test]
fn no_error_and_no_report_shows_an_argument_or_a_value_of_the_environment() {
    arena(|| {
        for words in words_about_secrets() {
            assert!(!words.contains(SECRET), "{words}");
        }
    });
}

#[test]
fn a_command_that_is_shown_shows_its_arguments_as_stds_does_but_no_value() {
    let mut command = Command::new("program");
    command.arg("argument").env("TOKEN", SECRET).env_remove("OTHER");
    let shown = format!("{command:?} {:?}", command.get_envs());
    assert!(shown.contains("argument") && shown.contains("TOKEN"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn what_stands_beside_a_command_shows_nothing_of_it() {
    arena(|| {
        let child = with_secrets("sleep forever args").spawn().expect("spawn");
        for pid in [shepherd_of(child.id()), guardian_of(child.id())] {
            for file in ["environ", "cmdline", "comm"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).expect("read");
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(SECRET), "{file} of {}: {text}", procs::describe(pid));
            }
        }
    });
}

#[test]
fn a_shepherd_takes_no_notice_of_any_signal_that_can_be_blocked() {
    arena(|| {
        let output = puppet("strafe print still-here exit 5").output().expect("output");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), text.trim()), (Some(5), "still-here"));
        assert!(!fs::exists("refused").expect("look"));
    });
}

/// A command that does this to its shepherd, with one process in a session of its own.
fn attacker(how: &str) -> Command {
    puppet(&format!(
        "lock child daemon [ setsid ignore TERM lock away sleep forever ] await go {how} touch done \
         sleep forever"
    ))
}

#[test]
fn a_child_that_overwrites_its_shepherd_ends_with_it_and_leaves_nothing() {
    arena(|| {
        let mut child = attacker("scribble").spawn().expect("spawn");
        lock("away").wait_held();
        fs::write("go", "").expect("go on");
        wait_file("done");
        if fs::exists("refused").expect("look") {
            return skip("no process may write into another one of its user here");
        }
        // It falls when it is to do something.
        let ended = child.kill().and_then(|()| child.wait());
        assert!(ended.expect_err("no status").is_shepherd_lost());
        lock("child").wait_free(GRACE_AND_2S);
        lock("away").wait_free(GRACE_AND_2S);
        assert_eq!(puppet("exit 7").status().expect("run").code(), Some(7));
    });
}

#[test]
fn a_child_that_stops_its_shepherd_as_a_debugger_does_is_killed_all_the_same() {
    arena(|| {
        let child = attacker("seize").spawn().expect("spawn");
        lock("away").wait_held();
        fs::write("go", "").expect("go on");
        wait_file("done");
        if fs::exists("refused").expect("look") {
            return skip("no process may trace another one of its user here");
        }
        drop(child);
        lock("child").wait_free(GRACE_AND_2S);
        lock("away").wait_free(GRACE_AND_2S);
    });
}

#[test]
fn a_child_of_another_user_can_do_nothing_to_its_shepherd() {
    arena(|| {
        if !is_root() {
            return;
        }
        let output =
            puppet("attack-shepherd").uid(STRANGER).gid(STRANGER).output().expect("output");
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "");
    });
}
