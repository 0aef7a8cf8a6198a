//! Pseudo-terminals: a pair opened in one go, with its size and modes, and what a program attaches
//! to it by.
//!
//! A pseudo-terminal has two ends. Programs run on the *subsidiary*, which is a terminal to them;
//! whoever drives them reads and writes the *manager*. This crate opens both ([`open`]), prepares a
//! child ([`attach`]), and wraps the manager ([`Manager`]). It knows nothing of processes; to run
//! commands on terminals, with all that belongs to it, use `netrunner-sync`.
//!
//! ```
//! use std::io::{Read, Write};
//! use netrunner_pty::{Modes, WinSize, open};
//!
//! let pair = open(WinSize::new(24, 80), &Modes::new().echo(false))?;
//! let (mut manager, subsidiary) = (pair.manager, std::fs::File::from(pair.subsidiary));
//! assert_eq!(WinSize::of(&subsidiary)?, WinSize::new(24, 80));
//!
//! (&subsidiary).write_all(b"hello\n")?;
//! drop(subsidiary);
//! let mut text = String::new();
//! manager.read_to_string(&mut text)?; // ends, though the system says EIO
//! assert_eq!(text, "hello\r\n");
//! # Ok::<(), std::io::Error>(())
//! ```

mod attach;
mod control;
mod manager;
mod modes;
mod open;
mod size;

pub use attach::{attach, lead_session};
pub use control::Control;
pub use manager::{Manager, foreground, read, unread, write};
pub use modes::Modes;
pub use open::{Pair, open};
pub use size::{NoSize, WinSize};
