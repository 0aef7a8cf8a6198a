//! Signals that are sent to `netrunner` go on to its child. Sending them there is the shepherd's
//! work; this file decides what each of them means.
//!
//! All of them are blocked and taken by sigwaitinfo(2), as tini and dumb-init do it, instead of
//! being caught by handlers:
//! - What arrives before the child exists waits in the kernel's queue. With handlers, it would be
//!   lost between the handler and the spawn, or kept in a second queue.
//! - What was ignored stays ignored across the exec of the guardian, as nohup(1) and the shell's
//!   `&` want it, and is passed on nevertheless. A handler would have to choose: exec resets
//!   it to the default.
//! - Real-time signals keep their number of times, and SEGV, FPE and ILL that were sent by kill(1)
//!   go on like the others. (Those that our own fault raises end us in spite of the mask.)
//!
//! TSTP, TTIN and TTOU stop the child and then `netrunner` itself, so that the shell that waits for
//! it sees a stopped job; CONT makes both go on. Meanwhile the shepherd goes on counting timeouts.
//!
//! With the terminal in the foreground the command gets the terminal's signals itself, and nothing
//! of this is asked for: its shepherd stops our group when it has stopped.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use netrunner_sync::{ChildHandle, Signal};

use crate::complain;
use crate::orphans;
use crate::outer::Outer;
use crate::sys::{Blocked, Taken};

/// Signals that wait for a child to go to.
pub(crate) struct Held(Sender<Job>);

/// Whom they go to, and what else is told of them: who reports, and the terminal that the command's
/// own takes the place of.
type Job = (ChildHandle, Arc<Reports>, Option<Arc<Outer>>);

/// Tells the user, once for each stop, that the command waits for the terminal. Two hear of it: who
/// waits for the command, and who takes the signal that stops us with it. The one that is quicker
/// tells, so that the user has read it before the shell says that the job is stopped.
pub(crate) struct Reports {
    program: OsString,
    /// Locked until the user has been told: the one that comes second goes on to stop us.
    told: Mutex<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

impl Reports {
    pub(crate) fn new(program: &OsStr) -> Reports {
        Reports { program: program.to_owned(), told: Mutex::new(Told::No) }
    }

    /// This signal has stopped the command.
    pub(crate) fn stopped(&self, signal: Signal) {
        let wants = match signal {
            Signal::TTIN => "read from",
            Signal::TTOU => "write to or set",
            // Whoever sent it knows, and the shell says the rest.
            _ => return,
        };
        let mut told = self.told();
        if *told == Told::No {
            *told = Told::Yes;
            let program = Path::new(&self.program).display();
            complain(format_args!(
                "`{program}` is stopped ({signal}): it runs in the background and wants to {wants} \
                 the terminal"
            ));
        }
    }

    /// It goes on, and whatever stops it next is news.
    fn goes_on(&self) {
        *self.told() = Told::No;
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Holds all signals back from now on. To be called while there is only one thread.
    pub(crate) fn new() -> io::Result<Held> {
        let blocked = Blocked::all()?;
        let (sender, receiver) = channel();
        // Before there is a child, so that a thread that can't be had ends the affair while
        // nothing runs.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || pass_on(&blocked, &receiver))?;
        Ok(Held(sender))
    }

    /// Sends those that wait, and those that come, to this child.
    pub(crate) fn pass_to(
        self,
        child: ChildHandle,
        reports: Arc<Reports>,
        outer: Option<Arc<Outer>>,
    ) {
        // The thread waits for exactly this.
        let _ = self.0.send((child, reports, outer));
    }
}

fn pass_on(blocked: &Blocked, receiver: &Receiver<Job>) {
    let Ok((child, reports, outer)) = receiver.recv() else {
        return; // Nothing was started.
    };
    let mut escalation = Escalation::default();
    let mut stopped = Stopped::No;
    loop {
        let taken = match blocked.take() {
            Ok(taken) => taken,
            Err(error) => {
                complain(format_args!("signals are not passed on any more: {error}"));
                return;
            }
        };
        // An error is an end, too: nobody is left who could pass anything on.
        if !matches!(child.try_wait(), Ok(None)) {
            if escalation.is_enough(taken) {
                outer.iter().for_each(|outer| outer.end());
                std::process::exit(128 + taken.number);
            }
            continue;
        }
        if let Some(outer) = &outer {
            if outer.takes(taken, &child) {
                continue;
            }
        }
        match escalation.next(taken) {
            Action::Pass => {
                let heard = taken.number == libc::SIGCONT && stopped == Stopped::ByShepherd;
                if taken.number == libc::SIGCONT {
                    reports.goes_on();
                    stopped = Stopped::No;
                }
                if !heard {
                    pass(&child, taken.number);
                }
            }
            Action::PassAndStop => {
                if let Ok(signal) = Signal::try_from(taken.number) {
                    reports.stopped(signal);
                }
                if taken.sender.is_some() && taken.sender == shepherd_of(&child) {
                    stopped = Stopped::ByShepherd;
                } else {
                    stopped = Stopped::No;
                    pass(&child, taken.number);
                }
                // Of the whole process, and at once; an error is not possible for oneself.
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::STOP,
                );
            }
            Action::StopLadder => {
                let child = child.clone();
                // Beside, since it waits and a third INT must get through. How it ends is seen by
                // whoever waits for the child.
                let ladder = thread::Builder::new().spawn(move || drop(child.stop()));
                if let Err(error) = ladder {
                    complain(format_args!("failed to stop the command: {error}"));
                }
            }
            Action::Kill => {
                if let Err(error) = child.kill() {
                    complain(format_args!("failed to kill the command: {error}"));
                }
            }
            Action::Reap => orphans::reap(),
        }
    }
}

/// Who began the last stop of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// Nobody, or whoever sent us a signal that the command got through us.
    No,
    /// The command's shepherd, because the command had stopped. It hears the SIGCONT that follows
    /// by itself, in our group. Were it passed on as well, it could come late, and cross the next
    /// stop.
    ByShepherd,
}

