//! What guards a PID namespace while it is made. Each call of those who make it can be held up here, and then
//! everybody or somebody is killed, or the call is answered as only a strange kernel would.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use netrunner_sync::Containment;
use netrunner_tests::procs::{self, Proc};
use netrunner_tests::seccomp::{self, Handed, Only, Rule};
use netrunner_tests::sys;
use netrunner_tests::wait::wait_until;

use crate::exhaustion::FEWEST;
use crate::harness::*;
use crate::held_up;
use crate::pid_namespace::{User, init_of, possible};

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Helper,
    Init,
    Child,
}

impl Role {
    fn of(pid: u32) -> Option<Role> {
        let proc = Proc::get(pid)?;
        // Outside and inside; the helper makes a namespace for its children and stays outside.
        let numbers = procs::status_lines(pid, &["NSpid"]).concat();
        match numbers.split_whitespace().count() - 1 {
            _ if Proc::get(proc.ppid)?.comm != "nr-shepherd" => None,
            1 => Some(Role::Helper),
            _ if numbers.ends_with(" 1") => Some(Role::Init),
            _ => Some(Role::Child),
        }
    }
}

/// A call of one of them.
#[derive(Clone, Copy, Debug)]
struct Point {
    role: Role,
    rule: Rule,
    /// How many of the same come before it.
    nth: usize,
}

const fn point(role: Role, call: libc::c_long) -> Point {
    Point { role, rule: Rule { call, only: None }, nth: 0 }
}

const fn with(mut point: Point, argument: usize, mask: i32, value: i32) -> Point {
    let (mask, value) = (mask as u32, value as u32);
    point.rule.only = Some(Only { argument, mask, value });
    point
}

const fn second(mut point: Point) -> Point {
    point.nth = 1;
    point
}

const ARM: Point = with(point(Role::Helper, libc::SYS_prctl), 0, -1, libc::PR_SET_PDEATHSIG);
const ARM_INIT: Point = Point { role: Role::Init, ..ARM };
const ARM_CHILD: Point = Point { role: Role::Child, ..ARM };
const UNSHARE: Point = point(Role::Helper, libc::SYS_unshare);
const CLONE_INIT: Point = point(Role::Helper, libc::SYS_clone);
const CLONE_CHILD: Point = second(CLONE_INIT);
const LISTEN: Point = point(Role::Helper, libc::SYS_read);
const READY: Point = point(Role::Init, libc::SYS_write);
const EXEC: Point = point(Role::Child, libc::SYS_execve);

/// Where somebody has not yet said that it is to end with the shepherd.
const UNTIED: &[Point] = &[ARM, ARM_INIT];

/// Where all that there is ends with it.
const TIED: &[Point] = &[
    UNSHARE,
    point(Role::Helper, libc::SYS_pipe2),
    CLONE_INIT,
    LISTEN,
    CLONE_CHILD,
    point(Role::Init, libc::SYS_close_range),
    point(Role::Init, libc::SYS_mount),
    point(Role::Init, libc::SYS_signalfd4),
    READY,
    ARM_CHILD,
    point(Role::Child, libc::SYS_setpgid),
    EXEC,
];

/// Where a user without privileges comes as well.
const TIED_OTHER: &[Point] = &[second(UNSHARE), point(Role::Helper, libc::SYS_write)];

/// A client whose call is held up.
struct Stuck {
    client: Client,
    listener: Arc<OwnedFd>,
    call: Handed,
    /// Who has gone on to make a namespace since.
    unshared: Arc<Mutex<Vec<u32>>>,
}

