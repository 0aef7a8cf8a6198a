//! Moves stdin, stdout and stderr together. Not connected yet.

use std::os::fd::OwnedFd;

use crate::error::{Error, Result};
use crate::report::Output;
use crate::running::Running;

pub(crate) fn to_end(
    _running: &Running,
    _stdout: Option<OwnedFd>,
    _stderr: Option<OwnedFd>,
) -> Result<Output> {
    Err(Error::system("reach the shepherd", std::io::ErrorKind::Unsupported))
}
