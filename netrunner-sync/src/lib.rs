//! Safe process execution for synchronous programs: nothing that a command starts outlives its
//! owner.
//!
//! `netrunner-sync` has the shape of [`std::process`]: change the `use` line, and programs go on as
//! before, except that no zombie, no orphan and no descriptor is left behind, even when the program
//! that asked is killed in the middle of a spawn. Then there is more to discover: timeouts, input
//! that cannot deadlock, a report of what ran and what it left.
//!
//! ```
//! use std::time::Duration;
//! use netrunner_sync::Command;
//!
//! let output = Command::new("sh")
//!     .args(["-c", "read line; echo got $line; sleep 300 &"])
//!     .input("a line\n")
//!     .timeout(Duration::from_secs(10))
//!     .run()?;
//! assert_eq!(output.stdout, b"got a line\n");
//! assert_eq!(output.report.leftovers[0].name, "sleep"); // it was stopped
//! # Ok::<(), netrunner_sync::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - **P1, client death**: the program that uses this crate dies in any way, at any moment: its
//!   commands and all their descendants are gone within their grace and 2 seconds.
//! - **P2, handle drop**: dropping a [`Child`] never blocks and never fails, and all of it is
//!   stopped and reaped. [`Child::detach`] is the way out.
//! - **P3, shepherd death**: when the small process beside a command is killed, the command dies
//!   with it, and the client gets an error, never a made-up status and never a hang.
//! - **P4, whole tree**: stop and kill reach every descendant, also after `setsid`, a double fork or
//!   an ignored SIGTERM. When [`Child::wait`] returns, nothing is left, unless that was asked for
//!   ([`Leftovers::Keep`]) or an error says what could not be ended.
//! - **P5, no zombies, no wrong kills**: every descendant is reaped, and no signal is ever sent to a
//!   number that may belong to another process by now.
//! - **P6, nothing leaks**: a command gets no descriptor that was not passed on purpose, and none
//!   stays open in the client.
//! - **P7, no lost bytes, no deadlock**: what a command wrote before it ended can be read after it;
//!   feeding input and reading both outputs goes on together, only as fast as it is read, in memory
//!   that is bounded by what is to be kept ([`Command::max_output`]).
//! - **P8, no hang**: every wait, read and write has a form with a deadline.
//! - **P9, honest outcomes**: a failed spawn is an error of the spawn that names its step; exit code,
//!   signal and timeout are told apart; what was written is never thrown away.
//! - **P10, bad bytes**: nothing that arrives from a shepherd can panic or misdirect this side.
//!
//! # Not guaranteed
//!
//! - A client that forks by itself (not through this crate) and then executes another program in the
//!   copy hands its lanes on: the death of the first process is then seen only once the copy is gone
//!   too.
//! - Guardian and shepherd killed together (by `killall`, say) leave the child's death signal, and
//!   this crate's thread as long as the client lives; descendants that left the group can escape, and
//!   before Linux 6.9 the group as well.
//! - Where there are no pidfds (before Linux 5.3, and in sandboxes that deny them), any copy that the
//!   client forks by itself hides its death as long as the copy lives; guardian and shepherd killed
//!   together leave the command's group; and a descendant that left the group gets the stop signal
//!   only once its ancestors have ended.
//! - Processes of another user (set-uid programs), in uninterruptible sleep, or forking by the
//!   hundred faster than they can be found: what could not be ended is reported
//!   ([`Error::is_unkillable`]).
//! - A child that somebody else kills between its birth and the execution of its program is reported
//!   as ended by that signal, as std reports it, and not as a failed spawn.
//!
//! # Servers
//!
//! [`Daemon`] looks after a long-lived command: its output is always read, it is waited for until it is
//! [ready](Ready), [started again](Restart) when it crashes, and stopped [in order](Daemons) with others.
//!
//! # Tests
//!
//! [`testing`] has assertions about outputs and leftovers for `#[test]`, with readable differences, and shows
//! what a command writes where libtest captures it.
//!
//! # What a command inherits
//!
//! Environment, working directory and the inherited streams are the client's at the moment of the
//! spawn. The signal mask is empty and no signal is ignored, except those that were ignored when the
//! guardian started (`nohup`). **Limits, umask, niceness, namespaces, cgroup, root directory,
//! seccomp filters and Landlock rules are those of the moment of the first spawn**: a program that
//! sandboxes itself calls [`Shepherds::refresh`] afterwards. Credentials are compared at each spawn,
//! and a privilege that was dropped does not come back.
//!
//! # Terminals
//!
//! A command that inherits the client's terminal can use it as under a shell: it is in the
//! foreground while it runs, gets Ctrl-C itself, and Ctrl-Z stops it together with the client.
//! Afterwards the terminal is the client's again, with its modes, however the command ended.
//! [`CommandExt::foreground`] has the rules. One that runs in the background and touches the
//! terminal is stopped, and [`Child::stopped`] says so.
//!
//! [`Command::pty`] gives a command a terminal of its own, and the client the other end of it as
//! [`Child::pty`]: to read and type, to resize, to [`expect`](ChildPty::expect) what is shown.
//! Dropping that hangs it up, and a stop begins so ([`Command::stop_signal`]). Job control inside is
//! the shell's that runs there; its jobs are descendants like all others.
//!
//! # Mechanism
//!
//! Each running command has a *shepherd*, a tiny process that is the only one to start, signal and
//! reap it. Shepherds are made by a *guardian*, one per client, which takes over what a killed
//! shepherd leaves. Client and shepherd speak over a socket, the *lane*; data goes straight between
//! client and command through pipes. A shepherd whose command left nothing behind serves the next
//! one. In the client there is one background thread, the *watcher*, and one more where there are
//! daemons; no signal handler is installed and no signal mask changed.
//!
//! # Records
//!
//! With the feature `log`, each command makes a record for the crate of that name when it is about to be
//! started, and one when it is over: with number, reason, status, time and how many leftovers there were.
//! They are of the level `Debug`, or `Warn` where a shepherd was lost or something could not be killed, and
//! their target is `netrunner_sync`. They name the program as you did, and never its arguments, environment or
//! input. The thread that hears of the end makes the record, often the watcher: a logger that takes long
//! holds up what the watcher does for others.
//!
//! # Platforms
//!
//! Linux 5.10 or newer. [`capabilities`] tells what else a system or a sandbox lacks, what is weaker
//! then, and what to change; so does `netrunner doctor`. For macOS and FreeBSD there is a form that has been
//! type-checked and never run, and that promises less: `docs/PORTABLE.md` of the repository says what, and how
//! to try it.