impl Stuck {
    /// Starts a client, and lets it come to this point.
    #[track_caller]
    fn at(point: Point, script: &str) -> Stuck {
        let (hand, taken) = mpsc::channel();
        let script = script.to_owned();
        // A filter belongs to a thread and to what that starts.
        let starter = thread::spawn(move || {
            let listener = seccomp::install(&[point.rule, UNSHARE.rule]).expect("install a filter");
            hand.send(listener).expect("hand it over");
            client(&script)
        });
        let listener = Arc::new(taken.recv().expect("the filter"));
        let mut before = point.nth;
        let call = loop {
            let Some(call) = seccomp::receive(&listener).expect("a call") else { continue };
            if call.call == point.rule.call && Role::of(call.pid) == Some(point.role) {
                if before == 0 {
                    break call;
                }
                before -= 1;
            }
            seccomp::answer(&listener, &call, None);
        };
        let unshared = Arc::<Mutex<Vec<u32>>>::default();
        let (others, seen) = (Arc::clone(&listener), Arc::clone(&unshared));
        thread::spawn(move || {
            while let Ok(call) = seccomp::receive(&others) {
                let Some(call) = call else { continue };
                if call.call == libc::SYS_unshare {
                    seen.lock().expect("a list").push(call.pid);
                }
                seccomp::answer(&others, &call, None);
            }
        });
        Stuck { client: starter.join().expect("a client"), listener, call, unshared }
    }

    /// Lets the call go on, or fail with this.
    fn answer(&self, errno: Option<i32>) {
        seccomp::answer(&self.listener, &self.call, errno);
    }

    fn shepherd(&self) -> u32 {
        Proc::get(self.call.pid).expect("it is held").ppid
    }

    /// Shepherd, guardian and client in one instant.
    fn kill_keepers(&mut self) {
        let shepherd = self.shepherd();
        let guardian = Proc::get(shepherd).expect("it is there").ppid;
        let all = [guardian, shepherd, self.client.pid()];
        for pid in all {
            signal(pid, libc::SIGSTOP);
            wait_state(pid, 'T');
        }
        all.into_iter().for_each(|pid| signal(pid, libc::SIGKILL));
        self.client.end();
        wait_until("their end", GRACE_AND_2S, || {
            all.iter().all(|&pid| Proc::get(pid).is_none_or(|proc| proc.is_zombie()))
        });
    }
}

/// False, loudly, where no call can be held up.
fn possible_to_hold() -> bool {
    held_up::possible() && possible()
}

#[track_caller]
fn assert_nothing_ran() {
    assert!(!Path::new("ran").exists(), "it ran");
}

const SPAWN: &str = "namespace mount-proc quiet spawn [ touch ran ] sleep forever";
/// Of all there is this needs the fewest pipes.
const STATUS: &str = "namespace attempt status [ touch ran ]";
const ATTEMPT: &str = "namespace quiet attempt spawn [ touch ran ] touch told await calm \
     output [ print again ] check-zombies";

/// What a client prints that was told of a failure.
#[track_caller]
fn assert_told_and_well(stuck: Stuck, errno: i32) {
    wait_file("told");
    let shepherd = others().into_iter().find(|it| it.comm == "nr-shepherd").expect("it is idle");
    let left: Vec<Proc> = others().into_iter().filter(|it| it.ppid == shepherd.pid).collect();
    assert!(left.is_empty(), "left of the attempt: {left:?}");
    assert_nothing_ran();
    fs::write("calm", "").expect("go on");
    let out = stuck.client.finish();
    assert!(out.starts_with(&format!("error {errno} [")), "{out}");
    assert!(out.ends_with("again\n"), "{out}");
    fs::remove_file("told").and_then(|()| fs::remove_file("calm")).expect("for the next");
}

#[test]
fn what_is_not_yet_tied_to_its_shepherd_finds_out_that_it_is_dead() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        for user in [User::Root, User::Other] {
            for &point in UNTIED {
                println!("{user:?}, {point:?}");
                let mut stuck = Stuck::at(point, &format!("{} {SPAWN}", user.words()));
                stuck.kill_keepers();
                stuck.answer(None);
                wait_nothing_left(GRACE_AND_2S);
                assert_nothing_ran();
                assert!(stuck.unshared.lock().expect("a list").is_empty(), "it went on");
            }
        }
    });
}

