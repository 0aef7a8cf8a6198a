//! A call that fails at its first, second, third … time, in each process that takes part in a spawn:
//! every way that something can run out ends in success or in an error, leaks nothing, and is over
//! with the want (P6, P8, P9).
//!
//! The kernel's place is taken by this test: it refuses the call from the n-th time on until the
//! client has told of its attempt. n grows until the call is not made that often.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use netrunner_tests::seccomp::{self, Handed, Only, Rule, SYS_EPOLL_WAIT};
use netrunner_tests::wait::{PATIENCE, reached_within};

use crate::harness::*;

/// A call, and with what it may fail.
struct Fault {
    name: &'static str,
    rule: Rule,
    errnos: &'static [i32],
    /// Whether the command succeeds all the same.
    harmless: bool,
}

const fn every(name: &'static str, call: libc::c_long, errnos: &'static [i32]) -> Fault {
    Fault { name, rule: Rule { call, only: None }, errnos, harmless: false }
}

const fn harmless(mut fault: Fault) -> Fault {
    fault.harmless = true;
    fault
}

const fn with(mut fault: Fault, argument: usize, mask: u32, value: u32) -> Fault {
    fault.rule.only = Some(Only { argument, mask, value });
    fault
}

const DESCRIPTORS: &[i32] = &[libc::EMFILE, libc::ENFILE];
const PROCESSES: &[i32] = &[libc::EAGAIN, libc::ENOMEM];
const SANDBOX: &[i32] = &[libc::ENOSYS];
const MEMORY: &[i32] = &[libc::ENOMEM];
const SENDING: &[i32] = &[libc::ENOBUFS, libc::ETOOMANYREFS];

/// How often a call fails in a row with this.
const fn most(errno: i32) -> usize {
    match errno {
        // It passes by itself, and what has to be said waits for it.
        libc::ENOBUFS => 3,
        // Others give files back.
        libc::ENFILE => 5,
        // It concerns descriptors alone, and what has to be said goes without.
        libc::ETOOMANYREFS => 1,
        _ => usize::MAX,
    }
}

/// What the server is to do at the moment.
#[derive(Default)]
struct Plan {
    /// The process and the rule that count.
    meant: Option<(&'static str, Rule)>,
    errno: i32,
    /// Calls to let through before the first that is refused.
    before: usize,
    refused: usize,
}

impl Plan {
    fn judge(&mut self, handed: &Handed) -> Option<i32> {
        let (process, rule) = self.meant?;
        let same = rule.call == handed.call
            && rule.only.is_none_or(|only| {
                handed.arguments[only.argument] as u32 & only.mask == only.value
            });
        if !same || kind(handed.pid) != process {
            return None;
        }
        if self.before > 0 {
            self.before -= 1;
            return None;
        }
        if self.refused == most(self.errno) {
            return None;
        }
        self.refused += 1;
        Some(self.errno)
    }
}

/// Which of the processes this is.
fn kind(pid: u32) -> &'static str {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim() {
        "client" => "client",
        "netrunner-watch" => "watcher",
        "nr-guardian" => "guardian",
        "nr-shepherd" => "shepherd",
        // Executed as `/proc/self/fd/9`.
        number if number.parse::<u32>().is_ok() => "starter",
        _ => "another",
    }
}

/// Refuses each of `faults` in `process`, at each time, to clients that run commands in `ways`.
fn sweep(process: &'static str, faults: &'static [Fault], ways: &'static [&'static str]) {
    sweep_with("print x", process, faults, ways);
}

/// The same with commands that do this.
fn sweep_with(
    script: &'static str,
    process: &'static str,
    faults: &'static [Fault],
    ways: &'static [&'static str],
) {
    if !can_filter() {
        return;
    }
    let plan = Arc::new(Mutex::new(Plan::default()));
    let (hand, taken) = mpsc::channel::<OwnedFd>();
    let served = Arc::clone(&plan);
    std::thread::spawn(move || {
        let listener = taken.recv().expect("the sandbox");
        while let Ok(handed) = seccomp::receive(&listener) {
            let Some(handed) = handed else { continue };
            let refusal = served.lock().expect("the plan").judge(&handed);
            seccomp::answer(&listener, &handed, refusal);
        }
    });
    let worker = std::thread::spawn(move || {
        let rules: Vec<Rule> = faults.iter().map(|fault| fault.rule).collect();
        hand.send(seccomp::install(&rules).expect("install a filter")).expect("hand it over");
        for fault in faults {
            for errno in fault.errnos {
                for way in ways {
                    let mut nth = 0;
                    loop {
                        let what = format!("{} {nth} of the {process}, {errno}, {way}", fault.name);
                        let meant = Some((process, fault.rule));
                        let next = Plan { meant, errno: *errno, before: nth, refused: 0 };
                        *plan.lock().expect("the plan") = next;
                        let told = attempt(way, script, &what, &plan);
                        let refused = plan.lock().expect("the plan").refused;
                        println!("{what}: refused {refused} times: {told}");
                        assert!(!fault.harmless || told == "ok", "{what}: {told}");
                        if refused == 0 {
                            break;
                        }
                        nth += 1;
                    }
                }
            }
        }
    });
    worker.join().expect("the sandbox");
}

