//! The fork-to-exec window: the child's steps, in a copy of the shepherd.
//!
//! The copy allocates nothing and calls what POSIX lets a forked process call. It leaves word of a failure in a
//! page that both share, and that it has executed its program is told by the end of a pipe that closes then.
//!
//! There is no parent-death signal. So before anything else the child writes the number of the group that it is
//! about to make into the page that the guardian reads, and then looks whether the shepherd is still there:
//! whenever the shepherd dies, either the guardian finds the number, or the child finds itself orphaned.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};
use core::ptr::null;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use netrunner_core::message::{Pid, Step};
use netrunner_core::spawn::Spawn;

use super::abi::*;
use super::calls::{self, Errno, Fd, check};
use super::{libc, signals, tty};
use crate::audience::Audience;
use crate::standing::Slot;

#[path = "../window/load.rs"]
mod load;

/// All that the child needs, prepared. There is one for the life of a shepherd, so its buffers are
/// reused.
pub(crate) struct Launchpad {
    /// The shepherd, which the child must still have when it has told of its group.
    shepherd: Pid,
    /// `SIGCHLD` was ignored by whoever started the guardian.
    ignore_child_signal: bool,
    /// Where the guardian reads which group is to be killed if the shepherd dies.
    slot: Option<Slot>,
    /// The strings of the command of the moment, to which pointers below point.
    strings: Vec<u8>,
    /// Those of its environment, which the next command may have as well.
    variables: Vec<u8>,
    /// The paths to try, in order.
    candidates: Vec<*const c_char>,
    /// Ended by a null pointer.
    arguments: Vec<*const c_char>,
    /// Ended by a null pointer.
    environment: Vec<*const c_char>,
    /// The directory to change to; null to stay.
    directory: *const c_char,
    /// The descriptor of the directory to start from, if that is not the shepherd's own.
    origin: Option<i32>,
    /// Descriptor `.0` becomes number `.1`; no `.0` is among the `.1`.
    moves: Vec<(i32, i32)>,
    /// These numbers are closed.
    closed: Vec<i32>,
    /// The terminal to take for the child's group, if this other group has it.
    terminal: Option<(i32, Pid)>,
    /// The directory of the cgroup to join: there are none.
    cgroup: Option<i32>,
    /// The terminal of the session that the child makes, in place of a group in ours.
    session: Option<i32>,
    /// In this order.
    setup: Vec<Ready>,
    /// The group lists that `setup` refers to.
    groups: Vec<u32>,
    /// What went wrong, for the shepherd.
    failure: Failure,
    /// Always zero: a forked child has a copy of all this.
    in_window: AtomicU32,
    audience: Audience,
}

/// A [`Setup`](netrunner_core::spawn::Setup) that borrows nothing.
#[derive(Clone, Copy)]
enum Ready {
    Umask(u32),
    Nice(i32),
    Limit { resource: u32, limit: Rlimit },
    Groups { first: usize, count: usize },
    Gid(u32),
    Uid(u32),
    NoNewPrivileges,
}

