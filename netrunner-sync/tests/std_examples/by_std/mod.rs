//! The examples as std's readers write them: the control of the experiment.

pub(crate) use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};

#[expect(clippy::zombie_processes, reason = "with std three of them leave a zombie")]
#[path = "../examples.rs"]
mod examples;
