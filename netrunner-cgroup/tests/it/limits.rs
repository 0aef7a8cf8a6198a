//! Limits and numbers that their controllers must be there for: each is written as the kernel reads it, and
//! those that end, stop or count something are seen doing it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use netrunner_cgroup::{CgroupStats, IoMax, Limit};

use super::*;

/// Each as the kernel gives it back.
#[test]
fn each_limit_is_what_the_kernel_says_afterwards() {
    let Some(place) = place() else { return };
    let auto = Cgroup::auto;
    let cpu = last_cpu(&place);
    let mut wanted = vec![
        (auto().memory_max(16 << 20), "memory.max", "16777216".to_owned()),
        (auto().memory_high(Limit::MAX), "memory.high", "max".to_owned()),
        (auto().memory_high(8 << 20), "memory.high", "8388608".to_owned()),
        (auto().memory_low(4 << 20), "memory.low", "4194304".to_owned()),
        (auto().memory_min(2 << 20), "memory.min", "2097152".to_owned()),
        (auto().swap_max(1 << 20), "memory.swap.max", "1048576".to_owned()),
        (auto().oom_group(true), "memory.oom.group", "1".to_owned()),
        (auto().pids_max(7), "pids.max", "7".to_owned()),
        (auto().cpu_max(150), "cpu.max", "150000 100000".to_owned()),
        (auto().cpu_weight(50), "cpu.weight", "50".to_owned()),
        (auto().cpu_idle(true), "cpu.idle", "1".to_owned()),
        (auto().cpus(&cpu), "cpuset.cpus", cpu.clone()),
        (auto().mems("0"), "cpuset.mems", "0".to_owned()),
        (auto().io_weight(10), "io.weight", "default 10".to_owned()),
        (auto().background(), "cpu.weight", "1".to_owned()),
        (auto().background(), "io.weight", "default 1".to_owned()),
        (auto().set("hugetlb.2MB.max", "0").expect("a file"), "hugetlb.2MB.max", "0".to_owned()),
    ];
    if let Some((device, _)) = disk() {
        let (major, minor) = device.split_once(':').expect("two numbers");
        let number = |text: &str| text.parse().expect("a number");
        let limits = IoMax::device(number(major), number(minor)).read_bytes(1 << 20).writes(77);
        let told = format!("{device} rbps=1048576 wbps=max riops=max wiops=77");
        wanted.push((auto().io_max(limits), "io.max", told));
    }
    let mut missing = std::collections::BTreeSet::new();
    for (group, file, told) in wanted {
        let controller = file.split('.').next().expect("a controller");
        if !place.controllers.iter().any(|name| name == controller) {
            missing.insert(controller);
            continue;
        }
        let group = match group.create_in(&place) {
            // Older than the file; asked for in earnest it is an error, and nothing is left.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                skip(&format!("{file}: this kernel does not have it"));
                continue;
            }
            made => made.expect(file),
        };
        assert_eq!(group.read(file).expect(file).trim_end(), told, "{file}");
        group.end(LONG).expect("nobody is in it");
    }
    if !missing.is_empty() {
        skip(&format!(
            "the controllers {missing:?} are not offered in `{}`",
            place.group.display()
        ));
    }
}

#[test]
fn a_limit_can_be_changed_while_it_holds() {
    let Some(place) = place_with("pids") else { return };
    let group = Cgroup::auto().pids_max(3).create_in(&place).expect("it is offered");
    let mut child = shell(&group, "sleep 1000 & sleep 1000 & sleep 1000 & exec sleep 1000");
    until("a fork was refused", || group.stats().pids_refused.is_some_and(|count| count > 0));
    child.kill().expect("ours");
    child.wait().expect("ours");
    group.set("pids.max", "max").expect("it may be changed");
    let mut child = shell(&group, "sleep 1000 & sleep 1000 & sleep 1000 & exec sleep 1000");
    until("all are in", || members(group.path()) >= 4);
    group.end(LONG).expect("all can be killed");
    child.wait().expect("ours");
}

