//! Whose pidfd is this? A peer can pass the pidfd of any process, and what is done with one is to kill
//! and to reap, so each is looked at when it arrives. What follows from that is the lane's business.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;

/// What stands behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    /// This process, which is not reaped.
    Is {
        /// Its number.
        pid: u32,
        /// Who started it, or adopted it.
        parent: u32,
    },
    /// A process that was reaped.
    Ended,
    /// A process that this one can't see (no `/proc`, on a kernel that needs it).
    Unknown,
    /// No process at all.
    NoProcess,
}

/// Looks at a descriptor that a peer has passed.
pub(crate) fn of(fd: &OwnedFd) -> Kin {
    // First of all a call that no other kind of file answers: the request below could mean anything
    // to a device.
    match crate::sys::ask_pidfd(fd.as_fd()) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(Errno::SRCH) => return Kin::Ended,
        // Denied by a sandbox: then nothing can be done with it either.
        Err(Errno::NOSYS) => return Kin::Unknown,
        Err(_) => return Kin::NoProcess,
    }
    match crate::sys::pidfd_kin(fd.as_fd()) {
        Ok((pid, parent)) => Kin::Is { pid, parent },
        Err(Errno::SRCH) => Kin::Ended,
        // Before Linux 6.13.
        Err(_) => by_proc(fd),
    }
}

/// The same from `/proc`, in four steps.
///
/// 1. The number stands in the descriptor's own `fdinfo` (Linux 5.2).
/// 2. The parent stands in the `stat` of that number, of whichever process has it now.
/// 3. The process behind the descriptor is still not reaped;
/// 4. so its number was its own in step 2.
fn by_proc(fd: &OwnedFd) -> Kin {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    let Ok(info) = info else { return Kin::Unknown };
    let Some(pid) = info.lines().find_map(|line| line.strip_prefix("Pid:")) else {
        return Kin::NoProcess;
    };
    // -1 of a process that was reaped, 0 of one outside this pid namespace.
    let Ok(pid) = pid.trim().parse::<u32>() else { return Kin::Ended };
    let parent = parent_of(pid);
    match (crate::sys::ask_pidfd(fd.as_fd()), parent) {
        (Ok(()) | Err(Errno::PERM), Some(parent)) => Kin::Is { pid, parent },
        (Ok(()) | Err(Errno::PERM), None) => Kin::Unknown,
        (Err(_), _) => Kin::Ended,
    }
}

/// The session of the process behind a pidfd, which has this number: asked for by the number, and
/// believed if the process is still not reaped after that.
pub(crate) fn session_of(fd: &OwnedFd, pid: u32) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let session = fields(&stat)?.nth(3)?.parse().ok()?;
    crate::sys::ask_pidfd(fd.as_fd()).ok()?;
    Some(session)
}

/// Whether the process of this number has ended, as far as can be seen: it is gone, or a zombie.
pub(crate) fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = fields(&stat).and_then(|mut fields| fields.next());
    !matches!(state, Some(state) if state != "Z" && state != "X")
}

/// The parent of the process that has this number now, if there is one and `/proc` shows it.
fn parent_of(pid: u32) -> Option<u32> {
    parent_in(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parent_in(stat: &[u8]) -> Option<u32> {
    fields(stat)?.nth(1)?.parse().ok()
}

/// The fields from the third on: state, parent, … The second, in parentheses, is a name of any bytes.
fn fields(stat: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    Some(std::str::from_utf8(stat.get(name_end + 1..)?).ok()?.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    fn pidfd(pid: u32) -> OwnedFd {
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    /// Each way to find out says the same.
    #[test]
    fn a_pidfd_tells_whose_it_is() {
        let me = std::process::id();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let is = Kin::Is { pid: child.id(), parent: me };
        let fd = pidfd(child.id());
        assert_eq!((of(&fd), by_proc(&fd)), (is, is));
        child.kill().unwrap();
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)],
            None,
        )
        .unwrap();
        assert_eq!((of(&fd), by_proc(&fd)), (is, is), "a zombie still is");
        child.wait().unwrap();
        assert_eq!((of(&fd), by_proc(&fd)), (Kin::Ended, Kin::Ended));
    }

    #[test]
    fn other_descriptors_are_no_process() {
        let (socket, other) = crate::lane::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap().into();
        let status = std::fs::File::open("/proc/self/status").unwrap().into();
        for fd in [socket, other, file, status] {
            assert_eq!((of(&fd), by_proc(&fd)), (Kin::NoProcess, Kin::NoProcess));
        }
    }

    #[test]
    fn a_name_may_look_like_the_end_of_it() {
        assert_eq!(parent_in(b"12 (a) S 3 (b) R 45 6 7"), Some(45));
        assert_eq!(parent_in(b"12 (a"), None);
    }
}
