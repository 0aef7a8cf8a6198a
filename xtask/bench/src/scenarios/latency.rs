//! One command after the other from one thread: how long each call takes, for every contender.

use std::fs::File;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::machine::meminfo;
use crate::measured::{Measured, Unit};
use crate::programs::find;
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, named};
use crate::ways::{Act, Runner, Task, Way};

/// All that have the call; tini runs a program and has no other.
const LIBRARIES: &[Way] =
    &[Way::Std, Way::NetRunner, Way::Floor, Way::Duct, Way::Subprocess, Way::Tokio];

/// One command so often in the paced scenario.
const PACE: Duration = Duration::from_millis(3);

const HEAP: usize = 2 << 30;
const DESCRIPTORS: usize = 10_000;

pub(super) fn tiny(context: &Context, act: Act) -> Task {
    let (args, code, stdout): (Vec<String>, i32, &[u8]) = match act {
        Act::Output => (Vec::new(), 0, b"tiny\n"),
        // Silent where the streams are inherited, and the code proves that it ran.
        Act::Status | Act::SpawnWait => (vec!["7".to_owned()], 7, b""),
    };
    Task { act, program: context.programs.tiny.clone(), args, code, stdout, makes: None }
}

pub(super) fn bin_true() -> Task {
    let program = PathBuf::from("/bin/true");
    Task { act: Act::Output, program, args: Vec::new(), code: 0, stdout: b"", makes: None }
}

pub(super) fn cc(context: &Context) -> Result<Task> {
    let object = context.programs.dir.join("small.o");
    let words = ["-c", "-o"].map(str::to_owned).into_iter();
    let files = [object.clone(), context.programs.small_c()];
    let args = words.chain(files.iter().map(|file| file.display().to_string())).collect();
    Ok(Task {
        act: Act::Output,
        program: find("cc")?,
        args,
        code: 0,
        stdout: b"",
        makes: Some(object),
    })
}

pub(super) fn output_tiny(context: &Context) -> Result<Measured> {
    let plan = Plan::of(context.extent, 2000);
    measure("output-tiny", &plan, &Way::ALL, &tiny(context, Act::Output), None)
}

pub(super) fn output_true(context: &Context) -> Result<Measured> {
    measure("output-true", &Plan::of(context.extent, 1000), LIBRARIES, &bin_true(), None)
}

pub(super) fn output_cc(context: &Context) -> Result<Measured> {
    let ways = [Way::Std, Way::NetRunner, Way::Floor];
    measure("output-cc", &Plan::of(context.extent, 300), &ways, &cc(context)?, None)
}

pub(super) fn status_tiny(context: &Context) -> Result<Measured> {
    let plan = Plan::of(context.extent, 1000);
    measure("status-tiny", &plan, LIBRARIES, &tiny(context, Act::Status), None)
}

pub(super) fn spawn_tiny(context: &Context) -> Result<Measured> {
    let plan = Plan::of(context.extent, 1000);
    measure("spawn-tiny", &plan, LIBRARIES, &tiny(context, Act::SpawnWait), None)
}

pub(super) fn paced(context: &Context) -> Result<Measured> {
    let ways = [Way::Std, Way::NetRunner, Way::Floor];
    let plan = Plan::of(context.extent, 1000);
    measure("paced", &plan, &ways, &tiny(context, Act::Output), Some(PACE))
}

pub(super) fn heap(context: &Context) -> Result<Measured> {
    if meminfo(&["MemAvailable"]) / 1024 < (HEAP as u64 >> 20) * 3 / 2 {
        let note = "left out: there is not memory enough for 2 GiB of heap".to_owned();
        return Ok(Measured { notes: vec![note], ..Measured::default() });
    }
    let mut heap = vec![0u8; HEAP];
    for page in heap.chunks_mut(4096) {
        page[0] = 1;
    }
    let plan = Plan::of(context.extent, 500);
    // subprocess forks, and each fork copies the page tables of the whole heap: half a second.
    let ways = [Way::Std, Way::NetRunner, Way::Floor, Way::Duct, Way::Tokio];
    let measured = measure("heap", &plan, &ways, &tiny(context, Act::Output), None);
    // Touched until now, and nobody may say that it was not needed.
    if heap.iter().step_by(4096).map(|&byte| usize::from(byte)).sum::<usize>() != HEAP / 4096 {
        return Err("the heap has lost something".into());
    }
    measured
}

pub(super) fn descriptors(context: &Context) -> Result<Measured> {
    let null = File::open("/dev/null")?;
    let open = (0..DESCRIPTORS).map(|_| null.try_clone()).collect::<std::io::Result<Vec<_>>>();
    let open = open.map_err(|error| format!("{DESCRIPTORS} descriptors: {error}"))?;
    let plan = Plan::of(context.extent, 500);
    let measured = measure("descriptors", &plan, LIBRARIES, &tiny(context, Act::Output), None);
    drop(open);
    measured
}

fn measure(
    key: &str,
    plan: &Plan,
    ways: &[Way],
    task: &Task,
    pace: Option<Duration>,
) -> Result<Measured> {
    let (there, missing): (Vec<Way>, Vec<Way>) = ways.iter().partition(|way| way.is_there());
    let mut runners =
        there.iter().map(|way| Runner::new(*way, task.clone())).collect::<Result<Vec<_>>>()?;
    let mut next = Instant::now();
    let rounds = alternate(plan, runners.len(), 1, |contender| {
        if let Some(pace) = pace {
            sleep(next.saturating_duration_since(Instant::now()));
            next = Instant::now() + pace;
        }
        Ok(vec![runners[contender].run()?.as_secs_f64()])
    })?;
    let names: Vec<&str> = there.iter().map(|way| way.name()).collect();
    let mut measured = named(rounds, &[(key.to_owned(), Unit::Seconds)], &names);
    for way in missing {
        measured.notes.push(format!("SKIPPED: {} is not installed", way.name()));
    }
    Ok(measured)
}
