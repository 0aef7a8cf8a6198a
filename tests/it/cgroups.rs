//! Commands in cgroups of their own (P1, P3, P4, P6): they start inside, end as a whole, and leave no
//! directory; whoever dies, too ([`deaths`]), within their limits ([`limits`]), and for a user without
//! privileges ([`delegated`]). Where no group can be made each test says so.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use netrunner_sync::cgroup::{Error, Place};
use netrunner_sync::{Cgroup, Containment, Leftovers, Reason, Stdio};
use netrunner_tests::lacks::Lack;
use netrunner_tests::sys;
use netrunner_tests::wait::wait_until;

use crate::harness::*;

mod deaths;
mod delegated;
mod limits;

/// Where groups can be made, for as long as this is held.
struct Held {
    place: Place,
    _locked: std::fs::File,
}

impl std::ops::Deref for Held {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Drop for Held {
    /// Guardians sweep when they end: ours must have ended before another test has the place alone.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            netrunner_sync::Shepherds::refresh();
            wait_nothing_left(GRACE_AND_2S);
        }
    }
}

/// Where groups can be made, or a loud word that there is no such place.
fn place() -> Option<Held> {
    place_with_others(true)
}

/// The same, for a test that waits for a removal, or that looks at what is left before it is swept: the
/// first group of another test's client would sweep it, and so would the end of its guardian.
fn place_alone() -> Option<Held> {
    place_with_others(false)
}

fn place_with_others(others: bool) -> Option<Held> {
    match Place::detect() {
        Ok(place) => {
            let locked = std::fs::File::open(&place.group).expect("the delegated group");
            sys::lock_directory(&locked, !others).expect("lock it");
            Some(Held { place, _locked: locked })
        }
        Err(reason) => {
            skip(&reason.to_string());
            None
        }
    }
}

/// A path of this test alone.
fn name() -> String {
    // The arena's process runs one test.
    format!("nr_tests_{}", std::process::id())
}

fn folder(place: &Place) -> PathBuf {
    place.group.join(name())
}

fn members(folder: &std::path::Path) -> Vec<u32> {
    let procs = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    procs.lines().filter_map(|line| line.parse().ok()).collect()
}

fn wait_removed(folder: &std::path::Path) {
    let what = format!("the removal of `{}`", folder.display());
    wait_until(&what, Duration::from_secs(30), || !folder.exists());
}

#[test]
fn the_first_instruction_runs_inside() {
    arena(|| {
        let Some(place) = place() else { return };
        let group = Cgroup::at(name()).expect("a good path");
        let output = netrunner_sync::Command::new("cat")
            .arg("/proc/self/cgroup")
            .cgroup(group)
            .run()
            .expect("run");
        let text = String::from_utf8(output.stdout).expect("text");
        let inside = text.lines().any(|line| line.starts_with("0::") && line.ends_with(&name()));
        assert!(inside, "{text}");
        assert_eq!(output.report.containment, Containment::Cgroup);
        assert!(output.report.cgroup.is_some_and(|stats| stats.cpu.is_some()));
        assert!(!folder(&place).exists());
        // It was to be born inside; where it can't be it has moved.
        let refused =
            netrunner_tests::lacks::refusals().iter().any(|it| it == "clone3 nr-shepherd");
        assert_eq!(refused, lacks(Lack::Clone) || lacks(Lack::Pidfd));
    });
}

#[test]
fn a_command_without_a_group_says_so() {
    arena(|| {
        let output = puppet("exit 0").output().expect("output");
        assert_eq!((output.report.containment, output.report.cgroup), (Containment::Tree, None));
    });
}

#[test]
fn a_tree_that_hides_ends_with_its_group() {
    arena(|| {
        let Some(place) = place() else { return };
        let script = "daemon [ setsid lock below daemon [ setsid lock deeper sleep forever ] sleep forever ] \
                      await below await deeper lock leader sleep forever";
        let mut child =
            puppet(script).cgroup(Cgroup::at(name()).expect("a good path")).spawn().expect("spawn");
        lock("leader").wait_held();
        assert!(members(&folder(&place)).len() >= 3);
        child.kill().expect("kill");
        child.wait().expect("wait");
        for name in ["leader", "below", "deeper"] {
            lock(name).assert_free();
        }
        assert_no_puppets();
        assert!(!folder(&place).exists());
        assert_eq!(child.report().expect("report").reason, Reason::Killed);
    });
}