#[test]
fn pids_max_stops_a_fork_storm() {
    let Some(place) = place_with("pids") else { return };
    let group = Cgroup::auto().pids_max(16).create_in(&place).expect("it is offered");
    let mut child = inside(&group, &mut again("limits::storms", "NRTEST_STORM", "4"));
    until("forks were refused", || group.stats().pids_refused.is_some_and(|count| count > 20));
    assert!(members(group.path()) <= 16);
    let stats = group.end(LONG).expect("all can be killed");
    assert!(stats.pids_peak.is_none_or(|peak| peak <= 16), "{stats:?}");
    child.wait().expect("ours");
}

/// Run by the test above: starts itself six times, which does the same, and goes on trying. Without a limit
/// these would be some 1500 soon.
#[test]
fn storms() {
    let Ok(depth) = std::env::var("NRTEST_STORM").map(|text| text.parse::<u32>().expect("digits"))
    else {
        return;
    };
    wait_for_word();
    let mut copies = Vec::new();
    while depth > 0 && copies.len() < 6 {
        let mut copy = again("limits::storms", "NRTEST_STORM", (depth - 1).to_string());
        // It is refused: that is the point.
        copies.extend(copy.stdin(Stdio::null()).stderr(Stdio::null()).spawn());
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_secs(1000));
    drop(copies);
}

#[test]
fn memory_max_kills_and_oom_kill_tells() {
    let Some(place) = place_with("memory") else { return };
    let group = limited(&place, 16 << 20, Some(0));
    let mut child = eater(&group, 200 << 20);
    assert_eq!(child.wait().expect("ours").signal(), Some(9));
    let stats = group.end(LONG).expect("nobody is left");
    assert!(stats.killed_for_memory(), "{stats:?}");
    assert!(stats.memory_peak.is_none_or(|peak| peak <= 17 << 20), "{stats:?}");
    let events = stats.memory_events.expect("the controller is there");
    assert!(events.max > 0 && events.oom > 0 && events.oom_group_kill == 0, "{events:?}");
}

#[test]
fn swap_max_says_whether_what_does_not_fit_is_swapped_or_kills() {
    let Some(place) = place_with("memory") else { return };
    if std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() < 2) {
        return skip("there is no swap");
    }
    for (swap, fits) in [(0, false), (64 << 20, true)] {
        let group = limited(&place, 16 << 20, Some(swap));
        let mut child = eater(&group, 24 << 20);
        assert_eq!(child.wait().expect("ours").success(), fits, "with {swap} bytes of swap");
        let stats = group.end(LONG).expect("nobody is left");
        assert_eq!(stats.killed_for_memory(), !fits, "{stats:?}");
    }
}

#[test]
fn memory_high_slows_down_and_counts() {
    let Some(place) = place_with("memory") else { return };
    let group = Cgroup::auto().memory_high(8 << 20).create_in(&place).expect("it is offered");
    let mut child = eater(&group, 200 << 20);
    until("it was slowed down", || group.stats().memory_events.is_some_and(|it| it.high > 0));
    let stats = group.end(LONG).expect("it can be killed");
    assert!(!stats.killed_for_memory(), "{stats:?}");
    child.wait().expect("ours");
}

#[test]
fn oom_group_has_all_killed_when_one_is() {
    let Some(place) = place_with("memory") else { return };
    for all in [false, true] {
        let group = limited(&place, 16 << 20, Some(0));
        group.set("memory.oom.group", if all { "1" } else { "0" }).expect("the kernel can");
        let mut sleeper = shell(&group, "exec sleep 1000");
        until("it is in", || members(group.path()) == 1);
        let mut child = eater(&group, 200 << 20);
        assert_eq!(child.wait().expect("ours").signal(), Some(9));
        if all {
            assert_eq!(sleeper.wait().expect("ours").signal(), Some(9));
        } else {
            assert_eq!(sleeper.try_wait().expect("ours"), None, "it has done nothing");
        }
        let stats = group.end(LONG).expect("nobody is left");
        let killed = stats.memory_events.expect("the controller is there").oom_kill;
        assert!(if all { killed >= 2 } else { killed == 1 }, "{stats:?}");
        sleeper.wait().expect("ours");
    }
}

