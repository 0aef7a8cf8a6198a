//! Commands in a PID namespace: for the client all is as without it, for those inside the world is smaller, and
//! where the system forbids it nothing runs.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process;
use std::time::Duration;

use netrunner_sync::{
    Capability, Cgroup, Command, Containment, Leftovers, Output, Reason, Signal, Stdio,
};
use netrunner_tests::lacks::Lacks;
use netrunner_tests::script;
use netrunner_tests::wait::wait_until;

use crate::harness::*;

/// Whose command it is: root's needs no user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Other,
}

/// The number of the other one, which is not the one that stands for whatever has none in a user namespace.
const OTHER: u32 = 61_044;

impl User {
    /// What a client does to become this user; nothing where the tests run as another anyway.
    pub(crate) fn words(self) -> &'static str {
        let root = netrunner_tests::sys::euid() == 0;
        if root && self == User::Other { "become 61044" } else { "" }
    }
}

/// False, loudly, where no namespace can be made.
pub(crate) fn possible() -> bool {
    match netrunner_sync::capabilities().pid_namespace {
        Capability::Available => true,
        Capability::Missing(missing) => {
            skip(&format!("no PID namespaces: {}", missing.reason));
            false
        }
    }
}

/// The first process of the namespace of this shepherd's command.
pub(crate) fn init_of(shepherd: u32) -> Option<u32> {
    let all = others();
    all.iter().find(|it| it.ppid == shepherd && it.comm == "nr-init").map(|it| it.pid)
}

fn inside(script: &str) -> Command {
    let mut command = puppet(script);
    command.contain(Containment::PidNamespace);
    command
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).grace(GRACE).contain(Containment::PidNamespace);
    command
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

