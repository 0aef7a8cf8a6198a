//! An error as people read it.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use super::{Error, Kind};
use crate::report::{Leftover, Output, Reason};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Invalid { message } => f.write_str(message),
            Kind::System { step, cause } | Kind::Uncontained { step, cause } => {
                write!(f, "failed to {step}: {}", Plain(cause))
            }
            Kind::Exec { program, cause } => {
                write!(f, "failed to start `{}`: {}", shown(program), Plain(cause))
            }
            Kind::Outcome { program } => match &self.0.output {
                Some(output) => {
                    write!(f, "`{}` {}", shown(program), Judgement(output))
                }
                None => write!(f, "`{}` failed", shown(program)),
            },
            Kind::ShepherdLost { program, detail } => {
                write!(f, "lost the shepherd of `{}`: {detail}", shown(program))
            }
            Kind::NotRun { program } => {
                write!(f, "`{}` was not started: the jobs were stopped", shown(program))
            }
            Kind::NotReady { program, late } => {
                write!(f, "`{}` is not ready: ", shown(program))?;
                match (late, &self.0.output) {
                    (Some(late), _) => f.write_str(late),
                    (None, Some(output)) => write!(f, "it {}", Judgement(output)),
                    (None, None) => f.write_str("it is over"),
                }
            }
            Kind::Unkillable { program, survivors } => {
                write!(f, "failed to end all processes of `{}`: still alive", shown(program))?;
                for (index, Leftover { pid, name }) in survivors.iter().enumerate() {
                    let before = if index == 0 { " are" } else { "," };
                    write!(f, "{before} `{}` ({pid})", shown(name))?;
                }
                Ok(())
            }
        }
    }
}

/// A name as people read it; what is not UTF-8 is replaced.
pub(crate) fn shown(name: &OsStr) -> impl fmt::Display + '_ {
    Path::new(name).display()
}

/// The text of a system error without std's "(os error 2)".
struct Plain<'a>(&'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split(" (os error ").next().unwrap_or(&text))
    }
}

struct Judgement<'a>(&'a Output);

impl fmt::Display for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Output { status, report, .. } = self.0;
        match report.reason {
            Reason::Timeout => return f.write_str("ran into its timeout and was stopped"),
            Reason::IdleTimeout => {
                return f.write_str("wrote nothing for too long and was stopped");
            }
            Reason::OutputLimit => return f.write_str("wrote too much and was stopped"),
            Reason::Stopped => return f.write_str("was stopped"),
            Reason::Killed => return f.write_str("was killed"),
            Reason::ShepherdLost => return f.write_str("lost its shepherd"),
            Reason::Exited => {}
            Reason::OutOfMemory => f.write_str("ran out of the memory of its cgroup and ")?,
        }
        match (status.code(), status.signal()) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(number)) => {
                match crate::Signal::try_from(number) {
                    Ok(signal) => write!(f, "was ended by {signal}")?,
                    Err(_) => write!(f, "was ended by signal {number}")?,
                }
                if status.core_dumped() { f.write_str(" (core dumped)") } else { Ok(()) }
            }
            (None, None) => write!(f, "ended with {status}"),
        }
    }
}

impl fmt::Debug for Error {
    /// The text, and what a predicate would say: made to be read after `unwrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("message", &format_args!("{self}")).field("kind", &self.kind());
        if let Some(errno) = self.raw_os_error() {
            out.field("errno", &errno);
        }
        if let Some(output) = self.output() {
            out.field("output", output);
        }
        out.finish()
    }
}
