//! Much output through a terminal: lines that `cat` shows, read as they come, beside std's `cat` on a plain
//! pseudo-terminal and a loop of blocking reads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netrunner_sync::WinSize;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::measured::{Measured, Unit};
use crate::rounds::{Plan, alternate};
use crate::scenarios::bulk::compare;
use crate::scenarios::{Context, named};
use crate::ways::Way;
use crate::{Extent, Result};

const WAYS: [Way; 2] = [Way::Std, Way::NetRunner];

/// What `cat` is given, once or again and again: a file of 16 MiB that stays in the page cache.
const LINES: usize = 1 << 18;
const LINE: usize = 64;

/// Numbered lines, so that none is like another.
fn content(line_end: &str) -> Vec<u8> {
    let width = LINE - 1;
    (0..LINES).map(|n| format!("{n:0width$}{line_end}")).collect::<String>().into_bytes()
}

pub(super) fn streamed(context: &Context) -> Result<Measured> {
    let plan = Plan::of(context.extent, 20);
    let (times, plan) = match context.extent {
        // A quarter of a gigabyte takes some seconds.
        Extent::Full => (16, Plan { at_most: Duration::from_secs(300), ..plan }),
        Extent::Quick => (1, Plan { rounds: 10, ..plan }),
    };
    let file = context.programs.dir.join("pty");
    fs::write(&file, content("\n"))?;
    let files = vec![file.clone(); times];
    // As a terminal shows it.
    let shown = content("\r\n");
    let rounds = alternate(&plan, WAYS.len(), 1, |contender| {
        let began = Instant::now();
        let status = if WAYS[contender] == Way::NetRunner {
            let mut command = netrunner_sync::Command::new("cat");
            let mut child = command.args(&files).pty(WinSize::new(24, 80)).spawn()?;
            compare(child.pty.take().ok_or("no terminal")?, &shown, times)?;
            child.wait()?
        } else {
            let (manager, mut child) = plain(&files)?;
            compare(manager, &shown, times)?;
            child.wait()?
        };
        let took = began.elapsed();
        if !status.success() {
            return Err(format!("cat: {status}").into());
        }
        Ok(vec![(shown.len() * times) as f64 / took.as_secs_f64()])
    })?;
    fs::remove_file(&file)?;
    let key = format!("pty-{}m", 16 * times);
    Ok(named(rounds, &[(key, Unit::BytesPerSecond)], &WAYS.map(Way::name)))
}

/// `cat` as std starts it, on a pair that is opened as openpty(3) does it.
fn plain(files: &[PathBuf]) -> Result<(Plain, std::process::Child)> {
    let manager = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&manager)?;
    unlockpt(&manager)?;
    let name = ptsname(&manager, Vec::new())?.into_string()?;
    let subsidiary = File::options().read(true).write(true).open(name)?;
    let child = std::process::Command::new("cat")
        .args(files)
        .stdin(subsidiary.try_clone()?)
        .stdout(subsidiary.try_clone()?)
        .stderr(subsidiary)
        .spawn()?;
    Ok((Plain(File::from(manager)), child))
}

/// A manager that is read in the plain way: the error that it ends with is the end.
struct Plain(File);

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(0),
            result => result,
        }
    }
}
