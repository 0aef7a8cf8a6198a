//! Compiles a C project in parallel and links it; the first error stops everything at once.
//!
//! `cargo run --example parallel_build -- DIR` makes `DIR/program` of all `DIR/*.c`. Kill it in the middle:
//! no compiler is left.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use netrunner_sync::{Command, JobId, Jobs};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: parallel_build DIR")?;
    let dir = PathBuf::from(dir);
    let sources = sources(&dir)?;
    let Some(objects) = compile(&sources)? else { return Ok(ExitCode::FAILURE) };
    let program = dir.join("program");
    Command::new("cc").arg("-o").arg(&program).args(&objects).run()?;
    println!("{}", program.display());
    Ok(ExitCode::SUCCESS)
}

fn sources(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in dir.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// The object files; `None` if a source could not be compiled, which was said.
fn compile(sources: &[PathBuf]) -> Result<Option<Vec<PathBuf>>, Box<dyn Error>> {
    let mut jobs = Jobs::new(0); // as many at a time as there are CPUs
    jobs.fail_fast(true).timeout(Duration::from_secs(300));
    let mut names: HashMap<JobId, &Path> = HashMap::new();
    let mut objects = Vec::new();
    for source in sources {
        let object = source.with_extension("o");
        let mut cc = Command::new("cc");
        cc.arg("-c").arg("-o").arg(&object).arg(source);
        names.insert(jobs.push(cc), source);
        objects.push(object);
    }

    let mut failed = false;
    for finished in jobs {
        let name = names[&finished.id].display();
        let good = finished.is_success();
        match finished.result {
            Ok(output) => {
                // Warnings too, and never mixed with those of another compiler.
                io::stderr().write_all(&output.stderr)?;
                if !good {
                    // Those that another's failure has stopped are listed as well: reason `Stopped`.
                    println!("{name}: {} ({:?})", output.status, output.report.reason);
                }
            }
            Err(error) if error.is_not_run() => {}
            Err(error) => println!("{name}: {error}"),
        }
        failed |= !good;
    }
    Ok((!failed).then_some(objects))
}
