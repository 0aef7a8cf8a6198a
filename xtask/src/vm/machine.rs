//! One machine under QEMU, from its start to its end, and what its console says of the tests.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use netrunner_sync::Stdio;

use super::arch::Arch;
use super::image;
use super::kernels::Kernel;
use crate::step::{Command, Result};

/// QEMU without KVM: a machine that is some times slower.
pub(super) const SLOWNESS: &str = "8";

/// Time in a machine is counted in instructions, 2 ns for each, and where it has nothing to do it goes on to the
/// next timer at once. So what else is done outside makes no deadline inside late, and sleeping takes no time.
const CLOCK: &[&str] = &["-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off"];

/// What `/init` prints last. A machine that dies before says nothing, and that is a failure.
pub(super) const EXIT: &str = "netrunner-vm-exit:";
/// What it prints first: its kernel, and which controllers there are.
pub(super) const RELEASE: &str = "netrunner-vm-kernel:";
pub(super) const CONTROLLERS: &str = "netrunner-vm-controllers:";

/// Without these most of what is tested in a machine would be skipped there, as it is elsewhere.
const NEEDED: &[&str] = &["cpu", "cpuset", "io", "memory", "pids"];

/// So many of its last lines are shown when a machine has failed.
const TAIL: usize = 100;

/// What kind of machine.
pub(super) struct Machine {
    pub(super) arch: &'static Arch,
    pub(super) cpus: u32,
    /// After so long it is stopped, and has failed.
    pub(super) limit: Duration,
    pub(super) console: Console,
}

/// Whether its console is shown.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Console {
    Shown,
    /// The last lines.
    ShownIfItFails,
}

/// What one machine said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    passed: u32,
    ignored: u32,
    skipped: u32,
    release: String,
    failures: Vec<String>,
    controllers: Vec<String>,
    exit: Option<i32>,
    tail: VecDeque<String>,
    took: Duration,
}

/// Boots a machine and reads its console to the end. Each line is shown with the machine's kernel, for there
/// can be several at once, and the seconds since its start.
pub(super) fn boot(kernel: Kernel, file: &Path, image: &Path, machine: &Machine) -> Result<Seen> {
    let start = Instant::now();
    let disks = image::disks(file)?;
    let mut qemu = Command::new(machine.arch.qemu);
    for (number, disk) in disks.iter().enumerate() {
        // The drivers of other devices are modules, and there are none in the machine.
        let drive = format!("if=none,format=raw,id=disk{number},file={}", disk.display());
        let device = format!("nvme,serial=netrunner{number},drive=disk{number}");
        qemu.arg("-drive").arg(drive).arg("-device").arg(device);
    }
    let append = format!("console={} panic=-1 quiet swapaccount=1", machine.arch.console);
    qemu.args(machine.arch.machine)
        .args(CLOCK)
        .args(["-m", "1536", "-smp", &machine.cpus.to_string(), "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(file)
        .arg("-initrd")
        .arg(image)
        .args(["-append", &append])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .timeout(machine.limit);
    let mut child = qemu.spawn()?;
    let console = child.stdout.take().ok_or("the machine has no console")?;
    let mut seen = Seen::default();
    // A console is bytes: a test may print anything.
    for line in BufReader::new(console).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end_matches('\r').to_owned();
        let shown = format!("{kernel} {:6.1} {line}", start.elapsed().as_secs_f32());
        if machine.console == Console::Shown {
            println!("{shown}");
        }
        seen.take(line);
        seen.keep(shown);
    }
    let status = child.wait()?;
    if !status.success() {
        let limit = machine.limit.as_secs() / 60;
        seen.failures.push(format!("the machine was stopped ({status}); it has {limit} min"));
    }
    if machine.console == Console::ShownIfItFails && seen.verdict().is_err() {
        println!("[…]");
        seen.tail.iter().for_each(|line| println!("{line}"));
    }
    seen.took = start.elapsed();
    Ok(seen)
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { passed, failures, ignored, skipped, release, took, .. } = self;
        let (failed, seconds) = (failures.len(), took.as_secs());
        write!(
            f,
            "Linux {release}, {passed} passed, {failed} failed, {ignored} ignored, {skipped} said SKIPPED, \
             {seconds} s"
        )
    }
}

