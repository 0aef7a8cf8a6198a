//! The ways to make the child's process. Where a kernel or a sandbox refuses one, the next is tried,
//! and taken from then on.
//!
//! On shared memory a child costs next to nothing, leaves word of a failure in place, and the kernel wakes who
//! waits for its exec. A forked one has a copy of everything, so its word goes through a page that
//! both share, and that it has executed its program is told by the end of a pipe that closes then.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use netrunner_core::message::Pid;

use super::super::abi::*;
use super::super::arch::{clone_onto, clone3_onto};
use super::super::calls::{self, Children, Errno, Fd, check};
use super::{CHILD_STACK, Launchpad, Pace, STACK, enter};

/// Whose memory the child runs in until it executes its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Shared,
    Copied,
}

const WAYS: [Memory; 2] = [Memory::Shared, Memory::Copied];

/// A failure, and two numbers.
const SHARED: usize = 3;

/// How long the shepherd sleeps until it looks whether anybody still waits for the start.
const LOOK: Duration = Duration::from_millis(100);

/// The pause between looks where it can't sleep.
const PAUSE: Duration = Duration::from_millis(1);

/// Which way to begin with, and what it needs beside the launchpad.
pub(super) struct Start {
    way: usize,
    /// Whether a child can be born in its cgroup, for all that is known.
    into_cgroup: bool,
    /// What copies share: where they leave word.
    shared: Option<&'static [AtomicU64]>,
}

impl Start {
    pub(super) fn new() -> Start {
        Start { way: 0, into_cgroup: true, shared: None }
    }
}

/// A word of this process alone.
pub(super) fn own_word() -> &'static AtomicU64 {
    Box::leak(Box::new(AtomicU64::new(0)))
}

impl Launchpad {
    /// Makes the process; the launchpad is loaded.
    pub(crate) fn start(&mut self, pace: Pace) -> Result<Pid, Errno> {
        if let Some(started) = self.clone_into_cgroup() {
            return Ok(started);
        }
        let first = self.start.way;
        loop {
            let started = match WAYS[self.start.way] {
                Memory::Shared => self.clone_on_shared_memory(pace),
                Memory::Copied => self.fork(pace),
            };
            match started {
                // Unknown to the kernel, or denied by a filter.
                Err(Errno(EINVAL | ENOSYS | EPERM)) if self.start.way + 1 < WAYS.len() => {
                    self.start.way += 1;
                }
                Err(errno) => {
                    self.start.way = first;
                    return Err(errno);
                }
                Ok(started) => return Ok(started),
            }
        }
    }

    /// Has the child be born in its cgroup, which spares it a move: now and then that waits for all CPUs.
    /// Where this can't be done nothing has run, and the child moves itself.
    ///
    /// Two things are to be known of the kernel. A group that `cgroup.kill` was once written to gives birth to
    /// killed children; so every group is one that was just made (`netrunner-cgroup`). And on Linux 6.12 to
    /// 6.18 at least, every group does so for a shepherd that lives in one that was killed before it came;
    /// such a child has not taken its first step, and none of this shepherd will.
    fn clone_into_cgroup(&mut self) -> Option<Pid> {
        if !self.start.into_cgroup || WAYS[self.start.way] != Memory::Shared {
            return None;
        }
        let group = self.cgroup.take()?;
        self.in_window.store(1, Ordering::Release);
        self.entered.store(0, Ordering::Release);
        let how = CloneArgs {
            flags: (CLONE_VM | CLONE_CHILD_CLEARTID) as u64 | CLONE_INTO_CGROUP,
            child_tid: self.in_window.as_ptr() as u64,
            exit_signal: SIGCHLD as u64,
            stack: (&raw mut CHILD_STACK) as u64,
            stack_size: STACK as u64,
            cgroup: group as u64,
            ..CloneArgs::default()
        };
        let pad: *const Launchpad = self;
        // SAFETY: as in `clone_on_shared_memory`.
        let result = check(unsafe { clone3_onto(&how, enter, pad.cast()) });
        match result.map(|pid| Pid(pid as u32)) {
            // It waits for the exec in any case: it has to see whether there was a first step.
            Ok(started) if !self.has_left() || self.entered.load(Ordering::Acquire) != 0 => {
                return Some(started);
            }
            Ok(killed) => {
                calls::reap_ending(killed);
                self.start.into_cgroup = false;
            }
            // Unknown to the kernel (before 5.7), or denied by a filter, which can't look at its arguments.
            Err(Errno(ENOSYS | EINVAL | E2BIG | EPERM)) => self.start.into_cgroup = false,
            // The move fails for the same reason, and says so; or there is a limit that it does not meet.
            Err(_) => {}
        }
        self.in_window.store(0, Ordering::Release);
        self.cgroup = Some(group);
        None
    }

