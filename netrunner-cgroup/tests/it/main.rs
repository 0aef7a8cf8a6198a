//! Groups on this machine, whatever it offers: where none can be made, each test says so and proves
//! nothing; limits are shown only where their controllers have been delegated.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netrunner_cgroup::{Cgroup, Error, Group, Place, Unavailable};

mod limits;
mod places;
mod threads;

const LONG: Duration = Duration::from_secs(60);

/// The place, or a loud word that there is none.
fn place() -> Option<Place> {
    match Place::detect() {
        Ok(place) => Some(place),
        Err(reason) => {
            skip(&reason.to_string());
            None
        }
    }
}

/// Straight to the terminal, where the test harness does not swallow it.
fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}

/// The place, if it has this controller.
fn place_with(controller: &str) -> Option<Place> {
    let place = place()?;
    if place.controllers.iter().any(|name| name == controller) {
        return Some(place);
    }
    skip(&format!("the controller `{controller}` is not offered in `{}`", place.group.display()));
    None
}

fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("nrtest/{what}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A shell that first moves itself into the group, then runs the script.
fn shell(group: &Group, script: &str) -> Child {
    let script = format!("echo $$ > \"$0/cgroup.procs\" || exit 99\n{script}");
    Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(group.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh is everywhere")
}

/// Starts a command that waits for a word on its standard input, and gives it that word when it has been
/// moved into the group.
fn inside(group: &Group, command: &mut Command) -> Child {
    let mut child =
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("this very program");
    group.add(child.id()).expect("it may be moved");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"go\n").expect("it waits");
    child
}

/// What [`inside`] has started begins with this.
fn wait_for_word() {
    std::io::stdin().read_line(&mut String::new()).expect("whoever started us says it");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn members(group: &Path) -> usize {
    std::fs::read_to_string(group.join("cgroup.procs")).map_or(0, |text| text.lines().count())
}

fn create(place: &Place, what: &str) -> (Group, PathBuf) {
    let group = Cgroup::at(unique(what)).expect("a good path").create_in(place).expect(what);
    let path = group.path().to_owned();
    (group, path)
}

#[test]
fn a_group_is_made_and_leaves_no_directory() {
    let Some(place) = place() else { return };
    let (group, path) = create(&place, "made");
    assert!(path.starts_with(&place.group) && path.is_dir());
    assert!(!group.is_populated().expect("it is there"));
    group.end(LONG).expect("nobody is in it");
    assert!(!path.exists());
    let group = Cgroup::auto().create_in(&place).expect("a name of its own");
    let path = group.path().to_owned();
    assert!(path.is_dir());
    drop(group);
    assert!(!path.exists());
}

#[test]
fn a_tree_that_hides_by_setsid_and_double_fork_is_killed() {
    let Some(place) = place() else { return };
    let (group, path) = create(&place, "hides");
    let mut child = shell(
        &group,
        "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & exec sleep 1000' &) ; exec sleep 1000",
    );
    until("all four are in", || members(&path) >= 4);
    group.end(LONG).expect("all can be killed");
    assert!(!path.exists());
    assert_eq!(child.wait().expect("ours").signal(), Some(9));
}

#[test]
fn the_last_to_go_takes_the_way_along() {
    let Some(place) = place() else { return };
    let way = unique("way").replace('/', "_");
    let one = |name: &str| {
        let wanted = Cgroup::at(format!("{way}/inner/{name}")).expect("a good path");
        wanted.create_in(&place).expect("it is free")
    };
    let (first, second) = (one("first"), one("second"));
    first.end(LONG).expect("nobody is in it");
    assert!(second.path().is_dir());
    second.end(LONG).expect("nobody is in it");
    assert!(!place.group.join(way).exists());
}

#[test]
fn a_fork_storm_is_killed() {
    let Some(place) = place() else { return };
    let (group, path) = create(&place, "storm");
    // Each process starts another and ends: no look at a process table ever meets a living one for long.
    let storm = "f() { sleep 0.02; (f) & }; \
                 i=0; while [ $i -lt 20 ]; do (f) & i=$((i+1)); done; exec sleep 1000";
    let mut child = shell(&group, storm);
    until("it storms", || members(&path) >= 15);
    group.end(LONG).expect("all can be killed");
    assert!(!path.exists());
    assert_eq!(child.wait().expect("ours").signal(), Some(9));
}

#[test]
fn nested_groups_go_with_theirs() {
    let Some(place) = place() else { return };
    let (group, path) = create(&place, "nested");
    let mut child = shell(
        &group,
        "mkdir -p $0/a/b/c $0/d && echo $$ > $0/a/b/cgroup.procs && sleep 1000 & exec sleep 1000",
    );
    until("the inner one has somebody", || members(&path.join("a/b")) >= 1);
    group.end(LONG).expect("all can be killed");
    assert!(!path.exists());
    child.wait().expect("ours");
}

#[test]
fn one_path_is_not_given_to_two() {
    let Some(place) = place() else { return };
    let wanted = Cgroup::at(unique("two")).expect("a good path");
    let first = wanted.create_in(&place).expect("it is free");
    let second = wanted.create_in(&place);
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    first.end(LONG).expect("nobody is in it");
    let third = wanted.create_in(&place).expect("it is free again");
    third.end(LONG).expect("nobody is in it");
}

#[test]
fn a_fork_in_another_thread_keeps_no_lock_of_a_refused_group() {
    let Some(place) = place() else { return };
    let name = unique("forks").replace('/', "_");
    let path = place.group.join(&name);
    std::fs::create_dir(&path).expect("it may be made");
    let wanted = Cgroup::at(&name).expect("a good path");
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // With a directory to change to, this is a fork and an exec.
                let child = Command::new("true").current_dir("/").spawn();
                child.expect("true is everywhere").wait().expect("ours");
            }
        });
        for _ in 0..200 {
            std::fs::create_dir(path.join("inner")).expect("it may be made");
            let refused = wanted.create_in(&place);
            std::fs::remove_dir(path.join("inner")).expect("it is empty");
            let taken = wanted.create_in(&place);
            if refused.is_ok() || taken.is_err() {
                over.store(true, Ordering::Relaxed);
                panic!("{refused:?}, {taken:?}");
            }
            taken.expect("it is").end(LONG).expect("nobody is in it");
            std::fs::create_dir(&path).expect("it is free");
        }
        over.store(true, Ordering::Relaxed);
    });
    std::fs::remove_dir(&path).expect("it is empty");
}

