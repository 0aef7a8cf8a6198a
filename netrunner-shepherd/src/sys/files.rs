//! System calls on what lies below an open directory.

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
