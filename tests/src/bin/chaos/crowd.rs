//! Everything that a round has started, as the process table shows it, each with its role; and how one
//! of them is struck without ever hitting another.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use netrunner_tests::procs::{self, Proc};
use netrunner_tests::sys;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::plan::Role;
use crate::trees;

/// All descendants of this process at one instant, by number.
pub(crate) struct Crowd {
    procs: Vec<(Proc, Option<Role>)>,
}

impl Crowd {
    pub(crate) fn now() -> Crowd {
        let mut procs = procs::descendants(std::process::id());
        procs.sort_by_key(|proc| proc.pid);
        let names: HashMap<u32, String> =
            procs.iter().map(|proc| (proc.pid, proc.comm.clone())).collect();
        let above = |proc: &Proc| names.get(&proc.ppid).map_or("", String::as_str);
        let role = |proc: &Proc| role(&proc.comm, above(proc));
        Crowd { procs: procs.into_iter().map(|proc| (proc.clone(), role(&proc))).collect() }
    }

    /// Those that live and have this role.
    pub(crate) fn of(&self, role: Role) -> Vec<&Proc> {
        let all = self.procs.iter().filter(|(proc, its)| *its == Some(role) && !proc.is_zombie());
        all.map(|(proc, _)| proc).collect()
    }

    /// All of them, zombies and those in between two roles as well.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Proc> {
        self.procs.iter().map(|(proc, _)| proc)
    }

    /// Those that are in nobody's charge any more, and may be there all the same.
    pub(crate) fn strays(&self) -> Vec<&Proc> {
        let in_charge = |proc: &Proc| {
            self.above(proc).any(|above| above.comm.starts_with("nr-") || above.comm == "client")
        };
        self.of(Role::Child).into_iter().filter(|proc| !in_charge(proc)).collect()
    }

    /// Those that somebody wanted to be kept, and who looks after them.
    pub(crate) fn kept(&self) -> BTreeSet<u32> {
        let mut kept = BTreeSet::new();
        for proc in self.of(Role::Child).into_iter().filter(|proc| is_kept(proc.pid)) {
            kept.insert(proc.pid);
            kept.extend(self.above(proc).map(|above| above.pid));
        }
        kept
    }

    fn above<'a>(&'a self, proc: &'a Proc) -> impl Iterator<Item = &'a Proc> {
        let find = |pid: u32| self.all().find(|proc| proc.pid == pid);
        std::iter::successors(find(proc.ppid), move |proc| find(proc.ppid))
    }
}

/// Whether its tree was to be kept: by `detach`, or as the leftovers of a command that has ended.
fn is_kept(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    trees::waits_to_be_told(&line).is_some_and(|label| Path::new("kept").join(label).exists())
}

/// None for what is in between: a shepherd that still has its guardian's name.
fn role(name: &str, above: &str) -> Option<Role> {
    match name {
        "client" => Some(Role::Client),
        "puppet" => Some(Role::Child),
        "nr-guardian" => (above != "nr-guardian").then_some(Role::Guardian),
        // A child that has just been cloned has its shepherd's name until it executes its program.
        "nr-shepherd" if above == "nr-shepherd" => Some(Role::Child),
        "nr-shepherd" => Some(Role::Shepherd),
        // Executed as `/proc/self/fd/9`.
        _ if name.parse::<u32>().is_ok() => Some(Role::Starter),
        _ => None,
    }
}

/// A signal to exactly this process; false if it is not what it was any more.
pub(crate) fn strike(victim: &Proc, signal: i32) -> bool {
    let raw = Pid::from_raw(victim.pid as i32).expect("a process number");
    let pidfd = pidfd_open(raw, PidfdFlags::empty());
    // What the pidfd holds is now what it was, or the number had been given away before.
    let same =
        Proc::get(victim.pid).is_some_and(|now| now.ppid == victim.ppid && now.comm == victim.comm);
    if !same {
        return false;
    }
    match pidfd {
        Ok(pidfd) => {
            let signal = Signal::from_named_raw(signal).expect("a signal with a name");
            pidfd_send_signal(&pidfd, signal).is_ok()
        }
        // A kernel without pidfds.
        Err(_) => sys::kill(victim.pid as i32, signal).is_ok(),
    }
}

/// A signal to each of those that are still what they were.
pub(crate) fn strike_all<'a>(victims: impl IntoIterator<Item = &'a Proc>, signal: i32) {
    victims.into_iter().for_each(|victim| {
        strike(victim, signal);
    });
}
