//! cgroup v2 for NetRunner: groups of processes that can be killed at once, limited, measured and removed.
//!
//! ```no_run
//! use std::time::Duration;
//! use netrunner_cgroup::Cgroup;
//!
//! let group = Cgroup::at("build/job_7")?.memory_max(2 << 30).pids_max(256);
//! let Some(group) = group.if_available().create()? else { return Ok(()) };
//! let child = std::process::Command::new("make").spawn()?;
//! group.add(child.id())?;
//! // …
//! let stats = group.end(Duration::from_secs(10))?; // killed, measured, removed
//! println!("{:?}", stats.memory_peak);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Guarantees.** A group is made below the group that was delegated to this process, and nowhere else; a
//! limit is written or the making fails, unless [`Cgroup::if_available`] was asked for. [`Group::end`]
//! kills everybody in the group however fast they fork, also before Linux 5.14, and leaves no directory. A
//! group whose owner is gone is known by its lock, and [`sweep`] ends it.
//!
//! **Not guaranteed.** A process with write access to the hierarchy can leave its group. A client killed
//! between the making of a group with a path of the user's choice and the writing of its mark leaves an
//! empty directory, which the next use of the path takes.
//!
//! Linux only: elsewhere the crate can be built, and no place is found. Where version 2 is not to be had,
//! [`Place::detect`] says why, and what would help.

mod amount;
mod detect;
mod error;
mod files;
mod group;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod kernel;
mod limits;
mod make;
mod remove;
mod stale;
mod stats;

pub use amount::{IoMax, Limit};
pub use detect::Place;
pub use error::{Error, Result, Unavailable};
pub use group::{Group, sweep};
pub use limits::Cgroup;
pub use stale::Swept;
pub use stats::{CgroupStats, CpuStats, IoStats, MemoryEvents, Pressure};
