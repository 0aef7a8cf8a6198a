//! The field's own tools for many commands: two at a time by `xargs` and GNU parallel, beside two
//! threads of std and of NetRunner. Who is not installed is skipped, and a note says so.

use std::process::{Command, Stdio};
use std::time::Instant;
use std::{fs, thread};

use crate::Result;
use crate::measured::{Measured, Unit};
use crate::programs::find;
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, latency, named};
use crate::ways::{Act, Runner, Way};

/// Each gets one argument, its exit code, and is silent.
const COMMANDS: usize = 200;

enum Contender {
    Threads(Way),
    /// A program with its options.
    Tool(&'static str, &'static [&'static str]),
}

const ALL: [(&str, Contender); 4] = [
    ("std", Contender::Threads(Way::Std)),
    ("NetRunner", Contender::Threads(Way::NetRunner)),
    ("xargs", Contender::Tool("xargs", &["-P", "2", "-n", "1"])),
    ("parallel", Contender::Tool("parallel", &["--will-cite", "-j", "2"])),
];

pub(super) fn measure(context: &Context) -> Result<Measured> {
    let values = context.programs.dir.join("values");
    fs::write(&values, "0\n".repeat(COMMANDS))?;
    let there = |(_, contender): &&(&str, Contender)| match contender {
        Contender::Threads(_) => true,
        Contender::Tool(name, _) => find(name).is_ok(),
    };
    let (there, missing): (Vec<_>, Vec<_>) = ALL.iter().partition(there);
    let rounds = alternate(&Plan::of(context.extent, 40), there.len(), 1, |contender| {
        let began = Instant::now();
        match there[contender].1 {
            Contender::Threads(way) => threads(context, way)?,
            Contender::Tool(name, options) => {
                let mut tool = Command::new(name);
                tool.args(options).arg(&context.programs.tiny).stdin(fs::File::open(&values)?);
                // Both tools fail if one of their commands did.
                let status = tool.stdout(Stdio::null()).status()?;
                if !status.success() {
                    return Err(format!("{name}: {status}").into());
                }
            }
        }
        Ok(vec![COMMANDS as f64 / began.elapsed().as_secs_f64()])
    })?;
    let names: Vec<&str> = there.iter().map(|(name, _)| *name).collect();
    let mut measured = named(rounds, &[("field".to_owned(), Unit::PerSecond)], &names);
    for (name, _) in missing {
        measured.notes.push(format!("SKIPPED: {name} is not installed"));
    }
    Ok(measured)
}

fn threads(context: &Context, way: Way) -> Result<()> {
    thread::scope(|scope| {
        let run = || -> Result<()> {
            let mut task = latency::tiny(context, Act::Status);
            (task.args, task.code) = (vec!["0".to_owned()], 0);
            let mut runner = Runner::new(way, task)?;
            (0..COMMANDS / 2).try_for_each(|_| runner.run().map(|_| ()))
        };
        let both = [scope.spawn(run), scope.spawn(run)];
        both.into_iter().try_for_each(|one| one.join().map_err(|_| "a thread has panicked")?)
    })
}