// docs.rs says which items need a feature; only its compiler can.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(target_os = "linux", netrunner_untried)))]
compile_error!(
    "netrunner-sync has been run on Linux alone; to try it here: RUSTFLAGS=\"--cfg netrunner_untried\""
);

#[cfg_attr(netrunner_portable, path = "portable/adoption.rs")]
mod adoption;
#[cfg_attr(netrunner_portable, path = "portable/bell.rs")]
mod bell;
mod capabilities;
mod capture;
mod child;
mod command;
mod contain;
mod convert;
mod daemon;
mod ear;
mod engine;
mod environment;
mod error;
mod events;
mod expect;
mod ext;
mod feed;
mod guardian;
mod handle;
#[cfg_attr(netrunner_portable, path = "portable/image.rs")]
mod image;
mod input;
mod inspect;
mod jobs;
#[cfg_attr(netrunner_portable, path = "portable/kin.rs")]
mod kin;
mod lane;
mod launch;
mod limits;
mod lines;
mod meter;
mod mover;
mod outcome;
mod outlet;
#[cfg_attr(netrunner_portable, path = "portable/pidfd.rs")]
mod pidfd;
mod pipeline;
mod poll;
mod pool;
mod pty;
mod reader_feed;
#[cfg_attr(netrunner_portable, path = "portable/receive.rs")]
mod receive;
mod record;
mod report;
mod request;
#[cfg_attr(netrunner_portable, path = "portable/rights.rs")]
mod rights;
mod running;
mod runtime;
mod shepherd;
mod shepherds;
mod signal;
mod sources;
mod stdio;
mod streams;
mod sys;
mod target;
mod terminal;
pub mod testing;
mod time;
mod turn;
mod wait_any;
mod watcher;
mod wiring;

#[doc = include_str!("errors.md")]
pub mod errors {}

pub use std::process::ExitStatus;

pub use capabilities::{
    Capabilities, Capability, Containment, Missing, Need, ShepherdSource, capabilities,
};
pub use child::Child;
pub use command::Command;
pub use daemon::{Daemon, DaemonBuilder, DaemonState, Daemons, Health, LogFile, Ready, Restart};
pub use environment::CommandEnvs;
pub use error::{Error, Result};
pub use events::{Event, Events};
pub use expect::{ExpectError, Expected, Pattern};
pub use ext::{CommandExt, Resource};
pub use handle::ChildHandle;
pub use input::Input;
pub use inspect::CommandArgs;
pub use jobs::{
    Finished, JobId, JobLine, Jobs, JobsHandle, Jobserver, OutputFile, OutputReader, Retries,
};
pub use limits::Excess;
pub use lines::Lines;
pub use mover::Stream;
pub use netrunner_cgroup::{self as cgroup, Cgroup, CgroupStats};
pub use netrunner_pty::{Control, Modes as PtyModes, WinSize};
pub use pipeline::{Pipeline, PipelineOutput, RunningPipeline};
pub use pty::{ChildPty, PtyReader, PtyWriter};
pub use report::{IoCounters, Leftover, Leftovers, Output, Reason, Report, Usage};
pub use shepherds::Shepherds;
pub use signal::Signal;
pub use stdio::Stdio;
pub use streams::{ChildStderr, ChildStdin, ChildStdout};
pub use wait_any::{wait_any, wait_any_deadline, wait_any_timeout};

/// Compiles and runs the example of the front page.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The same for the recipes, of which those for the library are Rust.
#[cfg(doctest)]
#[doc = include_str!("../../docs/RECIPES.md")]
struct Recipes;
