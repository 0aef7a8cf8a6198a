//! System calls on what lies below an open directory, and the list of it.

use core::ffi::CStr;
use core::time::Duration;

use super::abi::*;
use super::arch::syscall;
use super::calls::{self, Errno, Fd, check, plain};
use crate::procfs;

/// Opens what `name` is in `directory`, but no link.
pub(crate) fn open_at(directory: &Fd, name: &CStr, flags: i32) -> Result<Fd, Errno> {
    let flags = (flags | O_CLOEXEC | O_NOFOLLOW) as usize;
    let arguments = [directory.number() as usize, name.as_ptr() as usize, flags, 0, 0, 0];
    // SAFETY: the name ends with a NUL.
    check(unsafe { syscall(NR_OPENAT, arguments) }).map(|number| Fd::own(number as i32))
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: i32) {
    if calls::close_range(first as u32, u32::MAX).is_ok() {
        return;
    }
    // Before Linux 5.9. The directory that is being read is among them, and closed when it is dropped.
    for number in procfs::numbers(c"/proc/self/fd") {
        if number.0 as i32 >= first {
            calls::close_number(number.0 as i32);
        }
    }
}

/// Writes by one call.
pub(crate) fn write(file: &Fd, bytes: &[u8]) -> Result<usize, Errno> {
    let arguments = [file.number() as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0];
    // SAFETY: the bytes are readable for their length.
    check(unsafe { syscall(NR_WRITE, arguments) })
}

/// Removes an empty directory.
pub(crate) fn remove_directory(above: &Fd, name: &CStr) -> Result<(), Errno> {
    let flags = AT_REMOVEDIR as usize;
    let arguments = [above.number() as usize, name.as_ptr() as usize, flags, 0, 0, 0];
    // SAFETY: the name ends with a NUL.
    check(unsafe { syscall(NR_UNLINKAT, arguments) }).map(drop)
}

/// Whether the directory belongs to a hierarchy of cgroup v2.
pub(crate) fn is_cgroup(directory: &Fd) -> bool {
    let mut told = Statfs::default();
    let arguments = [directory.number() as usize, &raw mut told as usize, 0, 0, 0, 0];
    // SAFETY: the structure is writable and of the kernel's size.
    let asked = check(unsafe { syscall(NR_FSTATFS, arguments) });
    asked.is_ok() && told.kind == CGROUP2_SUPER_MAGIC
}

/// Whether it is an end of a pipe, with a name or without.
pub(crate) fn is_pipe(file: &Fd) -> bool {
    stat_of(file, c"", AT_EMPTY_PATH).is_some_and(|stat| stat.mode & S_IFMT == S_IFIFO)
}

/// Whether there is something to read in a pipe.
pub(crate) fn has_unread(pipe: &Fd) -> bool {
    let mut fds = [Pollfd { fd: pipe.number(), events: POLLIN, revents: 0 }];
    calls::poll(&mut fds, Some(Duration::ZERO)).is_ok() && fds[0].revents & POLLIN != 0
}

/// Lets no call on this file wait, whoever else has it.
pub(crate) fn never_wait(file: &Fd) -> bool {
    let arguments = [file.number() as usize, F_SETFL as usize, O_NONBLOCK as usize, 0, 0, 0];
    plain(NR_FCNTL, arguments).is_ok()
}

/// Takes the lock of a file that nobody has (`flock(2)`); false if somebody has it.
pub(crate) fn lock(file: &Fd) -> bool {
    let how = (LOCK_EX | LOCK_NB) as usize;
    plain(NR_FLOCK, [file.number() as usize, how, 0, 0, 0, 0]).is_ok()
}

/// An extended attribute of a file, as far as the buffer holds it.
pub(crate) fn attribute<'b>(
    file: &Fd,
    name: &CStr,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let (start, length) = (buffer.as_mut_ptr() as usize, buffer.len());
    let arguments = [file.number() as usize, name.as_ptr() as usize, start, length, 0, 0];
    // SAFETY: the name ends with a NUL, and the buffer is writable for its length.
    let length = check(unsafe { syscall(NR_FGETXATTR, arguments) })?;
    Ok(&buffer[..length.min(buffer.len())])
}

/// Whether the directory that was opened is still the one that the name leads to.
pub(crate) fn is_still(above: &Fd, name: &CStr, directory: &Fd) -> bool {
    let there = identity(above, name, AT_SYMLINK_NOFOLLOW);
    there.is_some() && there == identity(directory, c"", AT_EMPTY_PATH)
}

fn identity(directory: &Fd, name: &CStr, flags: i32) -> Option<Identity> {
    stat_of(directory, name, flags).map(|stat| stat.identity)
}

fn stat_of(directory: &Fd, name: &CStr, flags: i32) -> Option<Stat> {
    let mut stat = Stat::default();
    let (name, to) = (name.as_ptr() as usize, &raw mut stat as usize);
    let arguments = [directory.number() as usize, name, to, flags as usize, 0, 0];
    // SAFETY: the name ends with a NUL, and the structure is writable and of the kernel's size.
    check(unsafe { syscall(NR_NEWFSTATAT, arguments) }).ok().map(|_| stat)
}

/// What an entry of a directory is, as far as anybody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    Other,
}

/// Calls `visit` for each entry of a directory. What can't be read is left out.
pub(crate) fn each_entry(directory: &Fd, visit: &mut dyn FnMut(&[u8], Kind)) {
    let mut buffer = [0; 2048];
    while let Ok(length) = directory.read_directory(&mut buffer) {
        let mut rest = &buffer[..length.min(buffer.len())];
        if rest.is_empty() {
            break;
        }
        // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name with its NUL.
        while let Some(header) = rest.first_chunk::<19>() {
            let record = usize::from(u16::from_ne_bytes([header[16], header[17]]));
            let Some(name) = rest.get(19..record) else { break };
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            let kind = if header[18] == DT_DIR { Kind::Directory } else { Kind::Other };
            visit(&name[..end], kind);
            rest = &rest[record..];
        }
    }
}
