//! Commands in a PID namespace survive nobody: client, guardian and shepherd are killed in one instant, and
//! the kernel ends what was below them.
//!
//! One instant means: all of them are stopped first, so that none can act on the end of another.

use std::time::Duration;

use netrunner_tests::procs::Proc;
use netrunner_tests::wait::wait_until;

use crate::harness::*;
use crate::pid_namespace::{User, init_of, possible};
use crate::shapes::{self, Shape};

/// What a command is made of, beside itself.
struct Keepers {
    guardian: u32,
    shepherd: u32,
}

impl Keepers {
    fn of(child: u32) -> Keepers {
        Keepers { guardian: guardian_of(child), shepherd: shepherd_of(child) }
    }

    fn kill_in_one_instant(&self, client: Client) {
        let all = [self.guardian, self.shepherd, client.pid()];
        for pid in all {
            signal(pid, libc::SIGSTOP);
            wait_state(pid, 'T');
        }
        signal(self.guardian, libc::SIGKILL);
        signal(self.shepherd, libc::SIGKILL);
        client.kill();
    }
}

fn start(user: User, words: &str, shape: &Shape) -> (Client, u32) {
    let script =
        format!("{} {words} quiet spawn [ {} ] pid pid sleep forever", user.words(), shape.script);
    let client = client(&script);
    let child = wait_pid_file("pid");
    shape.wait_alive();
    (client, child)
}

fn check(user: User, shape: &Shape) {
    if !possible() {
        return;
    }
    let (client, child) = start(user, "namespace", shape);
    Keepers::of(child).kill_in_one_instant(client);
    shape.wait_gone(GRACE_AND_2S);
    wait_nothing_left(GRACE_AND_2S);
}

mod leave_nothing_of_roots_command {
    fn check(shape: &crate::shapes::Shape) {
        super::check(super::User::Root, shape);
    }

    crate::shapes::each_shape!(check);
}

mod leave_nothing_of_another_users_command {
    fn check(shape: &crate::shapes::Shape) {
        super::check(super::User::Other, shape);
    }

    crate::shapes::each_shape!(check);
}

/// The control: what these tests look for is there without a namespace.
#[test]
fn without_a_namespace_a_daemon_survives() {
    arena(|| {
        let (client, child) = start(User::Root, "", &shapes::DAEMON);
        let below = lock("below").wait_held();
        Keepers::of(child).kill_in_one_instant(client);
        lock("leader").wait_free(GRACE_AND_2S);
        lock("below").assert_held();
        signal(below, libc::SIGKILL);
        wait_nothing_left(GRACE_AND_2S);
    });
}

/// Then it can't see that nobody holds the other end of its pipe: the parent-death signal is what ends it.
#[test]
fn a_stopped_first_process_goes_as_well() {
    arena(|| {
        for user in [User::Root, User::Other] {
            if !possible() {
                return;
            }
            let (client, child) = start(user, "namespace", &shapes::DAEMON);
            let init = init_of(shepherd_of(child)).expect("a first process");
            signal(init, libc::SIGSTOP);
            wait_state(init, 'T');
            Keepers::of(child).kill_in_one_instant(client);
            shapes::DAEMON.wait_gone(GRACE_AND_2S);
            wait_nothing_left(GRACE_AND_2S);
            for name in ["pid", "leader", "below"] {
                std::fs::remove_file(name).expect("make room for the next");
            }
        }
    });
}

/// The shepherds of a client that is spawning all the time, whatever they are at.
fn shepherds_below(guardian: u32) -> Vec<u32> {
    let all = others().into_iter().filter(|proc| proc.ppid == guardian);
    all.filter(|proc| proc.comm == "nr-shepherd").map(|proc| proc.pid).collect()
}

fn guardian_below(everybody: &[Proc]) -> Option<u32> {
    everybody.iter().find(|proc| proc.comm == "nr-guardian").map(|proc| proc.pid)
}

/// The instant falls anywhere: before the namespace is made, while it is made, into the window, after.
fn at_any_instant(user: User) {
    if !possible() {
        return;
    }
    let mut random = random();
    let script = format!(
        "{} namespace quiet churn-spawn forever [ lock leader fork [ setsid lock below daemon [ setsid \
         ignore TERM lock orphan sleep forever ] sleep forever ] sleep 0.002 ]",
        user.words()
    );
    let mut rounds_with_shepherds = 0;
    for _ in 0..rounds(60) {
        let client = client(&script);
        let mut guardian = None;
        wait_until("a guardian", Duration::from_secs(20), || {
            guardian = guardian_below(&others());
            guardian.is_some_and(|guardian| !shepherds_below(guardian).is_empty())
        });
        let guardian = guardian.expect("waited for");
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        // Nobody bears another shepherd from here on.
        signal(guardian, libc::SIGSTOP);
        wait_state(guardian, 'T');
        signal(client.pid(), libc::SIGSTOP);
        let shepherds = shepherds_below(guardian);
        shepherds.iter().for_each(|&shepherd| signal(shepherd, libc::SIGSTOP));
        rounds_with_shepherds += u64::from(!shepherds.is_empty());
        signal(guardian, libc::SIGKILL);
        shepherds.iter().for_each(|&shepherd| signal(shepherd, libc::SIGKILL));
        client.kill();
        wait_nothing_left(GRACE_AND_2S);
        for name in ["leader", "below", "orphan"] {
            // The first rounds may end before there is one.
            if std::path::Path::new(name).exists() {
                lock(name).assert_free();
            }
        }
    }
    assert!(rounds_with_shepherds > 0, "no shepherd was ever there");
}

#[test]
fn root_is_left_nothing_at_any_instant() {
    arena(|| at_any_instant(User::Root));
}

#[test]
fn another_user_is_left_nothing_at_any_instant() {
    arena(|| at_any_instant(User::Other));
}
