//! The first process of a command's PID namespace. It does what the kernel leaves to such a process, reaps the
//! orphans; and what only it can do: it takes everybody inside along when it ends.
//!
//! It ends with the shepherd, by the parent-death signal, which reaches it although it is a namespace's first
//! process because it comes from outside. `getppid` says 0 in here, so whether the shepherd has died before that
//! was armed is seen by the pipe: nobody else holds the other end. No signal from inside ends or stops it.

use netrunner_core::namespace::Proc;

use crate::namespace::failed;
use crate::procfs;
use crate::sys::abi::*;
use crate::sys::calls::{self, Children};
use crate::sys::window::{Failed, Launchpad, Object};
use crate::sys::{Errno, Fd, files};

/// The word that tells of the child's end; every other is a signal for everybody inside.
pub(crate) const CHILD_ENDED: u8 = 0;

/// In a storm they end faster than they are reaped: after so many the shepherd is heard.
const AT_ONCE: u32 = 64;

/// Gets ready, says so, and serves until nobody is left inside, or the shepherd is gone.
pub(crate) fn run(pad: &Launchpad, proc: Proc, told: &Fd, ready: &Fd) -> ! {
    calls::set_name(c"nr-init");
    match prepare(proc, told, ready) {
        Ok(signals) => serve(told, &signals),
        Err(failed) => pad.fail(&failed),
    }
    calls::exit(1)
}

/// Returns where `SIGCHLD` is read.
fn prepare(proc: Proc, told: &Fd, ready: &Fd) -> Result<Fd, Failed> {
    let nothing = failed(Object::Nothing);
    // Whoever is not the first of a namespace must never send a signal to everybody.
    if calls::own_pid().0 != 1 {
        return Err(nothing(Errno(ENOSYS)));
    }
    calls::arm_parent_death().map_err(&nothing)?;
    // The lane above all, and the child's ends of pipes: each is closed when the last copy is.
    close_others(told.number().min(ready.number()), told.number().max(ready.number()));
    if proc == Proc::Own {
        // Nothing of what is mounted here shows outside.
        calls::mount(c"none", c"/", c"none", MS_REC | MS_PRIVATE)
            .map_err(failed(Object::Mounts))?;
        calls::mount(c"proc", c"/proc", c"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
            .map_err(failed(Object::ProcMount))?;
    }
    let signals = calls::child_signals().map_err(&nothing)?;
    match files::write(ready, &[1]) {
        // The helper was killed, and that is the reason that is told.
        Err(Errno(EPIPE)) => calls::exit(1),
        result => result.map_err(&nothing)?,
    };
    calls::close_number(ready.number());
    Ok(signals)
}

/// Closes every descriptor but 0 to 2 and these.
fn close_others(one: i32, other: i32) {
    let ranges = [(3, one - 1), (one + 1, other - 1), (other + 1, i32::MAX)];
    let mut ranges = ranges.into_iter().filter(|(first, last)| first <= last);
    if ranges.all(|(first, last)| calls::close_range(first as u32, last as u32).is_ok()) {
        return;
    }
    // Before Linux 5.9.
    for number in procfs::numbers(c"/proc/self/fd") {
        let number = number.0 as i32;
        if number > 2 && number != one && number != other {
            calls::close_number(number);
        }
    }
}

fn serve(told: &Fd, signals: &Fd) {
    let mut child_ended = false;
    loop {
        let there = bury();
        if there == Children::None && child_ended {
            return;
        }
        let mut fds =
            [signals, told].map(|fd| Pollfd { fd: fd.number(), events: POLLIN, revents: 0 });
        let more = matches!(there, Children::Ended(_));
        let _ = calls::poll(&mut fds, more.then_some(core::time::Duration::ZERO));
        let [ended, word] = fds.map(|fd| fd.revents);
        if ended != 0 {
            // Taken before the dead are looked for, so that none is missed.
            let _ = signals.read(&mut [0; 256]);
        }
        if word != 0 {
            let mut words = [0; 64];
            match told.read(&mut words) {
                // The shepherd is gone.
                Ok(0) => return,
                Ok(count) => {
                    for &word in &words[..count] {
                        match word {
                            CHILD_ENDED => child_ended = true,
                            signal => calls::kill_everybody(i32::from(signal)),
                        }
                    }
                }
                Err(_) => {}
            }
        }
    }
}

/// Reaps some of the dead, and says what there is beside them.
fn bury() -> Children {
    for _ in 0..AT_ONCE {
        let there = calls::peek_children();
        let Children::Ended(pid) = there else { return there };
        if calls::reap(pid).is_none() {
            return there;
        }
    }
    calls::peek_children()
}
