//! The trace: a file for trace viewers (Chrome's, Perfetto's, speedscope) with a bar for each try of each job, in
//! as many rows as there were jobs at a time. It names programs, and never their arguments.
//!
//! It is a JSON array of trace events. Each event is one write to the end of the file, with the comma before it,
//! and viewers do without the bracket at the end: whatever ends the run, what is there can be shown. They do not
//! do without the end of an event, so half of one (a disk is full) is taken away again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Instant;

use netrunner_sync::{Error, JobId, Output, Result};
use serde_json::{Value, json};

use super::record::Job;
use crate::report;

/// Viewers show rows below processes; this one is the run.
const RUN: u32 = 1;

pub(crate) struct Trace {
    file: File,
    /// How long it is, up to the end of the last event.
    len: u64,
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
            None => {
                return Outcome { is_success: false, facts: json!({ "reason": "not_started" }) };
            }
        };
        let is_success = result.is_ok() && report.success();
        let facts = json!({
            "reason": report::word(report.reason),
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
        let file = File::create(path)?;
        let began = Instant::now();
        let mut trace = Trace { file, len: 0, began, rows: Vec::new(), starts: HashMap::new() };
        let name = about("process_name", 0, json!({ "name": "netrunner jobs" }));
        trace.write(&format!("[\n{name}"))?;
        Ok(trace)
    }

    /// A try has begun.
    pub(crate) fn started(&mut self, id: JobId, at: Instant) -> io::Result<()> {
        let row = match self.rows.iter().position(Option::is_none) {
            Some(row) => row,
            None => {
                self.rows.push(None);
                let row = self.rows.len();
                self.add(&about("thread_name", row, json!({ "name": format!("slot {row}") })))?;
                // By their names the tenth would come before the second.
                self.add(&about("thread_sort_index", row, json!({ "sort_index": row })))?;
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
        self.write("\n]\n")
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    fn add(&mut self, event: &Value) -> io::Result<()> {
        self.write(&format!(",\n{event}"))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            // From a pipe nothing can be taken away.
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += text.len() as u64;
        Ok(())
    }
}

/// What viewers are told about the run, or about a row of it.
fn about(what: &str, row: usize, args: Value) -> Value {
    json!({ "name": what, "ph": "M", "pid": RUN, "tid": row, "args": args })
}