#[test]
fn cpu_max_is_seen_in_cpu_stat() {
    let Some(place) = place_with("cpu") else { return };
    let group = Cgroup::auto().cpu_max(20).create_in(&place).expect("it is offered");
    let mut child = shell(&group, "while :; do :; done");
    until("it was stopped", || {
        group.stats().cpu.and_then(|cpu| cpu.throttled_periods).is_some_and(|count| count > 2)
    });
    let stats = group.end(LONG).expect("it can be killed");
    assert!(stats.cpu.is_some_and(|cpu| cpu.throttled > Some(Duration::ZERO)), "{stats:?}");
    child.wait().expect("ours");
}

#[test]
fn cpuset_keeps_to_its_cpus() {
    let Some(place) = place_with("cpuset") else { return };
    let cpu = last_cpu(&place);
    let group = Cgroup::auto().cpus(&cpu).mems("0").create_in(&place).expect("it is offered");
    let mut child = shell(&group, "exec sleep 1000");
    // On one CPU it is kept to that before it comes, on several it is listed before it is kept to one.
    until("it is in", || members(group.path()) == 1);
    until("it is kept to one", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.expect("it lives");
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        allowed.map(str::trim) == Some(&*cpu)
    });
    group.end(LONG).expect("it can be killed");
    child.wait().expect("ours");
}

#[test]
fn io_stat_counts_what_is_read_and_io_max_slows_it_down() {
    let Some(place) = place_with("io") else { return };
    let Some((device, path)) = disk() else {
        return skip("no device to read is given by NETRUNNER_TEST_DISK");
    };
    let (major, minor) = device.split_once(':').expect("two numbers");
    let number = |text: &str| text.parse().expect("a number");
    let limit = IoMax::device(number(major), number(minor)).read_bytes(1 << 20);
    // What was read before comes from memory; another user reads as well.
    let base = if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) { 0 } else { 32 };
    for (from, wanted) in [(base, Cgroup::auto()), (base + 8, Cgroup::auto().io_max(limit))] {
        let limited = from != base;
        let from = (from << 20).to_string();
        // Asked for in any case, or nothing is counted.
        let wanted = wanted.io_weight(100);
        let group = wanted.create_in(&place).expect("it is offered");
        let mut command = again("limits::reads_a_device", "NRTEST_READ", &path);
        let began = Instant::now();
        let told = inside(&group, command.env("NRTEST_FROM", &from)).wait_with_output();
        let took = began.elapsed();
        let told = told.expect("ours");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let stats = group.end(LONG).expect("nobody is left");
        let io = stats.io.iter().find(|io| io.device == device).expect("it was read");
        assert!(io.read >= 4 << 20 && io.reads > 0, "{io:?}");
        // Four megabytes at one in a second, of which the first may be had at once.
        assert!(!limited || took > Duration::from_secs(2), "{took:?}");
    }
}

/// Run by the test above in a process of its own.
#[test]
fn reads_a_device() {
    let Some(path) = std::env::var_os("NRTEST_READ") else { return };
    wait_for_word();
    let from = std::env::var("NRTEST_FROM").expect("it is given").parse().expect("a number");
    let mut device = std::fs::File::open(path).expect("it is there");
    device.seek(SeekFrom::Start(from)).expect("it is as long");
    device.read_exact(&mut vec![0; 4 << 20]).expect("it is as long");
}

