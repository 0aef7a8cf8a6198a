//! What the calling thread may do, as far as shepherds have it too. It is compared at each spawn: a
//! privilege that was dropped must not come back through a shepherd that was started before.

use std::io;

use rustix::process::Gid;

use crate::sys::{self, Three};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    users: Three,
    groups: Three,
    supplementary: Vec<Gid>,
}

impl Rights {
    pub(crate) fn now() -> io::Result<Rights> {
        Ok(Rights {
            users: sys::user_ids(),
            groups: sys::group_ids(),
            supplementary: rustix::process::getgroups()?,
        })
    }

    /// Whether a change to this user leaves everything as it is.
    pub(crate) fn is_user(&self, uid: u32) -> bool {
        self.users == (uid, uid, uid)
    }

    /// Whether the real user is root.
    pub(crate) fn is_root(&self) -> bool {
        self.users.0 == 0
    }
}
