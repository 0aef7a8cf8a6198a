//! Records of commands for the crate `log`, behind the feature of that name: one when a command is about to be
//! started, one when it is over. They name the program alone: arguments, environment and input may be secrets.

#[cfg(feature = "log")]
pub(crate) use with_log::{begins, ends, fails};
#[cfg(not(feature = "log"))]
pub(crate) use without::{begins, ends, fails};

#[cfg(feature = "log")]
mod with_log {
    use std::ffi::OsStr;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use log::Level;

    use crate::error::{Error, shown};
    use crate::outcome::Outcome;

    /// The command's request is about to be sent for the first time.
    pub(crate) fn begins(program: &OsStr) {
        record(Level::Debug, format_args!("`{}` is started", shown(program)));
    }

    /// There is no shepherd that would take it.
    pub(crate) fn fails(program: &OsStr, error: &Error) {
        record(Level::Debug, format_args!("`{}` was not started: {error}", shown(program)));
    }

    /// It has come to this. `pid` is 0 where it is not known.
    pub(crate) fn ends(program: &OsStr, pid: u32, outcome: &Outcome) {
        let name = shown(program);
        match outcome {
            Outcome::Ended { report, survivors } if survivors.is_empty() => {
                let (pid, status, wall) = (report.pid, report.status, report.wall.as_secs_f64());
                let reason = report.reason;
                let left = report.leftovers.len();
                record(
                    Level::Debug,
                    format_args!(
                        "`{name}` (pid {pid}): {reason:?}, {status}, {wall:.3} s, {left} left over"
                    ),
                );
            }
            Outcome::Failed(_) => {
                if let Err(error) = outcome.status(program, pid) {
                    fails(program, &error);
                }
            }
            Outcome::Detached => {
                record(Level::Debug, format_args!("`{name}` (pid {pid}): detached"));
            }
            Outcome::Ended { .. } | Outcome::Lost(_) => {
                if let Err(error) = outcome.status(program, pid) {
                    record(Level::Warn, format_args!("`{name}` (pid {pid}): {error}"));
                }
            }
        }
    }

    /// Also called by the watcher, which a logger that panics must not take along.
    fn record(level: Level, text: std::fmt::Arguments<'_>) {
        let log = || log::log!(target: "netrunner_sync", level, "{text}");
        // The panic was told where it happened.
        let _ = catch_unwind(AssertUnwindSafe(log));
    }
}

#[cfg(not(feature = "log"))]
mod without {
    use std::ffi::OsStr;

    use crate::error::Error;
    use crate::outcome::Outcome;

    pub(crate) fn begins(_: &OsStr) {}
    pub(crate) fn fails(_: &OsStr, _: &Error) {}
    pub(crate) fn ends(_: &OsStr, _: u32, _: &Outcome) {}
}
