//! Who removes the group, and ends what is in it, when its client, its shepherd, its guardian or several of
//! them are killed (P1, P3, P6).

use std::time::Instant;

use netrunner_sync::Cgroup;
use netrunner_sync::cgroup::Place;
use netrunner_tests::lacks::Lack;
use netrunner_tests::sys;
use netrunner_tests::wait::scaled;

use super::{folder, members, name, place, place_alone};
use crate::exhaustion::FEWEST;
use crate::harness::*;

const HIDES: &str =
    "daemon [ setsid lock below sleep forever ] await below lock leader sleep forever";

#[test]
fn a_killed_client_leaves_neither_process_nor_group() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        // The groups on the way were made for it, and go with it.
        let client =
            client(&format!("quiet cgroup {}/way/leaf spawn [ {HIDES} ] sleep forever", name()));
        lock("leader").wait_held();
        assert!(members(&folder(&place).join("way/leaf")).len() >= 2);
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        assert!(!folder(&place).exists());
    });
}

#[test]
fn a_killed_shepherd_leaves_neither_process_nor_group() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        let mut child =
            puppet(HIDES).cgroup(Cgroup::at(name()).expect("a good path")).spawn().expect("spawn");
        lock("leader").wait_held();
        signal(shepherd_of(child.id()), libc::SIGKILL);
        assert!(child.wait().expect_err("no status").is_shepherd_lost());
        assert!(!folder(&place).exists());
        lock("below").wait_free(GRACE_AND_2S);
    });
}

/// A client with a command in a group `a/b`, and its shepherd, stopped: it can't be quicker than the second
/// of two signals.
fn client_with_a_stopped_shepherd() -> (Client, u32, u32) {
    let client =
        client(&format!("quiet cgroup {}/b spawn [ {HIDES} ] pid pid sleep forever", name()));
    let child = lock("leader").wait_held();
    wait_pid_file("pid");
    let (shepherd, guardian) = (shepherd_of(child), guardian_of(child));
    signal(shepherd, libc::SIGSTOP);
    wait_state(shepherd, 'T');
    (client, shepherd, guardian)
}

/// As if a client had been killed between making a group and marking it as its own.
fn leave_one_unmarked(place: &Place) {
    std::fs::create_dir(folder(place).join("unmarked")).expect("make a group");
}

#[test]
fn what_a_client_and_its_shepherd_left_goes_with_their_guardian() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        let living = Cgroup::at(format!("{}_living", name())).expect("a good path");
        let mut bystander =
            puppet("lock bystander sleep forever").cgroup(living).spawn().expect("spawn");
        lock("bystander").wait_held();
        let (mut client, shepherd, guardian) = client_with_a_stopped_shepherd();
        leave_one_unmarked(&place);
        client.shoot();
        signal(shepherd, libc::SIGKILL);
        client.end();
        wait_gone(guardian, GRACE_AND_2S);
        assert!(!folder(&place).exists());
        lock("leader").assert_free();
        lock("below").assert_free();
        lock("bystander").assert_held();
        assert!(bystander.cgroup().expect("it has one").path().exists());
        bystander.kill().expect("kill");
        bystander.wait().expect("wait");
    });
}

#[test]
fn what_client_shepherd_and_guardian_left_is_swept_by_the_next_client() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        let (mut client, shepherd, guardian) = client_with_a_stopped_shepherd();
        leave_one_unmarked(&place);
        signal(guardian, libc::SIGSTOP);
        wait_state(guardian, 'T');
        client.shoot();
        signal(shepherd, libc::SIGKILL);
        signal(guardian, libc::SIGKILL);
        client.end();
        wait_gone(guardian, GRACE_AND_2S);
        wait_gone(shepherd, GRACE_AND_2S);
        // What has left the group of processes has lost everybody who could signal it.
        lock("below").assert_held();
        assert!(folder(&place).exists(), "nobody was left to remove it");
        assert!(puppet("exit 0").cgroup(Cgroup::auto()).status().expect("status").success());
        assert!(!folder(&place).exists());
        lock("below").wait_free(GRACE_AND_2S);
    });
}

