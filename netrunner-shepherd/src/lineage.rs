//! Who is whose, for job control: where the guardian is, who descends from whom, who would continue a group.

use netrunner_core::message::Pid;
use netrunner_core::terminal::Overseer;

use crate::procfs;
pub(crate) use crate::procfs::check_numbers;
use crate::sys::calls::{group_of, own_pid};
use crate::sys::tty;

/// How far up a process's origins are followed.
const GENERATIONS: usize = 64;

/// The guardian, if it lives: whoever adopted us when it died has children of all kinds.
pub(crate) fn guardian() -> Option<Pid> {
    let origin = tty::origin();
    (procfs::name(origin) == crate::guardian::NAME.to_bytes()).then_some(origin)
}

/// Whether a process descends from another. An origin that has ended cuts the line.
pub(crate) fn is_below(pid: Pid, ancestor: Pid) -> bool {
    let mut pid = pid;
    for _ in 0..GENERATIONS {
        match procfs::stat(pid) {
            Some(stat) if stat.parent == ancestor.0 => return true,
            Some(stat) if stat.parent > 1 => pid = Pid(stat.parent),
            Some(_) | None => return false,
        }
    }
    false
}

/// Whether somebody would continue the group if it were stopped: as the kernel sees it, a process
/// of the session whose child is in the group and which is not in it itself (`setpgid(2)`). Our own
/// kind does not count: a shepherd is the guardian's child, and may be in the group just now.
pub(crate) fn overseer(group: Pid) -> Overseer {
    let ours = tty::session_of(own_pid());
    let guardian = guardian();
    for pid in procfs::numbers(c"/proc") {
        if group_of(pid) != Some(group) {
            continue;
        }
        let Some(stat) = procfs::stat(pid).filter(|stat| !stat.zombie) else { continue };
        let origin = Pid(stat.parent);
        let outside = origin.0 > 1
            && Some(origin) != guardian
            && tty::session_of(origin) == ours
            && group_of(origin) != Some(group);
        if outside {
            return Overseer::Shell;
        }
    }
    Overseer::Nobody
}
