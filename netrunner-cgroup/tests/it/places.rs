//! Where groups are made: in a subtree that was given to another user, and in a group that has processes
//! of its own, which may not hand controllers down.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use netrunner_cgroup::Limit;

use super::*;

#[test]
fn processes_of_the_own_group_are_moved_to_a_leaf_where_the_kernel_asks_for_it() {
    if std::env::var_os("NRTEST_INTERNAL").is_some() {
        return lives_where_it_makes_groups();
    }
    let Some(place) = place() else { return };
    for (limit, value) in offered(&place) {
        move_aside_for(&place, limit, value);
    }
}

/// What can be written for each controller. Some can't be enabled in a group with processes, by others the
/// kernel makes it a threaded one.
const LIMITS: &[(&str, &str)] = &[
    ("memory.low", "4096"),
    ("io.weight", "default 77"),
    ("pids.max", "77"),
    ("cpu.weight", "77"),
    ("cpuset.cpus", "0"),
    ("hugetlb.2MB.max", "0"),
];

/// Those of controllers that are there.
fn offered(place: &Place) -> Vec<(&'static str, &'static str)> {
    let is_offered = |file: &str| {
        let controller = file.split('.').next();
        place.controllers.iter().any(|name| Some(&**name) == controller)
    };
    let offered: Vec<_> = LIMITS.iter().copied().filter(|(file, _)| is_offered(file)).collect();
    if offered.is_empty() {
        skip(&format!("no controller is offered in `{}`", place.group.display()));
    }
    offered
}

fn move_aside_for(place: &Place, limit: &str, value: &str) {
    let wanted = Cgroup::at(unique("internal")).expect("a good path").set(limit, value);
    let outer = wanted.expect("a file").create_in(place).expect("it is offered");
    let leaf = outer.path().join("self.netrunner");
    let mut bystander = shell(&outer, "exec sleep 1000");
    until("it is in", || members(outer.path()) == 1);
    let child = inside(
        &outer,
        &mut again(
            "places::processes_of_the_own_group_are_moved_to_a_leaf_where_the_kernel_asks_for_it",
            "NRTEST_INTERNAL",
            limit,
        ),
    );
    let told = child.wait_with_output().expect("ours");
    assert!(told.status.success(), "{limit}: {}", String::from_utf8_lossy(&told.stderr));
    assert_eq!((members(outer.path()), members(&leaf)), (0, 1), "the bystander has been moved");
    outer.end(LONG).expect("all can be killed");
    assert_eq!(bystander.wait().expect("ours").signal(), Some(9));
    assert!(!leaf.exists());
}

fn lives_where_it_makes_groups() {
    wait_for_word();
    let place = Place::detect().expect("whoever started us has it");
    assert!(members(&place.group) >= 2, "nobody lives there");
    let limit = std::env::var("NRTEST_INTERNAL").expect("it is given");
    let (_, value) = LIMITS.iter().find(|(file, _)| **file == limit).expect("one of these");
    let group = || {
        let wanted = Cgroup::auto().set(&limit, *value).expect("a file");
        wanted.create().expect("it is offered").expect("it is required")
    };
    // The second has nothing to move any more.
    let groups = [group(), group()];
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("it is there");
    assert!(
        own.lines().any(|line| line.starts_with("0::") && line.ends_with("/self.netrunner")),
        "{own}"
    );
    assert_eq!(Place::detect().expect("as before").group, place.group);
    for group in groups {
        assert!(group.read(&limit).expect("it is enabled").starts_with(value));
        group.end(LONG).expect("nobody is in it");
    }
}

