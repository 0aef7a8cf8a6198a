//! Waits for whichever of several children is over first.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::bell::Bell;
use crate::child::Child;
use crate::ear::Blocking;
use crate::error::{Error, Result};
use crate::running::{Progress, Role, earliest};
use crate::shepherd::Shepherd;
use crate::time::{deadline_in, until};

/// Waits until one of the children is over, and says which, and how it ended.
///
/// One that was over before counts, so take it out of the list before the next call. Of several the
/// first in the list is told. Standard inputs stay open: a child that waits for its end has to be given
/// that first.
///
/// ```
/// use netrunner_sync::{Command, wait_any};
///
/// let mut children = Vec::new();
/// for seconds in ["60", "0.01"] {
///     children.push(Command::new("sleep").arg(seconds).spawn()?);
/// }
/// let (index, status) = wait_any(&mut children)?;
/// assert_eq!(index, 1);
/// assert!(status.success());
/// children.swap_remove(index);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Errors
///
/// As [`Child::wait`], of the one that is over; and [`is_invalid_input`](Error::is_invalid_input) where
/// there is no child to wait for.
pub fn wait_any(children: &mut [Child]) -> Result<(usize, ExitStatus)> {
    loop {
        // Without a deadline nothing is ever late.
        if let Some(ended) = wait(children, None)? {
            return Ok(ended);
        }
    }
}

/// As [`wait_any`], until a point in time; `None` if all are still at work then.
///
/// ```
/// use std::time::Instant;
/// use netrunner_sync::{Command, wait_any_deadline};
///
/// let mut children = [Command::new("sleep").arg("60").spawn()?];
/// assert!(wait_any_deadline(&mut children, Instant::now())?.is_none());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Errors
///
/// As [`wait_any`].
pub fn wait_any_deadline(
    children: &mut [Child],
    deadline: Instant,
) -> Result<Option<(usize, ExitStatus)>> {
    wait(children, Some(deadline))
}

/// As [`wait_any`], for at most so long; `None` if all are still at work then.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Command, wait_any_timeout};
///
/// let mut children = [Command::new("sleep").arg("60").spawn()?];
/// assert!(wait_any_timeout(&mut children, Duration::from_millis(10))?.is_none());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
///
/// # Errors
///
/// As [`wait_any`].
pub fn wait_any_timeout(
    children: &mut [Child],
    timeout: Duration,
) -> Result<Option<(usize, ExitStatus)>> {
    wait(children, deadline_in(timeout))
}

fn wait(children: &mut [Child], deadline: Option<Instant>) -> Result<Option<(usize, ExitStatus)>> {
    if children.is_empty() {
        return Err(Error::invalid("there is no child to wait for"));
    }
    loop {
        let late = deadline.is_some_and(|at| at <= Instant::now());
        for (index, child) in children.iter_mut().enumerate() {
            if let Some(status) = child.try_wait()? {
                return Ok(Some((index, status)));
            }
        }
        if late {
            return Ok(None);
        }
        turn(children, deadline)?;
    }
}

/// How one of them is waited for.
enum Listening<'a> {
    /// This thread reads the lane.
    Lane(Role<'a>, Arc<Shepherd>),
    /// Another thread does, and rings when it stops.
    Bell(Arc<Bell>),
}

/// Waits until any of them has something to say, or is to be looked at by the clock.
fn turn(children: &[Child], deadline: Option<Instant>) -> Result<()> {
    let mut due = deadline;
    let mut listening = Vec::with_capacity(children.len());
    for child in children {
        let running = child.running();
        let listens = match running.try_role() {
            Some((role, shepherd)) => Listening::Lane(role, shepherd),
            None => {
                let bell = running.bell()?;
                if !running.is_read() {
                    // It was given up just now; there may be no ring to come.
                    return Ok(());
                }
                Listening::Bell(bell)
            }
        };
        due = earliest(due, running.next_judgement());
        listening.push((running, listens));
    }
    let mut fds: Vec<_> = listening
        .iter()
        .map(|(_, listens)| match listens {
            Listening::Lane(_, shepherd) => PollFd::new(&**shepherd.socket(), PollFlags::IN),
            Listening::Bell(bell) => PollFd::new(bell.fd(), PollFlags::IN),
        })
        .collect();
    match poll(&mut fds, until(due).as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::system("poll the lanes of several commands", errno)),
    }
    let ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let now = Instant::now();
    for ((running, listens), ready) in listening.into_iter().zip(ready) {
        if ready {
            hear(listens);
        }
        if running.next_judgement().is_some_and(|at| at <= now) {
            running.judge(now);
        }
    }
    Ok(())
}

fn hear(listens: Listening<'_>) {
    match listens {
        Listening::Lane(role, shepherd) => {
            if role.read(&shepherd, Blocking::No) == Progress::NeverRan {
                role.lose("it ended before the command was started");
            }
        }
        Listening::Bell(bell) => bell.hush(),
    }
}
