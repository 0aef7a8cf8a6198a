//! The shared state of one live command. Not connected yet.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::report::Report;
use crate::signal::Signal;

#[derive(Debug)]
pub(crate) struct Running {
    pid: u32,
}

fn unconnected<T>() -> Result<T> {
    Err(Error::system("reach the shepherd", std::io::ErrorKind::Unsupported))
}

impl Running {
    pub(crate) fn abandon(_running: &Arc<Running>) {}

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        unconnected()
    }

    pub(crate) fn try_wait(&self) -> Result<Option<ExitStatus>> {
        unconnected()
    }

    pub(crate) fn wait_until(&self, _deadline: Option<Instant>) -> Result<Option<ExitStatus>> {
        unconnected()
    }

    pub(crate) fn kill(&self) -> Result<()> {
        unconnected()
    }

    pub(crate) fn stop(&self) -> Result<ExitStatus> {
        unconnected()
    }

    pub(crate) fn signal(&self, _signal: Signal) -> Result<()> {
        unconnected()
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        None
    }

    pub(crate) fn detach(&self) -> u32 {
        self.pid
    }
}
