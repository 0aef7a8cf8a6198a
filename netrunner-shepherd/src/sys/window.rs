//! The clone-to-exec window: the child's steps, on memory that it shares with the shepherd.
//!
//! The child is cloned with `CLONE_VM`, so nothing is copied (`start` has the other ways, for where
//! that is refused). The price: until it executes the program (or ends) it runs in our memory. So it has a stack of its
//! own, allocates nothing, calls nothing but system calls, and reads only the [`Launchpad`], which
//! refuses to be touched again while a child is in its window: the kernel says when it has left
//! (`CLONE_CHILD_CLEARTID` zeroes a word when a process gives up its memory, by exec or by its end).
//!
//! Signals: the shepherd blocks them all, always, and has no signal functions, so none can run on
//! the shared memory, and `CLONE_CLEAR_SIGHAND` would change nothing. The child empties its mask as
//! the last thing before exec.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr::null;
use core::sync::atomic::{AtomicU32, Ordering};

use netrunner_core::message::{Pid, Step};
use netrunner_core::spawn::Spawn;

use super::abi::*;
use super::arch::syscall;
use super::calls::{Errno, check};
use crate::audience::Audience;

mod failure;
mod load;
mod start;

use failure::Failure;
pub(crate) use failure::{Failed, Object};
use start::Start;

/// All that the child needs, prepared. There is one for the life of a shepherd, so its buffers are
/// reused; it never moves.
pub(crate) struct Launchpad {
    /// The shepherd, which the child must still have when it has armed its parent-death signal.
    shepherd: Pid,
    /// `SIGCHLD` was ignored by whoever started the guardian.
    ignore_child_signal: bool,
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
    /// The directory of the cgroup to join.
    cgroup: Option<i32>,
    /// The terminal of the session that the child makes, in place of a group in ours.
    session: Option<i32>,
    /// In this order.
    setup: Vec<Ready>,
    /// The group lists that `setup` refers to.
    groups: Vec<u32>,
    /// What went wrong, for the shepherd.
    failure: Failure,
    /// Not zero while a child is in its window.
    in_window: AtomicU32,
    /// Whether this copy is the child of a PID namespace.
    inside: bool,
    /// Not zero once the child has taken its first step.
    entered: AtomicU32,
    start: Start,
    audience: Audience,
}

/// A [`Setup`] that borrows nothing.
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

const STACK: usize = 32 << 10;

/// The child's stack. One child at a time is in its window: the next command of this shepherd comes
/// when the last has ended.
#[repr(C, align(16))]
struct Stack([u8; STACK]);

static mut CHILD_STACK: Stack = Stack([0; STACK]);

impl Launchpad {
    pub(crate) fn new(
        shepherd: Pid,
        ignore_child_signal: bool,
        audience: Audience,
    ) -> &'static mut Launchpad {
        Box::leak(Box::new(Launchpad {
            shepherd,
            ignore_child_signal,
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
            failure: Failure(start::own_word()),
            in_window: AtomicU32::new(0),
            inside: false,
            entered: AtomicU32::new(0),
            start: Start::new(),
            audience,
        }))
    }

    /// Gets ready for a child. `candidates` are the paths to try, each with its NUL, one after the other.
    pub(crate) fn prepare(
        &mut self,
        spawn: &Spawn<'_>,
        candidates: &[u8],
        placing: Placing,
    ) -> Result<(), Errno> {
        // The last command's end was seen before the next began, so its child has left.
        if self.in_window.load(Ordering::Acquire) != 0 {
            return Err(Errno(EBUSY));
        }
        self.load(spawn, candidates, placing);
        Ok(())
    }

    /// Who waits for the start.
    pub(crate) fn audience(&self) -> Audience {
        self.audience
    }

    /// Becomes the child, in a copy of the shepherd that lives in a PID namespace.
    pub(crate) fn enter_namespace(&mut self) -> ! {
        self.inside = true;
        enter(core::ptr::from_ref(self).cast())
    }

    /// A process inside can't see which group the terminal belongs to: this asks for it, before.
    pub(crate) fn see_terminal_from_outside(&mut self) {
        self.terminal = self.terminal.filter(|&(terminal, from)| belongs_to(terminal, from));
    }

    /// Leaves word of a step that has failed on the way to the child.
    pub(crate) fn fail(&self, failed: &Failed) {
        self.failure.set_failed(failed);
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
            Step::Namespace => Object::numbered(candidate).as_ptr(),
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
            | Step::Cgroup => null(),
        };
        if object.is_null() {
            return Some((step, errno, &[]));
        }
        // SAFETY: the pointers point to strings with their NUL, in `strings`, which `&self` keeps, or constant.
        Some((step, errno, unsafe { CStr::from_ptr(object) }.to_bytes()))
    }
}

