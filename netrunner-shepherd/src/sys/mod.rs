//! The system calls that the shepherd needs, and nothing else: no libc, no crate.
//!
//! The shepherd is compiled by a build script in whatever surroundings a user's build has, so it
//! brings all that it needs (`ARCHITECTURE.md`, "How the shepherd's bytes are made"). This folder
//! is the only place with `unsafe` code; what it hands out is safe to call. Numbers and layouts are
//! compared with the `libc` crate's by the tests of [`abi`].
//!
//! | file | holds |
//! |---|---|
//! | `x86_64`, `aarch64` | the instructions: system call, clone onto another stack, program entry, copying; one of them is `arch` |
//! | `abi` | the kernel's structures and constants |
//! | `memory` | the allocator, and the copying functions that the compiler calls |
//! | `calls` | descriptors, processes, signals, time: one thin function per call |
//! | `files` | what lies below an open directory |
//! | `socket` | `sendmsg` and `recvmsg` with descriptors |
//! | `tty` | terminals and job control |
//! | `window` | the clone-to-exec window, and the ways to make the child's process |

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("the shepherd knows the system calls of Linux on x86-64 and 64-bit ARM only");

pub(crate) mod abi;
pub(crate) mod calls;
pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod socket;
pub(crate) mod tty;
pub(crate) mod window;

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;

pub(crate) use calls::{Errno, Fd};