/// The process that the command's child was started by.
fn shepherd_of(child: &ChildHandle) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The name may hold anything, further parentheses too. State and parent come after it.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn pass(child: &ChildHandle, number: i32) {
    // Refused are only the two that the C library keeps for itself, which it never gives us.
    let Ok(signal) = Signal::try_from(number) else {
        return;
    };
    match child.signal(signal) {
        Ok(()) => {}
        // It ended before the signal came.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
        Err(error) => complain(format_args!("failed to pass {signal} on: {error}")),
    }
}

/// What to do about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Pass,
    /// Pass it on and stop ourselves.
    PassAndStop,
    StopLadder,
    Kill,
    Reap,
}

/// How far the patience of whoever sends signals has been tried.
#[derive(Debug, Default)]
struct Escalation {
    interrupts: u32,
    late: u32,
}

impl Escalation {
    fn next(&mut self, taken: Taken) -> Action {
        match taken.number {
            libc::SIGINT => {
                self.interrupts = self.interrupts.saturating_add(1);
                match self.interrupts {
                    1 => Action::Pass,
                    2 => Action::StopLadder,
                    _ => Action::Kill,
                }
            }
            libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Action::PassAndStop,
            // The kernel's word about a child of ours is none of our child's business.
            libc::SIGCHLD if !taken.sent => Action::Reap,
            _ => Action::Pass,
        }
    }

    /// Whether this signal, which came when the command was over, ends us. The first one may have
    /// been meant for the command; more mean that writing the report takes too long.
    fn is_enough(&mut self, taken: Taken) -> bool {
        let ends = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
        if !ends.contains(&taken.number) {
            return false;
        }
        self.late = self.late.saturating_add(1);
        self.late > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: i32) -> Taken {
        Taken { number, sent: true, sender: Some(1) }
    }

    #[test]
    fn the_second_interrupt_stops_and_the_third_kills() {
        let mut escalation = Escalation::default();
        assert_eq!(escalation.next(sent(libc::SIGINT)), Action::Pass);
        for number in [libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGRTMIN() + 3] {
            assert_eq!(escalation.next(sent(number)), Action::Pass);
            assert_eq!(escalation.next(sent(number)), Action::Pass);
        }
        assert_eq!(escalation.next(sent(libc::SIGINT)), Action::StopLadder);
        assert_eq!(escalation.next(sent(libc::SIGINT)), Action::Kill);
        assert_eq!(escalation.next(sent(libc::SIGINT)), Action::Kill);
    }

    #[test]
    fn job_control_stops_both_and_child_news_stays_here() {
        let mut escalation = Escalation::default();
        for number in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            assert_eq!(escalation.next(sent(number)), Action::PassAndStop);
        }
        assert_eq!(escalation.next(sent(libc::SIGCONT)), Action::Pass);
        assert_eq!(escalation.next(sent(libc::SIGCHLD)), Action::Pass);
        let news = Taken { number: libc::SIGCHLD, sent: false, sender: None };
        assert_eq!(escalation.next(news), Action::Reap);
    }

    #[test]
    fn the_second_signal_after_the_end_is_enough() {
        let mut escalation = Escalation::default();
        assert!(!escalation.is_enough(sent(libc::SIGTERM)));
        assert!(!escalation.is_enough(sent(libc::SIGWINCH)));
        assert!(escalation.is_enough(sent(libc::SIGINT)));
    }
}