    fn clone_on_shared_memory(&mut self, pace: Pace) -> Result<Pid, Errno> {
        self.in_window.store(1, Ordering::Release);
        let flags = SIGCHLD as usize | CLONE_VM | CLONE_CHILD_CLEARTID;
        // SAFETY: the pointer arithmetic stays within the array.
        let top = unsafe { (&raw mut CHILD_STACK).cast::<u8>().add(STACK) };
        let pad: *const Launchpad = self;
        // SAFETY: the stack is the child's alone, since no other child is in its window, and its end
        // is 16-byte aligned. The launchpad lives for ever (only `new` makes one) and is changed only
        // by `prepare`, where the word must be zero. The word is an atomic, as the kernel's write
        // needs.
        let result = unsafe {
            let word = self.in_window.as_ptr();
            clone_onto(flags, top, word, enter, pad.cast())
        };
        let result = check(result).map(|pid| Pid(pid as u32));
        match (result, pace) {
            (Err(_), _) => self.in_window.store(0, Ordering::Release),
            (Ok(_), Pace::Wait) => drop(self.has_left()),
            (Ok(_), Pace::GoOn) => {}
        }
        result
    }

    /// Waits until the child has left its window; false if that is of interest to nobody any more.
    ///
    /// `CLONE_VFORK` would do the same, but for a child that never gets there: nothing but `SIGKILL` brings its
    /// parent back.
    fn has_left(&self) -> bool {
        while self.in_window.load(Ordering::Acquire) != 0 {
            let slept = calls::sleep_while(&self.in_window, 1, LOOK);
            // Of one that dumps its core the word is not cleared. There is no other child.
            let ended = || matches!(calls::peek_children(), Children::Ended(_));
            if self.in_window.load(Ordering::Acquire) == 0 || ended() {
                break;
            }
            if self.audience.goes_within(if slept { Duration::ZERO } else { PAUSE }) {
                return false;
            }
        }
        true
    }

    fn fork(&mut self, pace: Pace) -> Result<Pid, Errno> {
        self.share_words()?;
        let executed = match pace {
            Pace::Wait => Some(self.pipe_outside_the_targets()?),
            Pace::GoOn => None,
        };
        let Some(child) = calls::fork()? else { enter(core::ptr::from_ref(self).cast()) };
        if let Some((read, write)) = executed {
            drop(write);
            // It ends when the child has executed its program, or has ended itself.
            let _ = self.audience.await_end(&read);
        }
        Ok(child)
    }

    /// Words that this process has in common with its copies from here on; in the first is the word of a
    /// failure, and none is left there.
    pub(crate) fn share_words(&mut self) -> Result<&'static [AtomicU64], Errno> {
        let words = match self.start.shared {
            Some(words) => words,
            None => *self.start.shared.insert(calls::shared_words(SHARED)?),
        };
        self.failure.0 = &words[0];
        self.failure.clear();
        Ok(words)
    }

    /// A pipe whose writing end is at a number where the child puts nothing else.
    pub(crate) fn pipe_outside_the_targets(&self) -> Result<(Fd, Fd), Errno> {
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
}