/// One client's attempt, and its next command when nothing is refused any more.
fn attempt(way: &str, script: &str, what: &str, plan: &Mutex<Plan>) -> String {
    for name in ["told", "calm", "below"] {
        let _ = fs::remove_file(name);
    }
    let mut client = client(&format!(
        "limit nofile 128 attempt {way} [ {script} ] touch told await calm output [ print again ] \
         check-zombies"
    ));
    let told = reached_within(PATIENCE, || Path::new("told").exists() || client.has_ended());
    assert!(told, "hangs: {what}");
    plan.lock().expect("the plan").meant = None;
    fs::write("calm", "").expect("calm down");
    let out = client.finish();
    assert!(out.contains("again\n"), "{what}: {out}");
    let line = out.lines().find(|line| *line == "ok" || line.starts_with("error "));
    line.unwrap_or_else(|| panic!("{what}: {out}")).to_owned()
}

const WAYS: &[&str] = &["output", "pipes"];

#[test]
fn calls_of_the_client_may_fail_one_by_one() {
    arena(|| {
        const FAULTS: &[Fault] = &[
            every("pipe2", libc::SYS_pipe2, DESCRIPTORS),
            every("socketpair", libc::SYS_socketpair, DESCRIPTORS),
            every("memfd_create", libc::SYS_memfd_create, DESCRIPTORS),
            every("pidfd_open", libc::SYS_pidfd_open, DESCRIPTORS),
            every("epoll_create1", libc::SYS_epoll_create1, DESCRIPTORS),
            every("eventfd2", libc::SYS_eventfd2, DESCRIPTORS),
            every("timerfd_create", libc::SYS_timerfd_create, DESCRIPTORS),
            every("clone3", libc::SYS_clone3, PROCESSES),
            every("sendmsg", libc::SYS_sendmsg, SENDING),
            every("sendto", libc::SYS_sendto, &[libc::ENOBUFS]),
            every("setsockopt", libc::SYS_setsockopt, MEMORY),
        ];
        sweep("client", FAULTS, WAYS);
    });
}

#[test]
fn calls_of_the_watcher_may_fail_one_by_one() {
    arena(|| {
        const FAULTS: &[Fault] = &[
            every("epoll_ctl", libc::SYS_epoll_ctl, &[libc::ENOSPC]),
            every("epoll_wait", SYS_EPOLL_WAIT, MEMORY),
        ];
        sweep("watcher", FAULTS, WAYS);
    });
}

#[test]
fn calls_of_the_starter_may_fail_one_by_one() {
    arena(|| {
        const FAULTS: &[Fault] = &[
            every("fcntl", libc::SYS_fcntl, DESCRIPTORS),
            every("openat", libc::SYS_openat, DESCRIPTORS),
            every("clone", libc::SYS_clone, PROCESSES),
            every("recvmsg", libc::SYS_recvmsg, MEMORY),
            every("ppoll", libc::SYS_ppoll, MEMORY),
            // A sandbox: with signals that are not blocked nothing would ever be heard of children.
            every("rt_sigprocmask", libc::SYS_rt_sigprocmask, &[libc::EPERM]),
        ];
        sweep("starter", FAULTS, &["output"]);
    });
}

#[test]
fn calls_of_the_guardian_may_fail_one_by_one() {
    arena(|| {
        const FAULTS: &[Fault] = &[
            every("signalfd4", libc::SYS_signalfd4, DESCRIPTORS),
            every("mmap", libc::SYS_mmap, MEMORY),
            every("clone", libc::SYS_clone, PROCESSES),
            every("recvmsg", libc::SYS_recvmsg, MEMORY),
            harmless(every("ppoll", libc::SYS_ppoll, MEMORY)),
        ];
        sweep("guardian", FAULTS, &["output"]);
    });
}

#[test]
fn calls_of_the_shepherd_may_fail_one_by_one() {
    arena(|| {
        const FAULTS: &[Fault] = &[
            every("pidfd_open", libc::SYS_pidfd_open, DESCRIPTORS),
            every("clone", libc::SYS_clone, PROCESSES),
            every("mmap", libc::SYS_mmap, MEMORY),
            every("sendmsg", libc::SYS_sendmsg, SENDING),
            every("recvmsg", libc::SYS_recvmsg, MEMORY),
            every("openat", libc::SYS_openat, DESCRIPTORS),
            with(every("prctl", libc::SYS_prctl, MEMORY), 0, u32::MAX, 1),
            harmless(every("ppoll", libc::SYS_ppoll, MEMORY)),
            harmless(with(every("futex", libc::SYS_futex, SANDBOX), 1, u32::MAX, 0)),
        ];
        sweep("shepherd", FAULTS, WAYS);
    });
}

#[test]
fn calls_of_a_shepherd_that_sweeps_may_fail_one_by_one() {
    arena(|| {
        const FAULTS: &[Fault] = &[
            every("openat", libc::SYS_openat, &[libc::ENFILE]),
            every("pidfd_open", libc::SYS_pidfd_open, &[libc::ENFILE]),
        ];
        let script = "daemon [ setsid ignore TERM lock below sleep forever ] await below";
        sweep_with(script, "shepherd", FAULTS, &["output"]);
    });
}
