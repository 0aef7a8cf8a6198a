//! Opens a pair, so that at no instant anything of it could reach another program, or have a size
//! or a mode that was not asked for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use crate::manager::Manager;
use crate::modes::Modes;
use crate::size::WinSize;

/// The two ends of a new pseudo-terminal. Both are closed on exec.
///
/// ```
/// use netrunner_pty::{Modes, Pair, WinSize, open};
///
/// let Pair { manager, subsidiary } = open(WinSize::new(24, 80), &Modes::new())?;
/// assert_eq!(manager.size()?, WinSize::of(&subsidiary)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Pair {
    /// For whoever drives the terminal.
    pub manager: Manager,
    /// What is a terminal for programs.
    pub subsidiary: OwnedFd,
}

/// Opens a pseudo-terminal with this size and these modes.
///
/// Both ends are close-on-exec from birth, neither is on one of 0 to 2, and neither becomes the
/// caller's controlling terminal. The subsidiary is asked for at the manager (`TIOCGPTPEER`), so
/// that it is the right one in whatever mount namespace the caller lives.
///
/// ```
/// use std::io::IsTerminal;
/// use netrunner_pty::{Modes, WinSize, open};
///
/// let pair = open(WinSize::new(24, 80), &Modes::new())?;
/// assert!(pair.subsidiary.is_terminal());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// ENOSPC where the system has no more pseudo-terminals, ENOENT where it has no `/dev/ptmx`, and
/// EMFILE and the like.
pub fn open(size: WinSize, modes: &Modes) -> io::Result<Pair> {
    let manager = above_stdio(manager()?)?;
    unlockpt(&manager)?;
    let subsidiary = match by_ioctl(&manager)? {
        Some(subsidiary) => subsidiary,
        None => by_name(&manager)?,
    };
    let subsidiary = above_stdio(subsidiary)?;
    size.set(&manager)?;
    modes.apply(&subsidiary)?;
    Ok(Pair { manager: Manager::from(manager), subsidiary })
}

/// A new manager, close-on-exec from birth.
#[cfg(not(target_vendor = "apple"))]
fn manager() -> io::Result<OwnedFd> {
    Ok(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?)
}

/// A new manager. Between its birth and the mark another thread's child may get it.
#[cfg(target_vendor = "apple")]
fn manager() -> io::Result<OwnedFd> {
    let manager = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&manager, rustix::io::FdFlags::CLOEXEC)?;
    Ok(manager)
}

/// Moves a descriptor away from 0 to 2, where a program that has closed one of these would pass it
/// on to its children as a standard stream.
fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?) }
}

/// Opens the subsidiary without a name; nothing before Linux 4.13, or in a sandbox that does not know it.
#[cfg(target_os = "linux")]
fn by_ioctl(manager: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    use rustix::io::Errno;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    match rustix::pty::ioctl_tiocgptpeer(manager, flags) {
        Ok(subsidiary) => Ok(Some(subsidiary)),
        Err(Errno::NOTTY | Errno::INVAL | Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Only Linux has the call.
#[cfg(not(target_os = "linux"))]
fn by_ioctl(_: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// Opens the subsidiary by its name, which may be another's: `/dev/pts` may be that of another
/// instance than the one which `/dev/ptmx` belongs to.
fn by_name(manager: &OwnedFd) -> io::Result<OwnedFd> {
    let name = ptsname(manager, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let subsidiary = openat(CWD, &name, flags, Mode::empty())?;
    if is_pair(manager, &subsidiary)? {
        return Ok(subsidiary);
    }
    let name = name.to_string_lossy();
    Err(io::Error::new(io::ErrorKind::NotFound, format!("`{name}` is another terminal")))
}

/// Whether these are two ends of one terminal: a size that is set at one is seen at the other.
/// Nobody else knows of the manager, and sizes like these have only terminals that are being asked.
fn is_pair(manager: impl AsFd, subsidiary: impl AsFd) -> io::Result<bool> {
    let (manager, subsidiary) = (manager.as_fd(), subsidiary.as_fd());
    let is_device =
        FileType::from_raw_mode(fstat(subsidiary)?.st_mode) == FileType::CharacterDevice;
    if !is_device {
        return Ok(false);
    }
    for mark in [WinSize::new(0, 0xfedc), WinSize::new(0xba98, 0)] {
        mark.set(manager)?;
        if WinSize::of(subsidiary).ok() != Some(mark) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        open(WinSize::new(24, 80), &Modes::new()).unwrap()
    }

    #[test]
    fn the_name_leads_to_the_same_terminal() {
        let pair = pair();
        let manager = pair.manager.as_fd().try_clone_to_owned().unwrap();
        let named = by_name(&manager).unwrap();
        let (named, asked) = (fstat(&named).unwrap(), fstat(&pair.subsidiary).unwrap());
        assert_eq!((named.st_rdev, named.st_ino), (asked.st_rdev, asked.st_ino));
    }

    #[test]
    fn another_terminal_is_told_apart() {
        let (one, other) = (pair(), pair());
        assert!(is_pair(&one.manager, &one.subsidiary).unwrap());
        assert!(!is_pair(&one.manager, &other.subsidiary).unwrap());
        assert!(!is_pair(&one.manager, std::fs::File::open("/dev/null").unwrap()).unwrap());
    }

    #[test]
    fn nothing_of_it_survives_an_exec() {
        let pair = pair();
        for fd in [pair.manager.as_fd(), pair.subsidiary.as_fd()] {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            assert!(fd.as_raw_fd() > 2);
        }
    }
}
