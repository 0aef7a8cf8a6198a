//! A simulated kernel: the processes below one shepherd, which is their subreaper.
//!
//! It holds the machines to P5: a signal to a group whose number may be another's by now, or to a
//! tree of which nothing is left, fails the test on the spot.

use std::collections::BTreeMap;
use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::Pid;

pub(crate) const SIGKILL: u8 = 9;
pub(crate) const SIGCONT: u8 = 18;
pub(crate) const SIGSTOP: u8 = 19;

/// How a process takes signals that it could ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// It ends.
    Obeys,
    /// It ends this much later.
    Slow(Duration),
    /// It goes on.
    Ignores,
    /// It goes on, and when it is killed, a child that it has just made is missed by that pass; so
    /// many times.
    Breeds(u8),
    /// It can't be killed until it is woken up.
    Unkillable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Stopped,
    Zombie(i32),
}

#[derive(Clone, Debug)]
struct Process {
    /// None is the shepherd.
    parent: Option<Pid>,
    group: Pid,
    temper: Temper,
    life: Life,
    ends_at: Option<Time>,
    /// Signals that wait until it goes on.
    pending: Vec<u8>,
}

/// What `waitid` finds among the shepherd's own children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    None,
    Alive,
    Ended(Pid),
}

#[derive(Debug, Default)]
pub(crate) struct Kernel {
    processes: BTreeMap<Pid, Process>,
    born: u32,
    /// Whether `SIGCHLD` waits to be read by the shepherd.
    pub(crate) child_signal: bool,
}

impl Kernel {
    /// A child of the shepherd, in a group of its own.
    pub(crate) fn spawn(&mut self, temper: Temper) -> Pid {
        self.add(None, None, temper)
    }

    /// A child of `parent`, in its group or in one of its own.
    pub(crate) fn fork(&mut self, parent: Pid, own_group: bool, temper: Temper) -> Pid {
        let group = if own_group { None } else { Some(self.processes[&parent].group) };
        self.add(Some(parent), group, temper)
    }

    fn add(&mut self, parent: Option<Pid>, group: Option<Pid>, temper: Temper) -> Pid {
        self.born += 1;
        let pid = Pid(100 + self.born);
        let group = group.unwrap_or(pid);
        let life = Life::Running;
        let process = Process { parent, group, temper, life, ends_at: None, pending: Vec::new() };
        self.processes.insert(pid, process);
        pid
    }

    /// All that are not zombies.
    pub(crate) fn living(&self) -> Vec<Pid> {
        let lives = |life| matches!(life, Life::Running | Life::Stopped);
        self.processes.iter().filter(|(_, it)| lives(it.life)).map(|(&pid, _)| pid).collect()
    }

    /// Those that `SIGKILL` ends.
    pub(crate) fn killable(&self) -> Vec<Pid> {
        let mut living = self.living();
        living.retain(|pid| self.processes[pid].temper != Temper::Unkillable);
        living
    }

    /// Those that can do something.
    pub(crate) fn running(&self) -> Vec<Pid> {
        let mut able = self.killable();
        able.retain(|pid| self.processes[pid].life == Life::Running);
        able
    }

    /// Whether a living process is stopped.
    pub(crate) fn is_stopped(&self, pid: Pid) -> Option<bool> {
        match self.processes.get(&pid)?.life {
            Life::Running => Some(false),
            Life::Stopped => Some(true),
            Life::Zombie(_) => None,
        }
    }

