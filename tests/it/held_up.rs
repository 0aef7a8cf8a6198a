//! A child that does not come to its program: it is stopped, or a call of its own takes for ever. Whoever waits
//! for it must not wait for longer than anybody wants to know.

use std::sync::mpsc;
use std::thread;

use netrunner_tests::lacks::LACKS;
use netrunner_tests::procs::Proc;
use netrunner_tests::seccomp::{self, Rule};
use netrunner_tests::wait::wait_until;

use crate::harness::*;

/// A client whose command is about to be there.
struct Held {
    client: Client,
    /// The child, or the helper that makes it.
    child: u32,
    shepherd: u32,
    guardian: u32,
}

impl Held {
    #[track_caller]
    fn at(call: libc::c_long, script: &str) -> Held {
        let (hand, taken) = mpsc::channel();
        let script = script.to_owned();
        // A filter belongs to a thread and to what that starts.
        let starter = thread::spawn(move || {
            let rule = Rule { call, only: None };
            hand.send(seccomp::install(&[rule]).expect("install a filter")).expect("hand it over");
            client(&script)
        });
        let listener = taken.recv().expect("the filter");
        let parent = |proc: &Proc| Proc::get(proc.ppid).filter(|it| it.comm == "nr-shepherd");
        let (child, shepherd) = loop {
            let Some(call) = seccomp::receive(&listener).expect("a call") else { continue };
            let child = Proc::get(call.pid).expect("it is held");
            // Not the client's own, nor the starter's.
            match parent(&child) {
                Some(shepherd) => break (child, shepherd),
                None => seccomp::answer(&listener, &call, None),
            }
        };
        // Whoever else executes something waits for ever: the listener is never closed.
        std::mem::forget(listener);
        let client = starter.join().expect("a client");
        Held { client, child: child.pid, shepherd: shepherd.pid, guardian: shepherd.ppid }
    }

    /// What the client and its guardian can do no more about it.
    fn kill_client_and_guardian(mut self) {
        signal(self.guardian, libc::SIGKILL);
        signal(self.client.pid(), libc::SIGKILL);
        self.client.end();
        wait_nothing_left(GRACE_AND_2S);
    }
}

/// False, loudly, where no call can be held up.
pub(crate) fn possible() -> bool {
    let lacks = std::env::var(LACKS).is_ok_and(|lacks| !lacks.is_empty());
    if lacks {
        skip("the kernel allows no sandbox in the one of this arena");
    }
    !lacks
}

/// Settings of a command, and where its child is held.
const WAYS: &[(&str, libc::c_long)] = &[
    ("", libc::SYS_execve),
    ("cgroup group", libc::SYS_execve),
    ("terminal", libc::SYS_execve),
    ("namespace", libc::SYS_execve),
    ("namespace", libc::SYS_unshare),
];

#[test]
fn a_child_without_a_program_keeps_no_shepherd_whose_client_and_guardian_are_dead() {
    arena(|| {
        if !possible() {
            return;
        }
        for (settings, call) in WAYS {
            for stopped in [false, true] {
                println!("`{settings}`, at {call}, stopped: {stopped}");
                let script = format!("{settings} quiet spawn [ touch ran ] sleep forever");
                let held = Held::at(*call, &script);
                if stopped {
                    signal(held.child, libc::SIGSTOP);
                }
                wait_until("the shepherd waits", GRACE_AND_2S, || {
                    Proc::get(held.shepherd).is_some_and(|it| matches!(it.state, 'S' | 'D'))
                });
                held.kill_client_and_guardian();
            }
        }
    });
}
