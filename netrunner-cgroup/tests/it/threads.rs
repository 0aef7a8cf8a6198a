//! Threaded groups: part of a process can be in one, and the kernel answers `EOPNOTSUPP` where a group of
//! processes would do as it is asked.

use super::*;

/// Run by the tests below in a process of its own: one with a second thread.
#[test]
fn has_two_threads() {
    if std::env::var_os("NRTEST_THREADS").is_none() {
        return;
    }
    wait_for_word();
    let _second = std::thread::spawn(|| std::thread::sleep(Duration::from_secs(1000)));
    std::thread::sleep(Duration::from_secs(1000));
}

/// A process in the group that has moved one of its threads into a threaded group below.
fn with_a_threaded_part(group: &Group) -> Child {
    let child = inside(group, &mut again("threads::has_two_threads", "NRTEST_THREADS", "1"));
    let threads = || -> Vec<String> {
        let listed = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("it lives");
        listed.map(|entry| entry.expect("it").file_name().into_string().expect("digits")).collect()
    };
    until("it has three threads", || threads().len() >= 3);
    let part = group.path().join("part");
    std::fs::create_dir(&part).expect("it may be made");
    std::fs::write(part.join("cgroup.type"), "threaded").expect("the kernel can");
    let other = threads().into_iter().max().expect("there are three");
    std::fs::write(part.join("cgroup.threads"), &other).expect("it may be moved");
    let type_of = |path: &Path| std::fs::read_to_string(path.join("cgroup.type")).expect("a type");
    assert_eq!(type_of(group.path()), "domain threaded\n");
    assert!(std::fs::read_to_string(part.join("cgroup.threads")).expect("read").contains(&other));
    child
}

#[test]
fn a_process_with_threads_in_groups_of_their_own_is_killed_whole() {
    let Some(place) = place() else { return };
    let (group, path) = create(&place, "threaded");
    let mut child = with_a_threaded_part(&group);
    group.end(LONG).expect("it can be killed");
    assert_eq!(child.wait().expect("ours").signal(), Some(9));
    assert!(!path.exists());
}

#[test]
fn a_process_in_a_threaded_group_is_told_that_it_can_make_none() {
    if std::env::var_os("NRTEST_IN_THREADED").is_some() {
        wait_for_word();
        let told = Place::detect();
        assert!(matches!(told, Err(Unavailable::Threaded { .. })), "{told:?}");
        let error = Cgroup::auto().create().expect_err("none can be had");
        assert!(matches!(error.unavailable(), Some(Unavailable::Threaded { .. })), "{error}");
        return;
    }
    let Some(place) = place() else { return };
    let (group, path) = create(&place, "in_threaded");
    let part = path.join("part");
    std::fs::create_dir(&part).expect("it may be made");
    std::fs::write(part.join("cgroup.type"), "threaded").expect("the kernel can");
    let name = "threads::a_process_in_a_threaded_group_is_told_that_it_can_make_none";
    let mut child = again(name, "NRTEST_IN_THREADED", "1");
    let mut child = child.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ours");
    group.add(child.id()).expect("it may be moved");
    // All threads of a process that moves go along.
    std::fs::write(part.join("cgroup.threads"), child.id().to_string()).expect("it may be moved");
    drop(child.stdin.take());
    let told = child.wait_with_output().expect("ours");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    group.end(LONG).expect("nobody is left");
}