/// Word of a step that has failed, in memory that the copies share; none before the first child. The path that
/// it is about in the upper half, then step + 1 and errno; zero while nothing has failed.
struct Failure(Option<&'static AtomicU64>);

impl Failure {
    fn clear(&self) {
        if let Some(word) = self.0 {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// The failed step, its errno, and the path it was about.
    fn get(&self) -> Option<(Step, Errno, usize)> {
        let word = self.0?.load(Ordering::Acquire);
        let step = Step::numbered(((word >> 16) as u8).checked_sub(1)?)?;
        Some((step, Errno(word as u16), (word >> 32) as usize))
    }

    fn set(&self, step: Step, errno: Errno, candidate: usize) {
        let number = u64::from(step.number()) + 1;
        let said = (candidate as u64) << 32 | number << 16 | u64::from(errno.0);
        if let Some(word) = self.0 {
            word.store(said, Ordering::Release);
        }
    }
}

/// The descriptors of a command, in the shepherd's numbers.
#[derive(Debug, Default)]
pub(crate) struct Placing {
    /// The directory to start from.
    pub(crate) origin: Option<i32>,
    /// Descriptor `.0` becomes number `.1`; no `.0` is among the `.1`.
    pub(crate) moves: Vec<(i32, i32)>,
    /// These numbers are closed.
    pub(crate) closed: Vec<i32>,
    /// The terminal to take for the child's group, if this other group has it.
    pub(crate) terminal: Option<(i32, Pid)>,
    /// The directory of the cgroup to join.
    pub(crate) cgroup: Option<i32>,
    /// The terminal of the session that the child makes, in place of a group in ours.
    pub(crate) session: Option<i32>,
}

/// Whether the shepherd waits until the program is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It waits, and knows then whether the exec succeeded.
    Wait,
    /// It goes on at once, and learns of a failure when the child ends.
    GoOn,
}

impl Launchpad {
    pub(crate) fn new(
        shepherd: Pid,
        ignore_child_signal: bool,
        audience: Audience,
    ) -> &'static mut Launchpad {
        Box::leak(Box::new(Launchpad {
            shepherd,
            ignore_child_signal,
            slot: None,
            strings: Vec::new(),
            variables: Vec::new(),
            candidates: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: null(),
            origin: None,
            moves: Vec::new(),
            closed: Vec::new(),
            terminal: None,
            cgroup: None,
            session: None,
            setup: Vec::new(),
            groups: Vec::new(),
            failure: Failure(None),
            in_window: AtomicU32::new(0),
            audience,
        }))
    }

    /// Says where the guardian reads which group is to be killed.
    pub(crate) fn tell_at(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// Gets ready for a child. `candidates` are the paths to try, each with its NUL, one after the other.
    pub(crate) fn prepare(
        &mut self,
        spawn: &Spawn<'_>,
        candidates: &[u8],
        placing: Placing,
    ) -> Result<(), Errno> {
        if self.failure.0.is_none() {
            self.failure.0 = Some(&calls::shared_words(1)?[0]);
        }
        self.load(spawn, candidates, placing);
        match self.cgroup {
            Some(_) => Err(Errno(ENOSYS)),
            None => Ok(()),
        }
    }

    /// What was failed is to be done in another way.
    pub(crate) fn forget_failure(&self) {
        self.failure.clear();
    }

    /// What the last child left word of: the step, its errno, and the path or directory.
    pub(crate) fn failure(&self) -> Option<(Step, Errno, &[u8])> {
        let (step, errno, candidate) = self.failure.get()?;
        let object = match step {
            Step::Exec => self.candidates.get(candidate).copied().unwrap_or(null()),
            Step::Directory => self.directory,
            Step::Shepherd
            | Step::Request
            | Step::Clone
            | Step::ParentDeath
            | Step::ProcessGroup
            | Step::Terminal
            | Step::Descriptors
            | Step::Limit
            | Step::Nice
            | Step::Groups
            | Step::Gid
            | Step::Uid
            | Step::NoNewPrivileges
            | Step::Namespace
            | Step::Cgroup => null(),
        };
        if object.is_null() {
            return Some((step, errno, &[]));
        }
        // SAFETY: the pointers point to strings with their NUL, in `strings`, which `&self` keeps.
        Some((step, errno, unsafe { CStr::from_ptr(object) }.to_bytes()))
    }

    /// Makes the process; the launchpad is loaded.
    pub(crate) fn start(&mut self, pace: Pace) -> Result<Pid, Errno> {
        let executed = match pace {
            Pace::Wait => Some(self.pipe_outside_the_targets()?),
            Pace::GoOn => None,
        };
        let Some(child) = calls::fork_without_signals()? else { self.enter() };
        if let Some((read, write)) = executed {
            drop(write);
            // It ends when the child has executed its program, or has ended itself.
            let _ = self.audience.await_end(&read);
        }
        Ok(child)
    }

    /// A pipe whose writing end is at a number where the child puts nothing else.
    fn pipe_outside_the_targets(&self) -> Result<(Fd, Fd), Errno> {
        let (read, mut write) = calls::pipe()?;
        let mut occupied = Vec::new();
        while self.is_target(write.number()) {
            let next = write.duplicate(write.number() + 1)?;
            occupied.push(core::mem::replace(&mut write, next));
        }
        Ok((read, write))
    }

    fn is_target(&self, number: i32) -> bool {
        self.closed.contains(&number) || self.moves.iter().any(|&(_, to)| to == number)
    }

    /// The child begins here.
    fn enter(&self) -> ! {
        let (step, errno, candidate) = self.walk();
        self.failure.set(step, errno, candidate);
        calls::exit(127)
    }

    /// Takes every step; comes back only when one has failed.
    fn walk(&self) -> (Step, Errno, usize) {
        match self.set_up() {
            Err((step, errno)) => (step, errno, 0),
            Ok(()) => {
                let (errno, candidate) = self.execute();
                (Step::Exec, errno, candidate)
            }
        }
    }

    fn set_up(&self) -> Result<(), (Step, Errno)> {
        let at = |step| move |errno| (step, errno);
        match self.session {
            None => tty::join_group(None).map_err(at(Step::ProcessGroup))?,
            Some(terminal) => {
                // It makes the group as well.
                calls::set_session().map_err(at(Step::Terminal))?;
                // SAFETY: numbers only.
                check(unsafe { libc::ioctl(terminal, TIOCSCTTY, 0 as c_int) })
                    .map_err(at(Step::Terminal))?;
            }
        }
        // In this order: see the head of this file.
        if let Some(slot) = self.slot {
            slot.tell_group(calls::own_pid(), self.session.is_some());
        }
        if tty::origin() != self.shepherd {
            return Err((Step::ParentDeath, Errno(ESRCH)));
        }
        self.take_terminal();
        if let Some(origin) = self.origin {
            // SAFETY: numbers only.
            check(unsafe { libc::fchdir(origin) }).map_err(at(Step::Directory))?;
        }
        self.place_descriptors().map_err(at(Step::Descriptors))?;
        for setup in &self.setup {
            self.apply(setup)?;
        }
        // After the change of user, as std does it: the directory is entered with its rights.
        if !self.directory.is_null() {
            // SAFETY: the path ends with a NUL.
            check(unsafe { libc::chdir(self.directory) }).map_err(at(Step::Directory))?;
        }
        self.set_signals();
        Ok(())
    }

    /// Takes the terminal for the child's group: here and not in the shepherd, so that the program
    /// has it from its first instruction. SIGTTOU is blocked, so it works from the background. It
    /// fails where the terminal is hung up, or not ours: the program will meet the same.
    fn take_terminal(&self) {
        let Some((terminal, from)) = self.terminal else { return };
        // SAFETY: numbers only, in both calls.
        unsafe {
            if libc::tcgetpgrp(terminal) == from.0 as c_int {
                libc::tcsetpgrp(terminal, libc::getpid());
            }
        }
    }

    fn place_descriptors(&self) -> Result<(), Errno> {
        for &(from, to) in &self.moves {
            // SAFETY: numbers only; the child has a descriptor table of its own.
            check(unsafe { libc::dup2(from, to) })?;
        }
        for &number in &self.closed {
            // What is not open is closed already.
            calls::close_number(number);
        }
        Ok(())
    }

    fn apply(&self, setup: &Ready) -> Result<(), (Step, Errno)> {
        // SAFETY: numbers, or pointers into the launchpad, each readable while the call reads.
        let (result, step) = unsafe {
            match setup {
                Ready::Umask(mask) => {
                    // It can't fail.
                    libc::umask(*mask);
                    (0, Step::Limit)
                }
                Ready::Nice(by) => (renice(*by), Step::Nice),
                Ready::Limit { resource, limit } => {
                    (libc::setrlimit(*resource as c_int, limit), Step::Limit)
                }
                Ready::Groups { first, count } => {
                    let list = self.groups.as_ptr().wrapping_add(*first);
                    (libc::setgroups(*count as libc::GroupCount, list), Step::Groups)
                }
                Ready::Gid(gid) => (libc::setgid(*gid), Step::Gid),
                Ready::Uid(uid) => (libc::setuid(*uid), Step::Uid),
                Ready::NoNewPrivileges => return Err((Step::NoNewPrivileges, Errno(ENOSYS))),
            }
        };
        check(result).map(drop).map_err(|errno| (step, errno))
    }

    /// The mask is emptied: a blocked SIGTERM would turn every stop into a kill. Handlers go, and what was
    /// ignored when the guardian started stays ignored, SIGCHLD too (the guardian itself had to reset it, to
    /// see its shepherds die).
    fn set_signals(&self) {
        signals::reset_handled();
        if self.ignore_child_signal {
            signals::ignore(SIGCHLD);
        }
        signals::unblock_signals();
    }

    /// Tries each candidate as execvp(3) does: goes on where there is nothing to execute, remembers
    /// that something was there but not permitted.
    fn execute(&self) -> (Errno, usize) {
        let mut result = (Errno(ENOENT), 0);
        let mut denied = false;
        for (index, &path) in self.candidates.iter().enumerate() {
            let (argv, envp) = (self.arguments.as_ptr(), self.environment.as_ptr());
            // SAFETY: the path ends with a NUL, both lists with a null pointer, and all of them are
            // readable until the exec.
            let Err(errno) = check(unsafe { libc::execve(path, argv, envp) }) else { continue };
            match errno.0 {
                EACCES => {
                    if !denied {
                        result = (errno, index);
                    }
                    denied = true;
                }
                ENOENT | ENOTDIR | ESTALE | ENODEV | ETIMEDOUT => {
                    if !denied {
                        // The last word for a single path, and one word for a whole search.
                        let errno = if self.candidates.len() == 1 { errno } else { Errno(ENOENT) };
                        result = (errno, index);
                    }
                }
                _ => return (errno, index),
            }
        }
        result
    }
}

/// `nice(2)` with an answer that is no error: -1 is a niceness as well.
fn renice(by: i32) -> c_int {
    // SAFETY: numbers only; it can't fail for the caller itself.
    unsafe {
        let nice = libc::getpriority(PRIO_PROCESS as c_int, 0).saturating_add(by).clamp(-20, 19);
        libc::setpriority(PRIO_PROCESS as c_int, 0, nice)
    }
}
