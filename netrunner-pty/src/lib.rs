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
//!
//! # Guarantees
//!
//! - Both ends are close-on-exec from birth, and neither is on one of 0 to 2: no program that another
//!   thread starts meanwhile gets one.
//! - Size and modes are set before [`open`] returns, so no program finds others.
//! - The subsidiary is that of the manager, whatever `/dev/pts` is here, or [`open`] fails.
//! - The end of file of a [`Manager`] comes after every byte that was written to the subsidiary.
//! - A read or write of a [`Manager`] ends when nobody has the subsidiary open any more.
//!
//! # Not guaranteed
//!
//! - That an end stays one: a program may open its terminal again by `/dev/tty`. Whoever wants the end
//!   to be that of all programs keeps the subsidiary open until they are gone.
//! - That everything typed is read. A terminal that edits lines drops what a line has beyond 4095 bytes,
//!   and a program that changes the modes may drop what was typed before.
//! - That a read fills its buffer: Linux hands out 4095 bytes at a time.
//! - That anybody dies with the terminal: a hang-up is a signal, which programs may ignore.
//!
//! # Mechanism
//!
//! `posix_openpt(3)`, `TIOCGPTPEER` at the manager (Linux 4.13), and where that is not known the name of
//! the subsidiary, checked against the manager. The manager does not block underneath; a read is tried
//! first and waited for by `poll(2)` only if there was nothing. EIO is taken for the end.
//!
//! # Platforms
//!
//! Linux only.

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
