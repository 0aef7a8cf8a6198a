//! Groups whose owners are gone. A group of ours has its owner recorded (in its name or in an extended
//! attribute), and whoever lives for it holds a lock on its directory: the kernel drops that with the last
//! descriptor, so a lock that can be had is the proof that nobody is left, and no number that may have been
//! reused is ever asked.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files;
use crate::kernel;
use crate::remove::Grip;

/// How the names of [`crate::Cgroup::auto`] begin.
pub(crate) const PREFIX: &str = "netrunner-";

/// The attribute of groups whose names the user has chosen.
const MARK: &str = "user.netrunner";

/// Its value for a group on the way; else it is the owner's pid, for people to read.
const WAY: &[u8] = b"way";

/// How deep the sweep looks for groups of ours below the delegated one.
const DEEPEST: u32 = 16;

/// How long a swept group may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a sweep has done.
///
/// ```
/// use netrunner_cgroup::{Place, Swept, sweep};
///
/// if let Ok(place) = Place::detect() {
///     let Swept { removed, failed, .. } = sweep(&place)?;
///     println!("{} removed, {} not", removed.len(), failed.len());
/// }
/// # Ok::<(), netrunner_cgroup::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Paths below the delegated group that were removed.
    pub removed: Vec<std::path::PathBuf>,
    /// Those that could not be, and why.
    pub failed: Vec<(std::path::PathBuf, String)>,
}

/// Writes the owner down. Kernels before 5.7 have no such attributes here; then only the names of
/// [`crate::Cgroup::auto`] tell.
pub(crate) fn mark(dir: &OwnedFd) {
    let owner = std::process::id().to_string();
    // Refused, the group works all the same; only a later sweep will not take it for ours.
    let _ = kernel::set_mark(dir, MARK, owner.as_bytes());
}

/// The same for a group that was made on the way to one: it has no owner, and goes when it is empty.
pub(crate) fn mark_way(dir: &OwnedFd) {
    let _ = kernel::set_mark(dir, MARK, WAY); // as above
}

/// Whether a group was made on the way to one.
pub(crate) fn is_way(dir: impl AsFd) -> bool {
    matches!(whose(c"", dir), Whose::Way)
}

/// Whose a group is.
enum Whose {
    Owned,
    Way,
    Foreign,
}

fn whose(name: &CStr, dir: impl AsFd) -> Whose {
    let mut owner = [0u8; 32];
    match kernel::mark(dir, MARK, &mut owner) {
        Ok(length) if owner[..length] == *WAY => Whose::Way,
        Ok(_) => Whose::Owned,
        Err(_) if name.to_bytes().starts_with(PREFIX.as_bytes()) => Whose::Owned,
        Err(_) => Whose::Foreign,
    }
}

/// Takes the lock of a group; false if somebody has it.
pub(crate) fn lock(dir: &OwnedFd) -> std::result::Result<bool, Errno> {
    match rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Gives it back. Closing the directory is not enough: another thread may be forking, and its child has a
/// duplicate until it executes its program.
pub(crate) fn unlock(dir: &OwnedFd) {
    let _ = rustix::fs::flock(dir, FlockOperation::Unlock); // What is ours to lock is ours to unlock.
}

/// Ends every group of ours below `dir` that nobody lives for.
pub(crate) fn sweep(dir: BorrowedFd<'_>) -> Result<Swept> {
    let mut swept = Swept::default();
    sweep_below(dir, std::path::Path::new(""), DEEPEST, false, &mut swept)
        .map_err(|errno| Error::io("look for stale groups in", "the delegated group", errno))?;
    Ok(swept)
}

/// In what was made on a way a group without a mark is one whose client was killed before it could set it.
fn sweep_below(
    above: BorrowedFd<'_>,
    path: &std::path::Path,
    depth: u32,
    on_a_way: bool,
    swept: &mut Swept,
) -> std::result::Result<(), Errno> {
    for name in files::groups_below(above)? {
        // Removed by somebody else, or another user's.
        let Ok(dir) = files::open_dir(above, name.as_c_str()) else { continue };
        let path = path.join(name.to_string_lossy().as_ref());
        let whose = whose(&name, &dir);
        if matches!(whose, Whose::Way | Whose::Foreign) {
            if depth > 0 {
                // What can't be listed has nothing of ours.
                let on_a_way = on_a_way || matches!(whose, Whose::Way);
                let _ = sweep_below(dir.as_fd(), &path, depth - 1, on_a_way, swept);
            }
            // Whoever is about to mark it holds its lock.
            let unmarked =
                || matches!(lock(&dir), Ok(true)) && files::is_still(above, &name, dir.as_fd());
            if (matches!(whose, Whose::Way) || on_a_way && unmarked())
                && rustix::fs::unlinkat(above, name.as_c_str(), AtFlags::REMOVEDIR).is_ok()
            {
                swept.removed.push(path);
            }
            continue;
        }
        match lock(&dir) {
            Ok(true) => {
                if files::is_still(above, name.as_c_str(), dir.as_fd()) {
                    match end(above, &name, dir.as_fd()) {
                        Ok(()) => swept.removed.push(path),
                        Err(errno) => swept.failed.push((path, errno.to_string())),
                    }
                }
                unlock(&dir);
            }
            Ok(false) => {}
            Err(errno) => swept.failed.push((path, errno.to_string())),
        }
    }
    Ok(())
}

fn end(above: BorrowedFd<'_>, name: &CStr, dir: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let deadline = Instant::now() + PATIENCE;
    let grip = Grip::new(dir)?;
    if !grip.empty(deadline)? {
        return Err(Errno::BUSY);
    }
    grip.remove(above, name, deadline)
}
