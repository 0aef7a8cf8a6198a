//! Word of a step that has failed, left in one word of memory by whoever takes it: the child, or those who
//! make its namespace.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use netrunner_core::message::Step;

use super::super::calls::Errno;

/// A step of making a namespace that has failed.
pub(crate) struct Failed {
    pub(crate) step: Step,
    pub(crate) errno: Errno,
    pub(crate) object: Object,
}

/// What making a namespace can fail on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Nothing,
    SetGroups,
    UserMap,
    GroupMap,
    Mounts,
    ProcMount,
}

/// Each with its path, at the place of its number.
const OBJECTS: [(Object, &CStr); 6] = [
    (Object::Nothing, c""),
    (Object::SetGroups, c"/proc/self/setgroups"),
    (Object::UserMap, c"/proc/self/uid_map"),
    (Object::GroupMap, c"/proc/self/gid_map"),
    (Object::Mounts, c"/"),
    (Object::ProcMount, c"/proc"),
];

impl Object {
    fn number(self) -> usize {
        OBJECTS.iter().position(|(object, _)| *object == self).unwrap_or(0)
    }

    pub(crate) fn path(self) -> &'static CStr {
        Object::numbered(self.number())
    }

    /// The path of the one that has this number.
    pub(super) fn numbered(number: usize) -> &'static CStr {
        OBJECTS.get(number).map_or(c"", |(_, path)| *path)
    }
}

/// The word: the candidate (a path to execute, or an object) in the upper half, then step + 1 and errno; zero
/// while nothing has failed.
pub(super) struct Failure(pub(super) &'static AtomicU64);

impl Failure {
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The failed step, its errno, and the candidate it was about.
    pub(super) fn get(&self) -> Option<(Step, Errno, usize)> {
        let word = self.0.load(Ordering::Acquire);
        let step = Step::numbered(((word >> 16) as u8).checked_sub(1)?)?;
        Some((step, Errno(word as u16), (word >> 32) as usize))
    }

    pub(super) fn set(&self, step: Step, errno: Errno, candidate: usize) {
        let number = u64::from(step.number()) + 1;
        let word = (candidate as u64) << 32 | number << 16 | u64::from(errno.0);
        self.0.store(word, Ordering::Release);
    }

    pub(super) fn set_failed(&self, failed: &Failed) {
        self.set(failed.step, failed.errno, failed.object.number());
    }
}
