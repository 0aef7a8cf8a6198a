//! A child in a PID namespace of its own: how the namespace is made, and the shepherd's hold on it.
//!
//! The namespace's first process is ours (`init`), for when that ends the kernel kills everybody inside, and it
//! ends with the shepherd. The child is **not** its child: both are children of the shepherd. So the child's
//! number, status, group, terminal and usage are what they are without a namespace, and the first process has
//! nobody's status to pass on. It adopts and reaps the orphans, as the kernel wants of it.
//!
//! The first process of a namespace can't make siblings (`EINVAL`, `clone(2)`), so a helper makes both:
//!
//! 1. The helper is a copy of the shepherd, tied to it. It unshares; where that takes a privilege that it does
//!    not have, with a user namespace around it that maps its user and its group to themselves.
//! 2. It clones `init` as its sibling (`CLONE_PARENT`), and waits until that is tied to the shepherd and has
//!    mounted what is to be mounted: from here on nothing can come into the namespace that outlives us.
//! 3. It clones the child, as its sibling too, and ends.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use netrunner_core::message::{Pid, Step};
use netrunner_core::namespace::{Namespace, Proc};

use crate::audience::Audience;
use crate::sys::abi::*;
use crate::sys::window::{Failed, Launchpad, Object, Pace};
use crate::sys::{Errno, Fd, calls, files};
use crate::{init, procfs};

/// Which of the shared words hold the numbers; the first is for failures.
const INIT: usize = 1;
const CHILD: usize = 2;

/// A step of the namespace itself.
pub(crate) fn failed(object: Object) -> impl Fn(Errno) -> Failed {
    move |errno| Failed { step: Step::Namespace, errno, object }
}

/// The first process of a command's namespace, which is our child and not reaped.
pub(crate) struct Init {
    pid: Pid,
    /// It reads what is written here, alone; and ends when nobody can write any more.
    control: Fd,
    /// Its end was seen to begin: the namespace takes nobody in, and all in it are dead or about to be.
    ending: bool,
}

impl Init {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Where the beginning of its end shows (`POLLERR`: nobody reads any more), as long as that is news.
    pub(crate) fn news(&self) -> Option<&Fd> {
        (!self.ending).then_some(&self.control)
    }

    /// Its end has begun. The kernel completes it when everybody inside is reaped, and the child is ours to reap.
    pub(crate) fn see_end(&mut self) {
        self.ending = true;
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending
    }

    /// Has it send a signal to everybody inside but itself: in one call, which nobody can fork away from.
    pub(crate) fn signal_all(&self, signal: u8) {
        self.tell(signal);
    }

    /// The child has ended: the namespace is to end when nobody else is in it.
    pub(crate) fn end_when_alone(&self) {
        self.tell(init::CHILD_ENDED);
    }

    fn tell(&self, word: u8) {
        // There is room: a command gets a handful of signals. Where nobody reads there is nobody to be told.
        let _ = files::write(&self.control, &[word]);
    }

    /// Ends everybody inside, at once.
    pub(crate) fn kill(&self) {
        // Our child, not reaped: the number is its own.
        let _ = calls::kill(self.pid, SIGKILL);
    }
}