    /// Whether nothing is there, not even a zombie.
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// When the next process ends by itself.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.processes.values().filter_map(|process| process.ends_at).min()
    }

    /// Lets the processes whose time has come end.
    pub(crate) fn pass_time(&mut self, now: Time) {
        let due = |process: &Process| process.ends_at.is_some_and(|at| at <= now);
        let ended: Vec<Pid> =
            self.processes.iter().filter(|(_, it)| due(it)).map(|(&pid, _)| pid).collect();
        ended.into_iter().for_each(|pid| self.end(pid, 0));
    }

    /// The process ends; its children fall to the shepherd. Parents below the shepherd reap.
    pub(crate) fn end(&mut self, pid: Pid, status: i32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let parent = process.parent;
        process.life = Life::Zombie(status);
        process.ends_at = None;
        if parent.is_none() {
            self.child_signal = true;
        } else {
            self.processes.remove(&pid);
        }
        for orphan in self.processes.values_mut().filter(|it| it.parent == Some(pid)) {
            orphan.parent = None;
        }
    }

    /// An unkillable process gets its signals after all.
    pub(crate) fn wake(&mut self, pid: Pid, now: Time) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.temper == Temper::Unkillable {
            process.temper = Temper::Ignores;
            for signal in std::mem::take(&mut process.pending) {
                self.signal(pid, signal, now);
            }
        }
    }

    /// `kill(2)` to a single process.
    pub(crate) fn signal(&mut self, pid: Pid, signal: u8, now: Time) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        match (signal, process.temper, process.life) {
            (_, _, Life::Zombie(_)) => {}
            (_, Temper::Unkillable, _) => process.pending.push(signal),
            (SIGKILL, temper, _) => {
                if let Temper::Breeds(more @ 1..) = temper {
                    self.fork(pid, true, Temper::Breeds(more - 1));
                }
                self.end(pid, i32::from(SIGKILL));
            }
            (SIGSTOP, _, _) => process.life = Life::Stopped,
            (SIGCONT, _, Life::Stopped) => {
                process.life = Life::Running;
                for signal in std::mem::take(&mut process.pending) {
                    self.signal(pid, signal, now);
                }
            }
            (SIGCONT, _, Life::Running) | (_, Temper::Ignores | Temper::Breeds(_), _) => {}
            (_, _, Life::Stopped) => process.pending.push(signal),
            (_, Temper::Obeys, Life::Running) => self.end(pid, i32::from(signal)),
            (_, Temper::Slow(after), Life::Running) => {
                process.ends_at.get_or_insert(now.after(after));
            }
        }
    }

    /// `kill(2)` to a group.
    pub(crate) fn signal_group(&mut self, leader: Pid, signal: u8, now: Time) {
        assert!(self.processes.contains_key(&leader), "P5: {leader:?} was reaped, and signalled");
        let members: Vec<Pid> = self
            .processes
            .iter()
            .filter(|(_, it)| it.group == leader)
            .map(|(&pid, _)| pid)
            .collect();
        members.into_iter().for_each(|pid| self.signal(pid, signal, now));
    }

    /// One pass over everything below the shepherd.
    pub(crate) fn signal_all(&mut self, signal: u8, now: Time) {
        assert!(!self.is_empty(), "P5: nothing was left, and something signalled");
        let everything: Vec<Pid> = self.processes.keys().copied().collect();
        everything.into_iter().for_each(|pid| self.signal(pid, signal, now));
    }

    /// `waitid` with `WNOWAIT` and `WNOHANG`.
    pub(crate) fn peek(&self) -> Children {
        let mut own = self.processes.iter().filter(|(_, it)| it.parent.is_none()).peekable();
        if own.peek().is_none() {
            return Children::None;
        }
        let zombie = own.find(|(_, it)| matches!(it.life, Life::Zombie(_)));
        zombie.map_or(Children::Alive, |(&pid, _)| Children::Ended(pid))
    }

    /// The shepherd's children.
    pub(crate) fn own_children(&self) -> Vec<Pid> {
        self.processes.iter().filter(|(_, it)| it.parent.is_none()).map(|(&pid, _)| pid).collect()
    }

    /// `wait4` for one of them: its status, if it has ended.
    pub(crate) fn reap(&mut self, pid: Pid) -> Option<i32> {
        let Life::Zombie(status) = self.processes.get(&pid)?.life else { return None };
        self.processes.remove(&pid);
        Some(status)
    }
}
