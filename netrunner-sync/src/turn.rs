//! One wait of a thread that moves a command's data: for the lane or the bell, the pipes and what
//! is due by the clock.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{Error, Result, shown};
use crate::running::{Running, earliest};
use crate::time::until;

/// Waits until one of these is ready, or something is due; says which are.
///
/// The outputs are the last two: a command that is silent for too long is stopped here.
pub(crate) fn wait(
    running: &Running,
    sources: [(Option<&OwnedFd>, PollFlags); 4],
    deadline: Option<Instant>,
) -> Result<[bool; 4]> {
    let mut fds = Vec::with_capacity(sources.len());
    fds.extend(sources.iter().filter_map(|(fd, flags)| Some(PollFd::new((*fd)?, *flags))));
    let silence = running.silence_deadline();
    let due = earliest(earliest(deadline, silence), running.next_judgement());
    match poll(&mut fds, until(due).as_ref()) {
        Ok(0) => running.judge(Instant::now()),
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => {
            let step = format!("poll the streams of `{}`", shown(running.program()));
            return Err(Error::system(step, errno));
        }
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    let ready = sources.map(|(fd, _)| fd.is_some() && ready.next().unwrap_or(false));
    // What can be read is no silence, however late it was looked for.
    if silence.is_some() && !ready[2] && !ready[3] {
        running.judge_silence();
    }
    Ok(ready)
}
