//! The same for a user without privileges, in a subtree that root has given to it: commands start inside, end
//! as a whole and leave no directory there; what has not been given is refused before anything runs.

use std::os::unix::fs::chown;
use std::process;

use netrunner_sync::Cgroup;
use netrunner_sync::cgroup::{Group, Limit};
use netrunner_tests::sys;

use super::{Held, name, place};
use crate::harness::*;

/// Nobody, who has no group anywhere.
const USER: u32 = 65534;

/// What systemd and others give away of a group.
const ALL: &[&str] = &["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

/// A group that belongs to [`USER`], or part of it does. It goes before the place is let go of.
struct Given {
    group: Group,
    _place: Held,
}

fn given(files: &[&str]) -> Option<Given> {
    let place = place()?;
    if sys::euid() != 0 {
        skip("giving a subtree away needs root");
        return None;
    }
    let mut wanted = Cgroup::at(format!("{}_given", name())).expect("a good path");
    if place.controllers.iter().any(|name| name == "pids") {
        wanted = wanted.pids_max(Limit::MAX);
    }
    let group = wanted.create_in(&place).expect("root may make it");
    for file in files {
        chown(group.path().join(file), Some(USER), Some(USER)).expect("give it away");
    }
    Some(Given { group, _place: place })
}

impl Given {
    /// A client that is moved in by root, gives up root, and does the script.
    fn client(&self, script: &str) -> Client {
        let mut shell = process::Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        shell.arg(self.group.path().join("cgroup.procs")).arg(program(CLIENT));
        client_by(shell, &format!("become {USER} {script}"))
    }

    fn has(&self, name: &str) -> bool {
        self.group.path().join(name).exists()
    }
}

#[test]
fn the_first_instruction_of_a_users_command_runs_inside() {
    arena(|| {
        let Some(given) = given(ALL) else { return };
        given.client("cgroup job/one output-to seen [ exec cat /proc/self/cgroup ]").finish();
        let seen = std::fs::read_to_string("seen").expect("it was written");
        let group = format!("{}_given/job/one", name());
        assert!(seen.lines().any(|it| it.starts_with("0::") && it.ends_with(&group)), "{seen}");
        assert!(!given.has("job"));
    });
}

#[test]
fn a_users_tree_that_hides_ends_with_its_group() {
    arena(|| {
        let Some(given) = given(ALL) else { return };
        let hides = "daemon [ setsid lock below sleep forever ] await below ignore TERM lock leader touch up \
                     sleep forever";
        given.client(&format!("quiet cgroup job spawn [ {hides} ] await up kill")).finish();
        lock("leader").assert_free();
        lock("below").assert_free();
        assert!(!given.has("job"));
    });
}

#[test]
fn a_users_set_uid_command_ends_with_its_group() {
    // In a tree its shepherd may not touch it.
    arena(|| {
        use std::os::unix::fs::PermissionsExt as _;
        let Some(given) = given(ALL) else { return };
        if !given.has("cgroup.kill") {
            return skip("there is no cgroup.kill: it is as in a tree");
        }
        std::fs::copy(PUPPET, "set-uid").expect("copy");
        let mode = std::fs::Permissions::from_mode(0o4755);
        std::fs::set_permissions("set-uid", mode).expect("mode");
        let script = "become 0 ignore TERM lock leader touch up sleep forever";
        let ends = format!("quiet program ./set-uid cgroup job spawn [ {script} ] await up kill");
        given.client(&ends).finish();
        lock("leader").assert_free();
        assert!(!given.has("job"));
    });
}

#[test]
fn groups_that_a_users_command_makes_go_along() {
    arena(|| {
        let Some(given) = given(ALL) else { return };
        let inner = given.group.path().join("job/a/b");
        let script = format!(
            "mkdir -p {0} && echo $$ > {0}/cgroup.procs && (setsid sleep 1000 &) ; exit 4",
            inner.display()
        );
        std::fs::write("nest", script).expect("write");
        given.client("quiet cgroup job spawn [ exec sh nest ] wait 4").finish();
        assert!(!given.has("job"));
    });
}

#[test]
fn a_users_killed_client_leaves_neither_process_nor_group() {
    arena(|| {
        let Some(given) = given(ALL) else { return };
        let hides =
            "daemon [ setsid lock below sleep forever ] await below lock leader sleep forever";
        let client =
            given.client(&format!("quiet cgroup way/leaf spawn [ {hides} ] sleep forever"));
        lock("leader").wait_held();
        assert!(given.has("way/leaf"));
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        assert!(!given.has("way"));
    });
}

#[test]
fn a_users_limit_is_written_where_its_controller_was_given() {
    arena(|| {
        let Some(given) = given(ALL) else { return };
        let limit = given.group.path().join("job/pids.max");
        if !given.has("pids.max") {
            return skip("the controller `pids` is not offered");
        }
        let read = format!("exec cat {}", limit.display());
        given.client(&format!("cgroup job,pids.max=17 output-to seen [ {read} ]")).finish();
        assert_eq!(std::fs::read_to_string("seen").expect("it was written"), "17\n");
        assert!(!given.has("job"));
    });
}

#[test]
fn a_users_limit_that_cannot_be_had_runs_nothing() {
    arena(|| {
        let Some(given) = given(ALL) else { return };
        let told = given.client("cgroup job,nosuch.max=1 attempt output [ touch ran ]").finish();
        let why = format!("`nosuch` is missing in `{}`", given.group.path().display());
        assert!(told.contains(&why), "{told}");
        assert!(!std::path::Path::new("ran").exists() && !given.has("job"));
    });
}

/// A process moves only if its mover may write `cgroup.procs` of the group above both places, too. So a
/// directory in which groups can be made is not enough, and neither is a subtree beside the own group.
#[test]
fn a_user_is_refused_where_only_the_directory_was_given() {
    arena(|| {
        let Some(given) = given(&[""]) else { return };
        let told = given.client("cgroup job attempt output [ touch ran ]").finish();
        let why = format!("`{}` can't be changed: Permission", given.group.path().display());
        assert!(told.contains(&why), "{told}");
        assert!(!std::path::Path::new("ran").exists() && !given.has("job"));
    });
}

#[test]
fn a_user_is_refused_outside_of_what_was_given() {
    arena(|| {
        let Some(given) = given(ALL) else { return };
        let told = run_client(&format!("become {USER} cgroup job attempt output [ touch ran ]"));
        assert!(told.contains("can't be changed: Permission"), "{told}");
        assert!(!std::path::Path::new("ran").exists() && !given.has("job"));
    });
}