#[test]
fn a_group_of_a_stranger_is_refused_with_processes_and_taken_when_empty() {
    let Some(place) = place() else { return };
    let name = unique("stranger").replace('/', "_");
    let path = place.group.join(&name);
    std::fs::create_dir_all(path.join("inner")).expect("it may be made");
    let wanted = Cgroup::at(&name).expect("a good path");
    let refused = wanted.create_in(&place);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    std::fs::remove_dir(path.join("inner")).expect("it is empty");
    wanted.create_in(&place).expect("it is empty now").end(LONG).expect("nobody is in it");
    assert!(!path.exists());
}

#[test]
fn a_frozen_group_stands_still_and_goes_on_and_is_killed_frozen() {
    let Some(place) = place() else { return };
    let (group, path) = create(&place, "frozen");
    let mut child = shell(&group, "exec sleep 1000");
    until("it is in", || members(&path) == 1);
    assert!(group.freeze(LONG).expect("this kernel can"));
    group.thaw().expect("this kernel can");
    until("it is thawed", || {
        group.read("cgroup.events").is_ok_and(|text| text.contains("frozen 0"))
    });
    assert!(group.freeze(LONG).expect("this kernel can"));
    group.end(LONG).expect("a frozen one dies, too");
    assert_eq!(child.wait().expect("ours").signal(), Some(9));
}

