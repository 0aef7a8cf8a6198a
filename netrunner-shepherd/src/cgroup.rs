//! The cgroup of the command of the moment, which the client has made: killed with the command, and removed
//! should the client not be there to do it. What it says of itself the client reads.

use alloc::ffi::CString;
use alloc::vec::Vec;

use netrunner_core::spawn::{Place, Source, Spawn};

use crate::sys::abi::{ENOENT, O_DIRECTORY, O_RDONLY, O_WRONLY};
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

    /// Kills everybody in it at once. Where the kernel can't (before Linux 5.14), the group is frozen, so
    /// that nobody in it forks away from the sweep; SIGKILL ends the frozen, too.
    pub(crate) fn kill(&self) {
        if self.write(c"cgroup.kill", b"1").is_err() {
            // Without it either there are only signals left, as for a command without a group.
            let _ = self.write(c"cgroup.freeze", b"1");
        }
    }

    /// Lets a frozen group hear what it is asked.
    pub(crate) fn thaw(&self) {
        // It fails before Linux 5.2, where nothing can be frozen.
        let _ = self.write(c"cgroup.freeze", b"0");
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

    fn write(&self, file: &core::ffi::CStr, value: &[u8]) -> Result<(), Errno> {
        let file = files::open_at(&self.group, file, O_WRONLY)?;
        files::write(&file, value).map(drop)
    }
}

fn remove(above: &Fd, name: &core::ffi::CStr, depth: u32) -> Result<(), Errno> {
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
        let _ =
            calls::poll(&mut [], Some(calls::now().after(core::time::Duration::from_millis(1))));
    }
    files::remove_directory(above, name)
}

/// The names of the directories in one.
fn groups_in(directory: &Fd) -> Vec<CString> {
    let mut found = Vec::new();
    files::each_entry(directory, &mut |name, kind| {
        if kind == Kind::Directory && !matches!(name, b"." | b"..") {
            found.extend(CString::new(name));
        }
    });
    found
}
