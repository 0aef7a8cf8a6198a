//! What limits do to a command, and what its report says of it, where their controllers are offered.

use std::time::Duration;

use netrunner_sync::{Cgroup, Command, Reason, Stdio};

use super::{Held, place};
use crate::harness::*;

/// Where groups can be made with this controller.
fn place_with(controller: &str) -> Option<Held> {
    let place = place()?;
    if place.controllers.iter().any(|name| name == controller) {
        return Some(place);
    }
    skip(&format!("the controller `{controller}` is not offered in `{}`", place.group.display()));
    None
}

#[test]
fn a_process_killed_for_want_of_memory_is_a_reason_of_its_own() {
    arena(|| {
        let Some(_place) = place_with("memory") else { return };
        let group = Cgroup::auto().memory_max(16 << 20);
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        let group = if swaps.lines().count() > 1 { group.swap_max(0) } else { group };
        let output = Command::new("tail")
            .args(["-c", "200000000", "/dev/zero"])
            .stdout(Stdio::null())
            .cgroup(group)
            .output()
            .expect("output");
        assert_eq!(output.report.reason, Reason::OutOfMemory, "{:?}", output.report);
        let stats = output.report.cgroup.expect("it had a group");
        assert!(stats.memory_events.is_some_and(|events| events.oom_kill > 0), "{stats:?}");
        assert!(stats.memory_peak.is_none_or(|peak| peak <= 17 << 20), "{stats:?}");
    });
}

#[test]
fn a_refused_fork_is_counted() {
    arena(|| {
        let Some(_place) = place_with("pids") else { return };
        let script = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; wait";
        let output = Command::new("sh")
            .args(["-c", script])
            .grace(GRACE)
            .cgroup(Cgroup::auto().pids_max(8))
            .output()
            .expect("output");
        assert!(!output.status.success(), "a shell that can't fork gives up");
        assert_eq!(output.report.reason, Reason::Exited);
        let stats = output.report.cgroup.expect("it had a group");
        assert!(stats.pids_refused.is_some_and(|count| count > 0), "{stats:?}");
    });
}

#[test]
fn a_command_that_was_held_back_says_for_how_long() {
    arena(|| {
        let Some(_place) = place_with("cpu") else { return };
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let group = Cgroup::auto().cpu_max_per(Duration::from_millis(2), Duration::from_millis(20));
        let output = Command::new("sh").args(["-c", script]).cgroup(group).run().expect("run");
        let cpu = output.report.cgroup.and_then(|stats| stats.cpu).expect("it had a group");
        assert!(cpu.throttled_periods.is_some_and(|count| count > 0), "{cpu:?}");
        assert!(cpu.throttled.is_some_and(|time| time > Duration::ZERO), "{cpu:?}");
    });
}

#[test]
fn a_limit_is_read_and_changed_while_the_command_runs() {
    arena(|| {
        let Some(_place) = place_with("cpu") else { return };
        let mut child = puppet("lock leader sleep forever")
            .cgroup(Cgroup::auto().cpu_weight(1))
            .spawn()
            .expect("spawn");
        lock("leader").wait_held();
        let group = child.cgroup().expect("it has one");
        assert_eq!(group.read("cpu.weight").expect("read").trim_end(), "1");
        group.set("cpu.weight", "50").expect("set");
        assert_eq!(group.read("cpu.weight").expect("read").trim_end(), "50");
        assert!(group.set("cpu.weight", "none").is_err());
        assert!(group.set("cgroup.procs", "1").is_err());
        child.kill().expect("kill");
        child.wait().expect("wait");
    });
}