/// Runs the body in an arena, where there are namespaces.
macro_rules! tests {
    ($($(#[$doc:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$doc])*
        #[test]
        fn $name() {
            arena(|| {
                if possible() {
                    $body
                }
            });
        })*
        on_terminals_too! { $($name)* }
    };
}

tests! {
    fn ends_are_reported_as_without_a_namespace() {
        for script in ["exit 0", "exit 7", "die TERM", "die KILL", "die SEGV", "die ALRM", "die RTMIN"] {
            let without = puppet(script).output().expect("without");
            let with = inside(script).output().expect("inside");
            assert_eq!(with.status, without.status, "{script}");
            assert_eq!(with.report.reason, Reason::Exited, "{script}");
            assert_eq!(with.report.containment, Containment::PidNamespace);
            assert_eq!(without.report.containment, Containment::Tree);
            assert!(with.report.leftovers.is_empty(), "{script}: {:?}", with.report.leftovers);
            let mut child = inside(script).spawn().expect("spawn");
            assert_eq!(child.wait().expect("wait"), without.status, "{script}");
        }
        wait_no_puppets(GRACE_AND_2S);
    }

    fn the_client_sees_the_numbers_outside_and_the_command_those_inside() {
        let mut child = inside("lock leader await go").spawn().expect("spawn");
        let holder = lock("leader").wait_held();
        assert_eq!(child.id(), holder);
        let shepherd = shepherd_of(child.id());
        assert!(init_of(shepherd).is_some(), "{:?}", others());
        child.kill().expect("kill");
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGKILL));
        let output = inside("pid ppid").output().expect("output");
        assert_eq!(text(&output), "2\n0\n");
        assert!(output.report.pid > 2);
    }

    fn the_polite_signal_is_heard() {
        let mut child = inside("on TERM 9 lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        assert_eq!(child.stop().expect("stop").code(), Some(9));
        let report = child.report().expect("a report");
        assert_eq!(report.reason, Reason::Stopped);
        // By default it ends a command as well, which it would not if that were the first process.
        let output = inside("sleep forever").timeout(Duration::from_millis(50)).output();
        let output = output.expect("output");
        assert_eq!(output.status.signal(), Some(libc::SIGTERM));
        assert_eq!(output.report.reason, Reason::Timeout);
    }

    fn each_descendant_is_asked_once() {
        let below = "setsid note TERM below lock below sleep forever";
        let script = format!("note TERM leader-got daemon [ {below} ] await below lock leader sleep forever");
        let mut child = inside(&script).spawn().expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        child.stop().expect("stop");
        lock("leader").assert_free();
        lock("below").assert_free();
        let got = fs::read_to_string("leader-got").expect("it was asked");
        assert_eq!(got.split_whitespace().collect::<Vec<_>>(), ["15"]);
    }

    fn what_does_not_listen_is_killed() {
        let below = "setsid ignore TERM lock below sleep forever";
        let script = format!("ignore TERM daemon [ {below} ] await below lock leader sleep forever");
        let mut child = inside(&script).spawn().expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        assert_eq!(child.stop().expect("stop").signal(), Some(libc::SIGKILL));
        lock("leader").assert_free();
        lock("below").assert_free();
    }

    fn a_signal_goes_to_the_childs_group() {
        let mut child = inside("on USR1 4 lock leader sleep forever").spawn().expect("spawn");
        lock("leader").wait_held();
        child.signal(Signal::USR1).expect("signal");
        assert_eq!(child.wait().expect("wait").code(), Some(4));
    }

    fn leftovers_are_named_stopped_waited_for_or_kept() {
        let script = "daemon [ setsid lock below await go ] await below exit 3";
        let output = inside(script).output().expect("output");
        assert_eq!((output.status.code(), output.report.leftovers.len()), (Some(3), 1));
        assert_eq!(output.report.leftovers[0].name, "puppet");
        lock("below").assert_free();
        fs::remove_file("below").expect("for the next");
        let mut child = inside(script).leftovers(Leftovers::Wait).spawn().expect("spawn");
        lock("below").wait_held();
        assert!(child.wait_timeout(Duration::from_millis(100)).expect("wait").is_none());
        fs::write("go", "").expect("let it end");
        assert_eq!(child.wait().expect("wait").code(), Some(3));
        fs::remove_file("go").expect("for the next");
        fs::remove_file("below").expect("for the next");
        let output = inside(script).leftovers(Leftovers::Keep).output().expect("output");
        assert_eq!((output.status.code(), output.report.leftovers.len()), (Some(3), 1));
        lock("below").assert_held();
        fs::write("go", "").expect("let it end");
        lock("below").wait_free(GRACE_AND_2S);
        wait_until("its shepherd has left", GRACE_AND_2S, || {
            others().iter().all(|it| it.comm != "nr-init")
        });
    }

    fn orphans_inside_are_reaped() {
        let orphans = "daemon [ exit 0 ] ".repeat(20);
        let script = format!("{orphans} touch done lock leader sleep forever");
        let mut child = inside(&script).spawn().expect("spawn");
        lock("leader").wait_held();
        let init = init_of(shepherd_of(child.id())).expect("a first process");
        wait_until("the orphans are reaped", GRACE_AND_2S, || zombies_of(init).is_empty());
        child.stop().expect("stop");
    }

    fn a_program_that_is_not_there_leaves_nothing() {
        for _ in 0..3 {
            let mut command = Command::new("/no/such/program");
            command.contain(Containment::PidNamespace);
            assert!(command.spawn().expect_err("there is none").is_not_found());
            assert!(command.output().expect_err("there is none").is_not_found());
            let error = inside("exit 0").current_dir("/no/such/place").output();
            assert!(error.expect_err("there is none").is_not_found());
        }
        wait_until("no first process is left", GRACE_AND_2S, || {
            others().iter().all(|it| it.comm != "nr-init")
        });
    }

    fn kill_ends_a_storm() {
        let storm = "storm-setsid 6000 12 touch raging sleep forever";
        let mut child = inside(storm).spawn().expect("spawn");
        wait_file("raging");
        child.kill().expect("kill");
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGKILL));
        assert_no_puppets();
    }

    fn the_first_process_holds_nothing_of_the_commands() {
        let mut command = inside("close 1 close 2 close 0 lock leader sleep forever");
        off_terminals(&mut command, |it| it.stdout(Stdio::piped()));
        let mut child = command.spawn().expect("spawn");
        lock("leader").wait_held();
        if !on_terminals() {
            let mut all = Vec::new();
            outlet(&mut child).read_to_end(&mut all).expect("its end while the command runs");
        }
        let init = init_of(shepherd_of(child.id())).expect("a first process");
        let open = fs::read_dir(format!("/proc/{init}/fd")).expect("its descriptors").count();
        // Three of /dev/null, its pipe, and where SIGCHLD is read.
        assert_eq!(open, 5);
        child.stop().expect("stop");
    }

    fn the_end_of_the_first_process_is_the_commands() {
        let mut child = inside("daemon [ setsid lock below sleep forever ] lock leader sleep forever")
            .spawn()
            .expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        signal(init_of(shepherd_of(child.id())).expect("a first process"), libc::SIGKILL);
        assert_eq!(child.wait().expect("wait").signal(), Some(libc::SIGKILL));
        assert_eq!(child.report().expect("a report").reason, Reason::Exited);
        lock("below").assert_free();
    }

    fn a_lost_shepherd_takes_all_along() {
        let mut child = inside("daemon [ setsid lock below sleep forever ] lock leader sleep forever")
            .spawn()
            .expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        assert!(child.wait().expect_err("no honest status").is_shepherd_lost());
        lock("leader").wait_free(GRACE_AND_2S);
        lock("below").wait_free(GRACE_AND_2S);
    }

    fn a_shepherd_serves_with_and_without_in_turns_and_keeps_nothing() {
        let mut shepherds = Vec::new();
        for round in 0..20 {
            let script = format!("lock leader await go-{round}");
            let mut child = inside(&script).spawn().expect("spawn");
            let shepherd = shepherd_of(lock("leader").wait_held());
            let open = fs::read_dir(format!("/proc/{shepherd}/fd")).expect("look").count();
            shepherds.push((shepherd, open));
            fs::write(format!("go-{round}"), "").expect("let it end");
            assert!(child.wait().expect("wait").success());
            assert!(puppet("exit 0").status().expect("without").success());
        }
        for (shepherd, open) in &shepherds {
            let first = shepherds.iter().find(|(other, _)| other == shepherd).expect("itself");
            assert_eq!(*open, first.1, "{shepherds:?}");
        }
    }

    fn a_detached_command_lives_on_and_is_reaped() {
        let child = inside("ignore HUP daemon [ setsid lock below await go ] await below lock leader await go")
            .spawn()
            .expect("spawn");
        lock("leader").wait_held();
        child.detach();
        lock("leader").assert_held();
        fs::write("go", "").expect("let it end");
        lock("leader").wait_free(GRACE_AND_2S);
        lock("below").wait_free(GRACE_AND_2S);
        wait_until("its shepherd has left", GRACE_AND_2S, || {
            others().iter().all(|it| it.comm != "nr-init")
        });
    }

    fn a_cgroup_may_be_set_beside_it() {
        let mut command = inside("exit 5");
        command.cgroup(Cgroup::auto().if_available());
        let output = command.output().expect("output");
        assert_eq!(output.status.code(), Some(5));
        assert_eq!(output.report.containment, Containment::PidNamespace);
    }
}

