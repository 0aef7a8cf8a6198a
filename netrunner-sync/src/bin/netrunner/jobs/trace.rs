//! The trace: a file for trace viewers (Chrome's, Perfetto's, speedscope) with a bar for each try of each job, in
//! as many rows as there were jobs at a time. It names programs, and never their arguments.
//!
//! It is a JSON array of trace events. Each event is one write to the end of the file, with the comma before it,
//! and viewers do without the bracket at the end: whatever ends the run, what is there can be shown.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Instant;

use netrunner_sync::{Error, JobId, Output, Reason, Result};
use serde_json::{Value, json};

use super::record::Job;

/// Viewers show rows below processes; this one is the run.
const RUN: u32 = 1;

pub(crate) struct Trace {
    file: File,
    began: Instant,
    /// Whose each row is at the moment.
    rows: Vec<Option<JobId>>,
    starts: HashMap<JobId, (usize, Instant)>,
}

/// What a try came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    is_success: bool,
    facts: Value,
}

impl Outcome {
    pub(crate) fn of(result: &Result<Output>) -> Outcome {
        let report = match result.as_ref().map_or_else(Error::output, Some) {
            Some(output) => &output.report,
            None => return Outcome { is_success: false, facts: json!({ "reason": "NotStarted" }) },
        };
        let is_success =
            result.is_ok() && report.reason == Reason::Exited && report.status.success();
        let facts = json!({
            "reason": format!("{:?}", report.reason),
            "exit": report.status.code(),
            "signal": report.status.signal(),
            "wall": report.wall.as_secs_f64(),
            "user": report.usage.user.as_secs_f64(),
            "system": report.usage.system.as_secs_f64(),
            "max_rss": report.usage.max_rss,
            "leftovers": report.leftovers.len(),
        });
        Outcome { is_success, facts }
    }
}

impl Trace {
    pub(crate) fn create(path: &Path) -> io::Result<Trace> {
        let mut file = File::create(path)?;
        let name = named("process_name", 0, "netrunner jobs");
        file.write_all(format!("[\n{name}").as_bytes())?;
        Ok(Trace { file, began: Instant::now(), rows: Vec::new(), starts: HashMap::new() })
    }

    /// A try has begun.
    pub(crate) fn started(&mut self, id: JobId, at: Instant) -> io::Result<()> {
        let row = match self.rows.iter().position(Option::is_none) {
            Some(row) => row,
            None => {
                self.rows.push(None);
                let row = self.rows.len();
                self.add(&named("thread_name", row, &format!("slot {row}")))?;
                row - 1
            }
        };
        self.rows[row] = Some(id);
        self.starts.insert(id, (row, at));
        Ok(())
    }

    /// It is over.
    pub(crate) fn ended(
        &mut self,
        id: JobId,
        job: &Job,
        at: Instant,
        outcome: Outcome,
    ) -> io::Result<()> {
        let Some((row, start)) = self.starts.remove(&id) else { return Ok(()) };
        self.rows[row] = None;
        let program = Path::new(&job.program).file_name().unwrap_or(OsStr::new("?"));
        let (start, end) = (self.micros(start), self.micros(at));
        let mut event = json!({
            "name": format!("{} #{}", program.to_string_lossy(), job.number),
            "cat": if outcome.is_success { "job" } else { "job,failed" },
            "ph": "X",
            "pid": RUN,
            "tid": row + 1,
            "ts": start,
            "dur": end - start,
            "args": outcome.facts,
        });
        event["args"]["job"] = json!(job.number);
        event["args"]["try"] = json!(job.tries);
        if !outcome.is_success {
            event["cname"] = json!("terrible");
        }
        self.add(&event)
    }

    /// The run is over.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.write_all(b"\n]\n")
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    fn add(&mut self, event: &Value) -> io::Result<()> {
        self.file.write_all(format!(",\n{event}").as_bytes())
    }
}

/// A name for the run, or for a row of it.
fn named(what: &str, row: usize, name: &str) -> Value {
    json!({ "name": what, "ph": "M", "pid": RUN, "tid": row, "args": { "name": name } })
}