impl Seen {
    fn take(&mut self, line: String) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let part = counts.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
                part.and_then(|number| number.trim().parse::<u32>().ok()).unwrap_or_default()
            };
            self.passed += count("passed");
            self.ignored += count("ignored");
        } else if let Some(code) = line.strip_prefix(EXIT) {
            self.exit = code.trim().parse().ok();
        } else if let Some(release) = line.strip_prefix(RELEASE) {
            self.release = release.trim().to_owned();
        } else if let Some(names) = line.strip_prefix(CONTROLLERS) {
            self.controllers = names.split_whitespace().map(str::to_owned).collect();
        } else if line.starts_with("test ") && line.ends_with("FAILED") {
            // A failed body is told of twice, by its arena's own run and by ours.
            if !self.failures.contains(&line) {
                self.failures.push(line.clone());
            }
        } else if line.contains("SKIPPED") {
            self.skipped += 1;
        }
    }

    /// The last lines are kept.
    fn keep(&mut self, line: String) {
        self.tail.push_back(line);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }

    /// Green only if the machine said so itself, if anything was tested at all, and if it could be.
    pub(super) fn verdict(&self) -> std::result::Result<(), String> {
        let has = |name: &&&str| self.controllers.iter().any(|it| it == **name);
        let why = match (self.exit, NEEDED.iter().find(|name| !has(name))) {
            (None, _) => "the machine ended without a result".to_owned(),
            (Some(_), Some(name)) => format!("it has no controller `{name}`"),
            (Some(0), None) if self.passed == 0 => "no test was run".to_owned(),
            (Some(0), None) if self.failures.is_empty() => return Ok(()),
            (Some(_), None) => "tests failed".to_owned(),
        };
        Err(format!("{why}\n{}", self.failures.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    //! A machine is believed only if all of its words agree.
    use super::*;

    const ALL: &str = "netrunner-vm-controllers: cpuset cpu io memory hugetlb pids rdma";

    fn seen(lines: &[&str]) -> Seen {
        let mut seen = Seen::default();
        lines.iter().for_each(|line| seen.take((*line).to_owned()));
        seen
    }

    const PASSED: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; in 1s";

    #[test]
    fn what_passed_is_counted_over_all_binaries() {
        let words = [ALL, "netrunner-vm-kernel: 6.1.0", PASSED, PASSED, "netrunner-vm-exit: 0"];
        let seen = seen(&words);
        assert_eq!((seen.passed, seen.ignored, seen.release.as_str()), (6, 2, "6.1.0"));
        assert_eq!(seen.verdict(), Ok(()));
    }

    #[test]
    fn a_machine_that_says_nothing_has_failed() {
        assert!(seen(&[ALL, PASSED]).verdict().is_err(), "no exit: a panic of the kernel, say");
        assert!(seen(&[ALL, PASSED, "netrunner-vm-exit: 101"]).verdict().is_err());
        let failed = seen(&[ALL, PASSED, "test a ... FAILED", "netrunner-vm-exit: 0"]);
        assert!(failed.verdict().is_err());
        let none = PASSED.replace("3 passed", "0 passed");
        assert!(seen(&[ALL, &none, "netrunner-vm-exit: 0"]).verdict().is_err());
    }

    #[test]
    fn a_machine_without_controllers_shows_nothing() {
        let some = ALL.replace("memory", "");
        assert!(seen(&[&some, PASSED, "netrunner-vm-exit: 0"]).verdict().is_err());
        assert!(seen(&[PASSED, "netrunner-vm-exit: 0"]).verdict().is_err());
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut seen = Seen::default();
        (0..150).for_each(|number| seen.keep(number.to_string()));
        assert_eq!((seen.tail.len(), seen.tail[0].as_str()), (TAIL, "50"));
    }
}