/// Then the client alone can end what is in the group, and it can open nothing any more.
#[test]
fn a_client_without_descriptors_ends_what_shepherd_and_guardian_have_left() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        // The watcher does it, which is told by a pidfd alone, or a thread that waits.
        let watches = (!lacks(Lack::Pidfd)).then_some("");
        for then in watches.into_iter().chain(["wait-any-error"]) {
            let client = client(&format!(
                "quiet cgroup {}/b spawn [ {HIDES} ] pid pid {then} sleep forever",
                name()
            ));
            let child = lock("leader").wait_held();
            if !folder(&place).join("cgroup.kill").exists() {
                client.kill();
                return skip("there is no cgroup.kill: such a group is left to the next sweep");
            }
            wait_pid_file("pid");
            let both = [guardian_of(child), shepherd_of(child)];
            for process in both {
                signal(process, libc::SIGSTOP);
                wait_state(process, 'T');
            }
            sys::limit_descriptors_of(client.pid(), FEWEST).expect("take them away");
            both.into_iter().for_each(|process| signal(process, libc::SIGKILL));
            lock("below").wait_free(GRACE_AND_2S);
            super::wait_removed(&folder(&place));
            client.kill();
            wait_nothing_left(GRACE_AND_2S);
            for file in ["pid", "leader", "below"] {
                std::fs::remove_file(file).expect("make room for the next");
            }
        }
    });
}

/// Signals reach descendants. A process that was moved in from elsewhere is none: what ends it when the
/// client is gone is what shepherd and guardian do to the group.
#[test]
fn a_stranger_in_the_group_ends_with_it_when_the_client_is_killed() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        let client = client(&format!(
            "quiet cgroup {} spawn [ ignore TERM storm-setsid 3000 8 lock leader sleep forever ] \
             sleep forever",
            name()
        ));
        lock("leader").wait_held();
        let mut stranger =
            std_puppet("await go ignore TERM storm-setsid 6000 12 lock stranger sleep forever")
                .spawn()
                .expect("spawn");
        std::fs::write(folder(&place).join("cgroup.procs"), stranger.id().to_string())
            .expect("move it in");
        std::fs::write("go", "").expect("let it rage");
        lock("stranger").wait_held();
        client.kill();
        stranger.wait().expect("reap it");
        wait_nothing_left(GRACE_AND_2S);
        assert!(!folder(&place).exists());
    });
}

/// The same by the shepherd alone: the client is gone and the guardian stands still.
#[test]
fn a_stranger_in_the_group_ends_by_its_shepherd() {
    arena(|| {
        let Some(place) = place_alone() else { return };
        let script = "ignore TERM lock leader sleep forever";
        let client = client(&format!("quiet cgroup {} spawn [ {script} ] sleep forever", name()));
        let guardian = guardian_of(lock("leader").wait_held());
        let mut stranger = std_puppet("lock stranger sleep forever").spawn().expect("spawn");
        lock("stranger").wait_held();
        std::fs::write(folder(&place).join("cgroup.procs"), stranger.id().to_string())
            .expect("move it in");
        signal(guardian, libc::SIGSTOP);
        wait_state(guardian, 'T');
        client.kill();
        lock("stranger").wait_free(GRACE_AND_2S);
        stranger.wait().expect("reap it");
        super::wait_removed(&folder(&place));
        signal(guardian, libc::SIGCONT);
        wait_nothing_left(GRACE_AND_2S);
    });
}

/// Sixty-four chains of forks, each in sessions of its own, are more than signals catch before the storm is
/// over by itself, which it says.
#[test]
fn a_fork_storm_ends_with_its_group_before_it_is_over() {
    arena(|| {
        let Some(place) = place() else { return };
        let mut child = puppet("ignore TERM storm-setsid 20000 64 touch raging sleep forever")
            .cgroup(Cgroup::at(name()).expect("a good path"))
            .spawn()
            .expect("spawn");
        wait_file("raging");
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!std::path::Path::new("calm").exists(), "it was not interrupted");
        assert_no_puppets();
        assert!(!folder(&place).exists());
    });
}

/// To ask so many to end takes longer than to fork more of them, unless they stand still meanwhile.
#[test]
fn a_fork_storm_that_is_asked_to_end_does_not_wear_its_shepherd_down() {
    arena(|| {
        let Some(place) = place() else { return };
        // Without these the tree is looked at again after the thaw, and each look waits until the arena has
        // refused it, whom the storm leaves no processor: a smaller one is over sooner.
        let slow = lacks(Lack::Pidfd) || lacks(Lack::Children);
        let forks = if slow { 5_000 } else { 20_000 };
        let storm = format!("ignore TERM storm-setsid {forks} 64 touch raging sleep forever");
        let mut child =
            puppet(&storm).cgroup(Cgroup::at(name()).expect("a good path")).spawn().expect("spawn");
        wait_file("raging");
        let asked = Instant::now();
        child.stop().expect("its shepherd lives");
        let took = asked.elapsed();
        assert!(slow || took < scaled(GRACE_AND_2S), "it took {took:?}");
        assert_no_puppets();
        assert!(!folder(&place).exists());
    });
}