/// What a client of this user has its command print.
fn of_a_client(user: User, words: &str) -> String {
    run_client(&format!("{} {words}", user.words()))
}

#[test]
fn files_keep_their_owner() {
    arena(|| {
        if !possible() {
            return;
        }
        for user in [User::Root, User::Other] {
            let out = of_a_client(user, "namespace output [ touch made ids ]");
            let made = fs::metadata("made").expect("the file");
            // Who becomes another user becomes the group of that number as well.
            let (owner, group) = match user {
                User::Other if netrunner_tests::sys::euid() == 0 => (OTHER, OTHER),
                User::Root | User::Other => {
                    (netrunner_tests::sys::euid(), rustix::process::getegid().as_raw())
                }
            };
            assert_eq!((made.uid(), made.gid()), (owner, group));
            for (name, id) in [("Uid", owner), ("Gid", group)] {
                let line = format!("{name}: {id} {id} {id} {id}");
                assert!(out.contains(&line), "{out}");
            }
            fs::remove_file("made").expect("for the next");
        }
    });
}

#[test]
fn another_user_gets_the_same_ends() {
    arena(|| {
        if !possible() {
            return;
        }
        let out = of_a_client(
            User::Other,
            "namespace spawn [ exit 7 ] wait 7 spawn [ die USR1 ] wait-signal 10 \
             spawn [ on TERM 9 lock leader sleep forever ] stop \
             spawn [ ignore TERM daemon [ setsid ignore TERM lock below sleep forever ] sleep forever ] \
             await below stop output [ pid ]",
        );
        assert_eq!(out, "2\n");
        lock("below").assert_free();
    });
}

#[test]
fn no_signal_from_inside_ends_the_first_process() {
    arena(|| {
        if !possible() {
            return;
        }
        let output = sh("kill -9 1; kill -STOP 1; kill -TERM 1; echo $$").output().expect("output");
        assert_eq!((text(&output), output.status.code()), ("2\n", Some(0)));
    });
}

#[test]
fn proc_is_mounted_inside_and_nowhere_else() {
    arena(|| {
        if !possible() {
            return;
        }
        let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let before = mounts();
        let script = "readlink /proc/self; cat /proc/1/comm; echo /proc/[0-9]*";
        let output = sh(script).mount_proc(true).run().expect("run");
        // The shell's own number is 2, and the next ones are those of readlink and cat.
        assert_eq!(text(&output), "3\nnr-init\n/proc/1 /proc/2\n");
        assert_eq!(mounts(), before);
        let out = of_a_client(User::Other, "namespace mount-proc output [ exe ]");
        assert!(out.trim_end().ends_with("/puppet"), "{out}");
        assert_eq!(mounts(), before);
    });
}

