//! What the calling thread may do, as far as shepherds have it too. It is compared at each spawn: a
//! privilege that was dropped must not come back through a shepherd that was started before.

use std::io;

use rustix::process::Gid;
use rustix::thread::{CapabilitySets, SecureComputingMode};

use crate::sys::{self, Three};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    users: Three,
    groups: Three,
    supplementary: Vec<Gid>,
    capabilities: CapabilitySets,
    no_new_privs: bool,
    seccomp: Option<SecureComputingMode>,
}

impl Rights {
    /// A handful of calls of a tenth of a microsecond each.
    pub(crate) fn now() -> io::Result<Rights> {
        Ok(Rights {
            users: sys::user_ids(),
            groups: sys::group_ids(),
            supplementary: rustix::process::getgroups()?,
            capabilities: rustix::thread::capabilities(None)?,
            no_new_privs: rustix::thread::no_new_privs()?,
            // EINVAL from a kernel without seccomp, which then can't change either.
            seccomp: rustix::thread::secure_computing_mode().ok(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_that_did_not_change_are_equal() {
        assert_eq!(Rights::now().unwrap(), Rights::now().unwrap());
    }

    #[test]
    fn no_new_privs_is_a_change() {
        // On a thread of its own, as it can't be undone and holds for the thread alone.
        std::thread::spawn(|| {
            let before = Rights::now().unwrap();
            rustix::thread::set_no_new_privs(true).unwrap();
            assert_ne!(before, Rights::now().unwrap());
        })
        .join()
        .unwrap();
    }
}
