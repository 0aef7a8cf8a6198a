//! A build: some hundred generated C files compiled, as many at a time as there are CPUs, by `Jobs` and by
//! `netrunner jobs`, beside xargs, GNU parallel and make with the same commands. Who is not installed is
//! skipped, and a note says so.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netrunner_sync::Jobs;

use crate::machine::Load;
use crate::measured::{Measured, Unit};
use crate::programs::find;
use crate::rounds::{Plan, alternate};
use crate::scenarios::{Context, JOBS, named};
use crate::{Extent, Result, worker};

#[derive(Clone, Copy)]
enum Contender {
    Jobs,
    Tool(&'static str),
}

/// What the command line's contender is called.
pub(crate) const COMMAND: &str = "netrunner jobs";

const ALL: [(&str, Contender); 5] = [
    (JOBS, Contender::Jobs),
    (COMMAND, Contender::Tool("netrunner")),
    ("xargs", Contender::Tool("xargs")),
    ("parallel", Contender::Tool("parallel")),
    ("make", Contender::Tool("make")),
];

/// The words of the compiler before the names.
const COMPILE: [&str; 2] = ["cc", "-c"];

/// A folder with the sources, a list of their names and a makefile.
struct Site {
    dir: PathBuf,
    names: Vec<String>,
    at_most: usize,
}

impl Site {
    fn make(context: &Context, files: usize) -> Result<Site> {
        let dir = context.programs.dir.join("build");
        fs::create_dir_all(&dir)?;
        let names: Vec<String> = (0..files).map(|n| format!("unit-{n}")).collect();
        for (n, name) in names.iter().enumerate() {
            fs::write(dir.join(format!("{name}.c")), source(n)?)?;
        }
        fs::write(dir.join("names"), names.join("\n") + "\n")?;
        let objects: Vec<String> = names.iter().map(|name| format!("{name}.o")).collect();
        let compile = COMPILE.join(" ");
        let rule = format!("all: {}\n%.o: %.c\n\t@{compile} -o $@ $<\n", objects.join(" "));
        fs::write(dir.join("makefile"), rule)?;
        let at_most = std::thread::available_parallelism()?.get();
        Ok(Site { dir, names, at_most })
    }

    /// As after a clean checkout.
    fn clean(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "o") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn check(&self, who: &str) -> Result<()> {
        let missing = self.names.iter().find(|name| !self.dir.join(format!("{name}.o")).is_file());
        match missing {
            None => Ok(()),
            Some(name) => Err(format!("{who} has not made {name}.o").into()),
        }
    }

    fn by_jobs(&self) -> Result<()> {
        let mut jobs = Jobs::new(self.at_most);
        for name in &self.names {
            let mut command = netrunner_sync::Command::new(COMPILE[0]);
            command.args(&COMPILE[1..]).arg("-o").arg(format!("{name}.o"));
            command.arg(format!("{name}.c")).current_dir(&self.dir);
            jobs.push(command);
        }
        for finished in jobs {
            if !finished.is_success() {
                return Err(format!("{JOBS}: {finished:?}").into());
            }
        }
        Ok(())
    }

    fn by_tool(&self, tool: &str, program: &Path) -> Result<()> {
        let at_most = self.at_most.to_string();
        let names = self.dir.join("names");
        let mut command = Command::new(program);
        let unit = ["-o", "{}.o", "{}.c"];
        match tool {
            "netrunner" => {
                command.args(["jobs", "-j", &at_most, "--progress", "off", "names", "--"]);
                command.args(COMPILE).args(unit);
            }
            "xargs" => {
                command.args(["-P", &at_most, "-I{}"]).args(COMPILE).args(unit);
                command.stdin(fs::File::open(names)?);
            }
            "parallel" => {
                command.args(["--will-cite", "-j", &at_most]).args(COMPILE).args(unit);
                command.stdin(fs::File::open(names)?);
            }
            _ => {
                command.args(["-s", "-j", &at_most]).env_remove("MAKEFLAGS");
            }
        }
        let status = command.current_dir(&self.dir).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("{tool}: {status}").into()) }
    }
}

/// A file that takes a compiler some tens of milliseconds.
fn source(number: usize) -> Result<String> {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    for at in 0..8 {
        writeln!(
            text,
            "int part_{number}_{at}(char *to, int count) {{\n  for (int i = 0; i < count; i++)\n    \
             to[i] = (char)(i * {at} + {number});\n  return snprintf(to, 9, \"%d\", count);\n}}"
        )?;
    }
    Ok(text)
}

pub(super) fn measure(context: &Context) -> Result<Measured> {
    let files = match context.extent {
        Extent::Full => 500,
        Extent::Quick => 60,
    };
    let site = Site::make(context, files)?;
    let mut there = Vec::new();
    let mut notes = Vec::new();
    for (name, contender) in ALL {
        let found = match contender {
            Contender::Jobs => Ok(PathBuf::new()),
            Contender::Tool("netrunner") => context.programs.netrunner(),
            Contender::Tool(tool) => find(tool),
        };
        match found {
            Ok(program) => there.push((name, contender, program)),
            Err(error) => notes.push(format!("SKIPPED: {error}")),
        }
    }
    let plan = Plan { warm_up: 0, ..Plan::of(context.extent, 20) };
    let plan = match context.extent {
        // A round of 500 takes half a minute.
        Extent::Full => Plan { at_most: Duration::from_secs(300), ..plan },
        Extent::Quick => plan,
    };
    let driver = worker::driver_id();
    let rounds = alternate(&plan, there.len(), 2, |contender| {
        let (name, contender, program) = &there[contender];
        site.clean()?;
        let (load, began) = (Load::now(driver)?, Instant::now());
        match contender {
            Contender::Jobs => site.by_jobs()?,
            Contender::Tool(tool) => site.by_tool(tool, program)?,
        }
        let taken = began.elapsed();
        let used = load.own_until_now()?;
        site.check(name)?;
        Ok(vec![taken.as_secs_f64(), used])
    })?;
    let names: Vec<&str> = there.iter().map(|(name, _, _)| *name).collect();
    let key = format!("build-{files}");
    let cpu = format!("{key}/cpu");
    let mut measured = named(rounds, &[(key, Unit::Seconds), (cpu, Unit::Seconds)], &names);
    measured.notes.extend(notes);
    Ok(measured)
}
