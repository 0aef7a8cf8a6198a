//! `netrunner ps`: what is listed, and what only looks as if it should be.

use std::fs;
use std::process::{Command, Stdio};

use netrunner_sync::{Capability, capabilities};
use serde_json::Value;

use crate::harness::*;

/// All that `netrunner ps --json` lists.
fn shepherds() -> Vec<Value> {
    listed(&end(netrunner(["ps", "--json"])).expect(0))
}

fn listed(ended: &Ended) -> Vec<Value> {
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (1, ""), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
    found["shepherds"].as_array().expect("a list").clone()
}

/// That of this client, which has one.
fn of(client: &Live) -> Option<Value> {
    let mut found = shepherds().into_iter().filter(|it| it["client"]["pid"] == client.pid());
    let first = found.next();
    assert!(found.next().is_none());
    first
}

fn names(shepherd: &Value) -> Vec<&str> {
    let processes = shepherd["processes"].as_array().expect("a list");
    processes.iter().map(|process| process["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_command_is_listed_with_all_below_it() {
    let mut client = Live::start(script(&[], "setsid sleep 600 & echo $!; wait"));
    let sleep: u32 = client.line().parse().expect("a number");
    let found = || of(&client).filter(|shepherd| names(shepherd) == ["sh", "sleep"]);
    until("both run", || found().is_some());
    let shepherd = found().expect("it runs");
    let [shell, sleeper] = &shepherd["processes"].as_array().expect("a list")[..] else {
        panic!("{shepherd}");
    };
    assert_eq!(shell["parent"], shepherd["pid"]);
    assert_eq!((&sleeper["parent"], &sleeper["pid"]), (&shell["pid"], &sleep.into()));
    assert_eq!(sleeper["state"], "S");
    assert_eq!(shepherd["client"]["name"], "netrunner");
    assert_eq!(shepherd["idle"], false);
    assert!(shepherd["guardian"].is_u64() && shepherd["user"].is_u64(), "{shepherd}");
    let sum: u64 = [shell, sleeper].iter().map(|it| it["memory"].as_u64().expect("bytes")).sum();
    assert!(sum > 0 && shepherd["memory"] == sum, "{shepherd}");
    // It has been there since before the shell, and the shell since before what it started.
    let age = |process: &Value| process["age"].as_f64().expect("seconds");
    assert!(age(&shepherd) >= age(shell) && age(shell) >= age(sleeper), "{shepherd}");

    let text = end(netrunner(["ps"])).expect(0).stdout;
    let head = format!("shepherd {}, client netrunner ({}): ", shepherd["pid"], client.pid());
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&head)).skip(1);
    assert!(lines.next().is_some_and(|line| line.ends_with("MEMORY  NAME")), "{text}");
    let line = lines.next().expect("the shell");
    assert!(line.trim_start().starts_with(&shell["pid"].to_string()), "{text}");
    assert!(line.ends_with("  sh"), "{text}");
    assert!(lines.next().expect("below it").ends_with("    sleep"), "{text}");

    let pid = shepherd["pid"].clone();
    signal(client.pid(), 15);
    client.end().expect(128 + 15);
    until("it is gone", || shepherds().iter().all(|it| it["pid"] != pid));
}

#[test]
fn cpu_time_is_counted_and_a_stop_is_marked() {
    let mut client = Live::start(script(&[], "echo $$; while :; do :; done"));
    let shell = client.line();
    let busy = || of(&client).filter(|it| it["cpu"].as_f64().expect("seconds") >= 0.1);
    until("it has used 0.1 s", || busy().is_some());
    signal(shell.parse().expect("a number"), 19);
    until("it is marked", || {
        let text = end(netrunner(["ps"])).expect(0).stdout;
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{shell} ")));
        line.is_some_and(|line| line.ends_with("  sh (stopped)"))
    });
    signal(client.pid(), 15);
    signal(client.pid(), 18); // It hears the first when it goes on.
    client.end().expect(128 + 15);
}

