//! `SIGCHLD` and `SIGCONT` through a pipe to ourselves; every other signal is blocked for good, since a stray
//! `SIGTERM` must not end the one process that cleans up.
//!
//! The two have a handler that writes one byte, the signal's number. A signal that comes between a look and the
//! next `poll(2)` has made the pipe readable by then, so none is slept over. A full pipe takes no more, and
//! needs none: it is readable.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, Ordering};

use netrunner_core::message::Pid;

use super::abi::*;
use super::calls::{Errno, Fd, check, pipe};
use super::{files, libc};

/// Where the handler writes; -1 while there is nothing.
static NEWS: AtomicI32 = AtomicI32::new(-1);

const HANDLED: [c_int; 2] = [SIGCHLD, SIGCONT];

/// It may run between any two instructions: it calls `write(2)` alone, and puts errno back.
extern "C" fn handle(signal: c_int) {
    // SAFETY: libc's own place for errno; one byte is readable.
    unsafe {
        let errno = libc::errno_location();
        let before = *errno;
        let byte = signal as u8;
        libc::write(NEWS.load(Ordering::Relaxed), &raw const byte, 1);
        *errno = before;
    }
}

/// Every signal but these.
fn all_but(signals: &[c_int]) -> Sigset {
    // SAFETY: an all-zero set is one; the calls fill it in, and can't fail for signals that there are.
    unsafe {
        let mut set: Sigset = core::mem::zeroed();
        libc::sigfillset(&raw mut set);
        for &signal in signals {
            libc::sigdelset(&raw mut set, signal);
        }
        set
    }
}

/// Sets the mask and returns the one before.
fn set_mask(mask: &Sigset) -> Result<Sigset, Errno> {
    // SAFETY: an all-zero set is one.
    let mut before: Sigset = unsafe { core::mem::zeroed() };
    // SAFETY: one set is readable, the other writable.
    check(unsafe { libc::sigprocmask(SIG_SETMASK, mask, &raw mut before) })?;
    Ok(before)
}

/// Blocks every signal that can be blocked; [`child_signals`] lets in the two that are handled.
pub(crate) fn block_signals() -> Result<(), Errno> {
    set_mask(&all_but(&[])).map(drop)
}

/// Empties the mask: for the child, as the last thing before its program.
pub(super) fn unblock_signals() {
    // SAFETY: an all-zero set is one, and the call empties it.
    let none = unsafe {
        let mut none: Sigset = core::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        none
    };
    // It can't fail with this argument.
    let _ = set_mask(&none);
}

fn set_action(signal: c_int, action: usize) -> Option<usize> {
    let new = Sigaction::new(action, SA_RESTART);
    let mut old = Sigaction::new(SIG_DFL, 0);
    // SAFETY: both structures are libc's. The only function ever set is `handle`, which is one.
    let set = unsafe { libc::sigaction(signal, &raw const new, &raw mut old) };
    (set == 0).then_some(old.action)
}

/// Gives a signal its default disposition and says whether it was ignored.
pub(crate) fn reset_signal(signal: c_int) -> bool {
    set_action(signal, SIG_DFL) == Some(SIG_IGN)
}

/// Gives those that have a handler their default disposition again, while they are blocked.
pub(super) fn reset_handled() {
    for signal in HANDLED {
        reset_signal(signal);
    }
}

/// Has a signal ignored.
pub(super) fn ignore(signal: c_int) {
    // It can't fail for the signals that this is called for.
    let _ = set_action(signal, SIG_IGN);
}

/// A descriptor from which `SIGCHLD` and `SIGCONT` are read. A forked copy needs one of its own:
/// [`inherit_signals`].
pub(crate) fn child_signals() -> Result<Fd, Errno> {
    let (read, write) = pipe()?;
    if !files::never_wait(&read) || !files::never_wait(&write) {
        return Err(Errno::last());
    }
    let before = NEWS.swap(write.number(), Ordering::Relaxed);
    // It is the handler's from here on, for good.
    core::mem::forget(write);
    if before != -1 {
        // That of the process that this one was copied from.
        drop(Fd::own(before));
    }
    for signal in HANDLED {
        let handler: extern "C" fn(c_int) = handle;
        set_action(signal, handler as usize).ok_or(Errno(EINVAL))?;
    }
    set_mask(&all_but(&HANDLED))?;
    Ok(read)
}

/// What a forked copy reads its signals from, in place of what it has from its origin.
pub(crate) fn inherit_signals(origins: Fd) -> Result<Fd, Errno> {
    drop(origins);
    child_signals()
}

/// Takes the signals that have come, and says whether `SIGCONT` was among them.
pub(crate) fn take_signals(signals: &Fd) -> bool {
    let mut taken = [0; 64];
    let mut continued = false;
    while let Ok(count @ 1..) = signals.read(&mut taken) {
        continued |= taken[..count].iter().any(|&signal| c_int::from(signal) == SIGCONT);
    }
    continued
}

/// `fork(2)`: none in the child.
///
/// The shepherd's processes have one thread, so a fork is a whole copy.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: there is one thread.
    match check(unsafe { libc::fork() })? {
        0 => Ok(None),
        pid => Ok(Some(Pid(pid as u32))),
    }
}

/// The same for a copy that all signals are blocked in, so that the handler, which would write into its
/// origin's pipe, never runs there.
pub(crate) fn fork_without_signals() -> Result<Option<Pid>, Errno> {
    let before = set_mask(&all_but(&[]))?;
    let forked = fork();
    if !matches!(forked, Ok(None)) {
        // It can't fail with a mask that was one.
        let _ = set_mask(&before);
    }
    forked
}
