//! The promises' tests on other kernels: `cargo xtask vm` boots Debian's under QEMU, without KVM, and
//! runs the tests as a machine's first program. This file says what is run where; where the kernels come
//! from is [`kernels`]' matter, what the machine is made of [`image`]'s, and what it says [`machine`]'s.

mod image;
mod kernels;
mod machine;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::step::Result;
use kernels::Kernel;
use machine::{Console, Machine, Seen};

const HELP: &str = "\
usage: cargo xtask vm [OPTION…] [FILTER…]

  --kernel WHICH     current (default), old (before Linux 5.14), all, or one of Debian's releases
  --package NAME     only the tests of this package
  --cpus N           processors of the machine (default 1)
  --minutes N        the machine is stopped after so long (default 30)

Tests whose names contain a FILTER are run, all of them without one.";

/// A package whose tests ask something of the kernel, and which of them are wanted: all without a filter.
struct Selection {
    package: &'static str,
    filters: Vec<String>,
}

struct Wanted {
    kernels: Vec<Kernel>,
    machine: Machine,
    selections: Vec<Selection>,
}

/// The packages that a machine can test.
const PACKAGES: &[&str] = &["netrunner-tests", "netrunner-cgroup", "netrunner-pty"];

/// What `cargo xtask check` boots: what only real controllers and old kernels can show, and no more, since
/// all is several times slower there.
const SHORT: &[(&str, &[&str])] = &[("netrunner-cgroup", &[])];

/// What `cargo xtask ci --full` boots as well: whole commands in groups, and what stands in for what an old
/// kernel lacks.
const LONG: &[(&str, &[&str])] = &[("netrunner-tests", &["cgroups::", "fallbacks::"])];

/// The oldest kernel and the newest. A machine that hangs is stopped long before CI would be.
fn old_and_current(selected: &[(&'static str, &[&str])]) -> Result<Wanted> {
    let select = |&(package, filters): &(&'static str, &[&str])| Selection {
        package,
        filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
    };
    Ok(Wanted {
        kernels: [kernels::named("old")?, kernels::named("current")?].concat(),
        machine: Machine {
            cpus: 1,
            limit: Duration::from_secs(15 * 60),
            console: Console::ShownIfItFails,
        },
        selections: selected.iter().map(select).collect(),
    })
}

/// The short form, as one of the checks.
pub(crate) fn check(root: &Path, target: &Path) -> Result<()> {
    run_wanted(root, target, &old_and_current(SHORT)?)
}

/// The long form, which takes many minutes.
pub(crate) fn check_more(root: &Path, target: &Path) -> Result<()> {
    run_wanted(root, target, &old_and_current(LONG)?)
}

/// Runs the tests that the arguments name.
pub(crate) fn run(root: &Path, target: &Path, args: &[String]) -> Result<()> {
    run_wanted(root, target, &parse(args)?)
}

/// Runs the tests on each of the kernels, or says loudly why it can't.
fn run_wanted(root: &Path, target: &Path, wanted: &Wanted) -> Result<()> {
    if let Some(missing) = missing_tool() {
        // Not an error: it says nothing about NetRunner.
        eprintln!("xtask: SKIPPED: no virtual machine without `{missing}`;");
        eprintln!("xtask: on Debian: apt-get install --no-install-recommends {TO_INSTALL}");
        return Ok(());
    }
    let dir = target.join("vm");
    let had: Vec<(Kernel, PathBuf)> = wanted
        .kernels
        .iter()
        .filter_map(|&kernel| match kernels::get(kernel, &dir) {
            Ok(file) => Some((kernel, file)),
            Err(error) => {
                eprintln!("xtask: SKIPPED: the kernel of Debian {kernel} can't be had: {error}");
                None
            }
        })
        .collect();
    if had.is_empty() {
        return Ok(());
    }
    let image = image::build(root, &dir, &wanted.selections)?;
    let processors = thread::available_parallelism()?.get() as u32;
    let at_once = (processors / wanted.machine.cpus.max(1)).max(1) as usize;
    let mut failed = Vec::new();
    for some in had.chunks(at_once) {
        for (kernel, seen) in boot_together(some, &image, &wanted.machine) {
            let seen = seen?;
            eprintln!("xtask: Debian {kernel}: {seen}");
            if let Err(why) = seen.verdict() {
                failed.push(format!("Debian {kernel}: {why}"));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// A machine for each of the kernels, at the same time.
fn boot_together(
    kernels: &[(Kernel, PathBuf)],
    image: &Path,
    machine: &Machine,
) -> Vec<(Kernel, std::result::Result<Seen, String>)> {
    thread::scope(|scope| {
        let boot = |(kernel, file): &(Kernel, PathBuf)| {
            machine::boot(*kernel, file, image, machine).map_err(|error| error.to_string())
        };
        let running: Vec<_> =
            kernels.iter().map(|some| (some.0, scope.spawn(move || boot(some)))).collect();
        let end = |(kernel, thread): (Kernel, thread::ScopedJoinHandle<'_, _>)| {
            let panicked = Err("its thread has panicked".to_owned());
            (kernel, thread.join().unwrap_or(panicked))
        };
        running.into_iter().map(end).collect()
    })
}

const TO_INSTALL: &str = "qemu-system-x86 cpio busybox-static";
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
    let mut kernels = kernels::named("current")?;
    let limit = Duration::from_secs(30 * 60);
    let mut machine = Machine { cpus: 1, limit, console: Console::Shown };
    let mut packages = PACKAGES.to_vec();
    let mut filters = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` wants a value"));
        match arg.as_str() {
            "--kernel" => kernels = kernels::named(value()?)?,
            "--package" => {
                let name = value()?;
                packages.retain(|package| package == name);
                if packages.is_empty() {
                    return Err(format!("no package `{name}` is tested in a machine").into());
                }
            }
            "--cpus" => machine.cpus = value()?.parse()?,
            "--minutes" => machine.limit = Duration::from_secs(60 * value()?.parse::<u64>()?),
            option if option.starts_with('-') => return Err(HELP.into()),
            filter if filter.chars().all(|c| c.is_alphanumeric() || "_:".contains(c)) => {
                filters.push(filter.to_owned());
            }
            _ => return Err(format!("`{arg}` is no part of a test's name").into()),
        }
    }
    let select = |package| Selection { package, filters: filters.clone() };
    let selections = packages.into_iter().map(select).collect();
    Ok(Wanted { kernels, machine, selections })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_can_say_nothing_to_the_shell() {
        assert!(parse(&["p1_client::dies".to_owned()]).is_ok());
        assert!(parse(&["x; reboot".to_owned()]).is_err());
        assert!(parse(&["--kernel".to_owned(), "none".to_owned()]).is_err());
    }

    #[test]
    fn the_checks_boot_an_old_kernel_and_a_current_one() {
        for form in [SHORT, LONG] {
            let wanted = old_and_current(form).expect("it is well-formed");
            assert_eq!(wanted.kernels.len(), 2);
            assert!(wanted.selections.iter().all(|it| PACKAGES.contains(&it.package)));
        }
    }
}
