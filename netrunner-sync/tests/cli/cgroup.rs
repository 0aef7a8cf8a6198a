//! The options that ask for a cgroup: what is had is reported, and what can't be had is told before
//! anything runs. Where no group can be made, each test says so.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use netrunner_sync::cgroup::Place;

use crate::harness::{Folder, end, netrunner, script, until};

fn place() -> Option<Place> {
    let place = Place::detect();
    if let Err(reason) = &place {
        eprintln!("SKIPPED: {reason}");
    }
    place.ok()
}

#[test]
fn a_command_in_a_group_says_so_and_leaves_none() {
    let Some(place) = place() else { return };
    let path = format!("nr_cli_{}", std::process::id());
    let option = format!("--cgroup={path}");
    let ended = end(script(&[&option, "--report=json"], "cat /proc/self/cgroup; exit 3")).expect(3);
    let inside = ended.stdout.lines().any(|line| line.starts_with("0::") && line.ends_with(&path));
    assert!(inside, "{ended:?}");
    assert!(ended.stderr.contains("\"containment\":\"cgroup\""), "{ended:?}");
    assert!(!ended.stderr.contains("\"cgroup\":null"), "{ended:?}");
    assert!(!place.group.join(path).exists());
    let ended = end(script(&["--cgroup"], "cat /proc/self/cgroup")).expect(0);
    assert!(ended.stdout.contains("/netrunner-"), "{ended:?}");
}

#[test]
fn a_missing_controller_is_named_with_its_place_and_a_remedy_and_nothing_runs() {
    let Some(place) = place() else { return };
    let folder = Folder::new();
    let text = format!("echo > {}", folder.path("ran"));
    let limits = [
        ("memory", "--memory-max=2G"),
        ("memory", "--memory-high=1G"),
        ("memory", "--swap-max=0"),
        ("pids", "--pids-max=256"),
        ("cpu", "--cpu-max=150%"),
        ("cpu", "--cpu-weight=10"),
        ("io", "--io-max=8:0 rbps=1M"),
    ];
    for (controller, option) in limits {
        if place.controllers.iter().any(|name| name == controller) {
            eprintln!("SKIPPED: `{controller}` is there");
            continue;
        }
        let group = place.group.display().to_string();
        let ended = end(script(&[option], &text)).expect(125);
        ended.says(&[&format!("`{controller}`"), &group, "cgroup"]);
        assert!(!folder.has("ran"), "{option}");
        end(script(&[option, "--if-available"], &text)).expect(0);
        assert!(folder.has("ran"), "{option}");
        std::fs::remove_file(folder.path("ran")).expect("it was made");
    }
}

#[test]
fn a_path_that_leads_elsewhere_is_refused() {
    for path in ["../x", "/x", "a/../b", ""] {
        let option = format!("--cgroup={path}");
        end(script(&[&option], "exit 0")).expect(125).says(&[path]);
    }
}

#[test]
fn a_sweep_finds_nothing_of_the_living() {
    if place().is_none() {
        return;
    }
    let text =
        format!("{} doctor --sweep && cat /proc/self/cgroup", env!("CARGO_BIN_EXE_netrunner"));
    let ended = end(script(&["--cgroup"], &text)).expect(0);
    assert!(ended.stdout.contains("/netrunner-"), "{ended:?}");
    end(netrunner(["doctor", "--sweep", "--json"])).expect(125);
}

#[test]
fn a_sweep_ends_and_removes_what_nobody_lives_for() {
    let Some(place) = place() else { return };
    // The first group of another test's client sweeps as well, and may be quicker, but hardly each time.
    for round in 0..20 {
        // A name of ours, and no lock.
        let name = format!("netrunner-{}-cli{round}", std::process::id());
        let path = place.group.join(&name);
        std::fs::create_dir(&path).expect("a fresh name");
        let inside = "echo $$ > \"$0/cgroup.procs\" && echo inside && exec sleep 1000";
        let mut left = Command::new("sh")
            .args(["-c", inside])
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh is everywhere");
        let mut word = String::new();
        let mut stdout = BufReader::new(left.stdout.take().expect("it is piped"));
        stdout.read_line(&mut word).expect("it may be read");
        let ended = end(netrunner(["doctor", "--sweep"])).expect(0);
        until("the group is gone", || !path.exists());
        let status = left.wait().expect("ours");
        if ended.stdout.contains(&format!("removed the cgroup `{name}`")) && word == "inside\n" {
            return assert_eq!(status.signal(), Some(9));
        }
    }
    panic!("it has never said what it removed");
}