/// Starts the loaded child in a namespace of its own.
pub(crate) fn start(
    pad: &mut Launchpad,
    namespace: Namespace,
    pace: Pace,
) -> Result<(Pid, Init), (Step, Errno)> {
    let at = |errno| (Step::Clone, errno);
    let words = pad.share_words().map_err(at)?;
    words[INIT..].iter().for_each(|word| word.store(0, Ordering::Release));
    let (told, control) = calls::pipe().map_err(at)?;
    let executed = match pace {
        Pace::Wait => Some(pad.pipe_outside_the_targets().map_err(at)?),
        Pace::GoOn => None,
    };
    match calls::fork().map_err(at)? {
        None => help(pad, namespace, told, control, words),
        Some(helper) => see_off(helper, pad.audience()),
    }
    drop(told);
    let number = |word: usize| match words[word].load(Ordering::Acquire) {
        0 => None,
        number => Some(Pid(number as u32)),
    };
    let (Some(pid), Some(init)) = (number(CHILD), number(INIT)) else {
        // There is no child, for its number comes with it. Nothing of the attempt may be left when that is told.
        if let Some(init) = number(INIT) {
            let _ = calls::kill(init, SIGKILL);
            calls::reap_ending(init);
        }
        let killed = (Step::Namespace, Errno(ESRCH));
        return Err(pad.failure().map_or(killed, |(step, errno, _)| (step, errno)));
    };
    if let Some((read, write)) = executed {
        drop(write);
        // It ends when the child has executed its program, or has ended itself.
        let _ = pad.audience().await_end(&read);
    }
    Ok((pid, Init { pid: init, control, ending: false }))
}

/// Waits for the helper's end, and not for longer than anybody waits for the start: it may be stopped.
fn see_off(helper: Pid, audience: Audience) {
    if let Ok(Some(pidfd)) = calls::open_pidfd_if_any(helper) {
        if !audience.await_end(&pidfd) {
            // Not reaped, so the number is its own.
            let _ = calls::kill(helper, SIGKILL);
        }
    }
    calls::reap_ending(helper);
}

/// The helper.
fn help(
    pad: &mut Launchpad,
    namespace: Namespace,
    told: Fd,
    control: Fd,
    words: &'static [AtomicU64],
) -> ! {
    // The shepherd alone may hold it: its end is told by that.
    drop(control);
    if let Err(failed) = make(pad, namespace, told, words) {
        pad.fail(&failed);
    }
    calls::exit(0)
}

fn make(
    pad: &mut Launchpad,
    namespace: Namespace,
    told: Fd,
    words: &'static [AtomicU64],
) -> Result<(), Failed> {
    let at = |step| move |errno| Failed { step, errno, object: Object::Nothing };
    pad.arm_parent_death().map_err(at(Step::ParentDeath))?;
    pad.see_terminal_from_outside();
    separate(namespace.proc)?;
    let (is_ready, ready) = calls::pipe().map_err(at(Step::Clone))?;
    if calls::fork_sibling(&words[INIT]).map_err(at(Step::Clone))? {
        init::run(pad, namespace.proc, &told, &ready);
    }
    drop((ready, told));
    if is_ready.read(&mut [0]) != Ok(1) {
        // It has ended, and has left word of the reason.
        calls::exit(0);
    }
    if calls::fork_sibling(&words[CHILD]).map_err(at(Step::Clone))? {
        pad.enter_namespace();
    }
    Ok(())
}

/// Makes the namespaces.
fn separate(proc: Proc) -> Result<(), Failed> {
    let wanted = match proc {
        Proc::Shared => CLONE_NEWPID,
        Proc::Own => CLONE_NEWPID | CLONE_NEWNS,
    };
    match calls::unshare(wanted) {
        Err(Errno(EPERM)) => {}
        result => return result.map_err(failed(Object::Nothing)),
    }
    let (user, group) = calls::effective_ids();
    calls::unshare(CLONE_NEWUSER | wanted).map_err(failed(Object::Nothing))?;
    write_map(Object::UserMap, user)?;
    // Without this the map of groups is refused to whoever has no privilege outside (user_namespaces(7)).
    write(Object::SetGroups, b"deny")?;
    write_map(Object::GroupMap, group)
}

/// Maps this one number to itself, so that files keep their owner; a process without privileges may map no
/// other.
fn write_map(map: Object, id: u32) -> Result<(), Failed> {
    let id = procfs::digits(Pid(id));
    let line: Vec<u8> = [&id, &b" "[..], &id, b" 1"].concat();
    write(map, &line)
}

fn write(object: Object, content: &[u8]) -> Result<(), Failed> {
    let file = calls::open(object.path(), O_WRONLY);
    file.and_then(|file| files::write(&file, content)).map(drop).map_err(failed(object))
}