#[test]
fn a_frozen_group_uses_no_cpu() {
    let Some(place) = place() else { return };
    let (group, _) = create(&place, "still");
    let mut child = shell(&group, "while :; do :; done");
    let usage = || group.stats().cpu.map_or(Duration::ZERO, |cpu| cpu.usage);
    until("it works", || usage() > Duration::from_millis(10));
    assert!(group.freeze(LONG).expect("the kernel can"));
    // What a CPU has not told of yet is told within a tick or two.
    std::thread::sleep(Duration::from_millis(100));
    let before = usage();
    std::thread::sleep(Duration::from_millis(300));
    let used = usage() - before;
    assert!(used < Duration::from_millis(10), "{used:?} in three hundred");
    group.thaw().expect("the kernel can");
    until("it works again", || usage() > before + Duration::from_millis(10));
    group.end(LONG).expect("it can be killed");
    child.wait().expect("ours");
}

#[test]
fn pressure_and_peaks_are_told_where_the_kernel_counts_them() {
    let Some(place) = place_with("memory") else { return };
    let group =
        Cgroup::auto().memory_max(64 << 20).pids_max(50).create_in(&place).expect("offered");
    assert!(eater(&group, 8 << 20).wait().expect("ours").success());
    let there: Vec<&str> = CgroupStats::FILES
        .iter()
        .copied()
        .filter(|file| group.path().join(file).exists())
        .collect();
    let stats = group.end(LONG).expect("nobody is left");
    let has = |file: &str| there.contains(&file);
    assert_eq!(
        stats.memory_peak.is_some_and(|peak| peak > 8 << 20),
        has("memory.peak"),
        "{stats:?}"
    );
    assert_eq!(stats.pids_peak.is_some_and(|peak| peak > 0), has("pids.peak"), "{stats:?}");
    assert_eq!(stats.memory_pressure.is_some(), has("memory.pressure"), "{stats:?}");
    assert_eq!(stats.cpu_pressure.is_some(), has("cpu.pressure"), "{stats:?}");
    assert!(stats.cpu.is_some() && stats.memory_events.is_some() && stats.pids_refused == Some(0));
}

/// A group with so much memory and, where swap is counted, so much swap.
fn limited(place: &Place, memory: u64, swap: Option<u64>) -> Group {
    let group = Cgroup::auto().memory_max(memory).create_in(place).expect("it is offered");
    if let Some(swap) = swap.filter(|_| group.path().join("memory.swap.max").exists()) {
        group.set("memory.swap.max", &swap.to_string()).expect("it may be changed");
    }
    group
}

/// A process in the group that takes so much memory, and then ends well.
fn eater(group: &Group, bytes: u64) -> Child {
    inside(group, &mut again("limits::eats_memory", "NRTEST_EATS", bytes.to_string()))
}

/// Run by the tests above in a process of its own.
#[test]
fn eats_memory() {
    let Ok(bytes) = std::env::var("NRTEST_EATS") else { return };
    wait_for_word();
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    for _ in 0..bytes.parse::<u64>().expect("a number") >> 20 {
        eaten.push(vec![1; 1 << 20]);
    }
    assert!(eaten.iter().all(|part| part[4096] == 1));
}

/// The last of the CPUs that there are.
fn last_cpu(place: &Place) -> String {
    let file = place.group.join("cpuset.cpus.effective");
    let list = std::fs::read_to_string(file).unwrap_or_default();
    list.trim().rsplit([',', '-']).next().filter(|cpu| !cpu.is_empty()).unwrap_or("0").to_owned()
}

/// A device that may be read, and its numbers.
fn disk() -> Option<(String, PathBuf)> {
    let path = PathBuf::from(std::env::var_os("NETRUNNER_TEST_DISK")?);
    let name = path.file_name()?;
    let numbers = std::fs::read_to_string(Path::new("/sys/class/block").join(name).join("dev"));
    Some((numbers.ok()?.trim().to_owned(), path))
}
