//! The same examples with this one line changed.

pub(crate) use netrunner_sync::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};

#[allow(clippy::duplicate_mod, reason = "to be compiled twice is what it is for")]
#[path = "../examples.rs"]
mod examples;
