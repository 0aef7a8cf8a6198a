//! What is remembered of a job that has ended: how it is told to people, to programs and to the log.

use std::time::{Duration, SystemTime};

use netrunner_sync::{Error, Finished, Leftovers, Output, Report};
use serde_json::{Value, json};

use super::log::Entry;
use crate::report::{self, FAILED, Facts, NOT_EXECUTABLE, NOT_FOUND};

/// A job as it was pushed, and its last start.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Its place in the list, from 1.
    pub(crate) number: u64,
    pub(crate) program: std::ffi::OsString,
    pub(crate) text: Vec<u8>,
    pub(crate) started: Option<SystemTime>,
    pub(crate) tries: u32,
}

/// How a job came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Succeeded,
    Failed,
    /// It was not started, as nothing more was to be.
    NotRun,
}

/// One that has ended.
pub(crate) struct Record {
    pub(crate) job: Job,
    pub(crate) fate: Fate,
    result: Result<Output, Error>,
}

impl Job {
    /// The command on one line, cut if it is long, that moves no cursor.
    pub(crate) fn shown(&self) -> String {
        const MOST: usize = 60;
        let text = report::printable(&String::from_utf8_lossy(&self.text));
        match text.char_indices().nth(MOST) {
            Some((end, _)) => format!("`{}…`", &text[..end]),
            None => format!("`{text}`"),
        }
    }
}

impl Record {
    pub(crate) fn new(job: Job, finished: Finished) -> Record {
        let fate = match &finished.result {
            _ if finished.is_success() => Fate::Succeeded,
            Err(error) if error.is_not_run() => Fate::NotRun,
            Ok(_) | Err(_) => Fate::Failed,
        };
        Record { job, fate, result: finished.result }
    }

    /// What it wrote, where it has run.
    pub(crate) fn output(&self) -> Option<&Output> {
        self.result.as_ref().map_or_else(Error::output, Some)
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        self.output().map(|output| &output.report)
    }

    /// How it came out, after its name.
    pub(crate) fn phrase(&self) -> String {
        match &self.result {
            Ok(output) => report::phrase(&output.report),
            Err(error) => format!("failed: {error}"),
        }
    }

    /// As a shell would say it.
    fn code(&self) -> u8 {
        match &self.result {
            Ok(output) => report::exit_code(output.report.reason, output.status),
            Err(error) => match (error.is_exec(), error.is_not_found()) {
                (false, _) => FAILED,
                (true, true) => NOT_FOUND,
                (true, false) => NOT_EXECUTABLE,
            },
        }
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        let mut object = match self.report() {
            Some(report) => Facts::new(self.job.program.clone(), report, Leftovers::Stop).value(),
            None => json!({
                "program": self.job.program.to_string_lossy(),
                "reason": if self.fate == Fate::NotRun { "not_run" } else { "not_started" },
                "status": null,
            }),
        };
        let seconds = |at: SystemTime| {
            at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
        };
        let io = self.report().map(|report| report.io);
        for (key, value) in [
            ("job", json!(self.job.number)),
            ("command", json!(String::from_utf8_lossy(&self.job.text))),
            ("success", json!(self.fate == Fate::Succeeded)),
            ("exit", if self.fate == Fate::NotRun { Value::Null } else { json!(self.code()) }),
            ("tries", json!(self.job.tries)),
            ("started", json!(self.job.started.map(seconds))),
            ("stdout", json!(io.map(|io| io.stdout))),
            ("stderr", json!(io.map(|io| io.stderr))),
            ("error", json!(self.result.as_ref().err().map(ToString::to_string))),
        ] {
            object[key] = value;
        }
        format!("{object}\n")
    }

    /// For the log; nothing of what did not run.
    pub(crate) fn entry(&self) -> Option<Entry<'_>> {
        use std::os::unix::process::ExitStatusExt as _;
        if self.fate == Fate::NotRun {
            return None;
        }
        let report = self.report();
        let io = report.map(|report| report.io);
        Some(Entry {
            number: self.job.number,
            started: self.job.started.unwrap_or(SystemTime::UNIX_EPOCH),
            wall: report.map_or(Duration::ZERO, |report| report.wall),
            sent: io.map_or(0, |io| io.stdin),
            received: io.map_or(0, |io| io.stdout),
            code: self.code(),
            signal: report.and_then(|report| report.status.signal()).unwrap_or(0),
            command: &self.job.text,
        })
    }
}