#[test]
fn what_was_used_is_told() {
    let Some(place) = place() else { return };
    let (group, _) = create(&place, "used");
    let mut child = shell(&group, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
    assert!(child.wait().expect("ours").success());
    let stats = group.end(LONG).expect("nobody is left");
    assert!(stats.cpu.expect("always there").usage > Duration::ZERO);
}

#[test]
fn a_missing_controller_is_an_error_before_anything_is_made_unless_it_need_not_be() {
    let Some(place) = place() else { return };
    let name = unique("missing");
    let wanted = || Cgroup::at(&name).expect("a good path").set("nosuch.max", "1").expect("a name");
    let refused = wanted().create_in(&place).expect_err("nobody has it");
    let Some(Unavailable::Controller { controller, group, .. }) = refused.unavailable() else {
        panic!("{refused}");
    };
    assert_eq!((controller.as_str(), group), ("nosuch", &place.group));
    assert!(!place.group.join(&name).exists());
    let group = wanted().if_available().create_in(&place).expect("it need not be had");
    group.end(LONG).expect("nobody is in it");
}

#[test]
fn a_hundred_groups_at_once_leave_no_directory() {
    let Some(place) = place() else { return };
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let place = &place;
            move || {
                let group = Cgroup::auto().create_in(place).expect("each has a name of its own");
                let mut child =
                    shell(&group, if number % 2 == 0 { "exit 3" } else { "exec sleep 1000" });
                if number % 2 == 0 {
                    assert_eq!(child.wait().expect("ours").code(), Some(3));
                } else {
                    until("it is in", || members(group.path()) == 1);
                }
                let path = group.path().to_owned();
                group.end(LONG).expect("all can be killed");
                child.wait().expect("ours");
                path
            }
        };
        let threads: Vec<_> = (0..100).map(|number| scope.spawn(one(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it went well")).collect()
    });
    assert_eq!(paths.len(), 100);
    for path in paths {
        assert!(!path.exists(), "`{}` is left", path.display());
    }
}

/// This very program again, with one of its tests and something to tell it.
fn again(test: &str, variable: &str, value: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("ours"));
    command.args(["--exact", test, "--nocapture"]).env(variable, value).stdout(Stdio::null());
    command
}

/// Run by the test below in a process of its own: makes a group, puts a sleeper in, and waits to be
/// killed.
#[test]
fn owner_that_is_to_be_killed() {
    let Some(name) = std::env::var_os("NRTEST_OWNER") else { return };
    let place = Place::detect().expect("the one who started us has it");
    let group = match name.to_str() {
        Some("auto") => Cgroup::auto(),
        Some(_) | None => Cgroup::at(&name).expect("a good path"),
    };
    let group = group.create_in(&place).expect("it is free");
    let mut sleeper = shell(&group, "setsid sleep 1000 & exec sleep 1000");
    until("both are in", || members(group.path()) >= 2);
    let file = std::env::var_os("NRTEST_TOLD").expect("it is given");
    let part = Path::new(&file).with_extension("part");
    std::fs::write(&part, group.path().to_str().expect("ours")).expect("it may be written");
    std::fs::rename(part, file).expect("it may be renamed");
    sleeper.wait().expect("ours");
}

fn orphaned(name: &str) -> (PathBuf, Child) {
    let told = std::env::temp_dir().join(unique("told").replace('/', "_"));
    let owner = again("owner_that_is_to_be_killed", "NRTEST_OWNER", name)
        .env("NRTEST_TOLD", &told)
        .spawn()
        .expect("this very program");
    until("the owner has its group", || told.exists());
    let path = PathBuf::from(std::fs::read_to_string(&told).expect("it was told"));
    std::fs::remove_file(told).expect("it is ours");
    (path, owner)
}

#[test]
fn the_sweep_ends_a_killed_owners_group_and_no_living_ones() {
    let Some(place) = place() else { return };
    for name in ["auto", &unique("way/stale")] {
        let (path, mut owner) = orphaned(name);
        netrunner_cgroup::sweep(&place).expect("the place can be listed");
        assert!(members(&path) >= 2, "a living owner's group was swept");
        owner.kill().expect("ours");
        owner.wait().expect("ours");
        assert!(members(&path) >= 2, "the sleepers live on");
        until("the sweep has it", || {
            // Another test's sweep may have been quicker; what counts is that it is gone.
            netrunner_cgroup::sweep(&place).expect("the place can be listed");
            !path.exists()
        });
    }
}