#[test]
fn a_frozen_command_hears_the_polite_stop() {
    arena(|| {
        let Some(_place) = place() else { return };
        // A signal that would end it by itself is acted on in the freezer, too.
        let mut child = puppet("on TERM 7 lock leader sleep forever")
            .cgroup(Cgroup::auto())
            .grace(Duration::from_secs(60))
            .spawn()
            .expect("spawn");
        lock("leader").wait_held();
        let group = child.cgroup().expect("it has one");
        assert!(group.freeze(Duration::from_secs(30)).expect("freeze"));
        let path = group.path().to_owned();
        let status = child.stop().expect("stop");
        assert_eq!(status.code(), Some(7));
        assert!(!path.exists());
    });
}

#[test]
fn nested_groups_of_the_child_go_along() {
    arena(|| {
        let Some(place) = place() else { return };
        let inner = folder(&place).join("a/b");
        let script = format!(
            "mkdir -p {0} && echo $$ > {0}/cgroup.procs && (setsid sleep 1000 &) ; exit 4",
            inner.display()
        );
        let output = netrunner_sync::Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::null())
            .cgroup(Cgroup::at(name()).expect("a good path"))
            .output()
            .expect("output");
        assert_eq!(output.status.code(), Some(4));
        assert!(!folder(&place).exists());
    });
}

/// A group that has a threaded one below it, into which the command has moved a thread of its own.
#[test]
fn a_command_with_a_thread_in_a_group_of_its_own_is_killed_whole() {
    arena(|| {
        let Some(place) = place() else { return };
        let script = "thread [ touch second sleep forever ] await second lock leader sleep forever";
        let mut child =
            puppet(script).cgroup(Cgroup::at(name()).expect("a good path")).spawn().expect("spawn");
        lock("leader").wait_held();
        let part = folder(&place).join("part");
        std::fs::create_dir(&part).expect("make a group");
        std::fs::write(part.join("cgroup.type"), "threaded").expect("make it threaded");
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("it lives");
        let mut threads = threads.map(|it| it.expect("a thread").file_name().into_string());
        let own = Ok(child.id().to_string());
        let second = threads.find(|it| *it != own).expect("it has two").expect("a number");
        std::fs::write(part.join("cgroup.threads"), second).expect("move it");
        child.kill().expect("kill");
        child.wait().expect("wait");
        lock("leader").assert_free();
        assert!(!folder(&place).exists());
    });
}

#[test]
fn two_commands_do_not_share_a_path() {
    arena(|| {
        let Some(_place) = place() else { return };
        let group = || Cgroup::at(name()).expect("a good path");
        let mut first = puppet("lock leader sleep forever").cgroup(group()).spawn().expect("spawn");
        lock("leader").wait_held();
        let error = puppet("touch ran").cgroup(group()).output().expect_err("it is in use");
        assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}");
        assert!(!std::path::Path::new("ran").exists());
        assert!(first.try_wait().expect("look").is_none(), "the first was harmed");
        first.kill().expect("kill");
        first.wait().expect("wait");
        assert!(puppet("exit 0").cgroup(group()).status().expect("it is free").success());
    });
}

#[test]
fn a_limit_that_cannot_be_had_runs_nothing_unless_it_need_not_be() {
    arena(|| {
        let Some(_place) = place() else { return };
        let group = || Cgroup::at(name()).expect("a path").set("nosuch.max", "1").expect("a name");
        let error = puppet("touch ran").cgroup(group()).output().expect_err("nobody has it");
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("`nosuch`"), "{error}");
        assert!(!std::path::Path::new("ran").exists());
        let output = puppet("touch ran").cgroup(group().if_available()).output().expect("output");
        assert!(output.status.success() && std::path::Path::new("ran").exists());
    });
}

#[test]
fn a_program_that_is_not_there_leaves_no_group() {
    arena(|| {
        let Some(place) = place() else { return };
        let group = Cgroup::at(name()).expect("a good path");
        let error = netrunner_sync::Command::new("/no/such").cgroup(group).output();
        assert!(error.expect_err("not there").is_not_found());
        assert!(!folder(&place).exists());
    });
}

#[test]
fn what_is_kept_stays_in_its_group_and_takes_it_along_at_its_end() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        let script = "daemon [ setsid lock below await go exit 0 ] await below exit 0";
        let output = puppet(script)
            .leftovers(Leftovers::Keep)
            .cgroup(Cgroup::at(name()).expect("a good path"))
            .output()
            .expect("output");
        assert_eq!(output.report.leftovers.len(), 1);
        assert_eq!(members(&folder(&place)), [output.report.leftovers[0].pid]);
        std::fs::write("go", "").expect("let it end");
        wait_removed(&folder(&place));
    });
}

