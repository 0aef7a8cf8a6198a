//! There are no cgroups here, so none is left behind.

use crate::sys::Fd;

pub(crate) fn sweep(_: &Fd) {}
