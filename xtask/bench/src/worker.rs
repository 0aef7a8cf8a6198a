//! A process of the benchmark's own: it does one thing under the driver's eyes, so that a scenario's
//! heap, descriptors, guardian and shepherds are its own, and says in one line of JSON what it found.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::programs::Programs;
use crate::scenarios::{self, Context};
use crate::{Extent, Result};

/// What a worker can be asked to do.
type Job = fn(&Context, &[String]) -> Result<Value>;

const JOBS: &[(&str, Job)] = &[
    ("scenario", scenarios::in_worker),
    ("batch", scenarios::cpu::batch),
    ("first", scenarios::first::one),
    ("victim", scenarios::death::victim),
    ("cgroup", scenarios::cgroup::some),
];

static DRIVER: OnceLock<u32> = OnceLock::new();

/// The process that all of this run is below: the driver, in whichever process this is asked.
pub(crate) fn driver_id() -> u32 {
    *DRIVER.get_or_init(std::process::id)
}

pub(crate) fn main(words: &[String], dir: PathBuf, extent: Extent) -> ExitCode {
    let _ = DRIVER.set(std::os::unix::process::parent_id());
    let (answer, code) = match perform(words, dir, extent) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(error) => (json!({"error": error.to_string()}), ExitCode::FAILURE),
    };
    match tell(&answer) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One line, written at once.
pub(crate) fn tell(answer: &Value) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{answer}")?;
    Ok(stdout.flush()?)
}

fn perform(words: &[String], dir: PathBuf, extent: Extent) -> Result<Value> {
    // The driver may be killed.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;

    let (word, rest) = words.split_first().ok_or("a worker without a job")?;
    let (_, job) =
        JOBS.iter().find(|(name, _)| name == word).ok_or_else(|| format!("no job `{word}`"))?;
    job(&Context { programs: Programs::at(&dir)?, extent }, rest)
}
