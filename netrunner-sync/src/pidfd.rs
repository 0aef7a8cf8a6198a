//! Pidfds, and what there is to do where the kernel has none (before Linux 5.3) or a sandbox denies
//! them: the lane's end tells of a death, and the guardian, whose children the shepherds are, is
//! asked to kill one that does not react.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::lane::PATIENCE;
use crate::launch::judge;
use crate::time::until;

/// A pidfd; none where there are no such things.
pub(crate) fn open(pid: Pid) -> io::Result<Option<OwnedFd>> {
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Kills the process.
pub(crate) fn kill(pidfd: &OwnedFd) {
    // ESRCH: it has ended.
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
}

/// Kills its group, or at least the process.
pub(crate) fn kill_group(pidfd: &OwnedFd) {
    crate::sys::kill_group_of(pidfd.as_fd());
}

/// The pause between looks at a starter that takes long.
const LOOK: Duration = Duration::from_secs(1);

/// How often in a row a program is found asleep with its orders unread until it is none of ours.
const LOOKS: u32 = 2;

/// Waits for the starter, which says by its exit code what failed.
pub(crate) fn reap(starter: &OwnedFd, pid: Pid, orders: &OwnedFd) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut asleep = 0;
    loop {
        let mut fds = [PollFd::new(starter, PollFlags::IN)];
        match poll(&mut fds, until(Some(deadline.min(Instant::now() + LOOK))).as_ref()) {
            Ok(0) => {
                asleep = if sleeps_over(pid, orders) { asleep + 1 } else { 0 };
                let text = if asleep == LOOKS {
                    "it does not read what it is sent".to_owned()
                } else if Instant::now() >= deadline {
                    format!("it is no guardian after {} s", PATIENCE.as_secs())
                } else {
                    continue;
                };
                // It is no program of ours, whatever it is, nor is what it may have started. The wait
                // below can't be long.
                kill_group(starter);
                let _ = wait(starter);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    // If not, somebody else reaped it.
    wait(starter)?.map_or(Ok(()), judge)
}

/// Whether a process sleeps although it has been sent something. The starter waits for nothing else;
/// on a machine that is too busy to run it, it is runnable and does not sleep.
fn sleeps_over(pid: Pid, orders: &OwnedFd) -> bool {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    let name_end = stat.iter().rposition(|&byte| byte == b')');
    let state = name_end.and_then(|at| stat.get(at + 2));
    state == Some(&b'S') && rustix::io::ioctl_fionread(orders).is_ok_and(|unread| unread > 0)
}

/// Reaps the process behind a pidfd, if it is a child of ours and has ended.
pub(crate) fn wait(pidfd: &OwnedFd) -> io::Result<Option<ExitStatus>> {
    loop {
        let options = WaitIdOptions::EXITED;
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Ok(Some(status)) => {
                let raw = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code << 8,
                    (None, signal) => signal.unwrap_or(0),
                };
                return Ok(Some(ExitStatus::from_raw(raw)));
            }
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::run;
    use std::process::Command;

    #[test]
    fn a_program_that_never_reads_is_found_out_soon_and_ends_with_what_it_started() {
        let place = std::env::temp_dir().join(format!("netrunner-sleeper-{}", std::process::id()));
        // By another process: a thread that forks meanwhile would hold the file open for writing.
        let script = "printf '#!/bin/sh\\nsleep 1000 & sleep 1000\\n' >$0 && chmod 700 $0";
        let made = Command::new("sh").args(["-c", script]).arg(&place).status().unwrap();
        assert!(made.success());
        let (ours, theirs) = crate::lane::pair().unwrap();
        crate::lane::send(&ours, b"orders", &[]).unwrap();
        let began = Instant::now();
        let error = run(&place, theirs).unwrap_err().cause();
        std::fs::remove_file(&place).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        // Each had the lane as its standard input.
        let mut fds = [PollFd::new(&ours, PollFlags::HUP)];
        assert_eq!(poll(&mut fds, until(Some(Instant::now() + PATIENCE)).as_ref()), Ok(1));
    }
}
