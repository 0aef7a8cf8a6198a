//! What a cgroup of its own costs a command: made, entered, read and removed. The child is born in it, or
//! moves itself in where `clone3` is refused; beside both a command without one, with and without the filter
//! that refuses it, so that the filter's own cost shows. A hundred at once, which may leave no directory. And
//! the memory of a group.

use std::time::Instant;

use netrunner_sync::cgroup::Place;
use netrunner_sync::{Cgroup, Child, Command, Stdio, capabilities};
use serde_json::{Value, json};

use crate::driver::fresh;
use crate::machine::meminfo;
use crate::measured::{Measured, Unit, number};
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, latency, many, named};
use crate::ways::Act;
use crate::{Result, sys};

/// Commands of one worker: the first ones start its guardian and shepherd, and do not count.
const WARM_UP: u32 = 5;
const COUNTED: u32 = 20;

/// How the child comes into its group.
struct Contender {
    name: &'static str,
    group: bool,
    /// Whether `clone3` is refused.
    filtered: bool,
}

const CONTENDERS: [Contender; 4] = [
    Contender { name: "no cgroup", group: false, filtered: false },
    Contender { name: "born inside", group: true, filtered: false },
    Contender { name: "no cgroup, filtered", group: false, filtered: true },
    Contender { name: "moved inside, filtered", group: true, filtered: true },
];

/// Why nothing can be measured here, if so.
fn unavailable() -> Option<Measured> {
    let reason = Place::detect().err()?;
    let notes = vec![format!("SKIPPED: {reason}")];
    Some(Measured { notes, ..Measured::default() })
}

pub(super) fn measure(context: &Context) -> Result<Measured> {
    if let Some(skipped) = unavailable() {
        return Ok(skipped);
    }
    let rounds = alternate(&Plan::of(context.extent, 200), CONTENDERS.len(), 1, |contender| {
        let (answer, _) = fresh(context, &["cgroup", CONTENDERS[contender].name])?;
        Ok(vec![number(&answer, "seconds")?])
    })?;
    let names = CONTENDERS.map(|contender| contender.name);
    Ok(named(rounds, &[("cgroup".to_owned(), Unit::Seconds)], &names))
}

/// The worker's job `cgroup CONTENDER`.
pub(crate) fn some(context: &Context, words: &[String]) -> Result<Value> {
    let word = words.first().ok_or("no contender")?;
    let found = CONTENDERS.iter().find(|contender| contender.name == *word);
    let contender = found.ok_or_else(|| format!("no contender `{word}`"))?;
    if contender.filtered {
        sys::refuse_clone3()?;
    }
    if contender.filtered == capabilities().clone_into_cgroup.is_available() {
        return Err(format!("{word}: a child would not come in as it should").into());
    }
    let task = latency::tiny(context, Act::Output);
    let mut command = Command::new(&task.program);
    if contender.group {
        command.cgroup(Cgroup::auto());
    }
    let mut began = Instant::now();
    for turn in 0..WARM_UP + COUNTED {
        if turn == WARM_UP {
            began = Instant::now();
        }
        let output = command.output()?;
        let right = output.status.success() && output.stdout == task.stdout;
        if !right || output.report.cgroup.is_some() != contender.group {
            return Err(format!("{word}: {output:?}").into());
        }
    }
    Ok(json!({"seconds": began.elapsed().as_secs_f64() / f64::from(COUNTED)}))
}

const AT_ONCE: usize = 100;

pub(super) fn at_once(context: &Context) -> Result<Measured> {
    if let Some(skipped) = unavailable() {
        return Ok(skipped);
    }
    // From here on each has its shepherd.
    let mut warm = start(context, false)?;
    kill(&mut warm)?;
    drop(warm);
    let contenders = &CONTENDERS[..2];
    let rounds = alternate(&many::plan(context), contenders.len(), 2, |contender| {
        let began = Instant::now();
        let mut children = start(context, contenders[contender].group)?;
        let started = began.elapsed();
        let began = Instant::now();
        kill(&mut children)?;
        let ended = began.elapsed();
        drop(children);
        nothing_left()?;
        Ok(vec![started.as_secs_f64(), ended.as_secs_f64()])
    })?;
    let keys = ["cgroup-100/start", "cgroup-100/kill"].map(|key| (key.to_owned(), Unit::Seconds));
    Ok(named(rounds, &keys, &[contenders[0].name, contenders[1].name]))
}

/// Groups without a command in them: of a hundred the memory would be lost among what others do meanwhile.
const EMPTY: usize = 1000;

/// What the kernel keeps for them: structures, and counters for each CPU.
const LINES: [&str; 2] = ["Slab", "Percpu"];

pub(super) fn memory(context: &Context) -> Result<Measured> {
    if let Some(skipped) = unavailable() {
        return Ok(skipped);
    }
    let mut notes = Vec::new();
    let count = many::allowed(EMPTY, &mut notes)?;
    let place = Place::detect()?;
    let rounds = alternate(&many::plan(context), 1, 1, |_| {
        let before = meminfo(&LINES) as f64;
        let groups = (0..count)
            .map(|_| Cgroup::auto().create_in(&place))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let more = meminfo(&LINES) as f64 - before;
        drop(groups);
        nothing_left()?;
        Ok(vec![more * 1024.0 / count as f64])
    })?;
    let mut measured =
        named(rounds, &[("cgroup-memory".to_owned(), Unit::Bytes)], &["an empty group"]);
    measured.notes.extend(notes);
    Ok(measured)
}

fn start(context: &Context, group: bool) -> Result<Vec<Child>> {
    (0..AT_ONCE).map(|_| stay(context, group)).collect()
}

/// Kills all, and then waits for all.
fn kill(children: &mut [Child]) -> Result<()> {
    children.iter_mut().try_for_each(Child::kill)?;
    for child in children {
        child.wait()?;
    }
    Ok(())
}

fn stay(context: &Context, group: bool) -> Result<Child> {
    let mut command = Command::new(&context.programs.tiny);
    command.arg("stay").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if group {
        command.cgroup(Cgroup::auto());
    }
    Ok(command.spawn()?)
}

/// No directory with a name of this process's.
fn nothing_left() -> Result<()> {
    let place = Place::detect()?;
    let ours = format!("netrunner-{}-", std::process::id());
    for entry in std::fs::read_dir(&place.group)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&ours)) {
            return Err(format!("`{}` is left", path.display()).into());
        }
    }
    Ok(())
}
