//! The cgroup of the command of the moment, which the client has made: killed with the command, and removed
//! should the client not be there to do it. What it says of itself the client reads.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::time::Duration;

use netrunner_core::message::Pid;
use netrunner_core::spawn::{Place, Source, Spawn};

use crate::procfs;
use crate::sys::abi::{ENOENT, O_DIRECTORY, O_RDONLY, O_WRONLY, SIGKILL};
use crate::sys::files::{self, Kind};
use crate::sys::{Errno, Fd, calls};

/// Groups below groups are removed to this depth.
const DEEPEST: u32 = 64;

pub(crate) struct Cgroup {
    /// The lock that tells others that somebody lives for the group goes with this.
    group: Fd,
    above: Fd,
    name: CString,
}

impl Cgroup {
    /// The group of a command, by its descriptors in the order of the placements.
    pub(crate) fn of(spawn: &Spawn<'_>, descriptors: &[Fd]) -> Option<Cgroup> {
        let name = CString::from(spawn.cgroup?);
        let find = |place| {
            let mut passed =
                spawn.descriptors.iter().filter(|placement| placement.source == Source::Passed);
            let at = passed.position(|placement| placement.place == place)?;
            descriptors.get(at)?.duplicate(3).ok()
        };
        Some(Cgroup { group: find(Place::Cgroup)?, above: find(Place::CgroupAbove)?, name })
    }

    /// Kills everybody in it at once.
    pub(crate) fn kill(&self) {
        kill(&self.group);
    }

    /// Has everybody in it stand still as soon as they can.
    pub(crate) fn freeze(&self) {
        // It fails before Linux 5.2, as does the thaw.
        let _ = write(&self.group, c"cgroup.freeze", b"1");
    }

    /// Lets a frozen group hear what it is asked.
    pub(crate) fn thaw(&self) {
        let _ = write(&self.group, c"cgroup.freeze", b"0");
    }

    /// Removes it with the groups below, if nobody is in it.
    ///
    /// The client may have been quicker, and the name may be another command's by now. What is still
    /// there is ours: nobody makes it anew while its lock is held, which goes with our descriptor.
    pub(crate) fn remove(&self) {
        if files::open_at(&self.group, c"cgroup.procs", O_RDONLY).is_err_and(|e| e == Errno(ENOENT))
        {
            return;
        }
        let _ = remove(&self.above, &self.name, DEEPEST); // What stays is stale, and swept as such.
    }
}

fn write(group: &Fd, file: &CStr, value: &[u8]) -> Result<(), Errno> {
    let file = files::open_at(group, file, O_WRONLY)?;
    files::write(&file, value).map(drop)
}

fn read(group: &Fd, file: &CStr) -> Result<Vec<u8>, Errno> {
    calls::read_all(&files::open_at(group, file, O_RDONLY)?)
}

/// Kills everybody in a group at once. Where the kernel can't (before Linux 5.14), the group is frozen, so
/// that nobody in it forks away, and each is killed by number; SIGKILL ends the frozen, too.
fn kill(group: &Fd) {
    if write(group, c"cgroup.kill", b"1").is_err() {
        // Without it either (before Linux 5.2) the next call must be quicker than the forks.
        let _ = write(group, c"cgroup.freeze", b"1");
        kill_listed(group, DEEPEST);
    }
}

/// A threaded group lists nobody, and need not: the group above it does.
fn kill_listed(group: &Fd, depth: u32) {
    for pid in members(group) {
        // Without pidfds only our own descendants can be hit without hitting a stranger: see `sweep`.
        if let Ok(Some(pidfd)) = calls::open_pidfd_if_any(pid) {
            // The number is looked up again with the descriptor open: it can't be another's by now.
            if members(group).contains(&pid) {
                let _ = calls::signal_pidfd(&pidfd, SIGKILL); // It has ended.
            }
        }
    }
    for below in groups_in(group) {
        if let Some(below) = open(group, &below).filter(|_| depth > 0) {
            kill_listed(&below, depth - 1);
        }
    }
}

/// Zero, in the list, is somebody who has no number in this pid namespace.
fn members(group: &Fd) -> Vec<Pid> {
    let list = read(group, c"cgroup.procs").unwrap_or_default();
    let numbers = list.split(|&byte| byte == b'\n').filter_map(procfs::parse);
    numbers.filter(|&number| number > 0).map(Pid).collect()
}

/// A group below another.
pub(crate) fn open(above: &Fd, name: &CStr) -> Option<Fd> {
    files::open_at(above, name, O_RDONLY | O_DIRECTORY).ok()
}

/// How long a group of nobody may take to end, in milliseconds.
const PATIENCE: u32 = 2_000;

/// Kills everybody in a group and removes it. What can't be ended in time stays for the next sweep.
pub(crate) fn end(above: &Fd, name: &CStr, group: &Fd) {
    let is_populated = || {
        let events = read(group, c"cgroup.events").unwrap_or_default();
        events.split(|&byte| byte == b'\n').any(|line| line == b"populated 1")
    };
    for _ in 0..PATIENCE {
        if !is_populated() {
            break;
        }
        kill(group);
        pause();
    }
    let _ = remove(above, name, DEEPEST); // as above
}

fn pause() {
    let _ = calls::poll(&mut [], Some(Duration::from_millis(1)));
}

fn remove(above: &Fd, name: &CStr, depth: u32) -> Result<(), Errno> {
    let removed = files::remove_directory(above, name);
    if removed.is_ok() || depth == 0 {
        return removed;
    }
    let directory = files::open_at(above, name, O_RDONLY | O_DIRECTORY)?;
    for below in groups_in(&directory) {
        let _ = remove(&directory, &below, depth - 1); // The last try tells.
    }
    // What has just died can keep it busy for a moment.
    for _ in 0..100 {
        if files::remove_directory(above, name).is_ok() {
            return Ok(());
        }
        pause();
    }
    files::remove_directory(above, name)
}

/// The names of the directories in one.
pub(crate) fn groups_in(directory: &Fd) -> Vec<CString> {
    let mut found = Vec::new();
    files::each_entry(directory, &mut |name, kind| {
        if kind == Kind::Directory && !matches!(name, b"." | b"..") {
            found.extend(CString::new(name));
        }
    });
    found
}
