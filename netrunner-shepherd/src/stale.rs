//! Groups that nobody lives for any more: the guardian ends them when its client and all shepherds are gone,
//! for a client and a shepherd that were killed together remove nothing.
//!
//! The rules are those of netrunner-cgroup's sweep, which is the next client's: a group of ours is marked, and
//! a lock on its directory that can be had is the proof that nobody is left who lives for it.

use core::ffi::CStr;

use crate::cgroup;
use crate::sys::Fd;
use crate::sys::files;

/// How the names of groups begin whose users have chosen none.
const PREFIX: &[u8] = b"netrunner-";

/// The attribute of the others.
const MARK: &CStr = c"user.netrunner";

/// Its value for a group on the way to another.
const WAY: &[u8] = b"way";

/// How deep below the delegated group is looked.
const DEEPEST: u32 = 16;

/// Whose a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Owned,
    /// It was made on the way to one, and goes when it is empty.
    Way,
    Foreign,
}

/// Ends every group of ours below the delegated one that nobody lives for.
pub(crate) fn sweep(delegated: &Fd) {
    sweep_below(delegated, DEEPEST, false);
}

/// In what was made on a way a group without a mark is one whose client was killed before it could set it.
fn sweep_below(above: &Fd, depth: u32, on_a_way: bool) {
    for name in cgroup::groups_in(above) {
        // Removed by somebody else, or another user's.
        let Some(group) = cgroup::open(above, &name) else { continue };
        match whose(&name, &group) {
            Whose::Owned => {
                if files::lock(&group) && files::is_still(above, &name, &group) {
                    cgroup::end(above, &name, &group);
                }
            }
            whose @ (Whose::Way | Whose::Foreign) => {
                if depth > 0 {
                    sweep_below(&group, depth - 1, on_a_way || whose == Whose::Way);
                }
                // Whoever is about to mark it holds its lock.
                let unmarked = || files::lock(&group) && files::is_still(above, &name, &group);
                if whose == Whose::Way || on_a_way && unmarked() {
                    // Somebody else uses it still; then it is theirs to remove.
                    let _ = files::remove_directory(above, &name);
                }
            }
        }
    }
}

fn whose(name: &CStr, group: &Fd) -> Whose {
    match files::attribute(group, MARK, &mut [0; 32]) {
        Ok(WAY) => Whose::Way,
        Ok(_) => Whose::Owned,
        Err(_) if name.to_bytes().starts_with(PREFIX) => Whose::Owned,
        Err(_) => Whose::Foreign,
    }
}