#[test]
fn what_is_tied_to_its_shepherd_ends_with_it_whatever_it_waits_for() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        for (user, more) in [(User::Root, &[][..]), (User::Other, TIED_OTHER)] {
            let more = if user.words().is_empty() { &[][..] } else { more };
            for &point in TIED.iter().chain(more) {
                println!("{user:?}, {point:?}");
                let mut stuck = Stuck::at(point, &format!("{} {SPAWN}", user.words()));
                stuck.kill_keepers();
                wait_nothing_left(GRACE_AND_2S);
                assert_nothing_ran();
            }
        }
    });
}

/// It has armed the death signal too late, and the helper is dead but has not closed its files yet, so that its
/// word is not refused: what is left is that nobody can write into its pipe.
#[test]
fn the_first_process_ends_when_nobody_is_left_who_could_speak_to_it() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        let mut stuck = Stuck::at(ARM_INIT, STATUS);
        let all = others();
        let shepherd = stuck.shepherd();
        let helper = all.iter().find(|it| it.ppid == shepherd && it.pid != stuck.call.pid);
        let helper = helper.expect("it waits for the first process").pid;
        wait_until("the helper only reads", GRACE_AND_2S, || {
            pipes(helper, libc::O_WRONLY).is_empty() && pipes(helper, libc::O_RDONLY).len() == 1
        });
        let path = pipes(helper, libc::O_RDONLY).remove(0);
        let _ear = fs::File::open(path).expect("open its pipe");
        stuck.kill_keepers();
        stuck.answer(None);
        wait_nothing_left(GRACE_AND_2S);
        assert_nothing_ran();
    });
}

/// The pipes that this process has open in this way.
fn pipes(pid: u32, access: i32) -> Vec<String> {
    let found = procs::descriptors(pid).into_iter().filter(|(number, target)| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        target.starts_with("pipe:") && flags.is_some_and(|it| it & libc::O_ACCMODE == access)
    });
    found.map(|(number, _)| format!("/proc/{pid}/fd/{number}")).collect()
}

/// Else the end of all writers would not be the end of the shepherd.
#[test]
fn the_helper_cannot_speak_to_the_first_process() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        let stuck = Stuck::at(UNSHARE, STATUS);
        assert_eq!(pipes(stuck.shepherd(), libc::O_WRONLY).len(), 1);
        assert_eq!(pipes(stuck.call.pid, libc::O_WRONLY), Vec::<String>::new());
        assert_eq!(pipes(stuck.call.pid, libc::O_RDONLY).len(), 1);
        stuck.answer(None);
        stuck.client.finish();
    });
}

#[test]
fn a_killed_helper_is_an_error_and_leaves_nothing() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        for point in [ARM, UNSHARE, CLONE_INIT, LISTEN, CLONE_CHILD] {
            println!("{point:?}");
            let stuck = Stuck::at(point, ATTEMPT);
            signal(stuck.call.pid, libc::SIGKILL);
            assert_told_and_well(stuck, libc::ESRCH);
        }
    });
}

#[test]
fn a_first_process_that_is_killed_before_it_is_ready_is_an_error() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        for point in [ARM_INIT, READY] {
            println!("{point:?}");
            let stuck = Stuck::at(point, ATTEMPT);
            signal(stuck.call.pid, libc::SIGKILL);
            assert_told_and_well(stuck, libc::ESRCH);
        }
    });
}

/// One that is stopped hears of nothing, and would be waited for.
#[test]
fn a_first_process_that_is_stopped_goes_with_a_child_that_cannot_be_made() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        let stuck = Stuck::at(CLONE_CHILD, ATTEMPT);
        let init = init_of(stuck.shepherd()).expect("a first process");
        signal(init, libc::SIGSTOP);
        wait_state(init, 'T');
        stuck.answer(Some(libc::EAGAIN));
        assert_told_and_well(stuck, libc::EAGAIN);
    });
}

