//! Starts commands. Not connected yet: every start is an error.

use std::process::ExitStatus;

use crate::child::Child;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::report::Output;

fn unconnected<T>(command: &Command) -> Result<T> {
    let step = format!("start `{}`", crate::error::shown(&command.program));
    Err(Error::system(step, std::io::ErrorKind::Unsupported))
}

pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    unconnected(command)
}

pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    unconnected(command)
}

pub(crate) fn output(command: &mut Command) -> Result<Output> {
    unconnected(command)
}