/// Where mounts are passed on to whoever has them in common.
#[test]
fn proc_is_mounted_nowhere_else_where_mounts_are_shared() {
    arena(|| {
        if !possible() || !is_root() {
            return;
        }
        let script =
            "cat /proc/self/mountinfo > before && \"$@\" && cat /proc/self/mountinfo > after";
        let mut client = process::Command::new("unshare");
        client.args(["--mount", "--propagation", "shared", "sh", "-c", script, "sh"]);
        client.arg(program(CLIENT)).args(script::split("namespace mount-proc output [ pid ]"));
        let output = client.output().expect("run unshare");
        assert!(output.status.success(), "{output:?}");
        let mounts = |file: &str| fs::read_to_string(file).expect("the mounts");
        assert_eq!(mounts("after"), mounts("before"));
    });
}

#[test]
fn a_proc_of_its_own_is_for_commands_in_a_namespace() {
    arena(|| {
        let error = puppet("touch ran").mount_proc(true).output().expect_err("it has none");
        assert!(error.is_invalid_input(), "{error}");
        assert!(!std::path::Path::new("ran").exists());
    });
}

/// A client that may not make namespaces; its output.
fn without_namespaces(lacks: &str, words: &str) -> String {
    let mut client = process::Command::new(program(CLIENT));
    client.args(script::split(words)).stdin(process::Stdio::null());
    client.stdout(fs::File::create("client-out").expect("a file for its output"));
    let mut client = Lacks::named(lacks).start(client).expect("start a client");
    assert!(client.wait().expect("wait for the client").success());
    fs::read_to_string("client-out").expect("its output")
}

#[test]
fn where_it_is_forbidden_nothing_runs_and_the_reason_is_told() {
    arena(|| {
        if !can_filter() {
            return;
        }
        for (lacks, errno) in [("namespaces,eperm", libc::EPERM), ("namespaces", libc::ENOSYS)] {
            for way in ["output", "status", "spawn"] {
                let words = format!("namespace attempt {way} [ touch ran ]");
                let out = without_namespaces(lacks, &words);
                assert!(out.starts_with(&format!("error {errno} [")), "{out}");
                assert!(out.contains("is_uncontained"), "{out}");
                assert!(out.contains("make a PID namespace for `"), "{out}");
                assert!(out.contains("`unshare` failed"), "{out}");
                assert!(!std::path::Path::new("ran").exists(), "{way}");
            }
        }
        wait_nothing_left(GRACE_AND_2S);
    });
}

/// The namespace is there by then, and its first process. The shepherd is the one of the command before.
#[test]
fn what_fails_within_a_namespace_leaves_nothing_of_it() {
    arena(|| {
        if !possible() || !can_filter() {
            return;
        }
        let attempts = "attempt output [ touch ran ] attempt spawn [ touch ran ]";
        let words = format!(
            "namespace output [ print one ] threads 1 [ mount-proc {attempts} ] output [ print two ]"
        );
        let out = without_namespaces("mount,eperm", &words);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[3]), (4, "one", "two"), "{out}");
        for line in &lines[1..3] {
            assert!(line.contains("is_uncontained"), "{out}");
        }
        assert!(!std::path::Path::new("ran").exists());
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn where_it_is_forbidden_a_command_that_need_not_have_it_runs_without() {
    arena(|| {
        if !can_filter() {
            return;
        }
        let words = "namespace-if-available output [ print ran ] spawn [ exit 4 ] wait 4";
        assert_eq!(without_namespaces("namespaces,eperm", words), "ran\n");
        wait_nothing_left(GRACE_AND_2S);
    });
}

#[test]
fn a_limit_of_none_is_named() {
    arena(|| {
        if !possible() || !is_root() {
            return;
        }
        let script = "echo 0 > /proc/sys/user/max_pid_namespaces && exec \"$@\"";
        let mut client = process::Command::new("unshare");
        client.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]);
        client.arg(program(CLIENT)).args(script::split("namespace attempt output [ touch ran ]"));
        let out = client.output().expect("run unshare");
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.contains("is_uncontained"), "{out}");
        assert!(out.contains("max_pid_namespaces` is 0"), "{out}");
        assert!(!std::path::Path::new("ran").exists());
        wait_nothing_left(GRACE_AND_2S);
    });
}
