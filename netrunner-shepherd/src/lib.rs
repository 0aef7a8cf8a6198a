//! The shepherd of NetRunner, as bytes ready to run.
//!
//! `netrunner-sync` starts these bytes from a sealed memory file. What they do is described in
//! `main.rs` beside this file, which the build script compiles on its own; programs use
//! `netrunner-sync`.

/// The shepherd's program, a static executable for the target that this crate is built for.
///
/// Empty if the crate was built with `NETRUNNER_SHEPHERD_INSTALLED`.
///
/// ```
/// // An ELF executable, as long as the target is Linux.
/// let bytes = netrunner_shepherd::BYTES;
/// assert!(bytes.is_empty() || !cfg!(target_os = "linux") || bytes.starts_with(b"\x7fELF"));
/// ```
pub const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shepherd"));

/// The path of the installed program that is to be used instead of [`BYTES`]: what
/// `NETRUNNER_SHEPHERD_INSTALLED` said when the crate was built. For distributions.
///
/// ```
/// // One of the two is there.
/// assert!(netrunner_shepherd::INSTALLED.is_some() || !netrunner_shepherd::BYTES.is_empty());
/// ```
pub const INSTALLED: Option<&str> = option_env!("NETRUNNER_SHEPHERD_INSTALLED");