/// What is traced is not gone before its tracer has been told.
#[test]
fn a_failure_is_told_when_the_first_process_is_gone() {
    arena(|| {
        if !possible_to_hold() || !is_root() {
            return;
        }
        let stuck = Stuck::at(CLONE_CHILD, ATTEMPT);
        let shepherd = stuck.shepherd();
        let init = init_of(shepherd).expect("a first process");
        let (let_go, held) = mpsc::channel::<()>();
        let (tell, traced) = mpsc::channel();
        let tracer = thread::spawn(move || {
            tell.send(sys::trace(init)).expect("somebody who waits for it");
            let _ = held.recv(); // Until the other end is dropped.
        });
        traced.recv().expect("told").expect("trace it");
        stuck.answer(Some(libc::EAGAIN));
        wait_state(init, 'Z');
        wait_until("the shepherd waits for it", GRACE_AND_2S, || {
            let call = fs::read_to_string(format!("/proc/{shepherd}/syscall")).expect("look");
            call.split(' ').next() == Some(&libc::SYS_wait4.to_string())
        });
        assert!(!Path::new("told").exists(), "the client was told");
        drop(let_go);
        tracer.join().expect("the tracer");
        assert_told_and_well(stuck, libc::EAGAIN);
    });
}

/// `spawn` tells of a program that can't be executed, however long that takes.
#[test]
fn a_start_is_told_when_the_program_is_executed() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        let script = "namespace spawn [ touch ran ] touch told sleep forever";
        let stuck = Stuck::at(EXEC, script);
        let (child, shepherd) = (stuck.call.pid, stuck.shepherd());
        let init = init_of(shepherd).expect("a first process");
        // It has nothing else left to wait for.
        wait_until("the end of the helper", GRACE_AND_2S, || {
            others().iter().all(|it| it.ppid != shepherd || [child, init].contains(&it.pid))
        });
        wait_state(shepherd, 'S');
        stuck.answer(Some(libc::ENOENT));
        let mut client = stuck.client;
        client.end();
        assert!(!Path::new("told").exists(), "the start was told");
        fs::remove_file("client-failed").expect("the client was told of the failure");
    });
}

/// A kernel that says yes and does nothing, as some sandboxes do: a first process that is not the first of a
/// namespace would send its signals to everybody there is.
#[test]
fn a_namespace_that_is_none_is_refused() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        let mut canary = Canary::new();
        let stuck = Stuck::at(UNSHARE, ATTEMPT);
        stuck.answer(Some(0));
        assert_told_and_well(stuck, libc::ENOSYS);
        canary.assert_unharmed();
    });
}

/// Only for want of the privilege a user namespace helps.
#[test]
fn a_namespace_is_refused_with_the_kernels_reason_but_for_want_of_a_privilege() {
    arena(|| {
        if !possible_to_hold() {
            return;
        }
        let unshare = with(UNSHARE, 0, libc::CLONE_NEWUSER, 0);
        for errno in [libc::EINVAL, libc::ENOMEM, libc::ENOSPC, libc::ENOSYS, libc::EUSERS] {
            let stuck = Stuck::at(unshare, ATTEMPT);
            stuck.answer(Some(errno));
            assert_told_and_well(stuck, errno);
        }
        let stuck = Stuck::at(unshare, "namespace output [ print ran ]");
        stuck.answer(Some(libc::EPERM));
        assert_eq!(stuck.client.finish(), "ran\n");
    });
}

/// By its first process, for which no descriptor is needed.
#[test]
fn a_shepherd_out_of_descriptors_kills_all_inside() {
    arena(|| {
        if !possible() {
            return;
        }
        let below = "setsid ignore TERM lock below sleep forever";
        let mut command = puppet(&format!("daemon [ {below} ] lock leader sleep forever"));
        let mut child = command.contain(Containment::PidNamespace).spawn().expect("spawn");
        lock("leader").wait_held();
        lock("below").wait_held();
        sys::limit_descriptors_of(shepherd_of(child.id()), FEWEST).expect("take them away");
        child.kill().expect("kill");
        child.wait().expect("nothing is left");
        lock("below").assert_free();
    });
}