#[test]
fn an_idle_shepherd_takes_no_group_away_that_is_anothers_by_now() {
    arena(|| {
        let Some(place) = place() else { return };
        let group = || Cgroup::at(name()).expect("a good path");
        let mut first = puppet("lock first sleep forever").cgroup(group()).spawn().expect("spawn");
        let mut other = puppet("lock other sleep forever").spawn().expect("spawn");
        let idle = shepherd_of(first.id());
        lock("first").wait_held();
        first.kill().expect("kill");
        first.wait().expect("wait");
        // The shepherd that was used last is the one that is taken.
        other.kill().expect("kill");
        other.wait().expect("wait");
        let mut second =
            puppet("lock second sleep forever").cgroup(group()).spawn().expect("spawn");
        lock("second").wait_held();
        assert_ne!(shepherd_of(second.id()), idle, "it is to be idle");
        let inner = folder(&place).join("inner");
        std::fs::create_dir(&inner).expect("a group below");
        netrunner_sync::Shepherds::max_idle(0);
        wait_gone(idle, Duration::from_secs(30));
        assert!(inner.exists(), "it has emptied the group of another command");
        second.kill().expect("kill");
        second.wait().expect("wait");
        assert!(!folder(&place).exists());
    });
}

#[test]
fn a_hundred_commands_in_groups_of_their_own_leave_no_directory() {
    arena(|| {
        let Some(place) = place() else { return };
        std::thread::scope(|scope| {
            for number in 0..100 {
                scope.spawn(move || {
                    let group = Cgroup::at(format!("{}/{number}", name())).expect("a good path");
                    let output = puppet("exit 3").cgroup(group).output().expect("output");
                    assert_eq!(output.status.code(), Some(3));
                    assert_eq!(output.report.containment, Containment::Cgroup);
                });
            }
        });
        assert!(!folder(&place).exists());
    });
}

/// At each step of making a group, and at its end.
#[test]
fn for_want_of_descriptors_a_group_is_refused_but_never_left() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        sys::set_soft_limit(libc::RLIMIT_NOFILE, 128).expect("lower it");
        let fill = || std::iter::from_fn(|| File::open("/dev/null").ok()).collect::<Vec<File>>();
        for path in [name(), format!("{}/way/leaf", name())] {
            let wanted = Cgroup::at(path).expect("a good path").if_available();
            let mut full = fill();
            let error =
                puppet("exit 0").cgroup(wanted.clone()).output().expect_err("no descriptor");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            let mut errors = BTreeSet::new();
            let group = loop {
                let made = wanted.create();
                match made {
                    Ok(made) => break made.expect("it is available"),
                    Err(Error::Io { source, step, object }) => {
                        assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
                        errors.insert((step, object));
                    }
                    Err(error) => panic!("{error}"),
                }
                assert!(!folder(&place).exists(), "left after {:?}", errors.last());
                full.pop().expect("with so many it can be made");
            };
            assert!(errors.len() >= 3, "{errors:?}");
            full.extend(fill());
            group.end(GRACE_AND_2S).expect("nobody is in it");
            assert!(!folder(&place).exists());
        }
    });
}

/// On kernels of today a child that is cloned into any group is born killed if its shepherd lives in a group that
/// was killed before it came, as a service's may have been.
#[test]
fn commands_start_inside_although_their_shepherd_lives_in_a_group_that_was_once_killed() {
    arena(|| {
        let Some(place) = place() else { return };
        let home = place.group.join(format!("{}_home", name()));
        std::fs::create_dir(&home).expect("make a group");
        if std::fs::write(home.join("cgroup.kill"), "1").is_err() {
            std::fs::remove_dir(&home).expect("remove it");
            return skip("there is no cgroup.kill");
        }
        let own = std::process::id().to_string();
        std::fs::write(home.join("cgroup.procs"), &own).expect("move in");
        for _ in 0..3 {
            let script = "cat /proc/self/cgroup; exit 5";
            let output = netrunner_sync::Command::new("sh")
                .args(["-c", script])
                .cgroup(Cgroup::auto())
                .output()
                .expect("output");
            assert_eq!(output.status.code(), Some(5), "{:?}", output.report);
            let text = String::from_utf8(output.stdout).expect("text");
            assert!(text.contains(&format!("{}_home/netrunner-", name())), "{text}");
            let mut child = puppet("exit 6").cgroup(Cgroup::auto()).spawn().expect("spawn");
            assert_eq!(child.wait().expect("wait").code(), Some(6));
        }
        std::fs::write(place.group.join("cgroup.procs"), &own).expect("move back");
        // Its guardian lives there.
        drop(place);
        std::fs::remove_dir(&home).expect("nobody is left in it");
    });
}
