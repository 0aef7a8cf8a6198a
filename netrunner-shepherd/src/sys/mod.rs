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
//! | `posix` | the same by the system's libc, for systems that are not Linux |

#[cfg(not(any(
    netrunner_portable,
    all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))
)))]
compile_error!("the shepherd knows the system calls of Linux on x86-64 and 64-bit ARM only");

#[cfg(not(netrunner_portable))]
pub(crate) mod abi;
#[cfg(not(netrunner_portable))]
pub(crate) mod calls;
#[cfg(not(netrunner_portable))]
pub(crate) mod files;
#[cfg(not(netrunner_portable))]
pub(crate) mod memory;
#[cfg(not(netrunner_portable))]
pub(crate) mod socket;
#[cfg(not(netrunner_portable))]
pub(crate) mod tty;
#[cfg(not(netrunner_portable))]
pub(crate) mod window;

#[cfg(all(target_arch = "aarch64", not(netrunner_portable)))]
#[path = "aarch64.rs"]
mod arch;
#[cfg(all(target_arch = "x86_64", not(netrunner_portable)))]
#[path = "x86_64.rs"]
mod arch;

#[cfg(netrunner_portable)]
mod posix;
#[cfg(all(netrunner_portable, not(test)))]
pub(crate) use posix::memory;
#[cfg(netrunner_portable)]
pub(crate) use posix::{abi, calls, files, socket, tty, window};

pub(crate) use calls::{Errno, Fd};
