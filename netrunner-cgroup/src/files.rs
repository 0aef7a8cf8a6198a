//! Reading and writing the small files of a group through its directory's descriptor, so that a path that
//! is removed and made again in the meantime never misdirects a write.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// The whole text of a file.
pub(crate) fn read(dir: impl AsFd, file: impl Arg) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut file = File::from(openat(dir, file, OFlags::RDONLY)?);
    match file.read_to_end(&mut text) {
        Ok(_) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Writes the value by one call, as these files want it.
pub(crate) fn write(dir: impl AsFd, file: impl Arg, value: &str) -> Result<(), Errno> {
    let mut file = File::from(openat(dir, file, OFlags::WRONLY)?);
    match file.write(value.as_bytes()) {
        Ok(length) if length == value.len() => Ok(()),
        Ok(_) => Err(Errno::IO),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Opens a group below another.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd, Errno> {
    open(dir, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a file of a group, or a group below it, to be kept.
pub(crate) fn open(dir: impl AsFd, name: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    above_stdio(openat(dir, name, flags)?)
}

fn openat(dir: impl AsFd, name: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
}

/// Moves a descriptor away from the numbers of the standard streams, where it stands in a process that has
/// closed one: it would be taken for that stream.
pub(crate) fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(fd, 3) }
}

/// Whether the directory that was opened is still the one that the name leads to.
pub(crate) fn is_still(above: BorrowedFd<'_>, name: impl Arg, dir: BorrowedFd<'_>) -> bool {
    let there = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
    match (there, rustix::fs::fstat(dir)) {
        (Ok(there), Ok(ours)) => (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino),
        _ => false,
    }
}

/// The names of the groups directly below.
pub(crate) fn groups_below(dir: BorrowedFd<'_>) -> Result<Vec<std::ffi::CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type().is_dir() && !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
