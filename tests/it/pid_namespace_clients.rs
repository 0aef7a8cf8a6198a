//! Clients that live in a PID namespace, with a `/proc` of that namespace, and with that of another: then its
//! numbers are strangers', and no command is started.

use std::fs;
use std::process;

use netrunner_sync::{Command, Containment};
use netrunner_tests::script;

use crate::harness::*;
use crate::pid_namespace::possible;

const ATTEMPTS: [&str; 3] = ["output", "status", "spawn"];

/// A client in a namespace that tries to have a command run.
fn client_inside(way: &str, own_proc: bool) -> String {
    let mut client = Command::new(program(CLIENT));
    client.args(script::split(&format!("attempt {way} [ touch ran ] exit 0")));
    client.contain(Containment::PidNamespace).mount_proc(own_proc);
    let output = client.stdout(netrunner_sync::Stdio::piped()).output().expect("a client");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn assert_refused(out: &str) {
    assert!(out.starts_with("error "), "{out}");
    assert!(out.contains("of another PID namespace"), "{out}");
    assert!(!fs::exists("ran").expect("look"), "{out}");
}

#[test]
fn without_a_proc_of_the_namespace_no_command_is_started() {
    arena(|| {
        if !possible() {
            return;
        }
        for way in ATTEMPTS {
            assert_refused(&client_inside(way, false));
            assert_eq!(client_inside(way, true), "ok\n");
            fs::remove_file("ran").expect("it has run");
        }
    });
}

#[test]
fn where_proc_is_of_a_namespace_below_no_command_is_started() {
    arena(|| {
        if !possible() || !is_root() {
            return;
        }
        // What a client is given as a file, for without `/proc/self` none is executed from memory.
        let child = puppet("sleep forever").spawn().expect("spawn");
        let mut shepherd =
            fs::File::open(format!("/proc/{}/exe", shepherd_of(child.id()))).expect("open");
        let mut file = fs::File::create("shepherd").expect("create");
        std::io::copy(&mut shepherd, &mut file).expect("copy");
        drop(file);
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions("shepherd", executable).expect("mode");
        let program_of_shepherds = fs::canonicalize("shepherd").expect("its path");
        let mut inside = puppet("lock inside sleep forever");
        inside.contain(Containment::PidNamespace).mount_proc(true);
        let inside = inside.spawn().expect("spawn");
        lock("inside").wait_held();
        let here = std::env::current_dir().expect("a directory");
        for way in ATTEMPTS {
            let mut client = process::Command::new("nsenter");
            client.arg(format!("--mount=/proc/{}/ns/mnt", inside.id()));
            client.arg(format!("--wd={}", here.display())).arg(program(CLIENT));
            let puppet = program_of_puppets();
            let script = format!("program {} attempt {way} [ touch ran ] exit 0", puppet.display());
            client.args(script::split(&script)).env("NETRUNNER_SHEPHERD", &program_of_shepherds);
            let output = client.output().expect("run nsenter");
            let failed = fs::read_to_string("client-failed").unwrap_or_default();
            assert!(output.status.success(), "{output:?} {failed}");
            assert_refused(&String::from_utf8_lossy(&output.stdout));
        }
    });
}

#[test]
fn a_client_whose_children_go_to_a_new_namespace_starts_none() {
    arena(|| {
        if !possible() || !is_root() {
            return;
        }
        for way in ATTEMPTS {
            // Without `--fork` the client itself stays outside; the kernel lets it have no second thread.
            let mut client = process::Command::new("unshare");
            client.arg("--pid").arg(program(CLIENT));
            client.args(script::split(&format!("attempt {way} [ touch ran ] exit 0")));
            let output = client.output().expect("run unshare");
            assert!(output.status.success(), "{output:?}");
            let out = String::from_utf8_lossy(&output.stdout);
            assert!(out.starts_with("error "), "{out}");
            assert!(!fs::exists("ran").expect("look"), "{out}");
        }
    });
}
