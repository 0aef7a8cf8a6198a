//! System calls on what lies below an open directory, and the list of it.

use core::ffi::CStr;

use super::abi::*;
use super::calls::{Errno, Fd, check};
use super::x86_64::syscall;

/// Opens what `name` is in `directory`, but no link.
pub(crate) fn open_at(directory: &Fd, name: &CStr, flags: i32) -> Result<Fd, Errno> {
    let flags = (flags | O_CLOEXEC | O_NOFOLLOW) as usize;
    let arguments = [directory.number() as usize, name.as_ptr() as usize, flags, 0, 0, 0];
    // SAFETY: the name ends with a NUL.
    check(unsafe { syscall(NR_OPENAT, arguments) }).map(|number| Fd::own(number as i32))
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