#[test]
fn a_shepherd_without_a_command_is_idle() {
    let mut command = netrunner(["jobs", "-j1", "--progress", "off"]);
    command.stdin(Stdio::piped());
    let mut client = Live::start_with_stdin(command);
    client.write("echo done\n");
    client.expect_line("done");
    until("it is idle", || of(&client).is_some_and(|it| it["idle"] == true));
    let text = end(netrunner(["ps"])).expect(0).stdout;
    let tail = format!(", client netrunner ({}): idle", client.pid());
    assert!(text.lines().any(|line| line.ends_with(&tail)), "{text}");
    client.close_stdin();
    client.end().expect(0);
}

#[test]
fn what_has_the_name_alone_is_none() {
    let folder = Folder::new();
    let path = folder.path("nr-shepherd");
    std::os::unix::fs::symlink("/bin/sleep", &path).expect("link a program");
    let mut impostor = Command::new(&path).arg("600").spawn().expect("start it");
    let comm = format!("/proc/{}/comm", impostor.id());
    // The kernel gives it its name a moment after it has told of the exec.
    let named = || fs::read_to_string(&comm).is_ok_and(|name| name == "nr-shepherd\n");
    until("it has the name", named);
    let found = shepherds();
    impostor.kill().expect("kill it");
    impostor.wait().expect("wait for it");
    assert!(found.iter().all(|shepherd| shepherd["pid"] != impostor.id()), "{found:?}");
}

#[test]
fn a_namespace_is_seen_from_outside() {
    if let Capability::Missing(missing) = capabilities().pid_namespace {
        eprintln!("SKIPPED: {}", missing.reason);
        return;
    }
    let mut client = Live::start(script(&["--pid-namespace"], "echo $$; sleep 600; :"));
    client.expect_line("2");
    let found = || of(&client).filter(|shepherd| names(shepherd).contains(&"sleep"));
    until("it sleeps", || found().is_some());
    let shepherd = found().expect("it sleeps");
    let mut names = names(&shepherd);
    names.sort_unstable();
    assert_eq!(names, ["nr-init", "sh", "sleep"]);
    signal(client.pid(), 15);
    client.end().expect(128 + 15);
}

/// Processes come and go during each look.
#[test]
fn what_ends_while_it_is_looked_at_is_no_error() {
    let mut client = Live::start(script(&[], "echo up; while :; do (:) & (:) & wait; done"));
    client.expect_line("up");
    for _ in 0..50 {
        let shepherd = of(&client).expect("it runs all the time");
        assert_eq!(names(&shepherd)[0], "sh", "{shepherd}");
    }
    signal(client.pid(), 15);
    client.end().expect(128 + 15);
}

#[test]
fn of_another_users_shepherd_the_client_is_not_told() {
    let folder = Folder::new();
    let copy = folder.path("netrunner");
    // Not by this process: what another test starts meanwhile would hold it open, and nobody could execute it.
    let copied = Command::new("install").args(["-m", "755", NETRUNNER, &copy]).status();
    assert!(copied.expect("install it").success());
    let other = |words: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", &copy, words, "--json"]);
        command
    };
    if !other("doctor").output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("SKIPPED: the other user can't be had, or can't execute `{copy}`");
        return;
    }
    let mut client = Live::start(script(&[], "echo up; sleep 600"));
    client.expect_line("up");
    let pid = of(&client).expect("it runs")["pid"].clone();
    let seen = listed(&end(other("ps")).expect(0));
    let found = seen.iter().find(|shepherd| shepherd["pid"] == pid);
    if let Some(shepherd) = found {
        assert!(shepherd["client"].is_null(), "{shepherd}");
        assert_eq!(shepherd["user"], 0);
    } else {
        let mount = fs::read_to_string("/proc/mounts").expect("the mounts");
        assert!(mount.contains("hidepid"), "it must be seen: {seen:?}");
    }
    signal(client.pid(), 15);
    client.end().expect(128 + 15);
}