/// Only the delegated group is ours to arrange. One on the way that has processes is somebody else's: the
/// kernel refuses it some controllers, and would make it a threaded group, useless to whoever owns it, for the
/// others.
#[test]
fn a_limit_below_a_group_with_processes_is_refused_and_the_group_stays_as_it_is() {
    let Some(place) = place() else { return };
    for (limit, value) in offered(&place) {
        let (group, path) = create(&place, "inhabited");
        let mut bystander = shell(&group, "exec sleep 1000");
        until("it is in", || members(&path) == 1);
        let below = path.strip_prefix(&place.group).expect("it is below").join("below");
        let wanted = Cgroup::at(below).expect("a good path").set(limit, value).expect("a file");
        let error = wanted.create_in(&place).expect_err("it has processes");
        let is_busy = |source: &std::io::Error| source.kind() == std::io::ErrorKind::ResourceBusy;
        assert!(matches!(&error, Error::Io { source, .. } if is_busy(source)), "{limit}: {error}");
        assert_eq!(group.read("cgroup.type").expect("it has one"), "domain\n", "{limit}");
        assert_eq!(members(&path), 1, "{limit}: the bystander was moved");
        assert!(!path.join("below").exists());
        group.end(LONG).expect("all can be killed");
        assert_eq!(bystander.wait().expect("ours").signal(), Some(9));
    }
}

/// Where systemd is, the groups are its own to arrange, but for those that it has marked as delegated.
#[test]
fn nobody_is_moved_in_a_group_that_systemd_has_not_delegated() {
    if let Ok(mark) = std::env::var("NRTEST_SYSTEMD") {
        return lives_below_systemd(&mark);
    }
    let Some(place) = place() else { return };
    let Some(&(limit, value)) = offered(&place).first() else { return };
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|it| it.success()) {
        return skip("no mount namespace can be had");
    }
    for mark in ["", "user.delegate", "trusted.delegate"] {
        let wanted = Cgroup::at(unique("systemd")).expect("a good path").set(limit, value);
        let outer = wanted.expect("a file").create_in(&place).expect("it is offered");
        if !mark.is_empty() {
            let flags = rustix::fs::XattrFlags::empty();
            if let Err(errno) = rustix::fs::setxattr(outer.path(), mark, b"1", flags) {
                skip(&format!("`{mark}` can't be set: {errno}"));
                continue;
            }
        }
        // A systemd of its own for this process: all that is looked for is its folder.
        let systemd = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec \"$@\"";
        let own = std::env::current_exe().expect("ours");
        let name = "places::nobody_is_moved_in_a_group_that_systemd_has_not_delegated";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", systemd, "sh"]).arg(own).args(["--exact", name]);
        command.env("NRTEST_SYSTEMD", mark).env("NRTEST_LIMIT", limit).stdout(Stdio::piped());
        let output = inside(&outer, &mut command).wait_with_output().expect("ours");
        outer.end(LONG).expect("nobody is left");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains("1 passed"), "{mark}: {told}");
    }
}

fn lives_below_systemd(mark: &str) {
    wait_for_word();
    let place = Place::detect().expect("whoever started us has it");
    let limit = std::env::var("NRTEST_LIMIT").expect("it is given");
    let (_, value) = LIMITS.iter().find(|(file, _)| **file == limit).expect("one of these");
    let made = Cgroup::auto().set(&limit, *value).expect("a file").create();
    let has_leaf = || place.group.join("self.netrunner").exists();
    if !mark.is_empty() {
        made.expect("it is delegated").expect("it is required").end(LONG).expect("it is empty");
        return assert!(has_leaf(), "nobody was moved");
    }
    let refused = made.expect_err("it is not ours to arrange");
    let Some(reason @ Unavailable::NotDelegated { group }) = refused.unavailable() else {
        panic!("{refused}");
    };
    assert_eq!(group, &place.group);
    assert!(reason.remedy().contains("Delegate=yes"), "{}", reason.remedy());
    assert!(!has_leaf(), "a leaf was made");
    assert!(members(&place.group) > 0, "somebody was moved");
    // Without a limit nobody has to be moved.
    let group = Cgroup::auto().create().expect("it can be made").expect("it is required");
    group.end(LONG).expect("it is empty");
}

