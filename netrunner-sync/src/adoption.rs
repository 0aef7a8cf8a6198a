//! Guardians and shepherds that become children of a client which is PID 1 or a subreaper: whether it is, and
//! how they are reaped.

use rustix::process::{Pid, WaitId, WaitIdOptions};

/// Whether orphans may become children of this client: it is PID 1 or a subreaper.
pub(crate) fn adopts() -> bool {
    rustix::process::getpid().is_init()
        || rustix::process::child_subreaper().is_ok_and(|yes| yes.is_some())
}

/// Reaps a shepherd that a guardian has left to this client, where there is no pidfd of it. False if
/// it is not known to be reaped: it may be the guardian's, and become ours when that has ended.
///
/// Without a pidfd the number might be another child's by now, so its name is asked for: no other
/// child of the client calls itself that.
pub(crate) fn reap_shepherd(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())) else {
        return true;
    };
    let stat = String::from_utf8_lossy(&stat);
    let Some((_, rest)) = stat.split_once("(nr-shepherd) ") else { return true };
    let parent = rest.split(' ').nth(1).and_then(|number| number.parse::<i32>().ok());
    if parent != Some(rustix::process::getpid().as_raw_nonzero().get()) {
        return false;
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None))
}
