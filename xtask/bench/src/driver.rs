//! Runs the scenarios one after the other, each in a worker of its own, and counts to ECHILD after
//! each: the driver is a subreaper, so guardian and shepherds fall to it too, and nothing may be left.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use serde_json::{Value, json};

use crate::measured::Measured;
use crate::programs::Programs;
use crate::scenarios::{self, Context, Place, Scenario};
use crate::sys::{Usage, usage_of_children};
use crate::{Extent, Result, machine, process_table, report, worker};

/// What is not gone so long after its worker is left over. The default grace is 5 s.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// A worker that says nothing for so long hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(400);

/// How often the driver looks whether a process has ended.
const LOOK: Duration = Duration::from_micros(300);

/// A scenario and what came of it.
pub(crate) struct Finished {
    pub(crate) scenario: &'static Scenario,
    pub(crate) result: Result<Measured>,
}

/// Runs what the filter names; false if a result was wrong.
pub(crate) fn run(dir: PathBuf, extent: Extent, filter: &[String], markdown: bool) -> Result<bool> {
    if cfg!(debug_assertions) {
        eprintln!("bench: built without optimisation, the figures mean nothing");
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let context = Context { programs: Programs::make(&dir)?, extent };
    let head = machine::describe();
    if !markdown {
        println!("{}", report::table::head(&head));
    }
    let wanted = |scenario: &&Scenario| {
        filter.is_empty() || filter.iter().any(|word| scenario.name.contains(word.as_str()))
    };
    let chosen: Vec<&'static Scenario> = scenarios::ALL.iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err("no scenario has such a name; `--list` names them".into());
    }
    let mut all = Vec::new();
    for scenario in chosen {
        eprintln!("bench: {}: {}", scenario.name, scenario.about);
        let began = Instant::now();
        let result = perform(&context, scenario);
        let finished = Finished { scenario, result };
        let block = report::table::block(&finished);
        if markdown {
            eprintln!("{block}");
        } else {
            println!("{block}");
        }
        eprintln!("bench: {} took {:.1} s", scenario.name, began.elapsed().as_secs_f64());
        all.push(finished);
    }
    let table = report::markdown::goals(&head, &all);
    if markdown {
        println!("{table}");
    }
    write(&dir, &head, &all, &table)?;
    let wrong: Vec<_> = all.iter().filter(|finished| finished.result.is_err()).collect();
    for finished in &wrong {
        if let Err(error) = &finished.result {
            eprintln!("bench: WRONG in {}: {error}", finished.scenario.name);
        }
    }
    Ok(wrong.is_empty())
}

fn perform(context: &Context, scenario: &Scenario) -> Result<Measured> {
    let mut measured = match scenario.place {
        Place::Worker(_) => {
            let (answer, _) = fresh(context, &["scenario", scenario.name])?;
            Measured::from_json(&answer)?
        }
        Place::Driver(run) => run(context)?,
    };
    if let Some(then) = scenario.then {
        let more = then(context)?;
        measured.metrics.extend(more.metrics);
        measured.batches.extend(more.batches);
        measured.notes.extend(more.notes);
    }
    Ok(measured)
}

fn write(dir: &Path, head: &Value, all: &[Finished], goals: &str) -> Result<()> {
    let scenarios: Vec<Value> = all
        .iter()
        .map(|finished| {
            let result = match &finished.result {
                Ok(measured) => measured.to_json(),
                Err(error) => json!({"wrong": error.to_string()}),
            };
            json!({"name": finished.scenario.name, "about": finished.scenario.about, "result": result})
        })
        .collect();
    let text = serde_json::to_string(&json!({"machine": head, "scenarios": scenarios}))?;
    std::fs::write(dir.join("results.json"), text)?;
    std::fs::write(dir.join("goals.md"), goals)?;
    report::plot::write(&dir.join("plot.svg"), all)?;
    eprintln!("bench: wrote results.json, goals.md and plot.svg in {}", dir.display());
    Ok(())
}

/// A worker that lives.
pub(crate) struct Worker {
    child: std::process::Child,
    answer: BufReader<std::process::ChildStdout>,
    before: Usage,
}

impl Worker {
    pub(crate) fn start(context: &Context, words: &[&str]) -> Result<Worker> {
        let before = usage_of_children()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--dir").arg(&context.programs.dir);
        command.arg(match context.extent {
            Extent::Quick => "--quick",
            Extent::Full => "--full",
        });
        command.arg("--worker").args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let answer = BufReader::new(child.stdout.take().ok_or("no pipe to the worker")?);
        Ok(Worker { child, answer, before })
    }

    /// What it says next. Whatever it left behind may hold the pipe, so nobody waits for its end.
    pub(crate) fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        let mut pipe = [PollFd::new(self.answer.get_ref(), PollFlags::IN)];
        if poll(&mut pipe, Some(&Timespec::try_from(ANSWER_WITHIN)?))? == 0 {
            return Err("a worker hangs".into());
        }
        self.answer.read_line(&mut line)?;
        if line.is_empty() {
            return Err("a worker ended without a word".into());
        }
        let value: Value = serde_json::from_str(&line)?;
        match value["error"].as_str() {
            Some(error) => Err(error.to_owned().into()),
            None => Ok(value),
        }
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill()?)
    }

    /// Reaps it and all that it leaves, and says what they used altogether.
    pub(crate) fn reap(self) -> Result<Usage> {
        to_echild()?;
        Ok(usage_of_children()?.since(self.before))
    }
}

/// A worker that does one thing and ends: its answer, and what it and all below it used.
pub(crate) fn fresh(context: &Context, words: &[&str]) -> Result<(Value, Usage)> {
    let mut worker = Worker::start(context, words)?;
    let answer = worker.answer();
    if answer.is_err() {
        // It may hang for the same reason. An error says that it has ended.
        let _ = worker.kill();
    }
    let used = worker.reap();
    Ok((answer?, used?))
}

/// Reaps until nobody is left. Who does not go is killed, and that is a wrong result.
fn to_echild() -> Result<()> {
    let until = Instant::now() + GONE_WITHIN;
    let mut left: Vec<String> = Vec::new();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(Errno::CHILD) if left.is_empty() => return Ok(()),
            Err(Errno::CHILD) => {
                return Err(format!("left over: {}", left.join(", ")).into());
            }
            Err(error) => return Err(error.into()),
        }
        if Instant::now() > until {
            for process in process_table::below(worker::driver_id())? {
                let pid = Pid::from_raw(i32::try_from(process.pid)?).ok_or("no process 0")?;
                if process.pid != std::process::id() && !process.zombie {
                    left.push(format!("{} ({})", process.name, process.pid));
                    // One that has ended meanwhile is as good.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            left.truncate(20);
        }
        sleep(LOOK);
    }
}