/// As root: a subtree is given to nobody, who runs the other tests of this program in it.
#[test]
fn an_unprivileged_user_has_groups_in_a_delegated_subtree() {
    if std::env::var_os("NRTEST_DELEGATED").is_some() {
        assert_ne!(std::fs::metadata("/proc/self").expect("it is there").uid(), 0);
        assert!(Place::detect().is_ok(), "{:?}", Place::detect());
        return;
    }
    let Some(place) = place() else { return };
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return skip("giving a subtree away needs root");
    }
    // Whatever controllers there are, they are offered there too.
    let mut wanted = Cgroup::at(unique("delegated")).expect("a good path");
    for controller in &place.controllers {
        wanted = match controller.as_str() {
            "cpu" => wanted.cpu_weight(100),
            "cpuset" => wanted.mems("0"),
            "io" => wanted.io_weight(100),
            "memory" => wanted.memory_max(Limit::MAX),
            "pids" => wanted.pids_max(Limit::MAX),
            _ => wanted,
        };
    }
    let group = wanted.create_in(&place).expect("they are offered");
    give(&group, &["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]);
    let output = as_nobody(&group, "NRTEST_DELEGATED", &[]);
    group.end(LONG).expect("nobody is left");
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{told:?}");
    assert!(!told[1].contains("can't be changed"), "{told:?}");
}

/// A process moves only if its mover may write `cgroup.procs` of the common ancestor, too.
#[test]
fn a_user_with_the_directory_alone_is_told_that_it_can_make_none() {
    if std::env::var_os("NRTEST_DIRECTORY_ONLY").is_some() {
        let own = Place::locate().expect("whoever started us has one").group;
        std::fs::create_dir(own.join("possible")).expect("the directory is ours");
        std::fs::remove_dir(own.join("possible")).expect("it is empty");
        let refused = Cgroup::auto().create().expect_err("nobody could be moved in");
        let Some(Unavailable::NotWritable { group, errno: 13 }) = refused.unavailable() else {
            panic!("{refused}");
        };
        assert_eq!(group, &own);
        let remedy = refused.unavailable().expect("as above").remedy();
        assert!(remedy.contains("`cgroup.procs`"), "{remedy}");
        assert!(Cgroup::auto().if_available().create().expect("it need not be had").is_none());
        return;
    }
    let Some(place) = place() else { return };
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return skip("giving a directory away needs root");
    }
    let (group, _) = create(&place, "directory_only");
    give(&group, &[""]);
    let name = "places::a_user_with_the_directory_alone_is_told_that_it_can_make_none";
    let output = as_nobody(&group, "NRTEST_DIRECTORY_ONLY", &["--exact", name]);
    group.end(LONG).expect("nobody is left");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// Gives these of the group's files to nobody; the directory itself has no name.
fn give(group: &Group, files: &[&str]) {
    for file in files {
        let file = group.path().join(file);
        std::os::unix::fs::chown(file, Some(65534), Some(65534)).expect("it is ours");
    }
}

/// Runs this program again, as nobody and in the group, and says so by this variable.
fn as_nobody(group: &Group, variable: &str, args: &[&str]) -> std::process::Output {
    // Where this program was built nobody may be allowed to look.
    let folder = std::env::temp_dir().join(unique("program").replace('/', "_"));
    std::fs::create_dir(&folder).expect("a fresh name");
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).expect("it is ours");
    let program = folder.join("it");
    std::fs::copy(std::env::current_exe().expect("ours"), &program).expect("there is room");
    // A process that is inside already runs it.
    let mut command = Command::new("sh");
    command
        .args(["-c", "read word && exec \"$0\" \"$@\""])
        .arg(&program)
        .args(args)
        .env(variable, "1")
        .env("TMPDIR", &folder)
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .uid(65534)
        .gid(65534);
    let output = inside(group, &mut command).wait_with_output().expect("ours");
    std::fs::remove_dir_all(&folder).expect("it is ours");
    output
}
