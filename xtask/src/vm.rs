//! The promises' tests on other kernels: `cargo xtask vm` boots Debian's under QEMU, without KVM, and
//! runs the tests as a machine's first program. This file is the run; where the kernels come from is
//! [`kernels`]' matter, and what the machine is made of [`image`]'s.

mod image;
mod kernels;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use netrunner_sync::Stdio;

use crate::step::{Command, Result};
use kernels::Kernel;

const HELP: &str = "\
usage: cargo xtask vm [OPTION…] [FILTER…]

  --kernel WHICH     current (default), old (before Linux 5.14), all, or one of Debian's releases
  --package NAME     only the tests of this package
  --cpus N           processors of the machine (default 1)
  --minutes N        the machine is stopped after so long (default 30)

Tests whose names contain a FILTER are run, all of them without one.";

/// QEMU without KVM: a machine that is 5 to 20 times slower.
const SLOWNESS: &str = "8";

/// What `/init` prints last. A machine that dies before says nothing, and that is a failure.
const MARK: &str = "netrunner-vm-exit:";

struct Wanted {
    kernels: Vec<Kernel>,
    cpus: u32,
    limit: Duration,
    packages: Vec<&'static str>,
    filters: Vec<String>,
}

/// What one machine said.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    passed: u32,
    ignored: u32,
    skipped: u32,
    release: String,
    failures: Vec<String>,
    exit: Option<i32>,
}