/// The child begins here.
extern "C" fn enter(pad: *const u8) -> ! {
    // SAFETY: `start` passed a Launchpad that lives for ever and is not changed while the child is
    // in its window, but for the atomics in it.
    let pad = unsafe { &*pad.cast::<Launchpad>() };
    pad.entered.store(1, Ordering::Release);
    let (step, errno, candidate) = pad.walk();
    pad.failure.set(step, errno, candidate);
    super::calls::exit(127)
}

/// Whether the terminal has this group in the foreground.
fn belongs_to(terminal: i32, group: Pid) -> bool {
    let mut there = 0_i32;
    let ask = [terminal as usize, TIOCGPGRP, &raw mut there as usize, 0];
    // SAFETY: the number is on the caller's own stack, and writable.
    unsafe { call(NR_IOCTL, ask) }.is_ok() && there == group.0 as i32
}

/// A call of the child.
///
/// # Safety
///
/// As for [`syscall`].
unsafe fn call(number: usize, arguments: [usize; 4]) -> Result<usize, Errno> {
    let [a, b, c, d] = arguments;
    // SAFETY: the caller's contract.
    check(unsafe { syscall(number, [a, b, c, d, 0, 0]) })
}

impl Launchpad {
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
        self.arm_parent_death().map_err(at(Step::ParentDeath))?;
        match self.session {
            // SAFETY: numbers only, here and wherever no pointer is passed below.
            None => unsafe { call(NR_SETPGID, [0; 4]) }.map_err(at(Step::ProcessGroup))?,
            Some(terminal) => {
                // It makes the group as well.
                // SAFETY: no arguments.
                unsafe { call(NR_SETSID, [0; 4]) }.map_err(at(Step::Terminal))?;
                let arguments = [terminal as usize, TIOCSCTTY, 0, 0];
                // SAFETY: numbers only.
                unsafe { call(NR_IOCTL, arguments) }.map_err(at(Step::Terminal))?
            }
        };
        self.join_cgroup().map_err(at(Step::Cgroup))?;
        self.take_terminal();
        if let Some(origin) = self.origin {
            // SAFETY: numbers only.
            unsafe { call(NR_FCHDIR, [origin as usize, 0, 0, 0]) }.map_err(at(Step::Directory))?;
        }
        self.place_descriptors().map_err(at(Step::Descriptors))?;
        for setup in &self.setup {
            self.apply(setup)?;
        }
        // After the change of user, as std does it: the directory is entered with its rights.
        if !self.directory.is_null() {
            // SAFETY: the path ends with a NUL.
            unsafe { call(NR_CHDIR, [self.directory as usize, 0, 0, 0]) }
                .map_err(at(Step::Directory))?;
        }
        // A change of credentials has disarmed it (prctl(2)); armed again it also covers the case
        // of a shepherd that died in between.
        if !self.setup.is_empty() {
            self.arm_parent_death().map_err(at(Step::ParentDeath))?;
        }
        self.set_signals();
        Ok(())
    }

    /// The child dies with the shepherd; and if the shepherd has died before this was armed, the
    /// child has another parent now, and ends. From inside a namespace no parent is seen; the namespace's
    /// first process has seen to that case, and the namespace ends with it.
    pub(crate) fn arm_parent_death(&self) -> Result<(), Errno> {
        // SAFETY: numbers only.
        unsafe { call(NR_PRCTL, [PR_SET_PDEATHSIG as usize, SIGKILL as usize, 0, 0]) }?;
        // SAFETY: numbers only.
        let parent = unsafe { call(NR_GETPPID, [0; 4]) }?;
        if parent == self.shepherd.0 as usize || self.inside { Ok(()) } else { Err(Errno(ESRCH)) }
    }

    /// Moves into the cgroup: before any change of credentials, and long before the program. 0 is
    /// whoever writes it. The number of the open file may be one that the program is to get, so it is
    /// closed before descriptors are placed. A child that was born inside has none to join.
    fn join_cgroup(&self) -> Result<(), Errno> {
        let Some(group) = self.cgroup else { return Ok(()) };
        let path = c"cgroup.procs".as_ptr();
        let open = [group as usize, path as usize, (O_WRONLY | O_CLOEXEC) as usize, 0];
        // SAFETY: the path ends with a NUL.
        let file = unsafe { call(NR_OPENAT, open) }?;
        let zero = b"0";
        // SAFETY: one byte is readable there.
        let joined = unsafe { call(NR_WRITE, [file, zero.as_ptr() as usize, 1, 0]) };
        // SAFETY: numbers only; the child has a descriptor table of its own.
        let _ = unsafe { call(NR_CLOSE, [file, 0, 0, 0]) };
        joined.map(drop)
    }

    /// Takes the terminal for the child's group: here and not in the shepherd, so that the program
    /// has it from its first instruction. SIGTTOU is blocked, so it works from the background. It
    /// fails where the terminal is hung up, or not ours: the program will meet the same.
    fn take_terminal(&self) {
        let Some((terminal, from)) = self.terminal else { return };
        if !self.inside && !belongs_to(terminal, from) {
            return;
        }
        // SAFETY: no arguments.
        let Ok(own) = (unsafe { call(NR_GETPID, [0; 4]) }) else { return };
        let own = own as i32;
        let take = [terminal as usize, TIOCSPGRP, &raw const own as usize, 0];
        // SAFETY: the number is on the child's own stack, and readable.
        let _ = unsafe { call(NR_IOCTL, take) };
    }

    fn place_descriptors(&self) -> Result<(), Errno> {
        // Every descriptor here is close-on-exec by birth; this is for one that might not be. Kernels
        // before 5.11 don't know the flag.
        let arguments = [3, u32::MAX as usize, CLOSE_RANGE_CLOEXEC as usize, 0];
        // SAFETY: numbers only.
        let _ = unsafe { call(NR_CLOSE_RANGE, arguments) };
        for &(from, to) in &self.moves {
            // SAFETY: numbers only; the child has a descriptor table of its own.
            unsafe { call(NR_DUP3, [from as usize, to as usize, 0, 0]) }?;
        }
        for &number in &self.closed {
            // SAFETY: numbers only. What is not open is closed already.
            let _ = unsafe { call(NR_CLOSE, [number as usize, 0, 0, 0]) };
        }
        Ok(())
    }

    fn apply(&self, setup: &Ready) -> Result<(), (Step, Errno)> {
        // SAFETY: numbers, or pointers into the launchpad, each readable while the call reads.
        let (result, step) = unsafe {
            match setup {
                // umask(2) can't fail.
                Ready::Umask(mask) => (call(NR_UMASK, [*mask as usize, 0, 0, 0]), Step::Limit),
                Ready::Nice(by) => (self.renice(*by), Step::Nice),
                Ready::Limit { resource, limit } => {
                    let limit = core::ptr::from_ref(limit) as usize;
                    (call(NR_PRLIMIT64, [0, *resource as usize, limit, 0]), Step::Limit)
                }
                Ready::Groups { first, count } => {
                    let list = self.groups.as_ptr().wrapping_add(*first) as usize;
                    (call(NR_SETGROUPS, [*count, list, 0, 0]), Step::Groups)
                }
                Ready::Gid(gid) => (call(NR_SETGID, [*gid as usize, 0, 0, 0]), Step::Gid),
                Ready::Uid(uid) => (call(NR_SETUID, [*uid as usize, 0, 0, 0]), Step::Uid),
                Ready::NoNewPrivileges => {
                    let arguments = [PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0];
                    (call(NR_PRCTL, arguments), Step::NoNewPrivileges)
                }
            }
        };
        result.map(drop).map_err(|errno| (step, errno))
    }

    /// nice(2) is relative and exists only in libc.
    fn renice(&self, by: i32) -> Result<usize, Errno> {
        // SAFETY: numbers only. The raw call answers 20 - nice, so as never to be negative.
        let raw = unsafe { call(NR_GETPRIORITY, [PRIO_PROCESS as usize, 0, 0, 0]) }?;
        let nice = (20 - raw as i32).saturating_add(by).clamp(-20, 19);
        // SAFETY: numbers only.
        unsafe { call(NR_SETPRIORITY, [PRIO_PROCESS as usize, 0, nice as usize, 0]) }
    }

    /// The mask is emptied: a blocked SIGTERM would turn every stop into a kill. Handlers there are
    /// none, and what was ignored when the guardian started stays ignored, SIGCHLD too (the
    /// guardian itself had to reset it, to see its shepherds die).
    fn set_signals(&self) {
        if self.ignore_child_signal {
            let action = Sigaction { action: SIG_IGN, ..Sigaction::default() };
            let arguments = [SIGCHLD as usize, &raw const action as usize, 0, 8];
            // SAFETY: the structure is the kernel's. It can't fail for this signal.
            let _ = unsafe { call(NR_RT_SIGACTION, arguments) };
        }
        let none = 0_u64;
        let arguments = [SIG_SETMASK as usize, &raw const none as usize, 0, 8];
        // SAFETY: the set is readable, eight bytes as the kernel wants it. It can't fail.
        let _ = unsafe { call(NR_RT_SIGPROCMASK, arguments) };
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
            let executed =
                unsafe { call(NR_EXECVE, [path as usize, argv as usize, envp as usize, 0]) };
            let Err(errno) = executed else { continue };
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
