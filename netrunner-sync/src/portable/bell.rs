//! A bell: one thread rings it to wake another that polls. A pipe whose ends never wait.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::ioctl_fionbio;

use crate::lane::above_stdio;

#[derive(Debug)]
pub(crate) struct Bell {
    read: OwnedFd,
    write: OwnedFd,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let (read, write) = crate::sys::pipe()?;
        ioctl_fionbio(&read, true)?;
        ioctl_fionbio(&write, true)?;
        Ok(Bell { read: above_stdio(read)?, write: above_stdio(write)? })
    }

    /// What is readable when it was rung.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.read
    }

    pub(crate) fn ring(&self) {
        // A full pipe is readable, and needs no more.
        let _ = rustix::io::write(&self.write, &[1]);
    }

    /// Takes all rings.
    pub(crate) fn hush(&self) {
        while matches!(rustix::io::read(&self.read, &mut [0; 64]), Ok(1..)) {}
    }
}
