//! The same calls as beside this folder, by the system's libc: the portable form, for systems that promise no
//! stable numbers of system calls, and for what no other system than Linux has.
//!
//! Each file has the shape of its namesake, so nothing outside of `sys` knows which it got. What there is no
//! equivalent of answers as an old kernel would (`ENOSYS`, no pidfd), which the callers know. Linux can be made
//! to use it (`--cfg netrunner_portable`), and the suite runs on it so.

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
compile_error!("the shepherd knows the constants of Linux, macOS and FreeBSD only");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("the shepherd knows the structures of 64-bit systems only");

pub(crate) mod abi;
pub(crate) mod calls;
pub(crate) mod files;
mod libc;
#[cfg(not(test))]
pub(crate) mod memory;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod tty;
pub(crate) mod window;

/// The program begins here, called by libc's own start.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main() -> core::ffi::c_int {
    crate::start()
}