/// Runs the tests on each of the kernels, or says loudly why it can't.
pub(crate) fn run(root: &Path, target: &Path, args: &[String]) -> Result<()> {
    let wanted = parse(args)?;
    if let Some(missing) = missing_tool() {
        // Not an error: it says nothing about NetRunner.
        eprintln!("xtask: SKIPPED: no virtual machine without `{missing}`;");
        eprintln!("xtask: on Debian: apt-get install --no-install-recommends {PACKAGES}");
        return Ok(());
    }
    let dir = target.join("vm");
    let image = image::build(root, &dir, &wanted.packages, &wanted.filters)?;
    let mut failed = Vec::new();
    for kernel in &wanted.kernels {
        let file = match kernels::get(kernel, &dir) {
            Ok(file) => file,
            Err(error) => {
                eprintln!("xtask: SKIPPED: the kernel of Debian {kernel} can't be had: {error}");
                continue;
            }
        };
        let start = Instant::now();
        let seen = boot(&file, &image, &wanted)?;
        let Seen { passed, failures, ignored, skipped, release, .. } = &seen;
        let bad = failures.len();
        eprintln!(
            "xtask: Linux {release} (Debian {kernel}): {passed} passed, {bad} failed, {ignored} \
             ignored, {skipped} said SKIPPED, {} s",
            start.elapsed().as_secs()
        );
        if let Err(why) = seen.verdict() {
            failed.push(format!("Debian {kernel}: {why}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

const PACKAGES: &str = "qemu-system-x86 cpio busybox-static";
const TOOLS: &[&str] = &["qemu-system-x86_64", "cpio", "busybox", "apt-get", "dpkg-deb"];

fn missing_tool() -> Option<&'static str> {
    if cfg!(not(target_arch = "x86_64")) {
        return Some("an x86-64 machine");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&&str| std::env::split_paths(&path).any(|dir| dir.join(**tool).is_file());
    TOOLS.iter().find(|tool| !found(tool)).copied()
}

fn parse(args: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted {
        kernels: kernels::named("current")?,
        cpus: 1,
        limit: Duration::from_secs(30 * 60),
        packages: image::PACKAGES.to_vec(),
        filters: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` wants a value"));
        match arg.as_str() {
            "--kernel" => wanted.kernels = kernels::named(value()?)?,
            "--package" => {
                let name = value()?;
                wanted.packages.retain(|package| package == name);
                if wanted.packages.is_empty() {
                    return Err(format!("no package `{name}` is tested in a machine").into());
                }
            }
            "--cpus" => wanted.cpus = value()?.parse()?,
            "--minutes" => wanted.limit = Duration::from_secs(60 * value()?.parse::<u64>()?),
            option if option.starts_with('-') => return Err(HELP.into()),
            filter if filter.chars().all(|c| c.is_alphanumeric() || "_:".contains(c)) => {
                wanted.filters.push(filter.to_owned());
            }
            _ => return Err(format!("`{arg}` is no part of a test's name").into()),
        }
    }
    Ok(wanted)
}

/// One machine from its start to its end; its console is shown and read.
fn boot(kernel: &Path, image: &Path, wanted: &Wanted) -> Result<Seen> {
    let disks = image::disks(image)?;
    let mut qemu = Command::new("qemu-system-x86_64");
    for (number, disk) in disks.iter().enumerate() {
        // The drivers of other devices are modules, and there are none in the machine.
        let drive = format!("if=none,format=raw,id=disk{number},file={}", disk.display());
        let device = format!("nvme,serial=netrunner{number},drive=disk{number}");
        qemu.arg("-drive").arg(drive).arg("-device").arg(device);
    }
    qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1536"])
        .args(["-smp", &wanted.cpus.to_string(), "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .args(["-append", "console=ttyS0 panic=-1 quiet swapaccount=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .timeout(wanted.limit);
    let mut child = qemu.spawn()?;
    let console = child.stdout.take().ok_or("the machine has no console")?;
    let mut seen = Seen::default();
    // A console is bytes: a test may print anything.
    for line in BufReader::new(console).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end_matches('\r').to_owned();
        println!("{line}");
        seen.take(&line);
    }
    std::io::stdout().flush()?;
    let status = child.wait()?;
    if !status.success() {
        seen.failures.push(format!("the machine was stopped ({status})"));
    }
    Ok(seen)
}

impl Seen {
    fn take(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let part = counts.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
                part.and_then(|number| number.trim().parse::<u32>().ok()).unwrap_or_default()
            };
            self.passed += count("passed");
            self.ignored += count("ignored");
        } else if let Some(code) = line.strip_prefix(MARK) {
            self.exit = code.trim().parse().ok();
        } else if let Some(release) = line.strip_prefix("netrunner-vm-kernel:") {
            self.release = release.trim().to_owned();
        } else if line.starts_with("test ") && line.ends_with("FAILED") {
            // A failed body is told of twice, by its arena's own run and by ours.
            if !self.failures.iter().any(|seen| seen == line) {
                self.failures.push(line.to_owned());
            }
        } else if line.contains("SKIPPED") {
            self.skipped += 1;
        }
    }

    /// Green only if the machine said so itself, and if anything was tested at all.
    fn verdict(&self) -> std::result::Result<(), String> {
        let why = match self.exit {
            Some(0) if self.failures.is_empty() && self.passed > 0 => return Ok(()),
            Some(0) if self.passed == 0 => "no test was run",
            Some(_) => "tests failed",
            None => "the machine ended without a result",
        };
        Err(format!("{why}\n{}", self.failures.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    //! A machine is believed only if all of its words agree.
    use super::*;

    fn seen(lines: &[&str]) -> Seen {
        let mut seen = Seen::default();
        lines.iter().for_each(|line| seen.take(line));
        seen
    }

    const PASSED: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; in 1s";

    #[test]
    fn what_passed_is_counted_over_all_binaries() {
        let seen = seen(&["netrunner-vm-kernel: 6.1.0", PASSED, PASSED, "netrunner-vm-exit: 0"]);
        assert_eq!((seen.passed, seen.ignored, seen.release.as_str()), (6, 2, "6.1.0"));
        assert_eq!(seen.verdict(), Ok(()));
    }

    #[test]
    fn a_machine_that_says_nothing_has_failed() {
        assert!(seen(&[PASSED]).verdict().is_err(), "no exit: a panic of the kernel, say");
        assert!(seen(&[PASSED, "netrunner-vm-exit: 101"]).verdict().is_err());
        assert!(seen(&[PASSED, "test a ... FAILED", "netrunner-vm-exit: 0"]).verdict().is_err());
        let none = PASSED.replace("3 passed", "0 passed");
        assert!(seen(&[&none, "netrunner-vm-exit: 0"]).verdict().is_err());
    }

    #[test]
    fn a_filter_can_say_nothing_to_the_shell() {
        assert!(parse(&["p1_client::dies".to_owned()]).is_ok());
        assert!(parse(&["x; reboot".to_owned()]).is_err());
        assert!(parse(&["--kernel".to_owned(), "none".to_owned()]).is_err());
    }
}
