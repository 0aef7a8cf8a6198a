//! A bell: one thread rings it to wake another that polls. An `eventfd(2)`, which counts the rings.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

use crate::lane::above_stdio;

#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell(above_stdio(fd)?))
    }

    /// What is readable when it was rung.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    pub(crate) fn ring(&self) {
        // It overflows after 2^64 rings.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Takes all rings: one read does.
    pub(crate) fn hush(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}
